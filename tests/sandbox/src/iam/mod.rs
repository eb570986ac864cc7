//! AWS IAM, as far as functions meet it: the permissions in the policy of a function's role and in the policy of a queue.
//!
//! Every call that is signed with the key of a function's execution environment is checked before its work is done. So is the
//! work of Lambda and EventBridge on the project's behalf. A caller that is not a function (an operator, a test) may do
//! everything, unless a test gave it a role by [`State::give`]. So may a function without a role, which only a test can make.
//!
//! Used and denied permissions are written down, so that a test can name permissions without a use.

mod access;
mod condition;
mod pattern;
mod policy;

use std::collections::{BTreeMap, BTreeSet};

pub use access::Access;
pub use condition::Condition;
pub use policy::{BadPolicy, Effect, Policy, Principal, Statement};

use crate::{
    clock::Timestamp,
    lambda, sqs,
    wire::{ApiError, Request, Service},
    world::{ACCOUNT, REGION, World},
};

/// The condition key of calls that a function's code makes; Lambda's own calls with the function's role do not have it (Lambda guide,
/// "Using source function ARN to control function access behavior",
/// <https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html>).
const SOURCE_FUNCTION: &str = "lambda:SourceFunctionArn";

/// The facts of a request for conditions: keys in small letters, and their values.
pub type Context = BTreeMap<String, Vec<String>>;

/// Roles, and the results of checks.
#[derive(Debug, Default)]
pub struct State {
    /// By name.
    pub roles: BTreeMap<String, Role>,
    /// The names of roles of people, by their access keys.
    people: BTreeMap<String, String>,
    /// Permissions that were needed and there.
    pub used: BTreeSet<Permission>,
    /// The denied accesses, in order.
    pub denied: Vec<Denial>,
}

/// A role that a function has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Its permissions: the union of these policies.
    pub policies: Vec<Policy>,
}

impl Role {
    /// Returns whether its own policies allow an access. Nothing is written down.
    pub fn allows(&self, access: &Access) -> bool {
        let policies = self.policies.iter().map(|policy| ("", policy));
        matches!(decide(policies, "", access), Decision::Allowed(_))
    }
}

/// One action of one statement: a permission that can be taken away by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// The role, or the queue, with the policy.
    pub holder: String,
    /// The policy's name.
    pub policy: String,
    /// The statement's place in it, from 0.
    pub statement: usize,
    /// The action, as the statement has it.
    pub action: String,
}

/// An access that was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// When.
    pub at: Timestamp,
    /// The role's ARN, or a service.
    pub caller: String,
    /// The action that is missing.
    pub action: String,
    /// The resource that it is missing for.
    pub resource: String,
}

/// The decision of policies over one access.
enum Decision {
    Allowed(Permission),
    /// No statement allows it.
    Missing,
    /// A statement denies it.
    Denied,
}

impl State {
    /// Gives a person who calls with this access key a role with one policy, and no permission besides.
    pub fn give(&mut self, access_key: &str, role: &str, policy: Policy) {
        self.people.insert(access_key.to_owned(), role.to_owned());
        self.roles.insert(role.to_owned(), Role { policies: vec![policy] });
    }

    /// Returns every permission of every role that a person has written, without those of AWS's own policies.
    pub fn permissions(&self) -> Vec<Permission> {
        let own = |policy: &&Policy| !policy.is_managed;
        let policies =
            self.roles.iter().flat_map(|(role, found)| found.policies.iter().filter(own).map(move |p| (role, p)));
        policies.flat_map(|(role, policy)| policy.permissions(role)).collect()
    }

    /// Takes one permission away. Returns whether it was there.
    pub fn revoke(&mut self, permission: &Permission) -> bool {
        let policies = self.roles.get_mut(&permission.holder).into_iter().flat_map(|role| &mut role.policies);
        let mut statements = policies
            .filter(|p| p.name == permission.policy)
            .filter_map(|policy| policy.statements.get_mut(permission.statement));
        let Some(statement) = statements.next() else { return false };
        let before = statement.actions.len();
        statement.actions.retain(|action| *action != permission.action);
        statement.actions.len() < before
    }
}

impl Policy {
    /// Returns the permissions of its statements, one by one.
    fn permissions(&self, holder: &str) -> Vec<Permission> {
        let allowing = self.statements.iter().enumerate().filter(|(_, statement)| statement.effect == Effect::Allow);
        allowing
            .flat_map(|(index, statement)| {
                statement.actions.iter().map(move |action| self.permission(holder, index, action))
            })
            .collect()
    }

    fn permission(&self, holder: &str, statement: usize, action: &str) -> Permission {
        Permission { holder: holder.to_owned(), policy: self.name.clone(), statement, action: action.to_owned() }
    }
}

impl Statement {
    /// Returns the action as it is written, if the statement matches this access.
    fn matching_action(&self, caller: &str, access: &Access) -> Option<&str> {
        let is_meant =
            self.principals.is_empty() || self.principals.iter().any(|principal| principal.is(caller, ACCOUNT));
        let has_resource = self.resources.iter().any(|resource| pattern::arn_matches(resource, &access.resource));
        let is_met = self.conditions.iter().all(|condition| condition.is_met(&access.context));
        let wanted = access.action.to_lowercase();
        let action = self.actions.iter().find(|action| pattern::matches(&action.to_lowercase(), &wanted));
        action.filter(|_| is_meant && has_resource && is_met).map(String::as_str)
    }
}

/// Decides by the policies of one or more holders. Each of them can allow, and each can deny.
fn decide<'p>(policies: impl Iterator<Item = (&'p str, &'p Policy)>, caller: &str, access: &Access) -> Decision {
    let mut decision = Decision::Missing;
    for (holder, policy) in policies {
        for (index, statement) in policy.statements.iter().enumerate() {
            match (statement.matching_action(caller, access), statement.effect) {
                (Some(_), Effect::Deny) => return Decision::Denied,
                (Some(action), Effect::Allow) if matches!(decision, Decision::Missing) => {
                    decision = Decision::Allowed(policy.permission(holder, index, action));
                }
                _ => {}
            }
        }
    }
    decision
}

/// Checks a call by the policy of the function, or of the person, that makes it, if that is known.
///
/// # Errors
/// The service's own words for a missing permission.
pub(crate) fn check_call(world: &mut World, request: &Request) -> Result<(), ApiError> {
    let Some(caller) = Caller::of(world, &request.access_key) else { return Ok(()) };
    for access in access::of_call(world, request)? {
        let access = match caller.is_function {
            true => access.knowing(SOURCE_FUNCTION, [lambda::arn(&caller.session)]),
            false => access,
        };
        if let Err(is_explicit) = check(world, &caller.role, access.clone()) {
            return Err(refusal(request.service, &caller.role, &caller.session, &access, is_explicit));
        }
    }
    Ok(())
}

/// A caller whose permissions count.
struct Caller {
    role: String,
    /// The name of the role's session: that of the function, or of the person's role again.
    session: String,
    is_function: bool,
}

impl Caller {
    fn of(world: &World, access_key: &str) -> Option<Self> {
        if let Some(role) = world.iam.people.get(access_key) {
            return Some(Self { role: role.clone(), session: role.clone(), is_function: false });
        }
        let function = world.lambda.function_with_key(access_key)?;
        Some(Self { role: function.role.clone()?, session: function.name.clone(), is_function: true })
    }
}

/// Returns whether a role may do the work that AWS does in its name, such as receiving messages. Without a role, everything is
/// allowed.
pub(crate) fn role_may(world: &mut World, role: Option<&str>, action: &str, resource: &str) -> bool {
    role.is_none_or(|role| check(world, role, Access::new(action, resource)).is_ok())
}

/// Returns whether a service may do something to a resource, by the resource's own policy.
pub(crate) fn service_may(
    world: &mut World,
    service: &str,
    holder: &str,
    policy: Option<&Policy>,
    access: &Access,
) -> bool {
    let decision = decide(policy.into_iter().map(|policy| (holder, policy)), service, access);
    note(world, service, access, decision).is_ok()
}

/// Returns what else a caller needs for an access: a queue that is encrypted with an operator's own key wants the key, too. (SQS
/// developer guide, "Key management",
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html>.) The key's own policy is not
/// modelled: it lets roles of the account be allowed by their policies, and EventBridge send.
fn key_accesses(world: &World, access: &Access) -> Vec<Access> {
    let actions: &[&str] = match access.action.as_str() {
        "sqs:SendMessage" => &["kms:GenerateDataKey", "kms:Decrypt"],
        "sqs:ReceiveMessage" => &["kms:Decrypt"],
        _ => &[],
    };
    let queue = sqs::name_of_arn(&access.resource).and_then(|name| world.sqs.queue(name));
    let Some(key) = queue.and_then(|queue| queue.settings.key()) else { return Vec::new() };
    let via = format!("sqs.{REGION}.amazonaws.com");
    actions.iter().map(|action| Access::new(action, key).knowing("kms:ViaService", [via.clone()])).collect()
}

/// Returns an error if it is not allowed. The error's value is true if a statement denies it.
fn check(world: &mut World, role: &str, access: Access) -> Result<(), bool> {
    let keys = key_accesses(world, &access);
    check_one(world, role, access)?;
    keys.into_iter().try_for_each(|access| check_one(world, role, access))
}

fn check_one(world: &mut World, role: &str, access: Access) -> Result<(), bool> {
    let caller = role_arn(role);
    let access =
        access.knowing("aws:PrincipalArn", [caller.clone()]).knowing("aws:PrincipalAccount", [ACCOUNT.to_owned()]);
    let own = world.iam.roles.get(role).into_iter().flat_map(|found| &found.policies).map(|policy| (role, policy));
    // In one account, the policy of the queue can allow as well, and it can deny.
    let queue = sqs::name_of_arn(&access.resource).and_then(|name| world.sqs.queue(name));
    let of_queue = queue.and_then(|queue| Some((queue.name.as_str(), queue.settings.policy.as_ref()?)));
    let decision = decide(own.chain(of_queue), &caller, &access);
    note(world, &caller, &access, decision)
}

fn note(world: &mut World, caller: &str, access: &Access, decision: Decision) -> Result<(), bool> {
    let is_explicit = match decision {
        Decision::Allowed(permission) => {
            world.iam.used.insert(permission);
            return Ok(());
        }
        Decision::Missing => false,
        Decision::Denied => true,
    };
    let (action, resource) = (access.action.clone(), access.resource.clone());
    world.iam.denied.push(Denial { at: world.now(), caller: caller.to_owned(), action, resource });
    Err(is_explicit)
}

/// Returns the words for a missing permission. The first sentences are as people quote them from AWS. EC2's go on with an encoded
/// message that only `sts:DecodeAuthorizationMessage` can read; it is left out.
fn refusal(service: Service, role: &str, session: &str, access: &Access, is_explicit: bool) -> ApiError {
    let user = format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}");
    // SQS writes its actions in small letters.
    let action = match service {
        Service::Sqs => access.action.to_lowercase(),
        _ => access.action.clone(),
    };
    let on = if access.resource == "*" { String::new() } else { format!(" on resource: {}", access.resource) };
    let because = match is_explicit {
        true => "with an explicit deny in an identity-based policy".to_owned(),
        false => format!("because no identity-based policy allows the {action} action"),
    };
    let sentence = format!("User: {user} is not authorized to perform: {action}{on} {because}");
    match service {
        Service::Ec2 => {
            let message = format!("You are not authorized to perform this operation. {sentence}");
            ApiError::receiver(403, "UnauthorizedOperation", message)
        }
        Service::Elb
        | Service::ElbV2
        | Service::AutoScaling
        | Service::Sqs
        | Service::Sts
        | Service::CloudFormation => ApiError::receiver(403, "AccessDenied", sentence),
        Service::Events | Service::Tagging | Service::Quotas => ApiError::sender("AccessDeniedException", sentence),
        Service::Lambda => ApiError::receiver(403, "AccessDeniedException", sentence),
    }
}

/// Returns the ARN of a role.
pub fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}
