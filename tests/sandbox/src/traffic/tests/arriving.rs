//! The fate of a request at its address.

use std::net::IpAddr;

use super::*;

/// Terminates the instance with 10.0.0.7, and gives the address to another.
fn replace_web(world: &mut World) {
    bring(world, WEB, InstanceState::Terminated);
    world.ec2.interfaces.retain(|_, interface| !interface.has(IpAddr::from([10, 0, 0, 7])));
    run(world, "i-00000000000000b1", "subnet-a", [10, 0, 0, 7]);
}

#[tokio::test(start_paused = true)]
async fn instance_that_stops_breaks_off_what_it_was_serving() {
    let sandbox = group(instances(), &[WEB, API], Options::default()).await;
    send_for(&sandbox, Client::to("tg:web").taking(seconds(10)), seconds(20)).await;
    let stopped = sandbox.with(|world| {
        bring(world, WEB, InstanceState::Stopping);
        world.now()
    });
    sandbox.advance(seconds(60)).await;
    let tally = sandbox.with(|world| tally(world));
    let broken: Vec<_> = tally.losses.iter().filter(|loss| loss.outcome == Outcome::BrokenOff).collect();
    assert!((30..70).contains(&broken.len()), "about half of those of the last 10 s: {tally}");
    assert!(
        broken
            .iter()
            .all(|loss| loss.lost == stopped && loss.sent < stopped && stopped - loss.sent < delta(seconds(10)))
    );
}

#[tokio::test(start_paused = true)]
async fn address_of_another_host_misdelivers_although_it_is_healthy() {
    let sandbox = group(addresses(), &["10.0.0.7"], Options::default()).await;
    send_for(&sandbox, Client::to("tg:web"), seconds(10)).await;
    assert_all_served(&sandbox);
    sandbox.with(replace_web);
    sandbox.advance(seconds(300)).await;
    let losses = assert_lost_as(&sandbox, Outcome::Misdelivered);
    assert!(losses.len() > 2_900, "for ever: the new owner answers the health checks: {}", losses.len());
    assert_eq!(&*losses[0].why, "the address is that of i-00000000000000b1 now");
}

#[tokio::test(start_paused = true)]
async fn address_that_is_registered_for_its_new_owner_serves() {
    let sandbox = group(addresses(), &["10.0.0.7", "10.0.1.7"], Options::default()).await;
    set(&sandbox, "deregistration_delay.timeout_seconds", "0");
    send_for(&sandbox, Client::to("tg:web").taking(Duration::ZERO), seconds(10)).await;
    deregister(&sandbox, "10.0.0.7");
    sandbox.with(|world| {
        replace_web(world);
        let arn = arn(world);
        elbv2::register(world, &arn, Target::new("10.0.0.7")).unwrap();
    });
    sandbox.advance(seconds(120)).await;
    assert_all_served(&sandbox);
}

#[tokio::test(start_paused = true)]
async fn classic_balancer_goes_on_sending_to_the_address_of_the_registration() {
    let sandbox = shop(&[WEB, API]).await;
    sandbox.with(|world| send(world, Client::to("clb:shop").taking(Duration::ZERO))).unwrap();
    sandbox.with(|world| move_to(world, WEB, [10, 0, 0, 8]));
    sandbox.advance(seconds(20)).await;
    let losses = assert_lost_as(&sandbox, Outcome::Gone);
    assert_eq!(&*losses[0].why, "no host has 10.0.0.7");
}

#[tokio::test(start_paused = true)]
async fn address_outside_the_network_is_taken_to_be_up() {
    let sandbox = group(addresses(), &[], Options::default()).await;
    sandbox.with(|world| {
        let arn = arn(world);
        elbv2::register(world, &arn, Target::new("10.77.0.1").zone("all")).unwrap();
    });
    sandbox.advance(SETTLED).await;
    send_for(&sandbox, Client::to("tg:web"), seconds(10)).await;
    assert_all_served(&sandbox);
}
