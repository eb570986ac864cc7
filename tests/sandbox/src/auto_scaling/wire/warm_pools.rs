//! Warm pools.

use super::{
    super::{Deletion, PoolState, WarmPool, membership, warm_pool},
    cut,
    groups::{HealthWord, member_element},
    invalid,
};
use crate::{
    ec2::paging::Page,
    wire::{ApiError, query::Params, xml::Element},
    world::World,
};

/// With -1 a caller takes a prepared capacity back (botocore, PutWarmPool).
const NO_CAPACITY: i64 = -1;

/// Sets the fields that are named. The others stay as they are, or become the defaults.
pub(super) fn put(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let name = params.required("AutoScalingGroupName")?;
    let old = membership::existing(world, &name)?.warm_pool.clone().unwrap_or_default();
    let state = params
        .optional("PoolState")
        .map(|name| PoolState::of_name(&name).ok_or_else(|| invalid(format!("The pool state {name} is invalid"))));
    let reuse: Option<bool> = params.structure("InstanceReusePolicy").parsed("ReuseOnScaleIn")?;
    let pool = WarmPool {
        state: state.transpose()?.unwrap_or(old.state),
        min_size: params.parsed("MinSize")?.unwrap_or(old.min_size),
        max_group_prepared_capacity: match params.parsed::<i64>("MaxGroupPreparedCapacity")? {
            None => old.max_group_prepared_capacity,
            Some(NO_CAPACITY) => None,
            Some(most) => {
                let most = usize::try_from(most);
                Some(most.map_err(|_| invalid("MaxGroupPreparedCapacity must be -1 or more".to_owned()))?)
            }
        },
        reuse_on_scale_in: reuse.unwrap_or(old.reuse_on_scale_in),
        is_being_deleted: false,
    };
    warm_pool::put_warm_pool(world, &name, pool)?;
    Ok(Element::result())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let name = params.required("AutoScalingGroupName")?;
    let is_forced = params.parsed("ForceDelete")?.unwrap_or(false);
    let deletion = if is_forced { Deletion::Forced } else { Deletion::Orderly };
    warm_pool::delete_warm_pool(world, &name, deletion)?;
    Ok(Element::result())
}

/// Describes a pool. A group without a pool has no configuration and no members in it, and that is not an error (kops,
/// `WarmPool.Find`).
pub(super) fn describe(world: &mut World, params: &Params) -> Result<Element, ApiError> {
    let group = membership::existing(world, &params.required("AutoScalingGroupName")?)?;
    let warmed = group.members.values().filter(|one| one.lifecycle_state.is_warmed());
    let elements = warmed.map(|one| (one.instance_id.clone(), member_element(group, one, HealthWord::Capital)));
    let Page { elements, next } = cut(world, params, elements.collect(), 50, 50)?;
    let configuration = group.warm_pool.as_ref();
    let configuration =
        configuration.map(|pool| Element::new("WarmPoolConfiguration").append(&configuration_element(pool)));
    let result = configuration.into_iter().fold(Element::result(), Element::child);
    Ok(result.list("Instances", elements).optional("NextToken", next))
}

/// Returns the fields of a pool's configuration.
pub(super) fn configuration_element(pool: &WarmPool) -> Element {
    let reuse = Element::new("InstanceReusePolicy").text("ReuseOnScaleIn", pool.reuse_on_scale_in);
    Element::result()
        .optional("MaxGroupPreparedCapacity", pool.max_group_prepared_capacity)
        .text("MinSize", pool.min_size)
        .text("PoolState", pool.state.name())
        .optional("Status", pool.is_being_deleted.then_some("PendingDelete"))
        .child(reuse)
}
