//! The work of clients, and their counts.

use super::*;

#[tokio::test(start_paused = true)]
async fn stopped_client_sends_no_more_and_hears_what_is_under_way() {
    let sandbox = group(instances(), &[WEB], Options::default()).await;
    let id = sandbox.with(|world| send(world, Client::to("tg:web").taking(seconds(5)))).unwrap();
    sandbox.advance(seconds(10)).await;
    let sent = sandbox.with(|world| {
        stop(world, id);
        tally_of(world, id)
    });
    assert!((49..=51).contains(&sent.in_flight) && (48..=51).contains(&sent.served()), "{sent:?}");
    sandbox.advance(seconds(60)).await;
    let all = sandbox.with(|world| tally_of(world, id));
    assert_eq!((all.served(), all.in_flight), (sent.sent(), 0));
}

#[tokio::test(start_paused = true)]
async fn every_client_has_a_tally_of_its_own() {
    let sandbox = group(instances(), &[WEB], Options::default()).await;
    let slow = sandbox.with(|world| send(world, Client::to("tg:web").every(seconds(1)))).unwrap();
    let quick = sandbox.with(|world| send(world, Client::to("tg:web"))).unwrap();
    sandbox.advance(seconds(10)).await;
    let (slow, quick, all) = sandbox.with(|world| (tally_of(world, slow), tally_of(world, quick), tally(world)));
    assert!((9..=10).contains(&slow.sent()) && (99..=101).contains(&quick.sent()), "{slow}; {quick}");
    assert_eq!(all.sent(), slow.sent() + quick.sent());
}

#[tokio::test(start_paused = true)]
async fn same_seed_loses_the_same_requests() {
    let mut seen = Vec::new();
    for seed in [1, 1, 2] {
        let sandbox = group(addresses(), &["10.0.0.7", "10.0.1.7"], Options { seed, ..Options::default() }).await;
        send_for(&sandbox, Client::to("tg:web"), seconds(10)).await;
        sandbox.with(|world| bring(world, WEB, InstanceState::Stopping));
        sandbox.advance(seconds(100)).await;
        seen.push(sandbox.with(|world| tally(world)));
    }
    assert!(seen[0] == seen[1] && seen[0] != seen[2]);
}

#[tokio::test(start_paused = true)]
async fn looking_often_changes_nothing() {
    let mut seen = Vec::new();
    for steps in [1, 1_000] {
        let sandbox = group(addresses(), &["10.0.0.7", "10.0.1.7"], Options::default()).await;
        sandbox.with(|world| {
            send(world, Client::to("tg:web").taking(seconds(3))).unwrap();
            bring(world, WEB, InstanceState::Stopping);
        });
        let end = sandbox.with(|world| world.now()) + delta(seconds(100));
        for _ in 0..steps {
            sandbox.advance(seconds(100) / steps).await;
        }
        assert!(sandbox.with(|world| world.now()) >= end);
        seen.push(sandbox.with(|world| tally(world).losses));
    }
    assert!(!seen[0].is_empty() && seen[0] == seen[1]);
}

#[tokio::test(start_paused = true)]
async fn a_million_requests_of_an_hour_are_all_counted() {
    // There is a look every second, and half of the requests are lost for a while.
    let sandbox = group(addresses(), &["10.0.0.7", "10.0.1.7"], Options::default()).await;
    send_for(&sandbox, Client::to("tg:web").every(Duration::from_micros(3_600)).taking(seconds(1)), seconds(60)).await;
    sandbox.with(|world| bring(world, WEB, InstanceState::Stopping));
    for _ in 0..3_540 {
        sandbox.advance(seconds(1)).await;
    }
    let tally = sandbox.with(|world| tally(world));
    // The last one is due in the very instant of the look, and belongs to the next look.
    assert!((999_999..=1_000_000).contains(&tally.sent()), "{tally}");
    assert!((4_000..9_500).contains(&tally.count(Outcome::Gone)), "half of 34 to 66 s: {tally}");
}

#[tokio::test(start_paused = true)]
async fn unmodelled_clients_are_refused_loudly() {
    let sandbox = group(instances(), &[WEB], Options::default()).await;
    let refused = |balancer: &str| sandbox.with(|world| send(world, Client::to(balancer))).unwrap_err().code;
    assert_eq!(refused("tg:nope"), "TargetGroupNotFound");
    assert_eq!(refused("clb:nope"), "LoadBalancerNotFound");
    assert_eq!(refused("web"), "ValidationError");
    sandbox.with(|world| elbv2::create_target_group(world, TargetGroupSpec::function("fn"))).unwrap();
    assert_eq!(refused("tg:fn"), "NotModelledBySandbox");
    set(&sandbox, "stickiness.enabled", "true");
    assert_eq!(refused("tg:web"), "NotModelledBySandbox");
    let restless = Client::to("tg:web").every(Duration::ZERO);
    set(&sandbox, "stickiness.enabled", "false");
    assert_eq!(sandbox.with(|world| send(world, restless)).unwrap_err().code, "ValidationError");
}
