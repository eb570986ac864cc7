//! The functions' decisions: the model's own decisions are compared with those of `protocol::decide`, world by world.
//!
//! The model decides with sets of bits and a clock of few ticks, because otherwise it could not be searched. Here each
//! description that a function could get in a world is given to the functions' own code, with every set of registrations that
//! could be in place, and both have to decide the same. A tick has no fixed length: ages that the model tells apart become ages
//! that the functions tell apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use protocol::{
    balancer::TargetGroupId,
    decide::{Attached, TakeOut, Weight, give_back, take_out, weigh},
    event::Notice,
    held::{Stamp, tags_to_hold},
    instance::{Instance, State as InstanceState},
    observed::{Found, Health, Standing, Target},
    registration::{Registration, TargetName},
    time::Timestamp,
    timing::{DESCRIPTION_LAG_MAX, HELD_IS_FRESH_FOR, SETTLE},
};

use crate::{
    Bounds, Cause, Description, Registrations, Rules, State, Tag, Tick,
    function::{Begun, Function, Next, decide_to_give, decide_to_take},
};

/// The input of a function: its cause, its description of the instance, and the time. Times are ages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Told {
    cause: Cause,
    seen: Description,
}

impl Told {
    pub(crate) fn new(cause: Cause, seen: Description, now: Tick) -> Self {
        let age = |time: Tick| now - time;
        let aged = |tag: &Tag| Tag { taken_at: age(tag.taken_at), ..*tag };
        let tags = seen.tags.iter().map(aged).collect();
        let cause = match cause {
            Cause::Event(Some((is_running, time))) => Cause::Event(Some((is_running, age(time)))),
            other => other,
        };
        Self { cause, seen: Description { state: seen.state, launch: age(seen.launch), stop: age(seen.stop), tags } }
    }

    /// Returns whether the model and the functions decide the same, whichever of these registrations are in place.
    pub(crate) fn is_decided_alike(&self, rules: &Rules, bounds: &Bounds) -> bool {
        self.is_weighed_alike(rules, bounds.lag)
            && bounds.registrations.subsets().all(|in_place| match self.seen.state {
                State::Out => self.is_taken_alike(in_place, rules),
                State::Running => self.is_given_alike(in_place, rules, bounds.returns),
                State::Pending => true,
            })
    }

    /// Returns whether both treat a description that is older than its event in the same way.
    fn is_weighed_alike(&self, rules: &Rules, lag: Tick) -> bool {
        let Cause::Event(event) = self.cause else { return true };
        let (now, seen) = self.in_ticks();
        let state = |is_running| if is_running { InstanceState::Running } else { InstanceState::Stopped };
        let announced = event.map(|(is_running, age)| (state(is_running), time_of(age)));
        let notice = Notice { instance: "i-1".into(), announced, failures: 0 };
        let cause = Cause::Event(event.map(|(is_running, age)| (is_running, now - age)));
        let begun = Function::begin('A', cause, &seen, now, rules, lag);
        match weigh(&notice, Some(&self.instance()), functions_now()) {
            Weight::TooEarly(_) => begun == Begun::TooEarly,
            Weight::Nothing(_) => begun == Begun::NothingToDo,
            // The functions learn of a running instance without a tag only one step later.
            Weight::Converge => begun != Begun::TooEarly && seen.state != State::Pending,
        }
    }

    /// Returns whether both take the same, and hold the same before it.
    fn is_taken_alike(&self, in_place: Registrations, rules: &Rules) -> bool {
        let (now, seen) = self.in_ticks();
        let Next::Scan { read_at, launch, trusted, older } = Next::scan(&seen, now, rules) else { return false };
        let next = decide_to_take(in_place, read_at, launch, trusted, older, rules);
        let (take, hold, superseded) = match next {
            Next::Hold { take, hold, older, .. } => (take, all_in(hold, &older), older),
            _ => (Registrations::NONE, Registrations::NONE, Vec::new()),
        };
        let instance = self.instance();
        let found: Vec<Found> = in_place.each().map(found).collect();
        let decision = take_out(&instance, functions_now(), &found, &Attached::default());
        // The same again, as it is decided after the reading was renewed.
        let mut renewed = TakeOut::of(decision.take.clone());
        renewed.decide_holding(&instance, functions_now());
        [decision, renewed].into_iter().all(|decision| {
            let keys: Vec<String> = decision.superseded.into_iter().map(|tag| tag.key).collect();
            let taken = decision.take.iter().map(|(registration, _)| registration);
            (bits(taken), bits(&decision.hold), keys) == (take, hold, self.keys_of(&superseded))
        })
    }

    /// Returns whether both give back, forget, and look again in the same way, for a member of a group or for another instance.
    fn is_given_alike(&self, in_place: Registrations, rules: &Rules, is_member: bool) -> bool {
        let (now, seen) = self.in_ticks();
        let Next::Look { forgettable, kept, launch } = Next::look(&seen, now, rules) else { return false };
        let (next, again) = decide_to_give(in_place, forgettable, &kept, launch, rules);
        let (give, forget) = match next {
            Next::Register { give, forget, .. } => (give, forget),
            Next::Forget { forget } => (Registrations::NONE, forget),
            _ => (Registrations::NONE, Vec::new()),
        };
        let held: Registrations = seen.tags.iter().map(|tag| tag.holds).collect();
        let standing = |one: Registrations| match in_place.has(one) {
            true => (registration(one), Standing::InPlace(in_service())),
            false => (registration(one), Standing::Absent(target())),
        };
        let group = is_member.then(|| "fleet".into());
        let attached = Attached { group, ..Attached::default() };
        let standings = held.each().map(standing).collect();
        let declared = BTreeSet::new();
        let decision = give_back(&self.instance(), functions_now(), standings, &declared, &attached);
        let given = bits(decision.register.iter().map(|(registration, _)| registration));
        let mut keys: Vec<String> =
            decision.forget.into_iter().chain(decision.forget_when_given).map(|tag| tag.key).collect();
        keys.sort();
        (given, keys, decision.look_again.is_some()) == (give, self.keys_of(&forget), again)
    }

    /// Returns the input, as of a time in the model.
    fn in_ticks(&self) -> (Tick, Description) {
        let now = Tick::MAX;
        let Description { state, launch, stop, tags } = &self.seen;
        let tags = tags.iter().map(|tag| Tag { taken_at: now - tag.taken_at, ..*tag }).collect();
        (now, Description { state: *state, launch: now - launch, stop: now - stop, tags })
    }

    /// Returns the input, as EC2 would have described it.
    fn instance(&self) -> Instance {
        Instance {
            id: "i-1".into(),
            state: match self.seen.state {
                State::Pending => InstanceState::Pending,
                State::Running => InstanceState::Running,
                State::Out => InstanceState::Stopped,
            },
            launch_time: Some(time_of(self.seen.launch)),
            made_at: None,
            stop_time: Some(time_of(self.seen.stop)),
            vpc: None,
            interfaces: Vec::new(),
            tags: self.seen.tags.iter().flat_map(written).collect(),
        }
    }

    /// Returns the keys of tags that bear the times of the model.
    fn keys_of(&self, tags: &[Tag]) -> Vec<String> {
        let aged = |tag: &Tag| Tag { taken_at: Tick::MAX - tag.taken_at, ..*tag };
        let mut keys: Vec<String> = tags.iter().flat_map(|tag| written(&aged(tag))).map(|(key, _)| key).collect();
        keys.sort();
        keys
    }
}

/// Returns the present time of the functions' clock.
fn functions_now() -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

/// Returns the time that many ticks ago. In the model a tag is fresh for a tick, a description lags by one at the most, and all
/// is settled after three.
fn time_of(age: Tick) -> Timestamp {
    let seconds = match age {
        0 => 0,
        1 => HELD_IS_FRESH_FOR.num_seconds() - 1,
        2 => DESCRIPTION_LAG_MAX.num_seconds() + 1,
        age => SETTLE.num_seconds() * i64::from(age - 2),
    };
    functions_now() - Duration::from_secs(seconds.unsigned_abs())
}

/// Returns the tags that one tag of the model stands for: one, since the registrations are few.
fn written(tag: &Tag) -> BTreeMap<String, String> {
    let registrations = tag.holds.each().map(registration).collect();
    let stamp = Stamp { taken_at: time_of(tag.taken_at), nonce: tag.nonce.into() };
    tags_to_hold(&registrations, stamp).into_iter().collect()
}

/// Returns one in a target group. A tag of a Classic load balancer that is out is left as it is, which only adds to what is held.
fn registration(one: Registrations) -> Registration {
    let group = TargetGroupId { name: one.to_string(), id: "0123456789abcdef".to_owned() };
    Registration::in_group(group, TargetName { port: Some(80), ..TargetName::default() })
}

fn bits<'r>(registrations: impl IntoIterator<Item = &'r Registration>) -> Registrations {
    let names: Vec<String> = registrations.into_iter().map(ToString::to_string).collect();
    Registrations::ALL.each().filter(|one| names.contains(&registration(*one).to_string())).collect()
}

fn all_in(hold: Registrations, older: &[Tag]) -> Registrations {
    older.iter().map(|tag| tag.holds).fold(hold, Registrations::and)
}

fn in_service() -> Health {
    Health { state: "InService".to_owned(), reason: None, is_in_vain: false }
}

fn target() -> Target {
    Target { id: "i-1".to_owned(), port: None, zone: None, quic_id: None, vpc: None }
}

fn found(one: Registrations) -> Found {
    let (registration, target) = (registration(one), target());
    Found { instance: "i-1".into(), registration, target, owner: None, doubt: None }
}
