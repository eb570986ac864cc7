//! The model: the possible next steps, and the states that must never be.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use stateright::{Model, Property};

use crate::{
    Bounds, Call, Cause, Function, Registrations, Rules, State, Tick, Trust, View, World,
    decided::Told,
    function::{Begun, views},
    world::{Description, Left, Limits, Message},
};

/// Promise 2: a registration that was taken is in place or in a tag, at every moment.
pub const NOTHING_LOST: &str = "a registration that was taken is in place or held";

/// Promises 1 and 2, when every event has been handled and no sweep is needed.
pub const NOTHING_DEAD: &str =
    "when all events are handled, a stopped instance is registered nowhere, and a running one has everything";

/// Promise 3: a registration that a person removed at a quiet moment does not come back.
pub const NOTHING_FOREIGN: &str = "what a person removed from the running instance stays removed";

/// Promises 1 and 2, even if events were lost: two sweeps put everything right.
pub const SWEEP_REPAIRS: &str = "whenever no function is at work, two sweeps bring everything to rest";

/// Not a promise: whatever a function could be told in a world, the model decides as the functions do.
pub const AS_DECIDED: &str = "what the model decides is what `protocol::decide` decides";

/// Longer than the instance has to be watched.
const LONG: Tick = 20;

/// One instance and the functions that converge it.
#[derive(Debug)]
pub struct Converging {
    rules: Rules,
    bounds: Bounds,
    /// Set by the first broken promise. stateright 0.31 would replace it by later ones, until it has noticed and stops, and the
    /// way to those is not the shortest.
    is_broken: AtomicBool,
    /// The questions that were decided alike already, if decisions are compared: many worlds ask the same.
    compared: Option<Mutex<HashSet<Told>>>,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time passes.
    Tick,
    /// The instance is stopped.
    Stop,
    /// The instance is started.
    Start,
    /// The instance runs.
    Up,
    /// The instance is in service again, and has been running all the time.
    Return,
    /// A person removes a registration.
    Remove(Registrations),
    /// A person adds a registration.
    Add(Registrations),
    /// The present description can still be seen later.
    Linger,
    /// A function begins with an event, or a sweep, and reads the instance.
    Begin(Cause, View),
    /// A function does its next call.
    Call(char, Call),
    /// A function dies.
    Die(char),
}

impl Model for Converging {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let instance = Description { state: State::Running, launch: 0, stop: 0, tags: Vec::new() };
        let Bounds { stops, starts, crashes, by_a_person, stale, .. } = self.bounds;
        vec![World {
            now: LONG,
            instance,
            old: None,
            in_place: self.bounds.registrations,
            queue: Vec::new(),
            functions: Vec::new(),
            left: Left { stops, starts, crashes, by_a_person, stale },
            owed: Registrations::NONE,
            removed: Registrations::NONE,
            limits: self.limits(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.by_the_functions(world, actions);
        self.by_the_environment(world, actions);
        actions.push(Action::Tick);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Tick => world.now += 1,
            Action::Stop => {
                world.left.stops -= 1;
                (world.instance.state, world.instance.stop) = (State::Out, world.now);
                (0..self.bounds.events_of_a_stop).for_each(|_| world.announce(false));
            }
            Action::Start => {
                world.left.starts -= 1;
                (world.instance.state, world.instance.launch) = (State::Pending, world.now);
            }
            Action::Return => {
                world.left.starts -= 1;
                world.instance.state = State::Running;
                world.announce(true);
            }
            Action::Up => {
                world.instance.state = State::Running;
                world.announce(true);
            }
            Action::Remove(one) => {
                world.left.by_a_person -= 1;
                world.in_place = world.in_place.without(one);
                if world.functions.is_empty() {
                    world.removed = world.removed.and(one.without(world.held()));
                }
            }
            Action::Add(one) => {
                world.left.by_a_person -= 1;
                world.give(one);
                world.removed = world.removed.without(one);
            }
            Action::Linger => {
                world.left.stale -= 1;
                world.old = Some((world.instance.clone(), world.now));
            }
            Action::Begin(cause, view) => self.begin(&mut world, cause, view)?,
            Action::Call(name, call) => self.call(&mut world, name, call)?,
            Action::Die(name) => {
                world.left.crashes -= 1;
                let function = take_function(&mut world, name)?;
                world.park(function.cause);
            }
        }
        world.drop_what_is_past(self.bounds.lag);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(NOTHING_LOST, |model: &Self, world: &World| model.judge(world.held().has(world.owed))),
            Property::always(NOTHING_FOREIGN, |model: &Self, world: &World| {
                model.judge(world.in_place.within(world.removed).is_empty())
            }),
            Property::always(AS_DECIDED, |model: &Self, world: &World| model.judge(model.decides_alike(world))),
            Property::always(SWEEP_REPAIRS, |model: &Self, world: &World| {
                model.judge(!world.functions.is_empty() || is_at_rest(&model.swept(world)))
            }),
        ];
        if self.bounds.events_suffice {
            properties.push(Property::always(NOTHING_DEAD, |model: &Self, world: &World| {
                model.judge(!world.functions.is_empty() || !world.queue.is_empty() || is_at_rest(world))
            }));
        }
        properties
    }
}

impl Converging {
    /// Returns a protocol in an environment.
    pub fn new(rules: Rules, bounds: Bounds) -> Self {
        Self { rules, bounds, is_broken: AtomicBool::new(false), compared: None }
    }

    /// Returns the same, with the model's decisions compared with the functions'.
    #[must_use]
    pub fn compared(self) -> Self {
        Self { compared: Some(Mutex::default()), ..self }
    }

    /// Returns whether the model decides as the functions do, whatever they are told in a world.
    fn decides_alike(&self, world: &World) -> bool {
        let Some(compared) = &self.compared else { return true };
        let mut compared = compared.lock().unwrap_or_else(PoisonError::into_inner);
        let events = world.queue.iter().map(|message| message.cause);
        let causes: Vec<Cause> = events.chain([Cause::Sweep]).collect();
        views(world, &self.bounds).into_iter().all(|view| {
            let seen = world.described(view);
            causes.iter().all(|cause| {
                let told = Told::new(*cause, seen.clone(), world.now);
                compared.contains(&told) || (told.is_decided_alike(&self.rules, &self.bounds) && compared.insert(told))
            })
        })
    }

    /// Returns whether a promise is kept, or is not the first to be broken.
    fn judge(&self, is_kept: bool) -> bool {
        is_kept || self.is_broken.swap(true, Ordering::Relaxed)
    }

    fn limits(&self) -> Limits {
        let Rules { settle, reading_good_for, keeps_young_tags, trust, .. } = self.rules;
        let Bounds { lag, operation, .. } = self.bounds;
        let taking = if reading_good_for == Tick::MAX { 1 } else { reading_good_for + operation };
        let fresh = if let Trust::Fresh(age) = trust { age + 1 } else { 0 };
        let tag = if keeps_young_tags { settle.max(fresh) } else { fresh };
        let compares_tags_with_starts = trust == Trust::AfterTheStart;
        Limits { settle: settle.max(lag + 1), lag, taking, tag, compares_tags_with_starts }
    }

    fn by_the_functions(&self, world: &World, actions: &mut Vec<Action>) {
        for function in &world.functions {
            let calls = function.calls(world, &self.rules, &self.bounds);
            actions.extend(calls.into_iter().map(|call| Action::Call(function.name, call)));
            if world.left.crashes > 0 {
                actions.push(Action::Die(function.name));
            }
        }
        let is_sweep = |function: &&Function| function.cause == Cause::Sweep;
        let sweeps = world.functions.iter().filter(is_sweep).count();
        let visible = world.queue.iter().filter(|message| message.visible_at <= world.now);
        let mut causes: Vec<Cause> = visible.map(|message| message.cause).collect();
        causes.sort_unstable();
        causes.dedup();
        if world.functions.len() - sweeps >= usize::from(self.bounds.functions) {
            causes.clear();
        }
        if self.bounds.sweep && sweeps == 0 {
            causes.push(Cause::Sweep);
        }
        for view in views(world, &self.bounds) {
            actions.extend(causes.iter().map(|cause| Action::Begin(*cause, view)));
        }
    }

    fn by_the_environment(&self, world: &World, actions: &mut Vec<Action>) {
        let Left { stops, starts, by_a_person, stale, .. } = world.left;
        match world.instance.state {
            State::Running if stops > 0 => actions.push(Action::Stop),
            State::Out if starts > 0 => {
                actions.push(Action::Start);
                actions.extend(Some(Action::Return).filter(|_| self.bounds.returns));
            }
            State::Pending => actions.push(Action::Up),
            _ => {}
        }
        if by_a_person > 0 && world.instance.state == State::Running {
            actions.extend(world.in_place.each().map(Action::Remove));
            actions.extend(self.bounds.registrations.without(world.in_place).each().map(Action::Add));
        }
        if stale > 0 {
            actions.push(Action::Linger);
        }
    }

    fn begin(&self, world: &mut World, cause: Cause, view: View) -> Option<()> {
        let name = ('A'..='Z').find(|name| world.functions.iter().all(|function| function.name != *name))?;
        let begun = Function::begin(name, cause, &world.described(view), world.now, &self.rules, self.bounds.lag);
        let is_it = |message: &Message| message.cause == cause && message.visible_at <= world.now;
        if begun != Begun::TooEarly
            && let Some(index) = world.queue.iter().position(is_it)
        {
            world.queue.remove(index);
        }
        match begun {
            Begun::AtWork(function) => world.functions.push(function),
            Begun::NothingToDo if cause != Cause::Sweep => {}
            Begun::NothingToDo | Begun::TooEarly => return None,
        }
        Some(())
    }

    fn call(&self, world: &mut World, name: char, call: Call) -> Option<()> {
        let mut function = take_function(world, name)?;
        function.call(call, world, &self.rules);
        if !function.is_at_its_end() {
            world.functions.push(function);
        } else if function.again {
            world.park(function.cause);
        }
        Some(())
    }

    /// Returns the world after two sweeps. Between them and before them nothing happens for long.
    fn swept(&self, world: &World) -> World {
        let mut world = world.clone();
        if world.instance.state == State::Pending {
            world.instance.state = State::Running;
        }
        for _ in 0..2 {
            world.now += LONG;
            world.drop_what_is_past(self.bounds.lag);
            let mut is_at_work = self.begin(&mut world, Cause::Sweep, View::Fresh).is_some();
            while is_at_work {
                let Some(function) = world.functions.last() else { break };
                let (name, calls) = (function.name, function.calls(&world, &self.rules, &self.bounds));
                let call = calls.into_iter().find(|call| !matches!(call, Call::Renew(_) | Call::DeregisterUnheard(_)));
                is_at_work = call.and_then(|call| self.call(&mut world, name, call)).is_some();
            }
        }
        world
    }
}

/// Returns whether everything is as it should be in the end.
fn is_at_rest(world: &World) -> bool {
    match world.instance.state {
        State::Out => world.in_place.is_empty(),
        State::Running => world.owed.is_empty() && world.instance.tags.is_empty(),
        State::Pending => true,
    }
}

fn take_function(world: &mut World, name: char) -> Option<Function> {
    let index = world.functions.iter().position(|function| function.name == name)?;
    Some(world.functions.remove(index))
}
