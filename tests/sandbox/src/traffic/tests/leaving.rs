//! The fate of requests when members are deregistered.

use super::*;
use crate::options::RoutingLag;

const DELAY: &str = "deregistration_delay.timeout_seconds";

#[tokio::test(start_paused = true)]
async fn draining_target_gets_no_new_requests_and_may_end_the_old_ones() {
    let sandbox = group(instances(), &[WEB, API], Options::default()).await;
    send_for(&sandbox, Client::to("tg:web").taking(seconds(10)), seconds(20)).await;
    deregister(&sandbox, WEB);
    sandbox.advance(seconds(11)).await;
    sandbox.with(|world| bring(world, WEB, InstanceState::Stopping));
    sandbox.advance(seconds(60)).await;
    assert_all_served(&sandbox);
}

#[tokio::test(start_paused = true)]
async fn requests_that_outlast_the_deregistration_delay_are_cut_then() {
    let sandbox = group(instances(), &[WEB, API], Options::default()).await;
    set(&sandbox, DELAY, "5");
    send_for(&sandbox, Client::to("tg:web").taking(seconds(10)), seconds(20)).await;
    deregister(&sandbox, WEB);
    let left = sandbox.with(|world| world.now());
    sandbox.advance(seconds(30)).await;
    let losses = assert_lost_as(&sandbox, Outcome::BrokenOff);
    assert!(losses.iter().all(|loss| loss.lost == left + delta(seconds(5)) && loss.sent < left), "{:?}", losses[0]);
    assert!((15..40).contains(&losses.len()), "about half of those of the last 5 s: {}", losses.len());
    assert_eq!(&*losses[0].why, "the balancer cut it when the draining was over");
}

#[tokio::test(start_paused = true)]
async fn classic_balancer_cuts_at_once_without_draining_and_later_with_it() {
    for (draining, cut) in [(None, true), (Some(seconds(30)), false), (Some(seconds(1)), true)] {
        let sandbox = shop(&[WEB, API]).await;
        sandbox.with(|world| elb::drain_for(world, "shop", draining)).unwrap();
        send_for(&sandbox, Client::to("clb:shop").taking(seconds(10)), seconds(20)).await;
        sandbox.with(|world| elb::deregister(world, "shop", WEB)).unwrap();
        sandbox.advance(seconds(60)).await;
        assert_eq!(count(&sandbox, Outcome::BrokenOff) > 0, cut, "{draining:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn network_balancer_sends_to_a_deregistered_target_for_two_minutes() {
    for (waited, loses) in [(60, true), (121, false)] {
        let sandbox = group(instances().protocol("TCP"), &[WEB, API], Options::default()).await;
        set(&sandbox, DELAY, "0");
        send_for(&sandbox, Client::to("tg:web").taking(Duration::ZERO), seconds(10)).await;
        deregister(&sandbox, WEB);
        sandbox.advance(seconds(waited)).await;
        assert_all_served(&sandbox);
        sandbox.with(|world| bring(world, WEB, InstanceState::Stopping));
        sandbox.advance(seconds(300)).await;
        assert_eq!(count(&sandbox, Outcome::Gone) > 0, loses, "stopped {waited} s after its deregistration");
    }
}

#[tokio::test(start_paused = true)]
async fn target_that_left_out_of_service_gets_nothing_after_a_restart() {
    let sandbox = group(instances().protocol("TCP"), &[WEB, API], Options::default()).await;
    sandbox.with(|world| {
        send(world, Client::to("tg:web")).unwrap();
        bring(world, WEB, InstanceState::Stopping);
    });
    sandbox.advance(SETTLED).await;
    deregister(&sandbox, WEB);
    let lost = sandbox.with(|world| {
        bring(world, WEB, InstanceState::Running);
        tally(world).lost()
    });
    sandbox.advance(seconds(30)).await;
    assert_eq!((count(&sandbox, Outcome::Refused), sandbox.with(|world| tally(world).lost())), (0, lost));
}

#[tokio::test(start_paused = true)]
async fn application_balancer_may_take_a_while_to_leave_a_deregistered_target_too() {
    // AWS says that it does not; users say that it does.
    for (linger, loses) in [(0, false), (20, true)] {
        let routing_lag = RoutingLag { application_linger: seconds(linger), ..RoutingLag::default() };
        let sandbox = group(instances(), &[WEB, API], Options { routing_lag, ..Options::default() }).await;
        send_for(&sandbox, Client::to("tg:web"), seconds(10)).await;
        deregister(&sandbox, WEB);
        sandbox.advance(seconds(1)).await;
        sandbox.with(|world| bring(world, WEB, InstanceState::Stopping));
        sandbox.advance(seconds(60)).await;
        assert_eq!(count(&sandbox, Outcome::Gone) > 0, loses, "{linger} s");
    }
}

#[tokio::test(start_paused = true)]
async fn network_balancer_cuts_old_connections_only_when_configured() {
    for (told, cut) in [("false", false), ("true", true)] {
        let sandbox = group(instances().protocol("TCP"), &[WEB, API], Options::default()).await;
        set(&sandbox, DELAY, "5");
        set(&sandbox, "deregistration_delay.connection_termination.enabled", told);
        send_for(&sandbox, Client::to("tg:web").taking(seconds(30)), seconds(40)).await;
        deregister(&sandbox, WEB);
        sandbox.advance(seconds(300)).await;
        assert_eq!(count(&sandbox, Outcome::BrokenOff) > 0, cut, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn network_balancer_cuts_what_is_under_way_to_an_unhealthy_target() {
    for (told, cut) in [("true", true), ("false", false)] {
        let sandbox = group(addresses().protocol("TCP"), &["10.0.0.7", "10.0.1.7"], Options::default()).await;
        set(&sandbox, "target_health_state.unhealthy.connection_termination.enabled", told);
        send_for(&sandbox, Client::to("tg:web").taking(seconds(30)), seconds(40)).await;
        sandbox.with(|world| world.elbv2.failing_health_checks.insert("10.0.0.7".into()));
        sandbox.advance(seconds(300)).await;
        assert_eq!(count(&sandbox, Outcome::BrokenOff) > 0, cut, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn failing_open_and_application_balancers_cut_no_connection() {
    let network = || addresses().protocol("TCP");
    for (spec, members) in [(network(), &["10.0.0.7"][..]), (addresses(), &["10.0.0.7", "10.0.1.7"])] {
        let sandbox = group(spec, members, Options::default()).await;
        send_for(&sandbox, Client::to("tg:web").taking(seconds(30)), seconds(40)).await;
        sandbox.with(|world| world.elbv2.failing_health_checks.insert("10.0.0.7".into()));
        sandbox.advance(seconds(300)).await;
        assert_all_served(&sandbox);
    }
}

#[tokio::test(start_paused = true)]
async fn deleted_balancer_cuts_everything_and_routes_nothing() {
    let sandbox = shop(&[WEB]).await;
    send_for(&sandbox, Client::to("clb:shop").taking(seconds(10)), seconds(20)).await;
    sandbox.with(|world| elb::delete(world, "shop"));
    sandbox.advance(seconds(10)).await;
    let tally = sandbox.with(|world| tally(world));
    assert!((98..=100).contains(&tally.count(Outcome::BrokenOff)), "{tally}");
    assert!((99..=101).contains(&tally.count(Outcome::Unrouted)), "{tally}");
}
