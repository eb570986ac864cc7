//! Groups: created and deleted.

use std::collections::BTreeSet;

use super::{
    AttachedBy, Group, GroupTag, LaunchSource, LifecycleState, TrafficSource, TrafficSourceKind,
    action::{self, Ending},
    capacity,
    hook::{self, HookSpec},
    membership::{change_state, existing, invalid},
};
use crate::{
    ec2,
    wire::ApiError,
    world::{ACCOUNT, REGION, World},
};

/// A group to be created, with plain defaults for fixtures.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Its name.
    pub name: String,
    /// The source of its launches.
    pub source: LaunchSource,
    /// The fewest members, the most, and how many it wants (the fewest, if the caller says nothing).
    pub sizes: (usize, usize, Option<usize>),
    /// The subnets that it launches in.
    pub subnet_ids: Vec<String>,
    /// Zones besides those of the subnets.
    pub zones: Vec<String>,
    /// `EC2`, `ELB`...
    pub health_check_type: String,
    /// Seconds.
    pub health_check_grace_period: u32,
    /// The traffic sources of its members.
    pub traffic_sources: Vec<TrafficSource>,
    /// Its tags.
    pub tags: Vec<GroupTag>,
    /// Its hooks, which already meet the first members.
    pub hooks: Vec<HookSpec>,
    /// Whether members that it launches are spared by scaling in.
    pub protects_new_members: bool,
    /// Whether an instance stays whose terminate hook was abandoned.
    pub retains: bool,
}

impl GroupSpec {
    /// Returns an empty group of at most ten members in a subnet.
    pub fn new(name: &str, subnet_id: &str) -> Self {
        Self {
            name: name.to_owned(),
            source: LaunchSource::Template { id: None, name: Some(name.to_owned()), version: Some("1".to_owned()) },
            sizes: (0, 10, None),
            subnet_ids: vec![subnet_id.to_owned()],
            zones: Vec::new(),
            health_check_type: "EC2".to_owned(),
            health_check_grace_period: 0,
            traffic_sources: Vec::new(),
            tags: Vec::new(),
            hooks: Vec::new(),
            protects_new_members: false,
            retains: false,
        }
    }

    /// Sets how many members it wants.
    #[must_use]
    pub fn desired(mut self, desired: usize) -> Self {
        self.sizes.2 = Some(desired);
        self
    }

    /// Adds a hook.
    #[must_use]
    pub fn hook(mut self, hook: HookSpec) -> Self {
        self.hooks.push(hook);
        self
    }

    /// Adds a tag that its members get as well.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.push(GroupTag { key: key.to_owned(), value: value.to_owned(), propagate_at_launch: true });
        self
    }

    /// Lets an instance stay whose terminate hook was abandoned.
    #[must_use]
    pub fn retaining(mut self) -> Self {
        self.retains = true;
        self
    }

    /// Attaches a target group (an ARN) or a Classic Load Balancer (a name).
    #[must_use]
    pub fn attached(mut self, kind: TrafficSourceKind, identifier: &str) -> Self {
        let attached_by = AttachedBy::LoadBalancerOperation;
        self.traffic_sources.push(TrafficSource { kind, identifier: identifier.to_owned(), attached_by });
        self
    }
}

/// Creates a group, which begins to launch its members.
///
/// # Errors
/// Returns the errors of CreateAutoScalingGroup.
pub fn create_group(world: &mut World, spec: GroupSpec) -> Result<(), ApiError> {
    if world.auto_scaling.groups.contains_key(&spec.name) {
        let message = "AutoScalingGroup by this name already exists - A group with the same name exists";
        return Err(ApiError::sender("AlreadyExists", message));
    }
    let zones = zones(world, &spec)?;
    let hooks = spec.hooks.into_iter().map(|hook| hook::checked(hook, None)).collect::<Result<Vec<_>, _>>()?;
    let (min_size, max_size, desired) = spec.sizes;
    let desired = desired.unwrap_or(min_size);
    let id = world.invent_number();
    let group = Group {
        arn: format!(
            "arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:00000000-0000-0000-0000-{id:012x}:autoScalingGroupName/{}",
            spec.name
        ),
        name: spec.name.clone(),
        source: spec.source,
        min_size,
        max_size,
        desired_capacity: desired,
        subnet_ids: spec.subnet_ids,
        zones,
        health_check_type: spec.health_check_type,
        health_check_grace_period: spec.health_check_grace_period,
        traffic_sources: spec.traffic_sources,
        tags: spec.tags,
        members: Default::default(),
        created: world.now(),
        hooks: hooks.into_iter().map(|hook| (hook.name.clone(), hook)).collect(),
        suspended: Default::default(),
        warm_pool: None,
        refreshes: Vec::new(),
        protects_new_members: spec.protects_new_members,
        retains: spec.retains,
        reviews_due: 0,
    };
    if !(min_size..=max_size).contains(&desired) {
        return Err(invalid("Desired capacity must be between the specified min size and max size".to_owned()));
    }
    capacity::check_launches(&group, desired)?;
    world.auto_scaling.groups.insert(spec.name.clone(), group);
    if desired > 0 {
        capacity::review_soon(world, &spec.name);
    }
    Ok(())
}

/// Returns the zones of the subnets, and those that the caller names.
fn zones(world: &World, spec: &GroupSpec) -> Result<Vec<String>, ApiError> {
    let mut zones: BTreeSet<_> = spec.zones.iter().cloned().collect();
    for id in &spec.subnet_ids {
        let subnet = world.ec2.subnets.get(id);
        let subnet = subnet.ok_or_else(|| invalid(format!("The subnet ID '{id}' does not exist")))?;
        zones.insert(subnet.zone.clone());
    }
    if zones.is_empty() {
        return Err(invalid("At least one Availability Zone or VPC Subnet is required.".to_owned()));
    }
    Ok(zones.into_iter().collect())
}

/// Deletes a group; with force, its members go with it, past their hooks: "this action also deletes any outstanding lifecycle
/// actions associated with the group" (botocore).
///
/// # Errors
/// Returns the errors of DeleteAutoScalingGroup.
pub fn delete_group(world: &mut World, name: &str, force: bool) -> Result<(), ApiError> {
    let group = existing(world, name)?;
    let members: Vec<_> = group.members.keys().cloned().collect();
    if !force && !members.is_empty() {
        let message = "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) \
                       still in the group.";
        return Err(ApiError::sender("ResourceInUse", message));
    }
    if !force && group.warm_pool.is_some() {
        let message = "You cannot delete an AutoScalingGroup while it has a warm pool.";
        return Err(ApiError::sender("ResourceInUse", message));
    }
    for id in &members {
        action::close_all_of(world, id, Ending::Overtaken);
        // The member is deregistered first, as always.
        change_state(world, id, LifecycleState::Terminating);
    }
    world.auto_scaling.groups.remove(name);
    members.iter().try_for_each(|id| match world.ec2.instance(id) {
        Some(_) => ec2::terminate(world, id),
        None => Ok(()),
    })
}
