//! Policy documents, understood as a whole when they are read: a part that the sandbox does not model is an error then, and never
//! ignored later (IAM user guide, "JSON policy element reference").

use std::fmt;

use serde_json::{Map, Value};

use super::{condition::Condition, pattern};

/// A policy of a role or of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For people.
    pub name: String,
    /// Whether AWS or SAM wrote it. A person cannot remove a single action from such a policy.
    pub is_managed: bool,
    /// In the order of the document.
    pub statements: Vec<Statement>,
}

/// One statement of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its name, if it has one.
    pub sid: Option<String>,
    /// Whether a match is allowed or denied.
    pub effect: Effect,
    /// The callers that it names, in a policy of a resource.
    pub principals: Vec<Principal>,
    /// Such as `ec2:Describe*`.
    pub actions: Vec<String>,
    /// ARNs, with wildcards.
    pub resources: Vec<String>,
    /// All of them have to be met.
    pub conditions: Vec<Condition>,
}

/// The effect of a statement on a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A match is allowed, unless another statement denies it.
    Allow,
    /// A match is denied, whatever another statement says.
    Deny,
}

/// A caller that a statement of a resource's policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Every caller.
    Anybody,
    /// A service, such as `events.amazonaws.com`.
    Service(String),
    /// An account, by its id or its root's ARN, or a role by its ARN.
    Aws(String),
}

/// The reason why IAM would refuse a policy, or why the sandbox does not model it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPolicy(pub String);

/// The elements of a statement that the sandbox knows.
const ELEMENTS: [&str; 6] = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];

impl Policy {
    /// Reads a policy of a role.
    ///
    /// # Errors
    /// If it is wrong or not modelled.
    pub fn of_role(name: &str, document: &Value) -> Result<Self, BadPolicy> {
        Self::read(name, document, false)
    }

    /// Reads a policy of a resource, whose statements name principals.
    ///
    /// # Errors
    /// If it is wrong or not modelled.
    pub fn of_resource(name: &str, document: &Value) -> Result<Self, BadPolicy> {
        Self::read(name, document, true)
    }

    fn read(name: &str, document: &Value, has_principals: bool) -> Result<Self, BadPolicy> {
        let document = document.as_object().ok_or_else(|| BadPolicy(format!("the policy {name} is no object")))?;
        if let Some(key) = document.keys().find(|key| !["Version", "Id", "Statement"].contains(&key.as_str())) {
            return Err(BadPolicy(format!("the policy {name} has the unknown element {key}")));
        }
        // Another version has no policy variables, and SAM's own documents have this one.
        match document.get("Version").and_then(Value::as_str) {
            None | Some("2012-10-17") => {}
            Some(version) => return Err(BadPolicy(format!("the policy {name} has the version {version}"))),
        }
        let statements: Result<Vec<_>, BadPolicy> = list(document.get("Statement"))
            .iter()
            .enumerate()
            .map(|(index, statement)| {
                Statement::read(statement, has_principals)
                    .map_err(|BadPolicy(why)| BadPolicy(format!("statement {} of the policy {name}: {why}", index + 1)))
            })
            .collect();
        let statements = statements?;
        if statements.is_empty() {
            return Err(BadPolicy(format!("the policy {name} has no statement")));
        }
        Ok(Self { name: name.to_owned(), is_managed: false, statements })
    }
}

impl Statement {
    fn read(statement: &Value, has_principals: bool) -> Result<Self, BadPolicy> {
        let bad = |why: String| Err(BadPolicy(why));
        let Some(fields) = statement.as_object() else { return bad("it is no object".to_owned()) };
        if let Some(key) = fields.keys().find(|key| !ELEMENTS.contains(&key.as_str())) {
            return bad(format!("the element {key} is not modelled by the sandbox"));
        }
        let effect = match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            other => return bad(format!("the effect is {other:?}, and has to be Allow or Deny")),
        };
        let (actions, resources) = (texts(fields.get("Action"))?, texts(fields.get("Resource"))?);
        for action in &actions {
            if action != "*"
                && action.split_once(':').is_none_or(|(service, name)| service.is_empty() || name.is_empty())
            {
                return bad(format!("{action} is no action"));
            }
        }
        if actions.is_empty() || resources.is_empty() {
            return bad("Action and Resource have to be there".to_owned());
        }
        if let Some(resource) = resources.iter().find(|r| !pattern::is_resource(r)) {
            return bad(format!("{resource} is no ARN of a resource that the sandbox understands"));
        }
        let principals = principals(fields.get("Principal"))?;
        if principals.is_empty() == has_principals {
            let what = if has_principals { "needs" } else { "cannot have" };
            return bad(format!("it {what} the element Principal"));
        }
        let sid = fields.get("Sid").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { sid, effect, principals, actions, resources, conditions: conditions(fields.get("Condition"))? })
    }
}

impl Principal {
    /// Returns whether it names a caller: a service by its name, a role by its ARN.
    pub(super) fn is(&self, caller: &str, account: &str) -> bool {
        match self {
            Self::Anybody => true,
            Self::Service(service) => service == caller,
            Self::Aws(id) => {
                let is_account = id == account || *id == format!("arn:aws:iam::{account}:root");
                id == caller || (is_account && caller.starts_with("arn:"))
            }
        }
    }
}

fn principals(element: Option<&Value>) -> Result<Vec<Principal>, BadPolicy> {
    match element {
        None => Ok(Vec::new()),
        Some(Value::String(text)) if text == "*" => Ok(vec![Principal::Anybody]),
        Some(Value::Object(kinds)) => {
            let mut all = Vec::new();
            for (kind, names) in kinds {
                for name in texts(Some(names))? {
                    all.push(match kind.as_str() {
                        "Service" => Principal::Service(name),
                        "AWS" if name == "*" => Principal::Anybody,
                        "AWS" => Principal::Aws(name),
                        other => return Err(BadPolicy(format!("principals of the kind {other} are not modelled"))),
                    });
                }
            }
            Ok(all)
        }
        Some(other) => Err(BadPolicy(format!("{other} is no principal"))),
    }
}

fn conditions(element: Option<&Value>) -> Result<Vec<Condition>, BadPolicy> {
    let empty = Map::new();
    let operators = match element {
        None => &empty,
        Some(Value::Object(operators)) => operators,
        Some(other) => return Err(BadPolicy(format!("{other} is no condition"))),
    };
    let mut all = Vec::new();
    for (operator, keys) in operators {
        let keys = keys.as_object().ok_or_else(|| BadPolicy(format!("{operator} has no keys")))?;
        for (key, values) in keys {
            all.push(Condition::read(operator, key, texts(Some(values))?)?);
        }
    }
    Ok(all)
}

fn list(value: Option<&Value>) -> Vec<Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(values)) => values.clone(),
        Some(one) => vec![one.clone()],
    }
}

fn texts(value: Option<&Value>) -> Result<Vec<String>, BadPolicy> {
    let text = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Bool(flag) => Ok(flag.to_string()),
        other => Err(BadPolicy(format!("{other} is no text"))),
    };
    list(value).into_iter().map(text).collect()
}

impl fmt::Display for BadPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPolicy {}
