//! The view of the fleet's users: requests go through the balancers while instances stop, come back and die, with and without the
//! functions. Without them means that the events are lost.

use std::time::Duration;

use end_to_end::Stage;
use sandbox::{
    Options, RoutingLag, Timestamp,
    ec2::{self, InstanceState, Launch},
    elbv2,
    traffic::{Client, Loss, Outcome, Tally},
};

/// Longer than it takes to become healthy.
const SETTLED: Duration = Duration::from_secs(60);

/// The most seconds from the call that stops an instance to its deregistration: the event's way takes up to 1.5 s, and the
/// function's calls the rest.
const REACTION_SECONDS: f64 = 4.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Works,
    HearsNothing,
}

/// Two instances at a place, healthy for a while, and a client whose requests last for a time.
async fn shop(place: &str, takes: Duration, function: Function, options: Options) -> Stage {
    let stage = Stage::with(options, &[]);
    stage.classic("shop").instances_group("web").addresses_group("edge").instance("web-1").instance("web-2");
    stage.registered("web-1", place).registered("web-2", place);
    if function == Function::HearsNothing {
        stage.deliver_only(&[]);
    }
    stage.sandbox.advance(SETTLED).await;
    stage.sends_requests(Client::to(balancer(place)).taking(takes));
    stage.sandbox.advance(SETTLED).await;
    assert_eq!(stage.lost_requests(), []);
    stage
}

/// `tg:edge` of `tg:edge:443=eth0`.
fn balancer(place: &str) -> &str {
    place.find(":443").map_or(place, |at| &place[..at])
}

/// Returns the fate of the requests while one of two instances is stopped for five minutes, and the time of its stop.
async fn over_a_stop(place: &str, takes: Duration, function: Function, options: Options) -> (Tally, Timestamp) {
    let stage = shop(place, takes, function, options).await;
    let stopped = stage.world(|world| world.now());
    stage.stop("web-1").sandbox.advance(Duration::from_secs(300)).await;
    (stage.requests(), stopped)
}

fn last_loss_seconds(losses: &[Loss], since: Timestamp) -> f64 {
    losses.iter().map(|loss| (loss.lost - since).as_seconds_f64()).fold(0.0, f64::max)
}

#[tokio::test(start_paused = true)]
async fn a_stop_loses_requests_for_seconds_with_the_function_not_a_minute() {
    // A balancer learns of a dead address only by failing health checks.
    for seed in 0..5 {
        let options = || Options { seed, ..Options::default() };
        let place = "tg:edge:443=eth0";
        let (with, stopped) = over_a_stop(place, Duration::ZERO, Function::Works, options()).await;
        let reaction = last_loss_seconds(&with.losses, stopped);
        assert!((0.1..REACTION_SECONDS).contains(&reaction), "a stop is announced when it happens: {reaction} s");
        let (without, stopped) = over_a_stop(place, Duration::ZERO, Function::HearsNothing, options()).await;
        let checks = last_loss_seconds(&without.losses, stopped);
        assert!((30.0..66.0).contains(&checks), "{checks} s");
        assert!(with.lost() * 4 < without.lost(), "{with}; {without}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_instance_target_loses_no_more_with_the_function() {
    // If EC2 tells the balancer within seconds, there is little to gain; if not, there is as much as with addresses.
    for (instance_stop, gains) in [(RoutingLag::default().instance_stop, false), (None, true)] {
        let routing_lag = RoutingLag { instance_stop, ..RoutingLag::default() };
        let options = || Options { routing_lag, ..Options::default() };
        for place in ["clb:shop", "tg:web"] {
            let (with, stopped) = over_a_stop(place, Duration::ZERO, Function::Works, options()).await;
            let (without, _) = over_a_stop(place, Duration::ZERO, Function::HearsNothing, options()).await;
            assert!(last_loss_seconds(&with.losses, stopped) < REACTION_SECONDS, "{place}: {with}");
            assert!(with.lost() > 0 && with.lost() <= without.lost(), "{place}: {with}; {without}");
            assert!(!gains || with.lost() * 4 < without.lost(), "{place}: {with}; {without}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_downloads_with_and_without_the_function() {
    let mut broken = Vec::new();
    for function in [Function::Works, Function::HearsNothing] {
        let takes = Duration::from_secs(10);
        let (tally, stopped) = over_a_stop("tg:edge:443=eth0", takes, function, Options::default()).await;
        let lost: Vec<_> = tally.losses.into_iter().filter(|loss| loss.outcome == Outcome::BrokenOff).collect();
        assert!(lost.iter().all(|loss| loss.sent < stopped && loss.lost == stopped), "{lost:?}");
        broken.push(lost.len());
    }
    assert!(broken[0] > 30 && broken[0] == broken[1], "no event announces a stop before it happens: {broken:?}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_deregistered_and_drained_before_its_stop_loses_nothing() {
    // A hook, or a careful operator, keeps this order, which all other cases are measured by.
    let stage = shop("tg:edge:443=eth0", Duration::from_secs(10), Function::Works, Options::default()).await;
    let address = stage.members("tg:edge")[0].replace(":443", "");
    stage.world(|world| {
        let arn = elbv2::arn_of(world, "edge").unwrap();
        elbv2::deregister(world, &arn, elbv2::Target::new(address)).unwrap();
    });
    stage.sandbox.advance(Duration::from_secs(11)).await;
    stage.stop_and_rest("web-1").await;
    assert_eq!(stage.lost_requests(), []);
}

/// Returns the fate of a minute's requests, after one instance is back under another address.
async fn after_a_restart(place: &str, function: Function) -> (u64, Vec<Loss>) {
    let stage = Stage::new();
    stage.classic("shop").addresses_group("edge").drains("edge", 10);
    stage.launch("web-1", Launch::new(&stage.subnet).renewed()).registered("web-1", place);
    if function == Function::HearsNothing {
        stage.deliver_only(&[]);
    }
    stage.sandbox.advance(SETTLED).await;
    stage.sends_requests(balancer(place));
    stage.stop_and_rest("web-1").await;
    stage.start_and_rest("web-1").await;
    stage.sandbox.advance(SETTLED).await;
    let before = stage.requests();
    stage.sandbox.advance(Duration::from_secs(60)).await;
    let after = stage.requests();
    (after.served() - before.served(), after.losses[before.losses.len()..].to_vec())
}

#[tokio::test(start_paused = true)]
async fn an_instance_with_a_new_address_is_served_only_with_the_function() {
    for (place, why) in [("tg:edge:443=eth0", Outcome::Gone), ("clb:shop", Outcome::Unrouted)] {
        let (served, lost) = after_a_restart(place, Function::Works).await;
        assert!(served >= 598 && lost.is_empty(), "{place}: {served} served, lost {:?}", lost.first());
        let (served, lost) = after_a_restart(place, Function::HearsNothing).await;
        assert_eq!(served, 0, "{place}");
        assert!(lost.len() >= 598 && lost.iter().all(|loss| loss.outcome == why), "{place}: {:?}", lost.first());
    }
}

/// Terminates an instance, gives its address to another host, and returns the requests that reached that host.
async fn misdelivered(stage: &Stage) -> Vec<Loss> {
    let id = stage.id("web-1");
    let address =
        stage.world(|world| world.ec2.instance(&id).and_then(ec2::Instance::primary_ipv4)).expect("an address");
    let is_free = move |world: &sandbox::World| {
        world.ec2.instance(&id).is_some_and(|found| found.state == InstanceState::Terminated)
    };
    stage.terminate("web-1").until("terminated", is_free).await;
    stage.launch("db-1", Launch::new(&stage.subnet).address(address)).rest().await;
    stage.sandbox.advance(Duration::from_secs(600)).await;
    stage.requests_lost_as(Outcome::Misdelivered)
}

#[tokio::test(start_paused = true)]
async fn an_address_given_away_gets_requests_only_without_the_function() {
    let place = "tg:edge:443=eth0";
    let stage = shop(place, Duration::ZERO, Function::Works, Options::default()).await;
    assert_eq!(misdelivered(&stage).await, []);
    let stage = shop(place, Duration::ZERO, Function::HearsNothing, Options::default()).await;
    let lost = misdelivered(&stage).await;
    assert!(lost.len() > 2_500, "half of all of ten minutes: {}", lost.len());
    assert!(lost[0].why.contains(&stage.id("db-1")), "{}", lost[0]);
}

#[tokio::test(start_paused = true)]
async fn a_network_balancer_sends_to_an_address_given_away_for_two_minutes() {
    // Deregistering cannot do more: such a balancer opens connections for two minutes after it.
    let stage = Stage::new();
    stage
        .instance("web-1")
        .instance("web-2")
        .network_group("edge")
        .registered("web-1", "tg:edge:443=eth0")
        .registered("web-2", "tg:edge:443=eth0");
    stage.sandbox.advance(SETTLED).await;
    stage.sends_requests(Client::to("tg:edge").taking(Duration::ZERO));
    let terminated = stage.world(|world| world.now());
    let lost = misdelivered(&stage).await;
    let last = last_loss_seconds(&lost, terminated);
    assert!((100.0..120.0 + REACTION_SECONDS).contains(&last), "{last} s");
}
