//! Members that are detached: out of the balancers at once, out of the group when they have drained.

use super::*;
use crate::auto_scaling::{Leaving, detach, enter_standby, put_hook};

/// The deregistration delay of these tests' target group, in seconds: AWS's default.
const DELAY: u64 = 300;

#[tokio::test(start_paused = true)]
async fn a_member_stays_until_it_drained_and_its_replacement_comes_meanwhile() {
    let fleet = Fleet::new(|spec| spec.desired(2));
    fleet.settle().await;
    fleet.sandbox.with(|world| put_hook(world, "web", HookSpec::terminating("drain")).unwrap());
    let id = fleet.ids().remove(0);
    fleet.sandbox.with(|world| detach(world, "web", std::slice::from_ref(&id), Leaving::IsReplaced).unwrap());
    assert_eq!(fleet.states(), [("Detaching", 1), ("InService", 1)].into());
    assert!(!fleet.registered().contains(&id), "it leaves the balancers at once");
    fleet.advance(120).await;
    assert_eq!(fleet.states(), [("Detaching", 1), ("InService", 2)].into());
    assert!(fleet.is_moving());
    fleet.advance(DELAY - 121).await;
    assert_eq!(fleet.states()["Detaching"], 1);
    fleet.advance(10).await;
    assert_eq!(fleet.states(), [("InService", 2)].into());
    let instance = fleet.sandbox.with(|world| world.ec2.instance(&id).unwrap().clone());
    assert_eq!((instance.state.name(), instance.tags.len()), ("running", 0));
    assert!(fleet.events().is_empty() && fleet.ended().is_empty(), "no hook runs");
    fleet.settle().await;
    assert!(!fleet.is_moving());
}

#[tokio::test(start_paused = true)]
async fn a_group_may_not_become_smaller_than_its_least_size() {
    let fleet = Fleet::new(|spec| spec.desired(2));
    fleet.settle().await;
    fleet.sandbox.with(|world| world.auto_scaling.groups.get_mut("web").unwrap().min_size = 2);
    let ids = fleet.ids();
    let refused = fleet.sandbox.with(|world| detach(world, "web", &ids[..1], Leaving::Decrements)).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.message.contains("min-size=2")), ("ValidationError", true));
    assert_eq!((fleet.states(), fleet.registered().len()), ([("InService", 2)].into(), 2));
    fleet.sandbox.with(|world| detach(world, "web", &ids[..1], Leaving::IsReplaced).unwrap());
    let again = fleet.sandbox.with(|world| detach(world, "web", &ids[..1], Leaving::IsReplaced));
    let refused = again.unwrap_err();
    assert!(refused.message.ends_with("is not in InService or Standby."), "it is on its way already: {refused}");
}

#[tokio::test(start_paused = true)]
async fn a_decrement_for_a_member_in_standby_costs_another_one() {
    let fleet = Fleet::new(|spec| spec.desired(2));
    fleet.settle().await;
    let ids = fleet.ids();
    fleet.sandbox.with(|world| enter_standby(world, "web", &ids[..1], Leaving::IsReplaced).unwrap());
    fleet.settle().await;
    assert_eq!(fleet.states(), [("InService", 2), ("Standby", 1)].into());
    fleet.sandbox.with(|world| detach(world, "web", &ids[..1], Leaving::Decrements).unwrap());
    fleet.settle().await;
    assert_eq!(fleet.states(), [("InService", 1)].into());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_dies_while_it_drains_leaves_all_the_same() {
    let fleet = Fleet::new(|spec| spec.desired(1));
    fleet.settle().await;
    let id = fleet.ids().remove(0);
    fleet.sandbox.with(|world| {
        detach(world, "web", std::slice::from_ref(&id), Leaving::IsReplaced).unwrap();
        crate::ec2::terminate(world, &id).unwrap();
    });
    fleet.advance(DELAY + 30).await;
    assert_eq!((fleet.states(), fleet.ids().contains(&id)), ([("InService", 1)].into(), false));
}
