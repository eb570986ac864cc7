//! Draws a plan from a seed.
//!
//! Each part has a generator of its own, so that a new draw in one shifts nothing in another. Names, ports and times are drawn
//! from few values, so that they collide. Each run first draws which faults it has at all, since all at once, always, finds less.

use std::ops::RangeInclusive;

use fastrand::Rng;
use sandbox::{SameAddressWhileDraining, World, throttle::Era};

use super::plan::{
    Balancer, BalancerKind, Deed, EventFault, Group, Guardian, Harm, Instance, Plan, Sort, Step, Strike, Weather,
};

/// The second of the first step at the earliest: by then the fleet counts as having run all along.
const FIRST_STEP_AT: u64 = 130;

/// How stale a description may be, in seconds. docs/design.md assumes that descriptions lag by seconds. The protocol is sound
/// while EC2's lag and a balancer's are 45 s together (`SETTLE` less the longest reading and the longest call).
const STALE_MAX: u64 = 15;

/// How late an event may be, in seconds: later than every wait of the protocol.
const LATE_MAX: u64 = 600;

/// How much of the account's limits others use up, in hundredths. With nine tenths of the older limits used up, one description a
/// second is left for the functions. With less, a scan of ten groups cannot end in time any more (docs/design.md).
const USED_BY_OTHERS: [u8; 4] = [0, 50, 80, 90];

/// The calls among which single ones are struck. A run makes about this many.
const STRUCK_CALL_MAX: usize = 120;

/// Actions between whose calls another change matters, with the most of each in nearly every run: a reading comes before a hold,
/// a hold before a deregistration, a look before a tag is forgotten.
const TURNING_POINTS: [&str; 7] = [
    "DescribeInstances",
    "CreateTags",
    "CreateTags",
    "DeleteTags",
    "DeleteTags",
    "DeregisterTargets",
    "RegisterTargets",
];
const TURNS_MAX: usize = 4;

/// Actions that are slow in some runs from the beginning to the end. Deregistering is more frequent: most of the protocol is
/// about the time between it and the next start.
const SLOW_ACTIONS: [&str; 8] = [
    "DescribeInstances",
    "CreateTags",
    "DeleteTags",
    "DeregisterTargets",
    "DeregisterTargets",
    "DeregisterInstancesFromLoadBalancer",
    "RegisterTargets",
    "DescribeTargetHealth",
];

/// How slow, in seconds. The longer, the more happens meanwhile; after ten seconds the caller has given up.
const SLOW_FOR: [u64; 5] = [4, 7, 8, 9, 9];

/// Seconds from a start until its registrations are settled, and their tag is just being forgotten.
const SETTLES: RangeInclusive<u64> = 120..=130;

/// For how long a process stands still, in seconds: longer than a reading is good for, and at most almost as long as an event's
/// function lives; or longer than it takes to settle, which only a sweep survives.
const FROZEN: [u64; 5] = [30, 55, 80, 110, 150];

/// Returns the plan of a seed.
pub fn plan(seed: u64) -> Plan {
    let mut fleet = World::dice(seed, "fleet");
    let balancers = balancers(&mut fleet);
    let instances = instances(&mut fleet, &balancers);
    let steps = steps(&mut World::dice(seed, "steps"), &instances, &balancers);
    let steps = together(&mut World::dice(seed, "together"), steps, &instances);
    let steps = oddities(&mut World::dice(seed, "oddities"), steps, &instances, &balancers);
    let group = group(&mut World::dice(seed, "group"), &balancers);
    let end = steps.last().map_or(FIRST_STEP_AT, |step| step.at) + 120;
    let mut faults = World::dice(seed, "faults");
    Plan {
        seed,
        weather: weather(&mut World::dice(seed, "weather")),
        deliveries: deliveries(&mut faults),
        orders: orders(&mut World::dice(seed, "orders")),
        strikes: [lasting(&mut World::dice(seed, "lasting"), &instances), strikes(&mut faults, end)].concat(),
        balancers,
        instances,
        group,
        steps,
    }
}

fn weather(dice: &mut Rng) -> Weather {
    let draining = [SameAddressWhileDraining::Refused, SameAddressWhileDraining::AcceptedAndLost];
    let era = one_of(dice, &[Era::Today, Era::Until2026]);
    Weather {
        is_quick: dice.bool(),
        same_address_while_draining: one_of(dice, &draining),
        page_size: chance(dice, 30).then(|| dice.usize(1..=3)),
        throttle: chance(dice, 40).then(|| (era, one_of(dice, &USED_BY_OTHERS))),
    }
}

fn balancers(dice: &mut Rng) -> Vec<Balancer> {
    use BalancerKind::{Addresses, Classic, Far, FarInZone, Instances, Ipv6, Quic};
    let all = [
        ("shop", Classic),
        ("web", Instances),
        ("edge", Addresses),
        ("api", Instances),
        ("edge6", Ipv6),
        ("far", Far),
        ("quic", Quic),
        ("old", Classic),
        ("pods", Addresses),
        ("zonal", FarInZone),
    ];
    let mut chosen: Vec<_> = all.into_iter().filter(|_| chance(dice, 45)).collect();
    if chosen.is_empty() {
        chosen.push(one_of(dice, &all));
    }
    let guardians = [Guardian::Operator, Guardian::Kubernetes, Guardian::AutoScaling];
    chosen
        .into_iter()
        .map(|(name, kind)| {
            let can_be_attached = matches!(kind, Classic | Instances);
            let guardian = chance(dice, 20).then(|| one_of(dice, &guardians));
            Balancer {
                name: name.to_owned(),
                kind,
                drains: one_of(dice, &[0, 5, 60, 300]),
                guardian: guardian.filter(|guardian| *guardian != Guardian::AutoScaling || can_be_attached),
                has_strangers: chance(dice, 40),
            }
        })
        .collect()
}

fn instances(dice: &mut Rng, balancers: &[Balancer]) -> Vec<Instance> {
    let count = one_of(dice, &[1, 1, 2, 2, 3, 4, 5]);
    (1..=count)
        .map(|number| {
            let mut instance = Instance {
                name: format!("web-{number}"),
                is_renewed: chance(dice, 15),
                has_floating: chance(dice, 25),
                has_other_interfaces: chance(dice, 20),
                is_member: chance(dice, 30),
                is_ignored: chance(dice, 8),
                places: Vec::new(),
                declares: Vec::new(),
            };
            // The simulation cannot know which of its addresses comes back.
            instance.has_floating &= !instance.is_renewed;
            instance.has_other_interfaces &= !instance.is_renewed;
            for balancer in balancers {
                for place in places_at(balancer, &instance, number) {
                    match dice.u8(0..100) {
                        0..60 => instance.places.push(place),
                        60..70 if can_be_declared(balancer) => instance.declares.push(place),
                        _ => {}
                    }
                }
            }
            instance
        })
        .collect()
}

/// Every other run has hooks. Its instances declare only balancers of ours at which they can become healthy: with IPv4 addresses,
/// and without QUIC ids.
fn group(dice: &mut Rng, balancers: &[Balancer]) -> Group {
    let is_reachable = |kind| matches!(kind, BalancerKind::Classic | BalancerKind::Instances | BalancerKind::Addresses);
    let ours = balancers.iter().filter(|balancer| can_be_declared(balancer) && is_reachable(balancer.kind));
    let declares: Vec<String> = ours
        .filter(|_| chance(dice, 60))
        .map(|Balancer { name, kind, .. }| match kind {
            BalancerKind::Classic => format!("clb:{name}"),
            BalancerKind::Addresses => format!("tg:{name}:443=eth0"),
            _ => format!("tg:{name}:80"),
        })
        .collect();
    Group { has_hooks: dice.bool(), declares }
}

/// Returns every place that an instance could have at a balancer.
fn places_at(balancer: &Balancer, instance: &Instance, number: u64) -> Vec<String> {
    let name = &balancer.name;
    match balancer.kind {
        // The group registers its members itself.
        _ if balancer.guardian == Some(Guardian::AutoScaling) && instance.is_member => Vec::new(),
        BalancerKind::Classic => vec![format!("clb:{name}")],
        BalancerKind::Instances => vec![format!("tg:{name}:80"), format!("tg:{name}:8080")],
        BalancerKind::Quic => vec![format!("tg:{name}:443+0x{number:016x}")],
        BalancerKind::Addresses if instance.has_floating => {
            vec![format!("tg:{name}:443=eth0"), format!("tg:{name}:443=floating")]
        }
        BalancerKind::Addresses => vec![format!("tg:{name}:443=eth0"), format!("tg:{name}:8443=eth0")],
        BalancerKind::Ipv6 => vec![format!("tg:{name}:443=eth0")],
        BalancerKind::Far => vec![format!("tg:{name}:443=eth0@all")],
        BalancerKind::FarInZone => vec![format!("tg:{name}:443=eth0@us-east-1a")],
    }
}

/// Returns whether a plan may declare a place at a balancer. A declaration at a guarded balancer is not fulfilled, and plans declare no
/// QUIC ids.
fn can_be_declared(balancer: &Balancer) -> bool {
    balancer.guardian.is_none() && balancer.kind != BalancerKind::Quic
}

fn steps(dice: &mut Rng, instances: &[Instance], balancers: &[Balancer]) -> Vec<Step> {
    let mut at = FIRST_STEP_AT + dice.u64(0..30);
    let count = dice.usize(3..=12);
    let mut steps: Vec<Step> = Vec::new();
    for _ in 0..count {
        let deed = sequel(dice, &steps, at).unwrap_or_else(|| deed(dice, instances, balancers));
        let gap = gap(dice, &deed);
        steps.push(Step { at, deed });
        at += gap;
    }
    steps
}

/// In every fourth run, a stop or a start is done to all instances at once, so that the events are handed over in orders.
fn together(dice: &mut Rng, steps: Vec<Step>, instances: &[Instance]) -> Vec<Step> {
    if !chance(dice, 25) {
        return steps;
    }
    let everyone = || instances.iter().map(|instance| instance.name.clone());
    steps
        .into_iter()
        .flat_map(|Step { at, deed }| {
            let deeds: Vec<Deed> = match deed {
                Deed::Stop(_) => everyone().map(Deed::Stop).collect(),
                Deed::Start(_) => everyone().map(Deed::Start).collect(),
                other => vec![other],
            };
            deeds.into_iter().map(move |deed| Step { at, deed })
        })
        .collect()
}

/// Adds what few fleets have, each to few runs: prefixes and interfaces in another network, controllers, tags of other teams, short
/// hooks, and copies. All but the copies are there before the first step.
fn oddities(dice: &mut Rng, mut steps: Vec<Step>, instances: &[Instance], balancers: &[Balancer]) -> Vec<Step> {
    let named = |kinds: &[BalancerKind]| {
        let found = balancers.iter().find(|balancer| kinds.contains(&balancer.kind));
        found.map(|balancer| balancer.name.clone())
    };
    let mut first: Vec<Deed> = Vec::new();
    for instance in instances {
        let name = || instance.name.clone();
        let is_plain = !instance.is_renewed && !instance.has_other_interfaces;
        if let Some(group) = named(&[BalancerKind::Addresses]).filter(|_| chance(dice, 10) && is_plain) {
            first.extend([Deed::Delegate(name()), Deed::Add(name(), format!("tg:{group}:9443=prefix"))]);
        }
        let far = named(&[BalancerKind::Far, BalancerKind::FarInZone]);
        if let Some(group) = far.filter(|_| chance(dice, 20) && is_plain) {
            first.extend([Deed::AttachFar(name()), Deed::Add(name(), format!("tg:{group}:443=eth1"))]);
        }
        let is_declared = |step: &Step| matches!(&step.deed, Deed::Declare(of, _) if *of == instance.name);
        if chance(dice, 8) && instance.declares.is_empty() && !steps.iter().any(is_declared) {
            first.push(Deed::Control(name(), chance(dice, 50)));
        }
        if chance(dice, 10) {
            first.push(Deed::LeaveRoom(name(), dice.usize(5..=8)));
        }
    }
    let is_full = |name: &str| first.iter().any(|deed| matches!(deed, Deed::LeaveRoom(of, _) if of == name));
    let crowded: Vec<&Instance> =
        instances.iter().filter(|instance| chance(dice, 10) && !is_full(&instance.name)).collect();
    first.extend(crowded.into_iter().map(|instance| Deed::Crowd(instance.name.clone(), dice.u16(20..=60))));
    if chance(dice, 15) {
        first.push(Deed::MakeUpTags);
    }
    let made_up: Vec<Step> = steps
        .iter()
        .filter_map(|step| {
            let name = (*step.deed.names().first()?).to_owned();
            chance(dice, 3).then(|| Step { at: step.at + dice.u64(..10), deed: Deed::MakeUpEvents(name) })
        })
        .collect();
    steps.extend(made_up);
    if chance(dice, 15) {
        first.push(Deed::Heartbeat(one_of(dice, &[30, 45, 60])));
    }
    for number in 1..=usize::from(chance(dice, 15)) + usize::from(chance(dice, 5)) {
        let (copy, last) = (format!("copy-{number}"), steps.last().map_or(FIRST_STEP_AT, |step| step.at));
        let at = dice.u64(FIRST_STEP_AT..=last + 60);
        let original = instances[dice.usize(..instances.len())].name.clone();
        let mut deeds = vec![Deed::Copy(original, copy.clone())];
        if chance(dice, 50) {
            deeds.extend([Deed::Stop(copy.clone()), Deed::Start(copy)]);
        }
        let later = deeds.into_iter().zip(0..).map(|(deed, number)| Step { at: at + 45 * number, deed });
        steps.extend(later);
    }
    steps.sort_by_key(|step| step.at);
    first.into_iter().map(|deed| Step { at: FIRST_STEP_AT - 10, deed }).chain(steps).collect()
}

/// In few runs an instance may not be tagged, or a target group is full, as long as the faults last.
fn lasting(dice: &mut Rng, instances: &[Instance]) -> Vec<Strike> {
    let number = 1 + dice.usize(..instances.len());
    let untaggable = chance(dice, 6).then(|| Strike::Untaggable(u64::try_from(number).unwrap_or(1)));
    let full = chance(dice, 8).then(|| Strike::Full(one_of(dice, &["web", "edge", "api", "pods"])));
    untaggable.into_iter().chain(full).collect()
}

/// Returns a frequent sequel, so that functions of both deeds are at work at once: a start after a stop, with or without a sweep
/// between them, and then the next stop.
fn sequel(dice: &mut Rng, steps: &[Step], at: u64) -> Option<Deed> {
    let mut before = steps.iter().rev();
    let last = before.next()?;
    match (&last.deed, before.next().map(|step| &step.deed)) {
        (Deed::Stop(_), _) if chance(dice, 12) => Some(Deed::Sweep),
        (Deed::Stop(name), _) | (Deed::Sweep, Some(Deed::Stop(name))) if chance(dice, 50) => {
            Some(Deed::Start(name.clone()))
        }
        (Deed::Start(name), _) if chance(dice, if SETTLES.contains(&(at - last.at)) { 80 } else { 30 }) => {
            Some(Deed::Stop(name.clone()))
        }
        // Its group keeps it out of service then, however well it runs.
        (Deed::Standby(name), _) if chance(dice, 50) => Some(Deed::Stop(name.clone())),
        (Deed::Warm(name), _) if chance(dice, 50) => Some(Deed::Start(name.clone())),
        _ => None,
    }
}

/// Returns seconds until the next deed.
fn gap(dice: &mut Rng, deed: &Deed) -> u64 {
    match (deed, dice.u8(0..100)) {
        // The tag is about to be forgotten: a function that deregisters now must not rely on the tag that another deletes.
        (Deed::Start(_), 0..30) => dice.u64(SETTLES),
        // It is out after this time, if starts and stops are quick, and a function may still be at work that saw it so.
        (Deed::Stop(_), 0..50) => dice.u64(2..=7),
        // Only after this long must every function know it.
        (Deed::Standby(_) | Deed::Warm(_), 0..50) => dice.u64(151..=300),
        (_, 0..30) => dice.u64(0..=6),
        (_, 30..70) => dice.u64(7..=60),
        (_, 70..90) => dice.u64(61..=200),
        _ => dice.u64(201..=700),
    }
}

fn deed(dice: &mut Rng, instances: &[Instance], balancers: &[Balancer]) -> Deed {
    let instance = &instances[dice.usize(..instances.len())];
    let balancer = &balancers[dice.usize(..balancers.len())];
    let name = instance.name.clone();
    let number = name.trim_start_matches("web-").parse().unwrap_or_default();
    let places = places_at(balancer, instance, number);
    let place = (!places.is_empty()).then(|| places[dice.usize(..places.len())].clone());
    match (dice.u8(0..100), place) {
        (0..32, _) => Deed::Stop(name),
        (32..60, _) => Deed::Start(name),
        (60..62, _) => Deed::ShutDown(name),
        (62..65, _) => Deed::Terminate(name),
        (65..67, _) => Deed::Wants(dice.usize(0..=3)),
        (67..69, _) if instance.is_member => Deed::ScaleIn(name),
        (69..72, _) if instance.is_member => Deed::Standby(name),
        (72..74, _) if instance.is_member => Deed::Warm(name),
        (74..79, _) if instance.is_member => Deed::InService(name),
        (67..74, Some(place)) => Deed::Remove(name, place),
        (74..82, Some(place)) => Deed::Add(name, place),
        (82..85, Some(place)) if can_be_declared(balancer) => Deed::Declare(name, place),
        (85..86, _) => Deed::Undeclare(name),
        (86..88, _) => Deed::Ignore(name),
        (88..90, _) => Deed::Heed(name),
        (90..91, _) => Deed::IgnoreBalancer(balancer.name.clone()),
        (91..93, _) => Deed::Delete(balancer.name.clone()),
        (93..95, _) => Deed::MoveFloating(name, instances[dice.usize(..instances.len())].name.clone()),
        (95..100, _) => Deed::Sweep,
        _ => Deed::Stop(name),
    }
}

fn deliveries(dice: &mut Rng) -> Vec<(usize, EventFault)> {
    let (lost, twice, late) = (one_of(dice, &[0, 0, 10, 50]), one_of(dice, &[0, 0, 20]), one_of(dice, &[0, 0, 30]));
    let mut faults = Vec::new();
    for event in 0..40 {
        let by = one_of(dice, &[5, 40, 130, LATE_MAX]);
        match dice.u8(0..100) {
            n if n < lost => faults.push((event, EventFault::Lost)),
            n if n < lost + twice => faults.push((event, EventFault::Twice)),
            n if n < lost + twice + late => faults.push((event, EventFault::Late(dice.u64(1..=by)))),
            _ => {}
        }
    }
    faults
}

/// In half of the runs, some orders for sweeps are lost, doubled or late.
fn orders(dice: &mut Rng) -> Vec<(usize, EventFault)> {
    let often = one_of(dice, &[0, 0, 20, 60]);
    let struck: Vec<usize> = (0..20).filter(|_| chance(dice, often)).collect();
    let fault = |order| {
        let by = one_of(dice, &[5, 40, 130]);
        let late = EventFault::Late(dice.u64(1..=by));
        (order, one_of(dice, &[EventFault::Lost, EventFault::Twice, late]))
    };
    struck.into_iter().map(fault).collect()
}

fn strikes(dice: &mut Rng, end: u64) -> Vec<Strike> {
    // In some runs one action is slow, or its caller stands still after it, from the beginning to the end. The windows of the
    // protocol are seconds long, and this opens them that wide.
    let mut strikes: Vec<Strike> = chance(dice, 35).then(|| slow_action(dice, end)).into_iter().collect();
    let all = harms(dice);
    let mut in_force: Vec<Harm> = all.into_iter().filter(|_| chance(dice, 35)).collect();
    if in_force.is_empty() && chance(dice, 70) {
        in_force.push(Harm::KilledAfter);
    }
    if in_force.is_empty() {
        return strikes;
    }
    let singles = one_of(dice, &[0, 1, 3, 8]);
    let spells = one_of(dice, &[0, 0, 1, 2, 3]);
    strikes.extend((0..singles).map(|_| {
        let harm = in_force[dice.usize(..in_force.len())];
        match dice.bool() {
            true => Strike::Of(one_of(dice, &TURNING_POINTS), dice.usize(1..=TURNS_MAX), harm),
            false => Strike::Call(dice.usize(1..=STRUCK_CALL_MAX), harm),
        }
    }));
    strikes.extend((0..spells).map(|_| {
        let from = dice.u64(FIRST_STEP_AT..end);
        Strike::Spell {
            from,
            until: from + dice.u64(5..=300),
            sort: one_of(dice, &[Sort::Reads, Sort::Writes, Sort::Any]),
            one_in: dice.usize(1..=6),
            harm: in_force[dice.usize(..in_force.len())],
        }
    }));
    strikes
}

fn slow_action(dice: &mut Rng, end: u64) -> Strike {
    let harm = match chance(dice, 80) {
        true => Harm::Slow(one_of(dice, &SLOW_FOR)),
        false => Harm::Frozen(one_of(dice, &FROZEN)),
    };
    let sort = Sort::Action(one_of(dice, &SLOW_ACTIONS));
    Strike::Spell { from: FIRST_STEP_AT, until: end, sort, one_in: dice.usize(1..=2), harm }
}

fn harms(dice: &mut Rng) -> Vec<Harm> {
    vec![
        Harm::Slow(dice.u64(1..=9)),
        Harm::Slow(11),
        Harm::AnswerLost,
        Harm::NoAnswer,
        Harm::Unavailable,
        Harm::Throttled,
        Harm::Denied,
        Harm::Stale(dice.u64(1..=STALE_MAX)),
        Harm::Frozen(one_of(dice, &FROZEN)),
        Harm::KilledBefore,
        Harm::KilledAfter,
    ]
}

fn chance(dice: &mut Rng, percent: u8) -> bool {
    dice.u8(0..100) < percent
}

fn one_of<T: Copy>(dice: &mut Rng, choices: &[T]) -> T {
    choices[dice.usize(..choices.len())]
}
