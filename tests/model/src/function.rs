//! A function at work on the instance: one call at a time, in the order of `engine/`.

use crate::{Bounds, Description, Keys, Registrations, Rules, Stale, State, Tag, Tick, Trust, World};

/// The cause of a function's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// An event: whether it said that the instance runs, and when; `None` if that was long ago and decides nothing.
    Event(Option<(bool, Tick)>),
    /// The schedule.
    Sweep,
}

/// A function at work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Function {
    /// Its name, for the reader.
    pub name: char,
    /// Its cause.
    pub cause: Cause,
    /// Its next step, with its memory.
    pub next: Next,
    /// Whether its event must come again.
    pub again: bool,
}

/// The result of reading the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// There is work.
    AtWork(Function),
    /// There is no work, and the event has served its purpose.
    NothingToDo,
    /// The description may be older than the event, which stays in the queue.
    TooEarly,
}

/// A function's next step, with its memory of the steps before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Next {
    /// Scan the balancers.
    Scan { read_at: Tick, launch: Tick, trusted: Registrations, older: Vec<Tag> },
    /// Write `hold` and the registrations of older tags, after another reading if the scan took long.
    Hold { read_at: Tick, launch: Tick, take: Registrations, hold: Registrations, older: Vec<Tag> },
    /// Delete older tags whose registrations are all in the new one.
    DropOlder { read_at: Tick, take: Registrations, older: Vec<Tag> },
    /// Deregister, one after the other; `hold_late` is for a broken protocol that holds afterwards.
    Deregister { read_at: Tick, take: Registrations, hold_late: Registrations },
    /// Write the registrations that were taken.
    HoldLate { read_at: Tick, hold: Registrations },
    /// Read the instance again.
    LookAfterTaking,
    /// Look at everything that is held, by tags that may be forgotten and by tags that may not.
    Look { forgettable: Vec<Tag>, kept: Vec<Registrations>, launch: Tick },
    /// Register, one after the other.
    Register { give: Registrations, forget: Vec<Tag>, launch: Tick },
    /// Read the instance again, before its tags are forgotten.
    LookAfterGiving { forget: Vec<Tag>, launch: Tick },
    /// Delete the tags.
    Forget { forget: Vec<Tag> },
    /// Nothing more.
    End,
}

/// One call, and its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The balancers are scanned.
    Scan,
    /// The instance is described once more before anything is taken.
    Renew(View),
    /// CreateTags.
    Hold,
    /// DeleteTags, of tags whose registrations are in the new one.
    DropOlder,
    /// Deregister.
    Deregister(Registrations),
    /// Deregister. The answer is lost on the way, and the SDK tries again.
    DeregisterUnheard(Registrations),
    /// Not taken: the reading is too old by now.
    TooLate,
    /// The instance is described after a deregistration.
    LookAfterTaking(View),
    /// The balancers are looked at.
    Look,
    /// Register.
    Register(Registrations),
    /// The instance is described after a registration.
    LookAfterGiving(View),
    /// DeleteTags, of settled tags.
    Forget,
}

/// The description that a call gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The true one.
    Fresh,
    /// An old one.
    Old,
    /// An old state with the present tags.
    OldState,
    /// The present state with old tags.
    OldTags,
}

impl Cause {
    /// Returns the time of the change that the event tells, if it matters still.
    pub fn time(self) -> Option<Tick> {
        match self {
            Self::Event(Some((_, time))) => Some(time),
            _ => None,
        }
    }

    pub(crate) fn time_mut(&mut self) -> Option<&mut Tick> {
        match self {
            Self::Event(Some((_, time))) => Some(time),
            _ => None,
        }
    }
}

impl Function {
    /// Returns the result of reading the instance.
    pub fn begin(name: char, cause: Cause, seen: &Description, now: Tick, rules: &Rules, lag: Tick) -> Begun {
        if let Cause::Event(Some((is_running, time))) = cause
            && now - time <= lag
            && may_be_older(seen, is_running, time)
        {
            return Begun::TooEarly;
        }
        let next = match seen.state {
            State::Pending => return Begun::NothingToDo,
            State::Running if seen.tags.is_empty() => return Begun::NothingToDo,
            State::Running => Next::look(seen, now, rules),
            State::Out => Next::scan(seen, now, rules),
        };
        Begun::AtWork(Self { name, cause, next, again: false })
    }

    /// Returns whether it has no more work.
    pub fn is_at_its_end(&self) -> bool {
        self.next == Next::End
    }

    /// Returns the tags that it remembers.
    pub fn tags(&self) -> impl Iterator<Item = &Tag> + Clone {
        let tags: &[Tag] = match &self.next {
            Next::Look { forgettable, .. } => forgettable,
            Next::Scan { older, .. } | Next::Hold { older, .. } | Next::DropOlder { older, .. } => older,
            Next::Register { forget, .. } | Next::LookAfterGiving { forget, .. } | Next::Forget { forget } => forget,
            _ => &[],
        };
        tags.iter()
    }

    pub(crate) fn tags_mut(&mut self) -> &mut [Tag] {
        match &mut self.next {
            Next::Look { forgettable, .. } => forgettable,
            Next::Scan { older, .. } | Next::Hold { older, .. } | Next::DropOlder { older, .. } => older,
            Next::Register { forget, .. } | Next::LookAfterGiving { forget, .. } | Next::Forget { forget } => forget,
            _ => &mut [],
        }
    }

    /// Returns when it read the instance, if that matters still: as the time of a tag to be written, or only to be too old.
    pub(crate) fn read_at(&mut self) -> Option<(&mut Tick, Option<&mut Tick>)> {
        match &mut self.next {
            Next::Scan { read_at, launch, .. } | Next::Hold { read_at, launch, .. } => Some((read_at, Some(launch))),
            Next::DropOlder { read_at, .. } | Next::Deregister { read_at, .. } => Some((read_at, None)),
            Next::HoldLate { read_at, .. } => Some((read_at, None)),
            _ => None,
        }
    }

    /// Returns the start of the run that it gives back to. It only compares it.
    pub(crate) fn run_given_to(&mut self) -> Option<&mut Tick> {
        match &mut self.next {
            Next::Look { launch, .. } | Next::Register { launch, .. } | Next::LookAfterGiving { launch, .. } => {
                Some(launch)
            }
            _ => None,
        }
    }

    /// Returns its possible calls, and their possible outcomes.
    pub fn calls(&self, world: &World, rules: &Rules, bounds: &Bounds) -> Vec<Call> {
        let described = |call: fn(View) -> Call| views(world, bounds).into_iter().map(call).collect::<Vec<_>>();
        match &self.next {
            Next::Scan { .. } => vec![Call::Scan],
            Next::Hold { read_at, .. } => {
                let mut calls = described(Call::Renew);
                // The scan reads again after a third of the time for which a reading is good, which may fall in the next tick.
                if world.now - read_at <= 1 {
                    calls.push(Call::Hold);
                }
                calls
            }
            Next::DropOlder { .. } => vec![Call::DropOlder],
            Next::Deregister { read_at, take, .. } => {
                let age = world.now - read_at;
                let mut calls = Vec::new();
                if age <= rules.reading_good_for.saturating_add(bounds.operation) {
                    calls.extend(take.each().flat_map(|one| [Call::Deregister(one), Call::DeregisterUnheard(one)]));
                }
                if age > rules.reading_good_for {
                    calls.push(Call::TooLate);
                }
                calls
            }
            Next::HoldLate { .. } => vec![Call::Hold],
            Next::LookAfterTaking => described(Call::LookAfterTaking),
            Next::Look { .. } => vec![Call::Look],
            Next::Register { give, .. } => give.each().map(Call::Register).collect(),
            Next::LookAfterGiving { .. } => described(Call::LookAfterGiving),
            Next::Forget { .. } => vec![Call::Forget],
            Next::End => Vec::new(),
        }
    }

    /// Makes a call.
    pub fn call(&mut self, call: Call, world: &mut World, rules: &Rules) {
        let next = std::mem::replace(&mut self.next, Next::End);
        self.next = match (call, next) {
            (Call::Scan, Next::Scan { read_at, launch, trusted, older }) => {
                decide_to_take(world.in_place, read_at, launch, trusted, older, rules)
            }
            (Call::Renew(view), Next::Hold { launch, take, .. }) => {
                let seen = world.described(view);
                if seen.state == State::Out && seen.launch == launch {
                    let (trusted, older) = believe(&seen, world.now, rules);
                    decide_to_take(take, world.now, launch, trusted, older, rules)
                } else {
                    self.again = true;
                    Next::End
                }
            }
            (Call::Hold, Next::Hold { read_at, take, hold, older, .. }) => {
                if !hold.is_empty() {
                    write(world, read_at, hold, &older, rules);
                }
                match older.is_empty() || rules.keys != Keys::OfEachAct {
                    true => Next::deregister(read_at, take),
                    false => Next::DropOlder { read_at, take, older },
                }
            }
            (Call::DropOlder, Next::DropOlder { read_at, take, older }) => {
                world.delete(&older);
                Next::deregister(read_at, take)
            }
            (Call::Deregister(one), Next::Deregister { read_at, take, hold_late }) => {
                world.take(one);
                let take = take.without(one);
                match (take.is_empty(), hold_late.is_empty()) {
                    (false, _) => Next::Deregister { read_at, take, hold_late },
                    (true, false) => Next::HoldLate { read_at, hold: hold_late },
                    (true, true) => after_taking(rules),
                }
            }
            (Call::DeregisterUnheard(one), next) => {
                world.take(one);
                next
            }
            (Call::TooLate, _) => {
                self.again = true;
                after_taking(rules)
            }
            (Call::Hold, Next::HoldLate { read_at, hold }) => {
                write(world, read_at, hold, &[], rules);
                after_taking(rules)
            }
            (Call::LookAfterTaking(view), _) => match world.described(view) {
                seen if seen.state == State::Running && !seen.tags.is_empty() => Next::look(&seen, world.now, rules),
                _ => Next::End,
            },
            (Call::Look, Next::Look { forgettable, kept, launch }) => {
                let (next, again) = decide_to_give(world.in_place, forgettable, &kept, launch, rules);
                self.again |= again;
                next
            }
            (Call::Register(one), Next::Register { give, forget, launch }) => {
                world.give(one);
                match give.without(one) {
                    give if !give.is_empty() => Next::Register { give, forget, launch },
                    _ if forget.is_empty() => Next::End,
                    _ if rules.looks_after_giving => Next::LookAfterGiving { forget, launch },
                    _ => Next::Forget { forget },
                }
            }
            (Call::LookAfterGiving(view), Next::LookAfterGiving { forget, launch }) => {
                let seen = world.described(view);
                if seen.state == State::Running && seen.launch == launch {
                    Next::Forget { forget }
                } else {
                    self.again = true;
                    Next::End
                }
            }
            (Call::Forget, Next::Forget { forget }) => {
                world.delete(&forget);
                Next::End
            }
            (_, next) => next,
        };
    }
}

impl Next {
    /// Begins a scan. The trust in tags follows from the description alone, so it is kept instead of their times.
    pub(crate) fn scan(seen: &Description, now: Tick, rules: &Rules) -> Self {
        let (trusted, older) = believe(seen, now, rules);
        Self::Scan { read_at: now, launch: seen.launch, trusted, older }
    }

    pub(crate) fn look(seen: &Description, now: Tick, rules: &Rules) -> Self {
        // It is compared only before a tag is forgotten whose registrations were given back just now.
        let launch = if rules.forgets_what_it_gave { seen.launch } else { 0 };
        let is_old = |tag: &Tag| match rules.keeps_young_tags {
            true => now - tag.taken_at >= rules.settle,
            false => now - seen.launch >= rules.settle,
        };
        if seen.tags.iter().all(is_old) {
            return Self::Look { forgettable: seen.tags.clone(), kept: Vec::new(), launch };
        }
        let mut kept: Vec<Registrations> = seen.tags.iter().map(|tag| tag.holds).collect();
        kept.sort_unstable();
        kept.dedup();
        Self::Look { forgettable: Vec::new(), kept, launch }
    }

    fn deregister(read_at: Tick, take: Registrations) -> Self {
        Self::Deregister { read_at, take, hold_late: Registrations::NONE }
    }

    fn give_back(give: Registrations, forget: Vec<Tag>, launch: Tick) -> Self {
        match (give.is_empty(), forget.is_empty()) {
            (false, _) => Self::Register { give, forget, launch },
            (true, false) => Self::Forget { forget },
            (true, true) => Self::End,
        }
    }
}

/// Returns the descriptions that a call can get.
pub(crate) fn views(world: &World, bounds: &Bounds) -> Vec<View> {
    match (&world.old, bounds.what_is_stale) {
        (None, _) => vec![View::Fresh],
        (Some(_), Stale::Whole) => vec![View::Fresh, View::Old],
        (Some(_), Stale::EachForItself) => vec![View::Fresh, View::Old, View::OldState, View::OldTags],
    }
}

/// Returns whether a description contradicts an event and does not prove to be younger, as in `decide::weigh`.
fn may_be_older(seen: &Description, is_running: bool, time: Tick) -> bool {
    match (is_running, seen.state) {
        (true, State::Running) | (false, State::Out) => false,
        (true, State::Out) => seen.stop <= time,
        (true, State::Pending) | (false, _) => seen.launch <= time,
    }
}

/// Returns the registrations that trusted tags hold, and the tags that are not trusted.
fn believe(seen: &Description, now: Tick, rules: &Rules) -> (Registrations, Vec<Tag>) {
    let is_trusted = |tag: &Tag| match (rules.keys, rules.trust) {
        (Keys::OfEachAct, Trust::Fresh(age)) => now - tag.taken_at <= age,
        (Keys::OfEachAct, Trust::AfterTheStart) => tag.taken_at > seen.launch,
        (Keys::OfEachAct, Trust::Any) => true,
        (Keys::Common | Keys::CommonAndAdded, _) => false,
    };
    let (trusted, older): (Vec<Tag>, Vec<Tag>) = seen.tags.iter().partition(|tag| is_trusted(tag));
    (trusted.iter().map(|tag| tag.holds).collect(), older)
}

/// Decides as `decide::take_out`.
pub(crate) fn decide_to_take(
    found: Registrations,
    read_at: Tick,
    launch: Tick,
    trusted: Registrations,
    older: Vec<Tag>,
    rules: &Rules,
) -> Next {
    if found.is_empty() {
        return Next::End;
    }
    let hold = found.without(trusted);
    if !rules.holds_first {
        return Next::Deregister { read_at, take: found, hold_late: hold };
    }
    // If no tag has to be written, none is taken over, either.
    let older = if hold.is_empty() { Vec::new() } else { older };
    Next::Hold { read_at, launch, take: found, hold, older }
}

/// Decides as `decide::give_back`: returns the actions, and whether to look again.
pub(crate) fn decide_to_give(
    in_place: Registrations,
    forgettable: Vec<Tag>,
    kept: &[Registrations],
    launch: Tick,
    rules: &Rules,
) -> (Next, bool) {
    let held = forgettable.iter().map(|tag| tag.holds).chain(kept.iter().copied());
    let give = held.collect::<Registrations>().without(in_place);
    let is_back = |holds: Registrations| in_place.has(holds);
    let is_kept_back = kept.iter().any(|holds| is_back(*holds) || rules.forgets_what_it_gave);
    let again = is_kept_back || (!give.is_empty() && !rules.forgets_what_it_gave);
    let forget = forgettable.into_iter().filter(|tag| rules.forgets_what_it_gave || is_back(tag.holds)).collect();
    (Next::give_back(give, forget, launch), again)
}

fn after_taking(rules: &Rules) -> Next {
    if rules.looks_after_taking { Next::LookAfterTaking } else { Next::End }
}

/// Writes the registrations to be held, and those of older tags.
fn write(world: &mut World, taken_at: Tick, hold: Registrations, older: &[Tag], rules: &Rules) {
    let holds = older.iter().map(|tag| tag.holds).fold(hold, Registrations::and);
    let tag = match rules.keys {
        Keys::OfEachAct => Tag { taken_at, nonce: world.nonce(taken_at, older), holds },
        Keys::Common => Tag { taken_at: 0, nonce: 0, holds },
        Keys::CommonAndAdded => Tag { taken_at: 0, nonce: 0, holds: holds.and(world.held()) },
    };
    world.write(tag);
}
