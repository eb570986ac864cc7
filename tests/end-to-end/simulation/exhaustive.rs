//! A few basic plans, each played once for every call of the functions and every way in which a call can go wrong. The fault
//! strikes once. Then the events come again, as they do in AWS, and every promise has to be kept.
//!
//! There are races, too: an instance is stopped and soon started, second by second, with each action in turn slow all the time.

use sandbox::SameAddressWhileDraining;

use super::{
    plan::{Balancer, BalancerKind, Deed, Group, Harm, Instance, Plan, Sort, Step, Strike, Weather},
    run::{Failure, run},
};

/// The ways in which a single call can go wrong.
pub const HARMS: [Harm; 11] = [
    Harm::Slow(9),
    Harm::Slow(11),
    Harm::AnswerLost,
    Harm::NoAnswer,
    Harm::Unavailable,
    Harm::Throttled,
    Harm::Denied,
    Harm::Stale(15),
    Harm::Frozen(80),
    Harm::KilledBefore,
    Harm::KilledAfter,
];

/// Returns the basic plans, by name.
pub fn basics() -> Vec<(&'static str, Plan)> {
    let name = || "web-1".to_owned();
    let (shop, edge) = (|| "clb:shop".to_owned(), || "tg:edge:443=eth0".to_owned());
    vec![
        ("stop and start", plan(vec![(200, Deed::Stop(name())), (300, Deed::Start(name()))], &[])),
        (
            "stop, start and stop again before it settled",
            plan(vec![(200, Deed::Stop(name())), (260, Deed::Start(name())), (300, Deed::Stop(name()))], &[]),
        ),
        ("terminate", plan(vec![(200, Deed::Terminate(name()))], &[])),
        ("declare and sweep", plan(vec![(200, Deed::Declare(name(), shop())), (210, Deed::Sweep)], &["tg:web:80"])),
        (
            "stop unseen, and sweep",
            Plan {
                deliveries: (0..40).map(|event| (event, super::plan::EventFault::Lost)).collect(),
                ..plan(vec![(200, Deed::Stop(name())), (260, Deed::Sweep)], &[])
            },
        ),
        (
            "standby, stop, start and back in service",
            member(vec![
                (200, Deed::Stop(name())),
                (260, Deed::Standby(name())),
                (270, Deed::Start(name())),
                (400, Deed::InService(name())),
                (410, Deed::Sweep),
            ]),
        ),
        (
            "a person removes one place, and later it stops and starts",
            plan(vec![(500, Deed::Remove(name(), edge())), (510, Deed::Stop(name())), (600, Deed::Start(name()))], &[]),
        ),
    ]
}

/// Actions, one of which is slow in a race.
const RACING: [&str; 9] = [
    "DescribeInstances",
    "DescribeTargetHealth",
    "DescribeTags",
    "CreateTags",
    "DeleteTags",
    "DeregisterTargets",
    "DeregisterInstancesFromLoadBalancer",
    "RegisterTargets",
    "RegisterInstancesWithLoadBalancer",
];

/// Returns races, by name. One action takes nine seconds, or is answered with an old truth. An instance is started some seconds
/// after its stop. In some races it is stopped again while it is given back, or while its tag is about to be forgotten.
pub fn races() -> Vec<(String, Plan)> {
    let name = || "web-1".to_owned();
    let quick = |steps: Vec<(u64, Deed)>, strike: Strike, seed: u64| {
        let mut plan = Plan { strikes: vec![strike], seed, ..plan(steps, &[]) };
        plan.weather.is_quick = true;
        plan
    };
    let always =
        |action: &'static str, harm| Strike::Spell { from: 0, until: 500, sort: Sort::Action(action), one_in: 1, harm };
    let mut races = Vec::new();
    for action in RACING {
        let slow = always(action, Harm::Slow(9));
        for gap in 1..=15 {
            let steps = vec![(200, Deed::Stop(name())), (200 + gap, Deed::Start(name()))];
            races.push((format!("{action} is slow, and it is started after {gap} s"), quick(steps, slow, gap)));
            let settled = 225 + 120 + gap;
            let steps = vec![
                (200, Deed::Stop(name())),
                (225, Deed::Start(name())),
                (settled, Deed::Stop(name())),
                (settled + 20, Deed::Start(name())),
            ];
            let what = format!("{action} is slow, and it is stopped {} s after its start", settled - 225);
            races.push((what, quick(steps, slow, gap)));
            // After this time everything is forgotten in the visit that registers it, and an address of a stopped instance can be
            // registered.
            let steps = vec![(200, Deed::Stop(name())), (400, Deed::Start(name())), (400 + gap, Deed::Stop(name()))];
            let what = format!("{action} is slow, and it is stopped again {gap} s after its start");
            let mut plan = quick(steps, slow, gap);
            plan.instances[0].places = vec!["tg:edge:443=eth0".to_owned()];
            races.push((what, plan));
        }
    }
    for seed in 1..=15 {
        let stale = always("DescribeInstances", Harm::Stale(15));
        let steps = vec![(200, Deed::Stop(name()))];
        let mut plan = Plan { strikes: vec![stale], seed, ..plan(steps, &[]) };
        // Both of its events come before the description shows either.
        plan.weather.is_quick = true;
        races.push((format!("what is read is old, draw {seed}"), plan));
        races.push((format!("it stands still between two waves, draw {seed}"), standing_still_between_waves(seed)));
        races.push((format!("it stands still, and it is stopped again, draw {seed}"), stopped_while_given_back(seed)));
    }
    races
}

/// A function has read that an instance runs, and stands still. Meanwhile the instance is stopped again, and another function
/// deregisters it by the event.
fn stopped_while_given_back(seed: u64) -> Plan {
    let name = || "web-1".to_owned();
    let steps = vec![(200, Deed::Stop(name())), (400, Deed::Start(name())), (430, Deed::Stop(name()))];
    let sort = Sort::Action("DescribeTags");
    let still = Strike::Spell { from: 395, until: 425, sort, one_in: 1, harm: Harm::Frozen(150) };
    Plan { seed, strikes: vec![still], ..plan(steps, &[]) }
}

/// Two instances at more target groups than a wave has are stopped at once. The function has held the registrations of the second
/// wave, and deregisters the first, when it stands still. Meanwhile both instances are started, and all registrations are given
/// back, settled and forgotten.
fn standing_still_between_waves(seed: u64) -> Plan {
    let group = |number: u64| Balancer {
        name: format!("g{number:02}"),
        kind: BalancerKind::Instances,
        drains: 0,
        guardian: None,
        has_strangers: false,
    };
    let steps = ["web-1", "web-2"].map(str::to_owned);
    let stops = steps.iter().map(|name| (200, Deed::Stop(name.clone())));
    let starts = steps.iter().map(|name| (245, Deed::Start(name.clone())));
    let mut plan = plan(stops.chain(starts).collect(), &[]);
    let (mut one, mut two) = (plan.instances[0].clone(), plan.instances[0].clone());
    one.places = (0..16).map(|number| format!("tg:g{number:02}:80")).collect();
    two.name = "web-2".to_owned();
    two.places = (16..32).map(|number| format!("tg:g{number:02}:80")).collect();
    plan.instances = vec![one, two];
    plan.balancers = (0..32).map(group).collect();
    plan.strikes = vec![Strike::Of("CreateTags", 2, Harm::Frozen(150))];
    Plan { seed, ..plan }
}

/// Plays a plan once for each of its calls, with a harm that strikes that one. Returns the number of runs.
///
/// # Errors
/// The plan that broke a promise, and how.
pub fn strike_each(plan: &Plan, harm: Harm) -> Result<usize, (Box<Plan>, Box<Failure>)> {
    let calls = run(plan).map_err(|failure| (Box::new(plan.clone()), failure))?.exposed;
    for call in 1..=calls {
        let struck = Plan { strikes: vec![Strike::Call(call, harm)], ..plan.clone() };
        run(&struck).map_err(|failure| (Box::new(struck), failure))?;
    }
    Ok(calls)
}

/// One instance at a Classic load balancer, in a group for instances and one for addresses; or only at some of these.
fn plan(steps: Vec<(u64, Deed)>, places: &[&str]) -> Plan {
    let balancer = |name: &str, kind, drains| Balancer {
        name: name.to_owned(),
        kind,
        drains,
        guardian: None,
        has_strangers: false,
    };
    let places = if places.is_empty() { &["clb:shop", "tg:web:80", "tg:edge:443=eth0"] } else { places };
    Plan {
        seed: 0x5eed,
        weather: Weather {
            is_quick: false,
            same_address_while_draining: SameAddressWhileDraining::Refused,
            page_size: None,
            throttle: None,
        },
        balancers: vec![
            balancer("shop", BalancerKind::Classic, 0),
            balancer("web", BalancerKind::Instances, 60),
            balancer("edge", BalancerKind::Addresses, 60),
        ],
        instances: vec![Instance {
            name: "web-1".to_owned(),
            is_renewed: false,
            has_floating: false,
            has_other_interfaces: false,
            is_member: false,
            is_ignored: false,
            places: places.iter().map(|&place| place.to_owned()).collect(),
            declares: Vec::new(),
        }],
        group: Group::default(),
        steps: steps.into_iter().map(|(at, deed)| Step { at, deed }).collect(),
        deliveries: Vec::new(),
        orders: Vec::new(),
        strikes: Vec::new(),
    }
}

/// Returns the same with a member of the Auto Scaling group.
fn member(steps: Vec<(u64, Deed)>) -> Plan {
    let mut plan = plan(steps, &[]);
    plan.instances[0].is_member = true;
    plan
}
