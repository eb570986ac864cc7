//! The members that requests are sent to, and the routing's lag.

use super::*;
use crate::options::{RoutingLag, Span};

#[tokio::test(start_paused = true)]
async fn initial_target_gets_no_requests_while_another_is_healthy() {
    let sandbox = group(instances(), &[WEB], Options::default()).await;
    sandbox.with(|world| {
        bring(world, API, InstanceState::Stopped);
        bring(world, API, InstanceState::Running);
        let arn = arn(world);
        elbv2::register(world, &arn, Target::new(API)).unwrap();
    });
    // Any request that reached it before it is ready would be refused.
    send_for(&sandbox, Client::to("tg:web"), SETTLED).await;
    assert_all_served(&sandbox);
    sandbox.with(|world| bring(world, WEB, InstanceState::Stopped));
    sandbox.advance(seconds(10)).await;
    let served = count(&sandbox, Outcome::Served);
    sandbox.advance(seconds(10)).await;
    assert!(count(&sandbox, Outcome::Served) >= served + 99, "in the end it has them all");
}

#[tokio::test(start_paused = true)]
async fn group_without_a_healthy_target_fails_open() {
    let sandbox = group(addresses(), &["10.0.0.7"], Options::default()).await;
    sandbox.with(|world| world.elbv2.failing_health_checks.insert("10.0.0.7".into()));
    send_for(&sandbox, Client::to("tg:web"), seconds(100)).await;
    assert_all_served(&sandbox);
}

#[tokio::test(start_paused = true)]
async fn instance_that_is_not_ready_refuses_what_a_failing_open_group_sends() {
    let sandbox = group(instances(), &[], Options::default()).await;
    let started = sandbox.with(|world| {
        bring(world, WEB, InstanceState::Stopped);
        bring(world, WEB, InstanceState::Running);
        let arn = arn(world);
        elbv2::register(world, &arn, Target::new(WEB)).unwrap();
        world.now()
    });
    send_for(&sandbox, Client::to("tg:web"), SETTLED).await;
    let losses = assert_lost_as(&sandbox, Outcome::Refused);
    let last = until_last(&losses, started);
    assert!((9.8..10.0).contains(&last), "until it is ready, and no longer: {last} s");
}

#[tokio::test(start_paused = true)]
async fn classic_balancer_answers_503_without_a_member_in_service() {
    let sandbox = shop(&[WEB]).await;
    sandbox.with(|world| world.elb.failing_health_checks.insert(WEB.into()));
    sandbox.advance(SETTLED).await;
    send_for(&sandbox, Client::to("clb:shop"), seconds(10)).await;
    let losses = assert_lost_as(&sandbox, Outcome::Unrouted);
    assert_eq!((losses[0].target.as_deref(), &*losses[0].why), (None, "no member is in service"));
    assert_eq!(count(&sandbox, Outcome::Served), 0);
}

#[tokio::test(start_paused = true)]
async fn group_that_no_balancer_uses_gets_no_requests() {
    let sandbox = group(instances(), &[WEB], Options::default()).await;
    sandbox.with(|world| {
        let front = elbv2::arn_of(world, "front").unwrap();
        elbv2::delete_load_balancer(world, &front);
    });
    send_for(&sandbox, Client::to("tg:web"), seconds(1)).await;
    assert_eq!(&*assert_lost_as(&sandbox, Outcome::Unrouted)[0].why, "no load balancer uses the group");
}

#[tokio::test(start_paused = true)]
async fn target_in_a_zone_without_the_balancer_never_gets_requests() {
    // It also gets none if no other member is there: failing open does not reach beyond the enabled zones.
    let sandbox = group(instances(), &[WEB], Options::default()).await;
    send_for(&sandbox, Client::to("tg:web").taking(Duration::ZERO), seconds(10)).await;
    assert_all_served(&sandbox);
    let served = count(&sandbox, Outcome::Served);
    sandbox.with(|world| {
        let front = elbv2::arn_of(world, "front").unwrap();
        world.elbv2.load_balancers.get_mut(&front).unwrap().spec.subnets = Some(vec!["subnet-b".into()]);
    });
    sandbox.advance(seconds(10)).await;
    assert_lost_as(&sandbox, Outcome::Unrouted);
    // One was due in the very instant of the look.
    assert!(count(&sandbox, Outcome::Served) <= served + 1);
}

/// Returns how long requests reach a member after its instance stopped, while another member serves.
async fn reached_after_stop(sandbox: &Sandbox, balancer: &str) -> f64 {
    sandbox.with(|world| send(world, Client::to(balancer).taking(Duration::ZERO))).unwrap();
    sandbox.advance(seconds(10)).await;
    assert_all_served(sandbox);
    let stopped = sandbox.with(|world| {
        bring(world, WEB, InstanceState::Stopping);
        world.now()
    });
    sandbox.advance(seconds(200)).await;
    until_last(&assert_lost_as(sandbox, Outcome::Gone), stopped)
}

#[tokio::test(start_paused = true)]
async fn stopped_instance_gets_requests_until_the_balancer_learns_of_it_from_ec2() {
    let sandbox = group(instances(), &[WEB, API], Options::default()).await;
    let reached = reached_after_stop(&sandbox, "tg:web").await;
    assert!((1.0..6.0).contains(&reached), "{reached} s");
    let sandbox = shop(&[WEB, API]).await;
    let reached = reached_after_stop(&sandbox, "clb:shop").await;
    assert!((1.0..6.0).contains(&reached), "{reached} s");
}

#[tokio::test(start_paused = true)]
async fn without_news_from_ec2_requests_stop_when_health_checks_fail() {
    let routing_lag = RoutingLag { instance_stop: None, ..RoutingLag::default() };
    let sandbox = group(instances(), &[WEB, API], Options { routing_lag, ..Options::default() }).await;
    // Two checks, 30 s apart, of which the second lasts its 6 s.
    let reached = reached_after_stop(&sandbox, "tg:web").await;
    assert!((34.0..66.0).contains(&reached), "{reached} s");
}

#[tokio::test(start_paused = true)]
async fn address_whose_instance_is_gone_gets_requests_until_it_failed_its_checks() {
    let sandbox = group(addresses(), &["10.0.0.7", "10.0.1.7"], Options::default()).await;
    let reached = reached_after_stop(&sandbox, "tg:web").await;
    assert!((34.0..66.0).contains(&reached), "{reached} s");
}

#[tokio::test(start_paused = true)]
async fn network_balancer_takes_longer_to_leave_an_unhealthy_target() {
    let routing_lag = RoutingLag { network_unhealthy: Span::milliseconds(35_000, 35_000), ..RoutingLag::default() };
    let sandbox = group(instances().protocol("TCP"), &[WEB, API], Options { routing_lag, ..Options::default() }).await;
    let reached = reached_after_stop(&sandbox, "tg:web").await;
    assert!((36.0..41.0).contains(&reached), "{reached} s");
}

#[tokio::test(start_paused = true)]
async fn target_that_restarts_unnoticed_stays_in_service_and_refuses() {
    let sandbox = group(addresses(), &["10.0.0.7", "10.0.1.7"], Options::default()).await;
    sandbox.with(|world| send(world, Client::to("tg:web").taking(Duration::ZERO))).unwrap();
    sandbox.with(|world| bring(world, WEB, InstanceState::Stopping));
    sandbox.advance(seconds(2)).await;
    sandbox.with(|world| bring(world, WEB, InstanceState::Running));
    sandbox.advance(SETTLED).await;
    let tally = sandbox.with(|world| tally(world));
    assert!(tally.count(Outcome::Gone) > 0 && tally.count(Outcome::Refused) > 20, "{tally}");
    assert_eq!(tally.lost(), tally.count(Outcome::Gone) + tally.count(Outcome::Refused), "{tally}");
}
