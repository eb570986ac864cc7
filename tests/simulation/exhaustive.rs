//! A few basic plans, each played once for every call of the functions and every way in which a call can go wrong.
//!
//! What goes wrong goes wrong once; then the events come again, as they do in AWS, and every promise has to be kept.

use sandbox::SameAddressWhileDraining;

use super::{
    plan::{Balancer, BalancerKind, Deed, Group, Harm, Instance, Plan, Step, Strike, Weather},
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

/// The basic plans, by name.
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

/// Plays a plan once for each of its calls, with a harm that strikes that one. Answers how many runs that were.
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

/// One instance at a Classic load balancer, in a group for instances and one for addresses; or only at some of that.
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
        strikes: Vec::new(),
    }
}

/// The same with a member of the Auto Scaling group.
fn member(steps: Vec<(u64, Deed)>) -> Plan {
    let mut plan = plan(steps, &[]);
    plan.instances[0].is_member = true;
    plan
}
