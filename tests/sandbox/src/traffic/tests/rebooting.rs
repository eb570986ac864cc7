//! The fate of requests when an instance is rebooted: no event tells of it, and EC2 says `running` all the time.

use super::*;
use crate::{
    ec2::{reboot, shut_itself_down, start},
    elbv2::Health,
    options::Span,
};

/// The time of a reboot in these tests.
fn rebooting(seconds: u64) -> Options {
    Options { rebooting: Span::milliseconds(seconds * 1_000, seconds * 1_000), ..Options::default() }
}

fn health(sandbox: &Sandbox) -> Health {
    sandbox.with(|world| elbv2::targets(world, &arn(world))[0].health)
}

#[tokio::test(start_paused = true)]
async fn a_short_reboot_loses_requests_and_no_check_notices() {
    let sandbox = group(instances(), &[WEB, API], rebooting(20)).await;
    send_for(&sandbox, Client::to("tg:web").taking(seconds(2)), seconds(20)).await;
    let begun = sandbox.with(|world| {
        reboot(world, WEB).unwrap();
        world.now()
    });
    sandbox.advance(seconds(300)).await;
    let tally = sandbox.with(|world| tally(world));
    let (refused, broken) = (tally.count(Outcome::Refused), tally.count(Outcome::BrokenOff));
    assert!((70..130).contains(&refused), "half of those of 20 s: {refused}");
    assert!(broken > 0 && tally.lost() == refused + broken, "{tally}");
    assert!(until_last(&tally.losses, begun) <= 20.0);
    assert!(sandbox.with(|world| world.events.log.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_long_reboot_makes_a_target_unhealthy_until_it_is_checked_again() {
    for spec in [instances(), addresses()] {
        let member = if spec.target_type == elbv2::TargetType::Ip { "10.0.0.7" } else { WEB };
        let other = if spec.target_type == elbv2::TargetType::Ip { "10.0.1.7" } else { API };
        let sandbox = group(spec, &[member, other], rebooting(120)).await;
        send_for(&sandbox, Client::to("tg:web"), seconds(20)).await;
        let begun = sandbox.with(|world| {
            reboot(world, WEB).unwrap();
            world.now()
        });
        assert_eq!(health(&sandbox), Health::Healthy, "no check has failed yet");
        sandbox.advance(seconds(90)).await;
        assert_eq!(health(&sandbox), Health::Timeout);
        sandbox.advance(seconds(31)).await;
        assert_eq!(health(&sandbox), Health::Timeout, "it answers, and has to be checked again");
        sandbox.advance(seconds(60)).await;
        assert_eq!(health(&sandbox), Health::Healthy);
        let losses = assert_lost_as_any(&sandbox);
        assert!((5.0..115.0).contains(&until_last(&losses, begun)), "{}", until_last(&losses, begun));
        let served = sandbox.with(|world| tally(world).served());
        sandbox.advance(seconds(60)).await;
        assert!(sandbox.with(|world| tally(world).served()) > served);
    }
}

#[tokio::test(start_paused = true)]
async fn a_classic_balancer_notices_a_long_reboot_too() {
    let sandbox = sandbox(rebooting(200));
    sandbox.with(|world| {
        elb::create(world, "shop", "vpc-1", &["us-east-1a", "us-east-1b"]).unwrap();
        [WEB, API].iter().for_each(|member| elb::register(world, "shop", member).unwrap());
    });
    sandbox.advance(SETTLED).await;
    let state = || sandbox.with(|world| elb::instance_health(world, "shop", WEB).unwrap().unwrap().state);
    send_for(&sandbox, Client::to("clb:shop"), seconds(10)).await;
    sandbox.with(|world| reboot(world, WEB).unwrap());
    assert_eq!(state(), "InService");
    sandbox.advance(seconds(190)).await;
    assert_eq!(state(), "OutOfService");
    let lost = sandbox.with(|world| tally(world).lost());
    assert!(lost > 0);
    sandbox.advance(seconds(60)).await;
    assert_eq!((state(), sandbox.with(|world| tally(world).lost())), ("InService", lost));
}

#[tokio::test(start_paused = true)]
async fn what_is_registered_after_a_reboot_is_checked_as_any_other() {
    let sandbox = group(instances(), &[API], rebooting(120)).await;
    sandbox.with(|world| reboot(world, WEB).unwrap());
    sandbox.advance(seconds(121)).await;
    let of_web = || {
        let targets = sandbox.with(|world| elbv2::targets(world, &arn(world)));
        targets.into_iter().find(|target| target.id == WEB).unwrap().health
    };
    sandbox.with(|world| elbv2::register(world, &arn(world), Target::new(WEB))).unwrap();
    assert_eq!(of_web(), Health::RegistrationInProgress);
    sandbox.advance(SETTLED).await;
    assert_eq!(of_web(), Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_reboot() {
    let sandbox = group(instances(), &[WEB, API], rebooting(600)).await;
    sandbox.with(|world| {
        reboot(world, WEB).unwrap();
        shut_itself_down(world, WEB).unwrap();
    });
    sandbox.advance(seconds(60)).await;
    sandbox.with(|world| start(world, WEB).unwrap());
    sandbox.advance(seconds(90)).await;
    assert_eq!(health(&sandbox), Health::Healthy);
}

/// Returns all lost requests. There must be some.
fn assert_lost_as_any(sandbox: &Sandbox) -> Vec<Loss> {
    let tally = sandbox.with(|world| tally(world));
    assert!(tally.lost() > 0, "{tally}");
    tally.losses
}
