//! Tags: the keys that callers may write, and the limits.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{InstanceState, instance_arn, interface, lifecycle, network, security_group};
use crate::{events, wire::ApiError, world::World};

/// User tags on a resource; those that begin with `aws:` are not counted (EC2 guide, "Tag restrictions").
const MAX_TAGS: usize = 50;

/// Characters in a key.
const MAX_KEY: usize = 127;

/// Characters in a value.
const MAX_VALUE: usize = 256;

/// The tags of a resource that DeleteTags takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doomed {
    /// Every user tag, if the caller names none.
    All,
    /// The named tags. If a value is given, it must match; `None` matches any value, and an empty value only an empty one.
    Named(Vec<(String, Option<String>)>),
}

/// Writes a tag as AWS itself can: it may begin with `aws:`, and no limit is checked.
pub fn set_tag(world: &mut World, resource_id: &str, key: &str, value: &str) {
    change(world, resource_id, |tags| {
        tags.insert(key.to_owned(), value.to_owned());
    });
}

/// Takes a tag away, whatever its value.
pub fn remove_tag(world: &mut World, resource_id: &str, key: &str) {
    change(world, resource_id, |tags| {
        tags.remove(key);
    });
}

/// CreateTags: all or nothing.
pub(super) fn create(world: &mut World, ids: &[String], tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    check(tags)?;
    for id in ids {
        check_resource(world, id)?;
        // A tag that is overwritten does not count twice (moto pull request 8150, tested in AWS).
        let mut after = of(world, id);
        after.extend(tags.clone());
        check_count(&after)?;
    }
    for id in ids {
        change(world, id, |own| own.extend(tags.clone()));
    }
    Ok(())
}

/// DeleteTags: all or nothing. A missing tag is no error.
pub(super) fn delete(world: &mut World, ids: &[String], doomed: &Doomed) -> Result<(), ApiError> {
    if let Doomed::Named(named) = doomed {
        named.iter().try_for_each(|(key, _)| refuse_reserved(key))?;
    }
    // It is not verified that DeleteTags refuses an unknown id as CreateTags does.
    ids.iter().try_for_each(|id| check_resource(world, id))?;
    for id in ids {
        change(world, id, |tags| tags.retain(|key, value| !is_doomed(doomed, key, value)));
    }
    Ok(())
}

fn is_doomed(doomed: &Doomed, key: &str, value: &str) -> bool {
    match doomed {
        // "We do not delete AWS-generated tags" (botocore, DeleteTags).
        Doomed::All => !key.starts_with("aws:"),
        Doomed::Named(named) => {
            named.iter().any(|(name, wanted)| name == key && wanted.as_ref().is_none_or(|wanted| wanted == value))
        }
    }
}

/// Returns the tags of a resource as they are now.
pub(super) fn of(world: &World, id: &str) -> BTreeMap<String, String> {
    match world.ec2.instance(id) {
        Some(instance) => instance.tags.clone(),
        None => world.ec2.tags.get(id).cloned().unwrap_or_default(),
    }
}

/// Returns the word for a resource's kind in DescribeTags and in TagSpecifications.
pub(crate) fn resource_type(id: &str) -> &'static str {
    match id.split('-').next() {
        Some("i") => "instance",
        Some("vpc") => "vpc",
        Some("subnet") => "subnet",
        Some("sg") => "security-group",
        Some("lt") => "launch-template",
        _ => "network-interface",
    }
}

/// Refuses tags that a caller may not write anywhere.
pub(super) fn check(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    for (key, value) in tags {
        refuse_reserved(key)?;
        if key.is_empty() {
            return Err(invalid("Tag key can't be empty".to_owned()));
        }
        if key.chars().count() > MAX_KEY {
            return Err(invalid(format!("Tag key exceeds the maximum length of {MAX_KEY} characters")));
        }
        if value.chars().count() > MAX_VALUE {
            return Err(invalid(format!("Tag value exceeds the maximum length of {MAX_VALUE} characters")));
        }
    }
    Ok(())
}

/// Refuses more tags than a resource can have.
pub(super) fn check_count(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if tags.keys().filter(|key| !key.starts_with("aws:")).count() > MAX_TAGS {
        let message = "The maximum number of Tags for a resource has been reached.";
        return Err(ApiError::sender("TagLimitExceeded", message));
    }
    Ok(())
}

fn refuse_reserved(key: &str) -> Result<(), ApiError> {
    if key.starts_with("aws:") {
        // The sentence as seen in AndrewFarley/AWS-Automated-Daily-Instance-AMI-Snapshots issue 7.
        return Err(invalid(format!(
            "Value ( {key} ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved for internal use"
        )));
    }
    Ok(())
}

/// Refuses an id that no taggable resource has.
fn check_resource(world: &World, id: &str) -> Result<(), ApiError> {
    let state = &world.ec2;
    match id.split('-').next() {
        Some("i") => match lifecycle::existing(world, id)?.state {
            // AWS's code for a terminated instance is not verified.
            InstanceState::Terminated => Err(lifecycle::not_found(&[id])),
            _ => Ok(()),
        },
        Some("vpc") if !state.vpcs.contains_key(id) => Err(network::vpc_not_found(id)),
        Some("subnet") => state.subnet(id).map(|_| ()),
        Some("sg") if !state.security_groups.contains_key(id) => Err(security_group::not_found(id)),
        Some("eni") if !state.interfaces.contains_key(id) => Err(interface::not_found(id)),
        Some("vpc" | "sg" | "eni") => Ok(()),
        _ => Err(ApiError::sender("InvalidID", format!("The ID '{id}' is not valid"))),
    }
}

/// Changes the tags of a resource. If those of an instance are others afterwards, the bus is told.
fn change(world: &mut World, id: &str, change: impl FnOnce(&mut BTreeMap<String, String>)) {
    let now = world.now();
    match world.ec2.instances.get_mut(id) {
        Some(instance) => {
            let before = instance.current().tags.clone();
            instance.change(now, |instance| change(&mut instance.tags));
            let after = instance.current().tags.clone();
            let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            let changed: Vec<_> = keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).cloned().collect();
            if !changed.is_empty() {
                tell(world, id, &changed, &after);
            }
        }
        None => change(world.ec2.tags.entry(id.to_owned()).or_default()),
    }
}

/// Tells the bus which keys were added, changed or deleted, with all tags of now
/// (<https://docs.aws.amazon.com/tag-editor/latest/userguide/tag-monitor.html>). It is *not verified* that tags which are written as
/// they were make no event, that the tags of a launch make none, and that the version counts the changes of a resource.
fn tell(world: &mut World, id: &str, changed: &[String], tags: &BTreeMap<String, String>) {
    let version = world.ec2.tag_versions.entry(id.to_owned()).or_default();
    *version += 1;
    let detail = json!({
        "changed-tag-keys": changed,
        "service": "ec2",
        "resource-type": resource_type(id),
        "version": *version,
        "tags": tags,
    });
    events::tags_changed(world, instance_arn(id), detail);
}

fn invalid(message: String) -> ApiError {
    ApiError::sender("InvalidParameterValue", message)
}
