//! The whole state at one moment: the instance, its tags, its registrations, and everything under way.

use std::hash::{Hash, Hasher};

use crate::{Cause, Function, Registrations, View};

/// A time, in steps of the model's clock.
pub type Tick = u8;

/// The state of the instance. `stopping` and `stopped` are one, since the protocol makes no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Started, and not up yet.
    Pending,
    /// Up.
    Running,
    /// Stopping or stopped.
    Out,
}

/// A tag that holds registrations. Its key is the time of its decision and a few digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// When EC2 gave the description on which the holding was decided.
    pub taken_at: Tick,
    /// Keeps apart tags that were decided at the same time.
    pub nonce: u8,
    /// The registrations in it.
    pub holds: Registrations,
}

/// DescribeInstances' answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Description {
    /// The state of the instance.
    pub state: State,
    /// The start of the present run, or of the last one.
    pub launch: Tick,
    /// The end of the last run.
    pub stop: Tick,
    /// In the order of their keys.
    pub tags: Vec<Tag>,
}

/// An event that waits in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    /// The event.
    pub cause: Cause,
    /// When it can be received: a parked message is invisible for a time, and so is one of a function that died.
    pub visible_at: Tick,
}

/// The rest of the environment's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Left {
    /// Stops.
    pub stops: u8,
    /// Starts.
    pub starts: u8,
    /// Deaths of functions.
    pub crashes: u8,
    /// A person's acts.
    pub by_a_person: u8,
    /// Descriptions that may become old.
    pub stale: u8,
}

/// The differences of times that rules can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limits {
    /// The age of a start up to which they are told apart.
    pub settle: Tick,
    /// The same for an event or an old description.
    pub lag: Tick,
    /// The same for a reading that entitles to deregister.
    pub taking: Tick,
    /// The same for a tag.
    pub tag: Tick,
    /// Whether it matters that a tag is younger than a start.
    pub compares_tags_with_starts: bool,
}

/// The whole state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct World {
    /// The time.
    pub now: Tick,
    /// The instance as it is.
    pub instance: Description,
    /// A description that may still be seen, and the time until which it was true.
    pub old: Option<(Description, Tick)>,
    /// The registrations in place.
    pub in_place: Registrations,
    /// Events that wait in the queue.
    pub queue: Vec<Message>,
    /// Functions at work.
    pub functions: Vec<Function>,
    /// The rest of the environment's limits.
    pub left: Left,
    /// The registrations that the functions took and that are not back.
    pub owed: Registrations,
    /// The registrations that a person removed from the running instance, while no tag held them and no function was at work.
    pub removed: Registrations,
    /// The differences of times that rules can see.
    pub limits: Limits,
}

/// Hashes the parts that decide about behaviour: two worlds that behave alike are equal.
///
/// Times count only as far as rules can see them. Functions have names only for the reader.
impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mut world = self.clone();
        world.reduce_times();
        world.functions.iter_mut().for_each(|function| function.name = ' ');
        world.functions.sort();
        world.queue.sort();
        let World { instance, old, in_place, queue, functions, left, owed, removed, .. } = world;
        (instance, old, in_place, queue, functions, left, owed, removed).hash(hasher);
    }
}

impl World {
    /// Returns all that the tags hold.
    pub fn held(&self) -> Registrations {
        self.instance.tags.iter().map(|tag| tag.holds).collect()
    }

    /// Returns DescribeInstances' answer: the truth, or an old one that can still be seen.
    pub fn described(&self, view: View) -> Description {
        let new = &self.instance;
        let Some((old, _)) = &self.old else { return new.clone() };
        match view {
            View::Fresh => new.clone(),
            View::Old => old.clone(),
            View::OldState => Description { tags: new.tags.clone(), ..*old },
            View::OldTags => Description { tags: old.tags.clone(), ..*new },
        }
    }

    /// Deregisters. A missing registration is no error.
    pub fn take(&mut self, one: Registrations) {
        self.owed = self.owed.and(one.within(self.in_place));
        self.in_place = self.in_place.without(one);
    }

    /// Registers. A stopped instance is not refused: a target group takes any address.
    pub fn give(&mut self, one: Registrations) {
        self.in_place = self.in_place.and(one);
        self.owed = self.owed.without(one);
    }

    /// Puts an event into the queue.
    pub fn announce(&mut self, is_running: bool) {
        self.queue.push(Message { cause: Cause::Event(Some((is_running, self.now))), visible_at: self.now });
    }

    /// Puts an event back into its queue. A sweep is not repeated: another will come.
    pub fn park(&mut self, cause: Cause) {
        if cause != Cause::Sweep {
            self.queue.push(Message { cause, visible_at: self.now + 1 });
        }
    }

    /// Writes a tag, in place of one with the same key.
    pub fn write(&mut self, tag: Tag) {
        let tags = &mut self.instance.tags;
        tags.retain(|other| (other.taken_at, other.nonce) != (tag.taken_at, tag.nonce));
        tags.push(tag);
        tags.sort();
    }

    /// Deletes tags, if they still have the value that was read.
    pub fn delete(&mut self, tags: &[Tag]) {
        self.instance.tags.retain(|tag| !tags.contains(tag));
    }

    /// Returns a few random digits that no tag of this time has, nor the calling function among its `own` tags.
    pub fn nonce(&self, taken_at: Tick, own: &[Tag]) -> u8 {
        let old = self.old.iter().flat_map(|(description, _)| &description.tags);
        let in_hands = self.functions.iter().flat_map(|function| function.tags());
        let known = || self.instance.tags.iter().chain(own).chain(old.clone()).chain(in_hands.clone());
        let is_free = |nonce: &u8| known().all(|tag| (tag.taken_at, tag.nonce) != (taken_at, *nonce));
        (0..=u8::MAX).find(is_free).unwrap_or_default()
    }

    /// Drops everything that no rule will read any more, so that worlds that behave alike are equal.
    pub fn drop_what_is_past(&mut self, lag: Tick) {
        let now = self.now;
        let queued = self.queue.iter_mut().map(|message| &mut message.cause);
        let causes = queued.chain(self.functions.iter_mut().map(|function| &mut function.cause));
        let mut is_any_young = false;
        for cause in causes {
            if cause.time().is_some_and(|time| now - time > lag) {
                *cause = Cause::Event(None);
            }
            is_any_young |= cause.time().is_some();
        }
        self.old = self.old.take().filter(|(_, true_until)| now - *true_until <= lag);
        if !is_any_young {
            // It is compared only with young events.
            self.instance.stop = self.instance.launch;
            if let Some((old, _)) = &mut self.old {
                old.stop = old.launch;
            }
        }
    }

    /// Replaces every time by the part of it that rules can see: an age as far as it matters, or the fact that it is older than
    /// that.
    fn reduce_times(&mut self) {
        let Limits { settle, lag, taking, tag, compares_tags_with_starts } = self.limits;
        let (now, launch) = (self.now, self.instance.launch);
        let old_launch = self.old.as_ref().map(|(old, _)| old.launch);
        let age = |time: Tick, most: Tick| (now - time).min(most);
        // A tag's time: its age, and, if a rule asks, whether it is after the start.
        let of_tag = |time: Tick| {
            let is_after = |launch: Tick| u8::from(compares_tags_with_starts && time > launch);
            is_after(launch) + 2 * old_launch.map_or(0, is_after) + 4 * age(time, tag)
        };
        let is_of = |time: Tick| u8::from(time == launch) + 2 * u8::from(Some(time) == old_launch);
        for function in &mut self.functions {
            if let Some(of) = function.run_given_to() {
                *of = is_of(*of);
            }
            if let Some((read_at, of)) = function.read_at() {
                if let Some(of) = of {
                    *of = is_of(*of) + 4 * of_tag(*read_at);
                }
                *read_at = age(*read_at, taking + 1);
            }
        }
        let mut keys: Vec<(Tick, u8)> = self.tags().iter().map(|tag| (tag.taken_at, tag.nonce)).collect();
        keys.sort_unstable();
        keys.dedup();
        for tag in self.tags() {
            let of_this = of_tag(tag.taken_at);
            let before = keys.iter().filter(|key| **key < (tag.taken_at, tag.nonce) && of_tag(key.0) == of_this);
            (tag.nonce, tag.taken_at) = (before.count() as u8, of_this);
        }
        self.now = 0;
        for message in &mut self.queue {
            message.visible_at = message.visible_at.saturating_sub(now);
        }
        let queued = self.queue.iter_mut().map(|message| &mut message.cause);
        for cause in queued.chain(self.functions.iter_mut().map(|function| &mut function.cause)) {
            if let Some(time) = cause.time_mut() {
                *time = age(*time, lag);
            }
        }
        if let Some((old, true_until)) = &mut self.old {
            *true_until = age(*true_until, lag);
            (old.launch, old.stop) = (age(old.launch, settle), age(old.stop, settle));
            old.tags.sort();
        }
        (self.instance.launch, self.instance.stop) = (age(launch, settle), age(self.instance.stop, settle));
        self.instance.tags.sort();
    }

    /// Returns every mention of a tag, also of one that is deleted by now.
    fn tags(&mut self) -> Vec<&mut Tag> {
        let old = self.old.iter_mut().flat_map(|(old, _)| &mut old.tags);
        let in_hands = self.functions.iter_mut().flat_map(Function::tags_mut);
        self.instance.tags.iter_mut().chain(old).chain(in_hands).collect()
    }
}
