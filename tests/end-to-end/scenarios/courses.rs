//! Courses of a group's members with more than one hook on the way in and one on the way out: an instance refresh, another root
//! volume, several hooks at once, and an event that never comes.

use std::{cell::Cell, collections::BTreeSet};

use end_to_end::{Stage, places};
use sandbox::{
    Options, World,
    auto_scaling::{
        self, ActionResult, Ending, GroupSpec, HookSpec, LifecycleState, Preferences, RefreshStatus, Strategy,
    },
    deployment::LIFECYCLE_DEAD_LETTERS,
    events::Delivery,
};

use crate::lifecycle::{
    LAUNCH, PLACES, TERMINATE, continued, endings, fleet, running_fleet, shop, unhealthy, untold, watch_completions,
};

/// Returns how many instances are registered and healthy in all places of the fleet: by the balancers, whatever the group says.
fn healthy(world: &World) -> usize {
    let ids = world.ec2.instances.keys();
    ids.filter(|id| places(world, id).len() == PLACES.len() && unhealthy(world, id).is_empty()).count()
}

fn refresh(stage: &Stage, strategy: Strategy, least: usize, most: usize) {
    let preferences =
        Preferences { min_healthy_percentage: least, max_healthy_percentage: most, ..Preferences::default() };
    stage.world(|world| auto_scaling::start_refresh(world, "fleet", strategy, preferences)).expect("a refresh");
}

/// Waits until the refresh of the fleet is over, and returns the fewest instances that were healthy at any second of it.
async fn fewest_healthy(stage: &Stage) -> usize {
    let fewest = Cell::new(usize::MAX);
    let is_over = |world: &World| {
        fewest.set(fewest.get().min(healthy(world)));
        world.auto_scaling.groups["fleet"].refreshes[0].status == RefreshStatus::Successful
    };
    stage.until("the end of the refresh", is_over).await;
    fewest.get()
}

fn ids(stage: &Stage) -> BTreeSet<String> {
    stage.member_states("fleet").into_iter().map(|(id, _)| id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_rolling_refresh_keeps_the_promised_number_of_members_healthy() {
    for (least, most, promised) in [(75, 100, 3), (100, 125, 4)] {
        let stage = running_fleet(4).await;
        let before = ids(&stage);
        let findings = watch_completions(&stage, &PLACES);
        refresh(&stage, Strategy::Rolling, least, most);
        assert_eq!(fewest_healthy(&stage).await, promised, "{least} to {most} percent");
        stage.rest().await;
        let after = ids(&stage);
        assert!(after.len() == 4 && after.is_disjoint(&before), "{after:?}");
        assert!(after.iter().all(|id| stage.world(|world| places(world, id)) == PLACES), "{}", stage.describe());
        let is_kept = |(_, ending): &(String, Ending)| *ending == Ending::Completed(ActionResult::Continue);
        assert!(endings(&stage).iter().all(is_kept), "{:?}", endings(&stage));
        assert_eq!((findings.all(), stage.dead_letters_in(LIFECYCLE_DEAD_LETTERS)), (vec![], vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rolling_refresh_without_hooks_keeps_fewer_healthy_than_it_promises() {
    // This measures the scenario above: the functions register the new ones all the same, and the group does not wait for it.
    let stage = shop(Options::default());
    let spec = GroupSpec { hooks: Vec::new(), ..fleet(&stage).desired(4) };
    stage.fleet(spec).rest().await;
    refresh(&stage, Strategy::Rolling, 75, 100);
    let fewest = fewest_healthy(&stage).await;
    assert!(fewest < 3, "{fewest}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_gets_another_root_volume_is_out_and_back() {
    let stage = running_fleet(2).await;
    let before = ids(&stage);
    let completions = watch_completions(&stage, &PLACES);
    let losses: Vec<_> = before.iter().map(|id| stage.watch_losses_of(id.clone(), &PLACES)).collect();
    // A volume must be replaced only while the instance is registered nowhere.
    let early = stage.watch(|world, call| {
        let replacing = |id: &&String| {
            let member = world.auto_scaling.member(id);
            member.is_some_and(|member| member.lifecycle_state == LifecycleState::ReplacingRootVolumeProceed)
        };
        let served = world.ec2.instances.keys().filter(replacing).find(|id| !places(world, id).is_empty());
        served.map(|id| format!("{id} at call {}", call.number))
    });
    refresh(&stage, Strategy::ReplaceRootVolume, 50, 100);
    assert_eq!(fewest_healthy(&stage).await, 1);
    stage.rest().await;
    assert_eq!(ids(&stage), before, "the instances go on");
    assert!(before.iter().all(|id| stage.world(|world| places(world, id)) == PLACES), "{}", stage.describe());
    let ends = endings(&stage);
    let of = |hook: &str| ends.iter().filter(|ending| **ending == continued(hook)).count();
    assert_eq!((ends.len(), of(TERMINATE), of(LAUNCH)), (6, 2, 4), "each is launched, taken out, and let in again");
    let found = losses.iter().chain([&completions, &early]).flat_map(|findings| findings.all());
    assert_eq!(found.collect::<Vec<_>>(), Vec::<String>::new());
    stage.sweep().await.expect("a sweep");
    assert!(before.iter().all(|id| stage.held_by(id).is_empty()), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn of_several_hooks_only_ours_are_completed() {
    let stage = shop(Options::default());
    let other = |hook: HookSpec| hook.heartbeat(900).by_default(ActionResult::Continue);
    let spec = fleet(&stage)
        .hook(HookSpec::launching("elb-registrar-2").heartbeat(600))
        .hook(HookSpec::terminating("elb-registrar-3").heartbeat(300))
        .hook(other(HookSpec::launching("install")))
        .hook(other(HookSpec::terminating("backup")));
    let findings = watch_completions(&stage, &PLACES);
    stage.fleet(spec.desired(1)).rest().await;
    stage.wants("fleet", 0).rest().await;
    for (ours, other) in [([LAUNCH, "elb-registrar-2"], "install"), ([TERMINATE, "elb-registrar-3"], "backup")] {
        let ends = endings(&stage);
        let of = |hook: &str| ends.iter().filter(|(name, _)| name == hook).cloned().collect::<Vec<_>>();
        assert!(ours.iter().all(|hook| of(hook) == [continued(hook)]), "{ends:?}");
        assert_eq!(of(other), [(other.to_owned(), Ending::TimedOut(ActionResult::Continue))]);
    }
    let heartbeats = |name: &str| {
        let all = stage.ended_actions();
        all.iter().find(|ended| ended.action.hook.name == name).map(|ended| ended.action.heartbeats)
    };
    assert_eq!((heartbeats("install"), heartbeats("backup")), (Some(0), Some(0)));
    assert_eq!((findings.all(), ids(&stage).len()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_lost_terminate_event_leaves_the_deregistration_to_the_state_change() {
    let stage = running_fleet(1).await;
    untold(&stage);
    stage.wants("fleet", 0).rest().await;
    let ended = stage.ended_actions().pop().expect("an action");
    assert_eq!((ended.action.hook.name.as_str(), ended.ending), (TERMINATE, Ending::TimedOut(ActionResult::Continue)));
    assert_nothing_is_left(&stage);
}

#[tokio::test(start_paused = true)]
async fn a_termination_of_which_no_event_tells_leaves_nothing_after_the_sweep() {
    let stage = Stage::with_settings(&[("PruneOrphans", "true")]);
    stage.classic("shop").instances_group("web").addresses_group("edge");
    let spec = fleet(&stage).desired(1);
    stage.fleet(spec).rest().await;
    stage.world(|world| world.events.set_delivery(|_| Delivery::Lost));
    stage.wants("fleet", 0).rest().await;
    assert_eq!(stage.ended_actions().pop().map(|ended| ended.ending), Some(Ending::TimedOut(ActionResult::Continue)));
    assert_eq!(stage.members("tg:edge").len(), 1, "an address knows no instance");
    stage.sweep().await.expect("a sweep");
    assert_nothing_is_left(&stage);
}

#[tokio::test(start_paused = true)]
async fn a_launch_without_its_event_ends_by_the_hooks_default() {
    let stage = shop(Options::default());
    let is_lost = Cell::new(false);
    stage.world(|world| {
        world.events.set_delivery(move |event| match event.source.as_str() {
            "aws.autoscaling" if !is_lost.replace(true) => Delivery::Lost,
            _ => Delivery::Normal,
        });
    });
    let spec = fleet(&stage).desired(1);
    stage.fleet(spec).rest().await;
    let ended = stage.ended_actions();
    let ends: Vec<_> = ended.iter().map(|ended| ended.ending).collect();
    assert_eq!(ends, [Ending::TimedOut(ActionResult::Abandon), Ending::Completed(ActionResult::Continue)]);
    let given_up = &ended[0].action.instance_id;
    assert_eq!(stage.world(|world| places(world, given_up)), Vec::<String>::new());
    let members = ids(&stage);
    assert!(members.len() == 1 && !members.contains(given_up), "{members:?}");
    assert!(members.iter().all(|id| stage.world(|world| places(world, id)) == PLACES), "{}", stage.describe());
}

/// Asserts that no instance is registered anywhere.
#[track_caller]
fn assert_nothing_is_left(stage: &Stage) {
    for balancer in ["clb:shop", "tg:web", "tg:edge"] {
        assert_eq!(stage.members(balancer), Vec::<String>::new(), "{balancer}\n{}", stage.describe());
    }
}
