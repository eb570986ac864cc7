//! Members on their courses: each step takes a moment, hooks let them wait, and at the end they are in service, in the pool, or
//! gone.
//!
//! Actual are the member's state and course. Each deed of the agenda that takes a step checks that no other deed has moved the
//! member since. Other modules choose the course: [`super::capacity`], [`super::health`], [`super::refresh`].

use super::{
    LifecycleState, PoolState,
    action::{self, Ending},
    capacity,
    course::{Course, Transition},
    event, health,
    hook::ActionResult,
    membership,
};
use crate::{
    ec2::{self, InstanceState},
    options::Span,
    world::World,
};

/// Sends a member on a course, and ends its waits on another one.
pub(super) fn begin(world: &mut World, id: &str, course: Course) {
    action::close_all_of(world, id, Ending::Overtaken);
    let Some(member) = world.auto_scaling.member_mut(id) else { return };
    member.course = Some(course);
    // It leaves the balancers first: "the terminating instance is first deregistered from the load balancer" (Auto Scaling guide,
    // "How lifecycle hooks work"). It is not modelled that the hook also waits until they have drained.
    membership::change_state(world, id, course.first());
    let span = match course {
        Course::Launch | Course::Warm | Course::LeavePool => world.options.launch_to_wait,
        _ => world.options.lifecycle_step,
    };
    if course == Course::LeavePool {
        // A member of a running pool runs already. If EC2 refuses, the member fails to arrive later.
        let _refused = ec2::start(world, id);
    }
    later(world, id, span, meet_hooks);
}

/// Ends a launch that came to nothing. Whether a terminate hook runs for it is *not verified*: a switch.
pub(super) fn give_up(world: &mut World, id: &str) {
    let is_warmed = world.auto_scaling.member(id).is_some_and(|member| member.lifecycle_state.is_warmed());
    let course = if is_warmed { Course::TerminateWarmed } else { Course::Terminate };
    if world.options.terminate_hooks_after_failed_launch {
        begin(world, id, course);
        return;
    }
    action::close_all_of(world, id, Ending::Overtaken);
    let Some(member) = world.auto_scaling.member_mut(id) else { return };
    member.course = Some(course);
    membership::change_state(world, id, course.first());
    let span = world.options.lifecycle_step;
    later(world, id, span, arrive);
}

/// Lets the member wait at the hooks of its course, each with an action of its own. Without hooks, it goes on.
fn meet_hooks(world: &mut World, id: &str) {
    let Some((group, course)) = course_of(world, id) else { return };
    let hooks = world.auto_scaling.groups[&group].hooks.values();
    let hooks: Vec<_> = hooks.filter(|hook| hook.transition == course.transition()).cloned().collect();
    if hooks.is_empty() {
        arrive(world, id);
        return;
    }
    membership::change_state(world, id, course.waiting());
    for hook in hooks {
        action::open(world, &group, hook, id, course);
    }
}

/// Goes on after the hooks of a member's course.
pub(super) fn proceed(world: &mut World, id: &str, result: ActionResult) {
    let Some((_, course)) = course_of(world, id) else { return };
    let is_given_up = result == ActionResult::Abandon
        && match course {
            // "Terminate and replace the instance."
            _ if course.transition() == Transition::Launching => true,
            // "Both ABANDON and CONTINUE let the instance terminate", also of a hook for "instances terminating or returning to
            // a warm pool" (Auto Scaling guide, "Add lifecycle hooks").
            Course::ReturnToPool => true,
            // "If root volume replacement fails for an instance, Auto Scaling marks that instance for termination."
            Course::ReplaceRootVolume => true,
            _ => false,
        };
    if result == ActionResult::Abandon
        && let Some(retained) = course.retained()
        && world.auto_scaling.group_of(id).is_some_and(|group| group.retains)
    {
        settle(world, id, retained);
        return;
    }
    if is_given_up {
        give_up(world, id);
        let group = world.auto_scaling.group_of(id).map(|group| group.name.clone());
        group.iter().for_each(|group| capacity::review_soon(world, group));
        return;
    }
    membership::change_state(world, id, course.proceeding());
    let span = world.options.lifecycle_step;
    later(world, id, span, arrive);
}

/// Takes the last step of a course, as soon as EC2's part of it is done.
fn arrive(world: &mut World, id: &str) {
    let Some((group, course)) = course_of(world, id) else { return };
    match course {
        Course::Launch | Course::LeavePool | Course::ReturnWithNewRootVolume => arrive_in_service(world, &group, id),
        Course::Warm | Course::ReturnToPool => arrive_in_pool(world, &group, id),
        Course::Terminate | Course::TerminateWarmed => arrive_at_end(world, &group, id, course),
        Course::ReplaceRootVolume => {
            let span = world.options.root_volume_replacement;
            later(world, id, span, |world, id| {
                membership::change_state(world, id, LifecycleState::RootVolumeReplaced);
                let span = world.options.lifecycle_step;
                later(world, id, span, |world, id| begin(world, id, Course::ReturnWithNewRootVolume));
            });
        }
    }
}

fn arrive_in_service(world: &mut World, group: &str, id: &str) {
    match ec2_state(world, id) {
        Some(InstanceState::Running) => {
            let course = settle(world, id, LifecycleState::InService);
            event::arrived(world, group, id, course);
            capacity::review_soon(world, group);
        }
        Some(InstanceState::Pending) => wait_for_ec2(world, id),
        // It was stopped or terminated behind the group's back: "it is considered a failed launch and terminated".
        _ => {
            give_up(world, id);
            capacity::review_soon(world, group);
        }
    }
}

fn arrive_in_pool(world: &mut World, group: &str, id: &str) {
    use InstanceState::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
    let kept = world.auto_scaling.groups[group].warm_pool.as_ref().map(|pool| pool.state);
    let Some(kept) = kept else {
        // The pool was deleted meanwhile.
        begin(world, id, Course::TerminateWarmed);
        return;
    };
    match (ec2_state(world, id), kept) {
        (Some(Running), PoolState::Running) | (Some(Stopped), PoolState::Stopped | PoolState::Hibernated) => {
            let course = settle(world, id, kept.member_state());
            event::arrived(world, group, id, course);
            capacity::review_soon(world, group);
        }
        (Some(Running), _) => {
            // An instance that hibernates goes through `stopping` and `stopped`, too.
            let _refused = ec2::stop(world, id);
            wait_for_ec2(world, id);
        }
        (Some(Stopped), PoolState::Running) => {
            let _refused = ec2::start(world, id);
            wait_for_ec2(world, id);
        }
        (Some(Pending | Stopping), _) => wait_for_ec2(world, id),
        (Some(ShuttingDown | Terminated) | None, _) => {
            give_up(world, id);
            capacity::review_soon(world, group);
        }
    }
}

/// Terminates the instance, if EC2 has not done so already, and is done when EC2 is.
fn arrive_at_end(world: &mut World, group: &str, id: &str, course: Course) {
    if !matches!(ec2_state(world, id), None | Some(InstanceState::Terminated)) {
        let _refused = ec2::terminate(world, id);
        wait_for_ec2(world, id);
        return;
    }
    event::arrived(world, group, id, course);
    if let Some(group) = world.auto_scaling.groups.get_mut(group) {
        group.members.remove(id);
    }
    capacity::review_soon(world, group);
}

/// Ends a member's course in a state.
fn settle(world: &mut World, id: &str, state: LifecycleState) -> Course {
    let now = world.now();
    let member = world.auto_scaling.member_mut(id).expect("an instance with a course is a member");
    let course = member.course.take().expect("it is on one");
    if state == LifecycleState::InService {
        member.in_service_since = Some(now);
    }
    membership::change_state(world, id, state);
    if state == LifecycleState::InService {
        health::look_after(world, id);
    }
    course
}

fn wait_for_ec2(world: &mut World, id: &str) {
    let span = world.options.lifecycle_step;
    later(world, id, span, arrive);
}

/// Takes a member's next step after a while, unless another deed has moved it by then.
fn later(world: &mut World, id: &str, span: Span, step: fn(&mut World, &str)) {
    let wait = span.draw(super::dice(world));
    membership::after(world, id, wait, step);
}

fn course_of(world: &World, id: &str) -> Option<(String, Course)> {
    let group = world.auto_scaling.group_of(id)?;
    Some((group.name.clone(), group.members.get(id)?.course?))
}

fn ec2_state(world: &World, id: &str) -> Option<InstanceState> {
    world.ec2.instance(id).map(|instance| instance.state)
}
