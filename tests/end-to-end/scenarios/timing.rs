//! Events that are late, doubled or reversed, descriptions that lag, and functions that overtake each other.

use std::time::Duration;

use end_to_end::{Stage, state_change};
use sandbox::{
    Call, FaultGuard, Options, Span, Verdict,
    deployment::RECONCILE,
    ec2::{self, InstanceState, Launch},
    events::Delivery,
    fault::kth,
    wire::ApiError,
};
use serde_json::json;

const PLACES: [&str; 3] = ["clb:shop", "tg:edge:443=eth0", "tg:web:80"];

fn shop() -> Stage {
    let stage = Stage::new();
    stage.classic("shop").instances_group("web").addresses_group("edge").drains("edge", 10).instance("web-1");
    stage.registered_at("web-1", &PLACES);
    stage
}

#[tokio::test(start_paused = true)]
async fn doubled_events_change_nothing() {
    let stage = shop();
    stage.deliver(|_| Delivery::Twice);
    stage.stop_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 3));
    stage.start_and_rest("web-1").await;
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (PLACES.map(str::to_owned).to_vec(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_stop_event_that_comes_after_the_restart_takes_nothing() {
    let stage = shop();
    stage.deliver(|state| if state == "stopped" { Delivery::Late(Duration::from_secs(200)) } else { Delivery::Normal });
    stage.stop_and_rest("web-1").await;
    stage.start_and_rest("web-1").await;
    stage.sandbox.advance(Duration::from_secs(300)).await;
    stage.rest().await;
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (PLACES.map(str::to_owned).to_vec(), 0));
    assert_eq!(stage.count("DeregisterTargets"), 2, "only for the stop itself");
}

#[tokio::test(start_paused = true)]
async fn a_running_event_that_comes_during_the_next_stop_gives_nothing_back() {
    let stage = shop();
    stage.deliver(|state| if state == "running" { Delivery::Late(Duration::from_secs(30)) } else { Delivery::Normal });
    stage.stop_and_rest("web-1").await;
    stage.start("web-1");
    stage.until_it_is("web-1", InstanceState::Running).await;
    stage.stop_and_rest("web-1").await;
    stage.sandbox.advance(Duration::from_secs(60)).await;
    stage.rest().await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 3), "{}", stage.describe());
    stage.world(|world| world.events.reset_delivery());
    stage.start_and_rest("web-1").await;
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (PLACES.map(str::to_owned).to_vec(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_description_older_than_the_event_is_read_again() {
    // When the one delivered event comes, descriptions still show the instance running.
    let stage = shop();
    stage.deliver_only(&["stopped"]);
    let mut stale = 3;
    let _fault = stage.sandbox.fault(move |call: &Call| {
        if call.action == "DescribeInstances" && stale > 0 {
            stale -= 1;
            return Verdict::Stale(Duration::from_secs(100));
        }
        Verdict::Pass
    });
    stage.sandbox.advance(Duration::from_secs(120)).await;
    stage.stop_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 3), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_function_gives_back_an_instance_started_while_it_deregisters() {
    // The function that handles `stopped` is delayed at its first deregistration for as long as the restart takes.
    let stage = shop();
    let mut is_first = true;
    let _fault = stage.sandbox.fault(move |call: &Call| {
        if call.action == "DeregisterTargets" && std::mem::take(&mut is_first) {
            return Verdict::Delay(Duration::from_secs(9));
        }
        Verdict::Pass
    });
    stage.deliver_only(&["stopped", "running"]).world(|world| {
        world.options.starting = sandbox::Span::milliseconds(1_000, 1_001);
        world.options.event_delay = sandbox::Span::milliseconds(100, 101);
    });
    stage.stop("web-1");
    stage.until("about to deregister", |world| world.calls.iter().any(|call| call.action == "DeregisterTargets")).await;
    stage.start_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), PLACES, "{}", stage.describe());
    assert_eq!(stage.held("web-1"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_registration_held_before_a_long_scan_is_held_again_after() {
    // A function held, and died before it deregistered. Another one finds its tag fresh. Then its reading of the balancers takes
    // so long that a third one could be about to forget the tag.
    let stage = shop();
    let mut doomed = true;
    let _fault = stage.sandbox.fault(move |call: &Call| match call.action.as_str() {
        action if action.starts_with("Deregister") && std::mem::take(&mut doomed) => Verdict::KillBefore,
        _ if is_slow_reading(call) => Verdict::Delay(Duration::from_secs(9)),
        _ => Verdict::Pass,
    });
    stage.deliver_only(&["stopped"]).stop("web-1");
    stage.until("held", |world| world.calls.iter().any(|call| call.action == "CreateTags")).await;
    stage.sandbox.advance(Duration::from_secs(20)).await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (3, 3), "held, and not taken");
    stage.sweep().await.expect("a sweep");
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 3));
    let tagged = stage.calls_of(RECONCILE).iter().filter(|call| call.action == "CreateTags").count();
    assert_eq!(tagged, 1, "by itself, before it took anything");
}

#[tokio::test(start_paused = true)]
async fn a_function_that_stood_still_holds_again_before_it_deregisters() {
    // Two and a half minutes later another function could be about to forget its own tag, and its reading has expired.
    let stage = shop();
    let _fault = stage.sandbox.fault(kth("CreateTags", 1, Verdict::FreezeAfter(Duration::from_secs(150))));
    stage.deliver_only(&["stopped"]).stop_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 3), "{}", stage.describe());
    let calls = stage.calls();
    let last_held = calls.iter().rposition(|call| call.action == "CreateTags");
    let first_taken = calls.iter().position(|call| call.action.starts_with("Deregister"));
    assert!(stage.count("CreateTags") == 2 && last_held < first_taken, "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_function_takes_out_an_instance_stopped_while_it_registers() {
    let (stage, _fault) = restarted_under_frozen_function(Duration::from_secs(12)).await;
    stage.sandbox.advance(Duration::from_secs(8)).await;
    assert_eq!(stage.count("RegisterTargets"), 0, "the stop's own event found nothing\n{}", stage.describe());
    stage.rest().await;
    assert!(stage.count("RegisterTargets") > 0, "{}", stage.describe());
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 3), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_read_long_ago_entitles_to_nothing() {
    let (stage, _fault) = restarted_under_frozen_function(Duration::from_secs(80)).await;
    stage.rest().await;
    assert_eq!(stage.count("RegisterTargets"), 0, "{}", stage.describe());
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 3), "{}", stage.describe());
    stage.start_and_rest("web-1").await;
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (PLACES.map(str::to_owned).to_vec(), 0));
}

/// Creates a shop whose instance is started after a night. When a function has read that it runs, the function stands still, and
/// the instance is stopped again.
async fn restarted_under_frozen_function(time: Duration) -> (Stage, FaultGuard) {
    let stage = shop();
    stage.deliver_only(&["stopping", "running"]).stop_and_rest("web-1").await;
    stage.sandbox.advance(Duration::from_secs(8 * 3600)).await;
    let fault = stage.sandbox.fault(kth("DescribeTags", 1, Verdict::FreezeAfter(time)));
    stage.forget_calls();
    stage.start("web-1");
    stage.until("read", |world| world.calls.iter().any(|call| call.action == "DescribeTags")).await;
    stage.stop("web-1");
    (stage, fault)
}

#[tokio::test(start_paused = true)]
async fn an_address_given_away_while_its_group_is_read_stays_registered() {
    for is_given_away in [true, false] {
        let stage = Stage::new();
        stage.addresses_group("edge").instance("web-1").registered("web-1", "tg:edge:443=eth0").instance("other");
        // EC2 has terminated the instance when the group is read.
        stage.world(|world| world.options.stopping = sandbox::Span::milliseconds(15_000, 15_001));
        let _fault = stage.sandbox.fault(|call: &Call| match call.action.as_str() {
            "DescribeTargetGroups" | "DescribeTargetHealth" | "DescribeTags" => Verdict::Delay(Duration::from_secs(9)),
            _ => Verdict::Pass,
        });
        let (id, other) = (stage.id("web-1"), stage.id("other"));
        let address = stage.world(|world| world.ec2.instance(&id).and_then(ec2::Instance::primary_ipv4)).expect("one");
        stage.deliver_only(&["shutting-down"]).terminate("web-1");
        stage.until_it_is("web-1", InstanceState::Terminated).await;
        if is_given_away {
            stage.world(|world| {
                let interface = world.ec2.instance(&other).and_then(ec2::Instance::eth0).expect("one").id.clone();
                ec2::assign_address(world, &interface, address.into()).expect("a free address");
            });
        }
        stage.rest().await;
        let members = usize::from(is_given_away);
        assert_eq!(stage.members("tg:edge").len(), members, "given away: {is_given_away}\n{}", stage.describe());
        assert_eq!(stage.count("DeregisterTargets"), 1 - members);
    }
}

/// Returns whether a call is the sweep's reading of target groups, which then takes half a minute.
fn is_slow_reading(call: &Call) -> bool {
    let is_slow = ["DescribeTargetGroups", "DescribeTargetHealth", "DescribeTags"].contains(&call.action.as_str());
    is_slow && end_to_end::is_by(call, RECONCILE)
}

#[tokio::test(start_paused = true)]
async fn the_restarts_check_repairs_a_late_deregistration_of_a_dead_function() {
    // The handler of `stopped` is delayed at its deregistrations until the restart has found everything in place. It dies when it
    // wants to look again. Its message comes back only after minutes. If the restart had forgotten the tag when it found the
    // registrations in place, they would be lost by then.
    let stage = shop();
    stage.deliver_only(&["stopped", "running"]).world(|world| {
        world.options.starting = sandbox::Span::milliseconds(1_000, 1_001);
    });
    let (mut late, mut doomed) = (3, String::new());
    let _fault = stage.sandbox.fault(move |call: &Call| match call.action.as_str() {
        "DeregisterTargets" | "DeregisterInstancesFromLoadBalancer" if late > 0 => {
            late -= 1;
            doomed = call.access_key.clone();
            Verdict::Delay(Duration::from_secs(9))
        }
        "DescribeInstances" if call.access_key == doomed => Verdict::KillBefore,
        _ => Verdict::Pass,
    });
    let findings = stage.watch_losses("web-1", &PLACES);
    stage.stop("web-1");
    let about_to = |world: &sandbox::World| world.calls.iter().any(|call| call.action == "DeregisterTargets");
    stage.until("about to deregister", about_to).await;
    let started = stage.world(|world| world.now());
    stage.start("web-1");
    stage.sandbox.advance(Duration::from_secs(20)).await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 3), "taken late, and still held");
    stage
        .until("back", |world| {
            let id = world.ec2.instances.keys().next().cloned().unwrap_or_default();
            end_to_end::places(world, &id).len() == PLACES.len()
        })
        .await;
    let waited = stage.world(|world| world.now() - started).num_seconds();
    assert!(waited < 200, "before the dead one's message is back: {waited} s");
    stage.rest().await;
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (PLACES.map(str::to_owned).to_vec(), 0));
    assert_eq!(findings.all(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_forgetting_that_comes_late_deletes_nothing_of_the_next_stop() {
    // The restart's check has seen everything back and deletes the tag, but the call takes 9 s. Meanwhile the instance is stopped
    // again, and the very same registrations are deregistered. If the old tag had been trusted to hold them, they would be lost.
    let stage = shop();
    let mut is_first = true;
    let _fault = stage.sandbox.fault(move |call: &Call| match call.action.as_str() {
        "DeleteTags" if std::mem::take(&mut is_first) => Verdict::Delay(Duration::from_secs(9)),
        _ => Verdict::Pass,
    });
    stage.stop_and_rest("web-1").await;
    stage.start("web-1");
    stage.until("about to forget", |world| world.calls.iter().any(|call| call.action == "DeleteTags")).await;
    let findings = stage.watch_losses("web-1", &PLACES);
    stage.stop("web-1");
    stage.sandbox.advance(Duration::from_secs(7)).await;
    assert_eq!(stage.places("web-1").len(), 0, "taken before the old tag is deleted\n{}", stage.describe());
    stage.rest().await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1").len()), (0, 3), "{}", stage.describe());
    stage.start_and_rest("web-1").await;
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (PLACES.map(str::to_owned).to_vec(), 0));
    assert_eq!(findings.all(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn two_functions_that_hold_at_once_do_not_overwrite_each_other() {
    // `stopping` and `stopped` are handled at once. One has deregistered a part when the other scans, and writes its tag later.
    let stage = shop();
    let mut tags_written = 0;
    let _fault = stage.sandbox.fault(move |call: &Call| match call.action.as_str() {
        "CreateTags" => {
            tags_written += 1;
            if tags_written == 1 { Verdict::Pass } else { Verdict::Delay(Duration::from_secs(5)) }
        }
        "DeregisterTargets" => Verdict::Delay(Duration::from_millis(700)),
        _ => Verdict::Pass,
    });
    stage.world(|world| {
        world.options.stopping = sandbox::Span::milliseconds(600, 601);
        world.options.event_delay = sandbox::Span::milliseconds(10, 11);
    });
    stage.stop_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1")), (0, PLACES.map(str::to_owned).to_vec()));
    stage.start_and_rest("web-1").await;
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (PLACES.map(str::to_owned).to_vec(), 0));
}

#[tokio::test(start_paused = true)]
async fn an_instance_stopped_again_before_it_settled_keeps_everything() {
    let stage = shop();
    for _ in 0..6 {
        stage.stop("web-1");
        stage.until_it_is("web-1", InstanceState::Stopped).await;
        stage.sandbox.advance(Duration::from_secs(15)).await;
        stage.start("web-1");
        stage.until_it_is("web-1", InstanceState::Running).await;
        stage.sandbox.advance(Duration::from_secs(20)).await;
    }
    let held_tags = stage.tags("web-1").keys().filter(|key| key.contains("held")).count();
    assert!(held_tags <= 2, "older tags are taken over by younger ones: {held_tags}");
    stage.rest().await;
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (PLACES.map(str::to_owned).to_vec(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_balancers_new_owner_is_respected_by_a_function_that_stood_still() {
    for is_stopped in [true, false] {
        let stage = shop();
        stage.deliver_only(&["stopping", "running"]);
        if !is_stopped {
            stage.stop_and_rest("web-1").await;
            stage.sandbox.advance(Duration::from_secs(8 * 3600)).await;
        }
        // It has read the owner of the load balancer.
        let mut has_stood_still = false;
        let _fault = stage.sandbox.fault(move |call: &Call| match call.action.as_str() {
            "DescribeTags" if call.mentions("shop") && !std::mem::replace(&mut has_stood_still, true) => {
                Verdict::FreezeAfter(Duration::from_secs(150))
            }
            _ => Verdict::Pass,
        });
        stage.forget_calls();
        if is_stopped {
            stage.stop("web-1")
        } else {
            stage.start("web-1")
        };
        let is_read = |call: &Call| call.action == "DescribeTags" && call.mentions("shop");
        stage.until("read", |world| world.calls.iter().any(is_read)).await;
        stage.tagged("clb:shop", "elb-registrar:ignore", "").rest().await;
        let (expected, calls) = match is_stopped {
            true => (&PLACES[..1], stage.count("DeregisterInstancesFromLoadBalancer")),
            false => (&PLACES[1..], stage.count("RegisterInstancesWithLoadBalancer")),
        };
        assert_eq!((stage.places("web-1"), calls), (expected.iter().map(ToString::to_string).collect(), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_ignored_while_balancers_are_read_is_left_alone() {
    let stage = shop();
    let _fault = stage.sandbox.fault(kth("DescribeTags", 1, Verdict::FreezeAfter(Duration::from_secs(150))));
    stage.deliver_only(&["stopping"]).stop("web-1");
    stage.until("read", |world| world.calls.iter().any(|call| call.action == "DescribeTags")).await;
    stage.tagged("web-1", "elb-registrar:ignore", "").rest().await;
    assert_eq!((stage.places("web-1"), stage.held("web-1").len()), (PLACES.map(str::to_owned).to_vec(), 0));
}

#[tokio::test(start_paused = true)]
async fn an_old_description_after_a_deregistration_registers_nothing() {
    // The description that is read after the deregistration is older than the one before it.
    let stage = shop();
    stage.tagged("web-1", "elb-registrar:register", "tg:web:8080");
    stage.sandbox.advance(Duration::from_secs(3600)).await;
    let _fault = stage.sandbox.fault(kth("DescribeInstances", 2, Verdict::Stale(Duration::from_secs(30))));
    stage.deliver_only(&["stopping"]).stop_and_rest("web-1").await;
    assert_eq!(stage.count("RegisterTargets"), 0, "{}", stage.describe());
    assert!(stage.places("web-1").is_empty(), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn an_instance_ignored_before_the_second_look_is_left_alone() {
    let stage = shop();
    let _fault = stage.sandbox.fault(kth("DeregisterTargets", 1, Verdict::FreezeAfter(Duration::from_secs(150))));
    stage.deliver_only(&["stopping"]).stop("web-1");
    stage.until("taken", |world| world.calls.iter().any(|call| call.action == "DeregisterTargets")).await;
    stage.tagged("web-1", "elb-registrar:ignore", "");
    stage.until_it_is("web-1", InstanceState::Stopped).await;
    stage.start("web-1").rest().await;
    assert_eq!(stage.count("RegisterTargets"), 0, "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_sweep_gives_back_an_instance_started_while_it_deregisters() {
    // The start's event finds no tag yet. When the sweep sees the instance run, its address is draining, so the sweep orders
    // another look.
    let options = Options { starting: Span::milliseconds(3_000, 3_000), ..Options::default() };
    let stage = Stage::with(options, &[]);
    stage.addresses_group("edge").drains("edge", 120).instance("web-1").registered("web-1", "tg:edge:443=eth0");
    stage.deliver_only(&["running"]).stop_and_rest("web-1").await;
    let _fault = stage.sandbox.fault(kth("DescribeTargetGroups", 1, Verdict::FreezeAfter(Duration::from_secs(10))));
    let begun = stage.world(|world| world.now());
    let start = async {
        stage.until("read", |world| world.calls.iter().any(|call| call.action == "DescribeTargetGroups")).await;
        stage.start("web-1");
    };
    let (report, ()) = tokio::join!(stage.sandbox.invoke(RECONCILE, json!({})), start);
    report.expect("a report");
    let took = stage.world(|world| (world.now() - begun).num_seconds());
    assert!(took < 60, "a sweep waits for no drain: {took} s");
    let id = stage.id("web-1");
    stage.until("back", |world| !end_to_end::places(world, &id).is_empty()).await;
    let took = stage.world(|world| (world.now() - begun).num_seconds());
    assert_eq!(stage.places("web-1"), ["tg:edge:443=eth0"], "{}", stage.describe());
    assert!((130..180).contains(&took), "{took} s");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_takes_out_an_instance_stopped_while_it_registers() {
    // The stop's first event comes before the registration, and finds nothing. The second one is therefore skipped.
    let stage = Stage::new();
    stage.addresses_group("edge").instance("web-1").tagged("web-1", "elb-registrar:register", "tg:edge:443=eth0");
    stage.sandbox.advance(Duration::from_secs(3600)).await;
    let _fault = stage.sandbox.fault(kth("RegisterTargets", 1, Verdict::Delay(Duration::from_secs(9))));
    let stop = async {
        stage.until("registering", |world| world.calls.iter().any(|call| call.action == "RegisterTargets")).await;
        stage.stop("web-1").rest().await;
    };
    let (report, ()) = tokio::join!(stage.sandbox.invoke(RECONCILE, json!({})), stop);
    report.expect("a report");
    stage.rest().await;
    assert_eq!((stage.places("web-1"), stage.held("web-1")), (vec![], vec!["tg:edge:443=eth0".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_with_an_old_description_still_takes_the_instance_out() {
    let stage = Stage::new();
    stage.addresses_group("edge").instance("web-1").tagged("web-1", "elb-registrar:register", "tg:edge:443=eth0");
    stage.sandbox.advance(Duration::from_secs(3600)).await;
    stage.stop("web-1").sandbox.advance(Duration::from_secs(6)).await;
    let _fault = stage.sandbox.fault(|call: &Call| match call.action.as_str() {
        "DescribeInstances" if end_to_end::is_by(call, RECONCILE) => Verdict::Stale(Duration::from_secs(14)),
        _ => Verdict::Pass,
    });
    stage.sandbox.invoke(RECONCILE, json!({})).await.expect("a report");
    assert!(stage.sweep_calls().iter().any(|call| call.action == "RegisterTargets"), "{}", stage.describe());
    stage.rest().await;
    assert!(stage.places("web-1").is_empty(), "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn an_old_reading_does_not_let_a_tag_be_forgotten() {
    // It is in place and held: a person was faster than the function. The function stands still. When it goes on, the instance is
    // stopped and has no address any more: only the tag knows the registration.
    let stage = Stage::new();
    stage.addresses_group("edge").launch("web-1", Launch::new(&stage.subnet).renewed());
    stage.registered("web-1", "tg:edge:443=eth0").stop_and_rest("web-1").await;
    stage.deliver_only(&[]).start("web-1").until_it_is("web-1", InstanceState::Running).await;
    stage.registered("web-1", "tg:edge:443=eth0").sandbox.advance(Duration::from_secs(3600)).await;
    let _fault = stage.sandbox.fault(kth("DescribeTargetHealth", 1, Verdict::FreezeAfter(Duration::from_secs(100))));
    stage.forget_calls();
    let stop = async {
        stage.until("read", |world| world.calls.iter().any(|call| call.action == "DescribeTargetHealth")).await;
        stage.stop("web-1");
    };
    let (answer, ()) = tokio::join!(stage.invoke(state_change(&stage, "web-1", "running")), stop);
    answer.expect("an answer");
    assert_eq!(stage.held("web-1"), ["tg:edge:443=eth0"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_a_tag_is_deleted_loses_no_address() {
    // The instance is stopped, and has lost its address, before the deletion of its tag arrives. The event of the stop comes after that.
    let stage = Stage::new();
    stage.addresses_group("edge").launch("web-1", Launch::new(&stage.subnet).renewed());
    stage.registered("web-1", "tg:edge:443=eth0").stop_and_rest("web-1").await;
    stage.deliver_only(&[]).start("web-1").until_it_is("web-1", InstanceState::Running).await;
    stage.registered("web-1", "tg:edge:443=eth0").sandbox.advance(Duration::from_secs(3600)).await;
    let in_flight = Duration::from_secs(8);
    let _fault = stage.sandbox.fault(kth("DeleteTags", 1, Verdict::Delay(in_flight)));
    stage.forget_calls();
    let stop = async {
        stage.until("read", |world| world.calls.iter().any(|call| call.action == "DescribeTargetHealth")).await;
        stage.stop("web-1").until_it_is("web-1", InstanceState::Stopped).await;
    };
    let (answer, ()) = tokio::join!(stage.invoke(state_change(&stage, "web-1", "running")), stop);
    answer.expect("an answer");
    assert_eq!(stage.held("web-1"), ["tg:edge:443=eth0"], "{}", stage.describe());
}

#[tokio::test(start_paused = true)]
async fn a_first_failure_is_retried_soon_however_long_the_event_has_waited() {
    // EC2's description lags for most of a minute, and then one call is refused, once.
    let stage = Stage::new();
    stage.instances_group("web").instance("web-1").registered("web-1", "tg:web");
    let stopped = stage.world(|world| world.now());
    let mut is_struck = false;
    let _fault = stage.sandbox.fault(move |call: &Call| {
        if call.action == "DescribeInstances" && (call.at - stopped).num_seconds() < 40 {
            return Verdict::Stale(Duration::from_secs(60));
        }
        if call.action == "DescribeTargetHealth" && !std::mem::replace(&mut is_struck, true) {
            return Verdict::Refuse(ApiError::sender("InternalError", "just now"));
        }
        Verdict::Pass
    });
    stage.deliver_only(&["stopping"]);
    stage.stop("web-1");
    stage.until("taken", |world| world.calls.iter().any(|call| call.action == "DeregisterTargets")).await;
    let waited = stage.world(|world| (world.now() - stopped).num_seconds());
    assert!((40..90).contains(&waited), "taken out {waited} s after the stop");
}

#[tokio::test(start_paused = true)]
async fn a_lasting_failure_is_a_dead_letter_after_eight_hours() {
    let stage = Stage::new();
    stage.instances_group("web").instance("web-1").registered("web-1", "tg:web");
    let _fault = stage.sandbox.fault(|call: &Call| match call.action.as_str() {
        "CreateTags" => Verdict::Refuse(ApiError::sender("UnauthorizedOperation", "for hours")),
        _ => Verdict::Pass,
    });
    stage.deliver_only(&["stopping"]);
    stage.stop("web-1").sandbox.advance(Duration::from_secs(7 * 3_600)).await;
    assert_eq!(stage.dead_letters().len(), 0, "{}", stage.describe());
    stage.sandbox.advance(Duration::from_secs(2 * 3_600)).await;
    let letters = stage.dead_letters();
    assert_eq!(letters.len(), 1, "{}", stage.describe());
    let (letter, why) = &letters[0];
    assert!(letter.contains(&stage.id("web-1")), "it says which instance: {letter}");
    assert!(why.as_deref().is_some_and(|why| why.contains("failed 50 times")), "{why:?}");
}
