//! The size of a group: launches, scaling in, replacement.

use super::{
    super::{
        Leaving, Process, add_member, detach, enter_standby, exit_standby, process, set_desired, terminate_member,
    },
    *,
};
use crate::{
    auto_scaling::LifecycleState,
    ec2::{self, InstanceState, Launch, launch_running},
};

#[tokio::test(start_paused = true)]
async fn a_group_launches_what_it_wants_with_its_own_tags() {
    let fleet = Fleet::new(|spec| spec.desired(2).tag("team", "blue"));
    fleet.settle().await;
    assert_eq!(fleet.states(), [("InService", 2)].into());
    assert_eq!(fleet.registered().len(), 2);
    fleet.sandbox.with(|world| {
        for id in world.auto_scaling.groups["web"].members.keys() {
            let instance = world.ec2.instance(id).unwrap();
            assert_eq!(instance.subnet_id, fleet.subnet);
            assert_eq!((&*instance.tags["team"], &*instance.tags["aws:autoscaling:groupName"]), ("blue", "web"));
        }
        let states = world.events.log.iter().filter_map(|event| event.detail["state"].as_str());
        assert_eq!(states.collect::<Vec<_>>(), ["pending", "pending", "running", "running"]);
        let launched = world.events.log.iter().filter(|event| event.detail_type == "EC2 Instance Launch Successful");
        assert_eq!(launched.count(), 2);
    });
    assert!(!fleet.is_moving());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_wants_fewer_spares_the_protected_ones() {
    let fleet = Fleet::new(|spec| spec.desired(3));
    fleet.settle().await;
    let ids = fleet.ids();
    fleet.sandbox.with(|world| {
        world.auto_scaling.member_mut(&ids[0]).unwrap().protected_from_scale_in = true;
        set_desired(world, "web", 1).unwrap();
    });
    fleet.settle().await;
    assert_eq!(fleet.ids(), [ids[0].clone()]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_stopped_behind_the_groups_back_is_replaced() {
    let fleet = Fleet::new(|spec| spec.desired(1));
    fleet.settle().await;
    let first = fleet.ids();
    fleet.sandbox.with(|world| ec2::stop(world, &first[0]).unwrap());
    fleet.settle().await;
    assert_eq!(fleet.states(), [("InService", 1)].into());
    assert_ne!(fleet.ids(), first);
    let state = fleet.sandbox.with(|world| world.ec2.instance(&first[0]).unwrap().state);
    assert_eq!(state, InstanceState::Terminated);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_runs_again_before_the_health_check_stays() {
    let fleet = Fleet::new(|mut spec| {
        spec.health_check_grace_period = 600;
        spec.desired(1)
    });
    fleet.settle().await;
    let ids = fleet.ids();
    fleet.sandbox.with(|world| ec2::stop(world, &ids[0]).unwrap());
    fleet.advance(60).await;
    fleet.sandbox.with(|world| ec2::start(world, &ids[0]).unwrap());
    fleet.advance(900).await;
    assert_eq!((fleet.ids(), fleet.is_moving()), (ids, false));
}

#[tokio::test(start_paused = true)]
async fn a_member_dead_while_replacement_is_suspended_is_replaced_at_the_resumption() {
    let fleet = Fleet::new(|spec| spec.desired(1));
    fleet.settle().await;
    let first = fleet.ids();
    fleet.sandbox.with(|world| {
        process::suspend(world, "web", &[Process::ReplaceUnhealthy]).unwrap();
        ec2::terminate(world, &first[0]).unwrap();
    });
    fleet.settle().await;
    assert_eq!(fleet.ids(), first);
    assert!(!fleet.look(|state| state.member(&first[0]).unwrap().is_healthy));
    fleet.sandbox.with(|world| process::resume(world, "web", &[Process::ReplaceUnhealthy]).unwrap());
    fleet.settle().await;
    assert_eq!(fleet.states(), [("InService", 1)].into());
    assert_ne!(fleet.ids(), first);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_a_fixture_brought_is_not_replaced() {
    let fleet = Fleet::new(|spec| spec);
    let id = fleet.sandbox.with(|world| {
        let id = launch_running(world, Launch::new(&fleet.subnet)).unwrap();
        add_member(world, "web", &id, LifecycleState::InService).unwrap();
        ec2::stop(world, &id).unwrap();
        id
    });
    fleet.settle().await;
    assert_eq!((fleet.ids(), fleet.is_moving()), (vec![id], false));
}

#[tokio::test(start_paused = true)]
async fn a_terminated_member_is_replaced_unless_fewer_are_wanted() {
    for (should_decrement, left) in [(false, 2), (true, 1)] {
        let fleet = Fleet::new(|spec| spec.desired(2));
        fleet.settle().await;
        let id = fleet.ids().remove(0);
        fleet.sandbox.with(|world| terminate_member(world, &id, should_decrement).unwrap());
        fleet.settle().await;
        assert_eq!(fleet.states(), [("InService", left)].into());
        assert!(!fleet.ids().contains(&id));
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_without_a_decrement_is_replaced() {
    let fleet = Fleet::new(|spec| spec.desired(2));
    fleet.settle().await;
    let ids = fleet.ids();
    fleet.sandbox.with(|world| {
        enter_standby(world, "web", &ids[..1], Leaving::IsReplaced).unwrap();
        detach(world, "web", &ids[1..], Leaving::IsReplaced).unwrap();
    });
    fleet.settle().await;
    // The detached one has to drain first.
    fleet.settle().await;
    assert_eq!(fleet.states(), [("InService", 2), ("Standby", 1)].into());
    fleet.sandbox.with(|world| exit_standby(world, "web", &ids[..1]).unwrap());
    fleet.settle().await;
    assert_eq!(fleet.states(), [("InService", 3)].into());
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_ec2_refuses_is_told_and_tried_again() {
    let fleet = Fleet::new(|spec| spec);
    let full = fleet.sandbox.with(|world| {
        let vpc = world.ec2.subnets[&fleet.subnet].vpc_id.clone();
        let small = ec2::create_subnet(world, &vpc, "us-east-1a", "10.0.8.0/28");
        let full = std::iter::from_fn(|| launch_running(world, Launch::new(&small)).ok()).collect::<Vec<_>>();
        create_group(world, GroupSpec::new("small", &small).desired(1)).unwrap();
        full
    });
    fleet.settle().await;
    let failures = fleet.sandbox.with(|world| {
        world.events.log.iter().filter(|event| event.detail_type == "EC2 Instance Launch Unsuccessful").count()
    });
    assert!(failures > 1 && fleet.is_moving(), "{failures}");
    fleet.sandbox.with(|world| ec2::terminate(world, &full[0]).unwrap());
    fleet.settle().await;
    assert_eq!(fleet.look(|state| state.groups["small"].members.len()), 1);
}
