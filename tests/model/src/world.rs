//! Everything that there is at one moment: the instance, its tags, its registrations, what is under way.

use std::hash::{Hash, Hasher};

use crate::{Cause, Function, Registrations, View};

/// A time, in steps of the model's clock.
pub type Tick = u8;

/// What the instance is doing. `stopping` and `stopped` are one, since the protocol makes no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Started, and not up yet.
    Pending,
    /// Up.
    Running,
    /// Stopping or stopped.
    Out,
}

/// A tag that holds registrations. Its key is when it was decided and a few digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// When EC2 gave the description on which the holding was decided.
    pub taken_at: Tick,
    /// Keeps apart what was decided at the same time.
    pub nonce: u8,
    /// What it holds.
    pub holds: Registrations,
}

/// What DescribeInstances says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Description {
    /// What the instance is doing.
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
    /// When it can be received: parked, or not acknowledged by a function that died, it is invisible for a time.
    pub visible_at: Tick,
}

/// What is left of what the environment may do.
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

/// What the rules can tell of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limits {
    /// The age of a start up to which they are told apart.
    pub settle: Tick,
    /// The same of an event or an old description.
    pub lag: Tick,
    /// The same of a reading that entitles to take.
    pub taking: Tick,
    /// The same of a tag.
    pub tag: Tick,
    /// Whether it counts that a tag is younger than a start.
    pub compares_tags_with_starts: bool,
}

/// Everything that there is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct World {
    /// The time.
    pub now: Tick,
    /// The instance as it is.
    pub instance: Description,
    /// A description that may still be seen, and until when it was true.
    pub old: Option<(Description, Tick)>,
    /// What is registered.
    pub in_place: Registrations,
    /// Events that wait in the queue.
    pub queue: Vec<Message>,
    /// Functions at work.
    pub functions: Vec<Function>,
    /// What the environment may still do.
    pub left: Left,
    /// What we took and is not back.
    pub owed: Registrations,
    /// What a person removed from the running instance, while nothing held it and nobody was at work.
    pub removed: Registrations,
    /// What the rules can tell of times.
    pub limits: Limits,
}

/// What two worlds have in common that behave alike.
///
/// Times count only by what the rules can tell of them; functions have names only for the reader.
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
    /// All that the tags hold.
    pub fn held(&self) -> Registrations {
        self.instance.tags.iter().map(|tag| tag.holds).collect()
    }

    /// What DescribeInstances answers: the truth, or what is left of an old one.
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

    /// Deregisters: what is not there is no error.
    pub fn take(&mut self, one: Registrations) {
        self.owed = self.owed.and(one.within(self.in_place));
        self.in_place = self.in_place.without(one);
    }

    /// Registers. What is out is not refused: a target group takes any address.
    pub fn give(&mut self, one: Registrations) {
        self.in_place = self.in_place.and(one);
        self.owed = self.owed.without(one);
    }

    /// An event comes.
    pub fn announce(&mut self, is_running: bool) {
        self.queue.push(Message { cause: Cause::Event(Some((is_running, self.now))), visible_at: self.now });
    }

    /// An event goes back into its queue. A sweep is not repeated: another will come.
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

    /// Deletes tags, where they still have the value that was read.
    pub fn delete(&mut self, tags: &[Tag]) {
        self.instance.tags.retain(|tag| !tags.contains(tag));
    }

    /// Few random digits that nobody has at this time, nor has the function that asks among its `own` tags.
    pub fn nonce(&self, taken_at: Tick, own: &[Tag]) -> u8 {
        let old = self.old.iter().flat_map(|(description, _)| &description.tags);
        let in_hands = self.functions.iter().flat_map(|function| function.tags());
        let known = || self.instance.tags.iter().chain(own).chain(old.clone()).chain(in_hands.clone());
        let is_free = |nonce: &u8| known().all(|tag| (tag.taken_at, tag.nonce) != (taken_at, *nonce));
        (0..=u8::MAX).find(is_free).unwrap_or_default()
    }

    /// Drops what no rule will read any more, so that worlds that behave alike are alike.
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
            // Only young events are compared with it.
            self.instance.stop = self.instance.launch;
            if let Some((old, _)) = &mut self.old {
                old.stop = old.launch;
            }
        }
    }

    /// Replaces every time by what the rules can tell of it: an age as far as it matters, or what it is older than.
    fn reduce_times(&mut self) {
        let Limits { settle, lag, taking, tag, compares_tags_with_starts } = self.limits;
        let (now, launch) = (self.now, self.instance.launch);
        let old_launch = self.old.as_ref().map(|(old, _)| old.launch);
        let age = |time: Tick, most: Tick| (now - time).min(most);
        // Of a tag's time: how old is it, and, where a rule asks, is it after the start?
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

    /// Every mention of a tag, also of one that is deleted by now.
    fn tags(&mut self) -> Vec<&mut Tag> {
        let old = self.old.iter_mut().flat_map(|(old, _)| &mut old.tags);
        let in_hands = self.functions.iter_mut().flat_map(Function::tags_mut);
        self.instance.tags.iter_mut().chain(old).chain(in_hands).collect()
    }
}
