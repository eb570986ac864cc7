//! State changes of instances: they take time, move addresses, and are announced one by one.
//!
//! pending, running, stopping, stopped, pending...; and from any of them shutting-down, terminated (EC2 guide, "State change
//! events"). Each deed that ends a transition checks that it is still under way: a termination overtakes it.

use super::{AddressAtRestart, Instance, InstanceState, Interface, announce, dice, interface, spot};
use crate::{clock::Timestamp, options::Span, wire::ApiError, world::World};

/// The first words of the description, if AWS itself has stopped or terminated an instance.
pub(super) const BY_AWS: &str = "Service initiated";

/// The one that stopped an instance, which decides about the words of the description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoppedBy {
    User,
    Itself,
    Aws,
}

/// Starts a stopped instance. One that is pending or running is left as it is, successfully.
///
/// # Errors
/// Returns the errors of StartInstances.
pub fn start(world: &mut World, id: &str) -> Result<(), ApiError> {
    check_start(world, id)?;
    if state_of(world, id) == Some(InstanceState::Stopped) {
        renew_addresses(world, id)?;
        enter_pending(world, id);
    }
    Ok(())
}

/// Stops a running instance. One that is stopping or stopped is left as it is, successfully.
///
/// # Errors
/// Returns the errors of StopInstances.
pub fn stop(world: &mut World, id: &str) -> Result<(), ApiError> {
    stop_by(world, id, StoppedBy::User)
}

/// The instance's own operating system shuts it down: the description tells no time of it (cloud-custodian issue 6924).
///
/// # Errors
/// If it could not be stopped either.
pub fn shut_itself_down(world: &mut World, id: &str) -> Result<(), ApiError> {
    stop_by(world, id, StoppedBy::Itself)
}

/// Terminates an instance, whatever its state.
///
/// # Errors
/// If it does not exist.
pub fn terminate(world: &mut World, id: &str) -> Result<(), ApiError> {
    existing(world, id)?;
    let reason = by_user(world.now());
    shut_down(world, id, reason);
    Ok(())
}

/// AWS itself stops an instance that runs: an interruption, or a scheduled event.
pub(super) fn stop_for_aws(world: &mut World, id: &str) {
    enter_stopping(world, id, StoppedBy::Aws);
}

/// AWS itself terminates an instance: an interruption, or a scheduled event.
pub(super) fn terminate_for_aws(world: &mut World, id: &str) {
    let reason = by_aws(world.now());
    shut_down(world, id, reason);
}

fn shut_down(world: &mut World, id: &str, reason: String) {
    use InstanceState::{ShuttingDown, Terminated};
    if matches!(state_of(world, id), None | Some(ShuttingDown | Terminated)) {
        return;
    }
    enter(world, id, ShuttingDown, |instance| instance.state_transition_reason = reason);
    let span = world.options.stopping;
    later(world, id, span, ShuttingDown, reach_terminated);
}

pub(super) fn check_start(world: &World, id: &str) -> Result<(), ApiError> {
    use InstanceState::{Pending, Running, Stopped};
    match existing(world, id)?.state {
        Pending | Running | Stopped => spot::check_start(world, id),
        _ => Err(incorrect_state(format!("The instance '{id}' is not in a state from which it can be started."))),
    }
}

pub(super) fn check_stop(world: &World, id: &str) -> Result<(), ApiError> {
    use InstanceState::{Pending, Running, Stopped, Stopping};
    let state = existing(world, id)?.state;
    if is_on_instance_store(world, id) {
        let message = format!("The instance '{id}' does not have an 'ebs' root device type and cannot be stopped.");
        return Err(ApiError::sender("UnsupportedOperation", message));
    }
    spot::check_stop(world, id)?;
    match state {
        Running | Stopping | Stopped => Ok(()),
        // cloud-custodian saw this at a first start (pull request 6014). For a restart it is not verified, so the sandbox lets it
        // be stopped.
        Pending if !world.ec2.launches.get(id).is_some_and(|facts| facts.has_run) => Err(incorrect_state(format!(
            "Instance '{id}' cannot be stopped as it has never reached the 'running' state."
        ))),
        Pending => Ok(()),
        _ => Err(incorrect_state(format!("The instance '{id}' is not in a state from which it can be stopped."))),
    }
}

fn stop_by(world: &mut World, id: &str, by: StoppedBy) -> Result<(), ApiError> {
    check_stop(world, id)?;
    enter_stopping(world, id, by);
    Ok(())
}

fn enter_stopping(world: &mut World, id: &str, by: StoppedBy) {
    use InstanceState::{Pending, Running, Stopping};
    if matches!(state_of(world, id), Some(Pending | Running)) {
        let reason = match by {
            StoppedBy::User => by_user(world.now()),
            StoppedBy::Itself => String::new(),
            StoppedBy::Aws => by_aws(world.now()),
        };
        enter(world, id, Stopping, |instance| instance.state_transition_reason = reason);
        let span = world.options.stopping;
        later(world, id, span, Stopping, reach_stopped);
    }
}

/// Returns whether an instance boots from an instance store.
pub(super) fn is_on_instance_store(world: &World, id: &str) -> bool {
    world.ec2.launches.get(id).is_some_and(|facts| facts.is_on_instance_store)
}

/// Enters `pending`, at a launch or a start, and `running` after a while.
pub(super) fn enter_pending(world: &mut World, id: &str) {
    let now = world.now();
    enter(world, id, InstanceState::Pending, |instance| {
        instance.launch_time = now;
        instance.state_transition_reason = String::new();
    });
    let span = world.options.starting;
    later(world, id, span, InstanceState::Pending, |world, id| {
        world.ec2.launches.entry(id.to_owned()).or_default().has_run = true;
        enter(world, id, InstanceState::Running, |_| ());
    });
}

fn reach_stopped(world: &mut World, id: &str) {
    if existing(world, id).is_ok_and(|instance| instance.address_at_restart == AddressAtRestart::Renewed) {
        release_addresses(world, id);
    }
    enter(world, id, InstanceState::Stopped, |_| ());
}

/// "A terminated instance has no addresses and its tags fade away": both are gone with the state itself, so that code that relies
/// on reading them later fails.
fn reach_terminated(world: &mut World, id: &str) {
    for interface in attached(world, id) {
        let facts = world.ec2.interface_facts.get(&interface.id);
        if facts.is_none_or(|facts| facts.delete_on_termination) {
            interface::remove(world, &interface.id);
        } else {
            interface::change(world, &interface.id, |interface| interface.attachment = None);
        }
    }
    enter(world, id, InstanceState::Terminated, |instance| instance.tags.clear());
    let (id, visible) = (id.to_owned(), world.options.terminated_visible);
    world.after(visible, move |world| {
        world.ec2.instances.remove(&id);
        world.ec2.launches.remove(&id);
        world.ec2.tag_versions.remove(&id);
        world.ec2.scheduled_events.retain(|_, event| event.current().instance_id != id);
    });
}

/// Gives the addresses back to the subnets: from now on any interface can get them.
fn release_addresses(world: &mut World, id: &str) {
    let released = attached(world, id);
    for interface in &released {
        interface::change(world, &interface.id, |interface| {
            interface.ipv4.clear();
            interface.ipv6.clear();
        });
    }
    world.ec2.launches.entry(id.to_owned()).or_default().released = released;
}

/// Gives each interface as many addresses as it had, but others, even if the old ones are still free. An instance that got its
/// own addresses back by luck would hide the purpose of this kind of instance.
fn renew_addresses(world: &mut World, id: &str) -> Result<(), ApiError> {
    let released = world.ec2.launches.get(id).map(|facts| facts.released.clone()).unwrap_or_default();
    let old_v4: Vec<_> = released.iter().flat_map(|interface| interface.ipv4.clone()).collect();
    let old_v6: Vec<_> = released.iter().flat_map(|interface| interface.ipv6.iter().map(|(a, _)| *a)).collect();
    for old in &released {
        let subnet = world.ec2.subnet(&old.subnet_id)?.clone();
        let ipv4 = world.ec2.free_ipv4(&subnet, old.ipv4.len(), &old_v4)?;
        let ipv6 = world.ec2.free_ipv6(&subnet, old.ipv6.len(), &old_v6)?;
        let primaries = old.ipv6.iter().map(|(_, primary)| *primary);
        interface::change(world, &old.id, |interface| {
            interface.ipv4 = ipv4;
            interface.ipv6 = ipv6.into_iter().zip(primaries).collect();
        });
    }
    if let Some(facts) = world.ec2.launches.get_mut(id) {
        facts.released.clear();
    }
    Ok(())
}

/// Enters a state now, and tells the rest of the world.
fn enter(world: &mut World, id: &str, state: InstanceState, change: impl FnOnce(&mut Instance)) {
    let now = world.now();
    let Some(instance) = world.ec2.instances.get_mut(id) else { return };
    instance.change(now, |instance| {
        instance.state = state;
        instance.since = now;
        change(instance);
    });
    announce(world, id, state);
}

/// Ends a transition after a while, unless another one has begun meanwhile.
fn later(world: &mut World, id: &str, span: Span, during: InstanceState, end: fn(&mut World, &str)) {
    let wait = span.draw(dice(world));
    let (id, since) = (id.to_owned(), world.now());
    world.after(wait, move |world| {
        let instance = world.ec2.instance(&id);
        if instance.is_some_and(|instance| instance.state == during && instance.since == since) {
            end(world, &id);
        }
    });
}

fn attached(world: &World, id: &str) -> Vec<Interface> {
    let owned = |interface: &&Interface| interface.attachment.as_ref().is_some_and(|a| a.instance_id == id);
    world.ec2.interfaces.values().filter(owned).cloned().collect()
}

fn by_user(now: Timestamp) -> String {
    format!("User initiated ({} GMT)", now.format("%Y-%m-%d %H:%M:%S"))
}

/// The words for what AWS does by itself: users have met `Service initiated (2026-08-25 04:15:29 GMT)` beside a Spot request that was
/// `closed` with `instance-terminated-no-capacity`. For scheduled events it is *not verified*.
fn by_aws(now: Timestamp) -> String {
    format!("{BY_AWS} ({} GMT)", now.format("%Y-%m-%d %H:%M:%S"))
}

fn state_of(world: &World, id: &str) -> Option<InstanceState> {
    world.ec2.instance(id).map(|instance| instance.state)
}

pub(super) fn existing<'a>(world: &'a World, id: &str) -> Result<&'a Instance, ApiError> {
    world.ec2.instance(id).ok_or_else(|| not_found(&[id]))
}

pub(super) fn not_found(ids: &[&str]) -> ApiError {
    let message = match ids {
        [id] => format!("The instance ID '{id}' does not exist"),
        ids => format!("The instance IDs '{}' do not exist", ids.join(", ")),
    };
    ApiError::sender("InvalidInstanceID.NotFound", message)
}

pub(super) fn incorrect_state(message: String) -> ApiError {
    ApiError::sender("IncorrectInstanceState", message)
}
