//! Runs the checker, and writes its result for people.

use std::fmt;

use stateright::{Checker, HasDiscoveries, Model};

use crate::{Action, Call, Cause, Converging, View, World};

/// The checker's result.
#[derive(Debug)]
pub struct Verdict {
    /// The number of worlds that differ in something that matters.
    pub worlds: usize,
    /// The broken promise, with the shortest way to it.
    pub broken: Option<(&'static str, Story)>,
}

/// The way to a broken promise: a line for each step, with the state after it.
#[derive(Debug)]
pub struct Story(Vec<(Action, World)>);

/// Looks at every world that can come to be, the nearest first, until all are known or a promise is broken.
pub fn check(model: Converging) -> Verdict {
    // One thread: with more, the way that is found need not be the shortest.
    let checker = model.checker().threads(1).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let stories = checker.discoveries().into_iter().map(|(promise, path)| {
        let (worlds, actions): (Vec<World>, Vec<Option<Action>>) = path.into_vec().into_iter().unzip();
        (promise, Story(actions.into_iter().flatten().zip(worlds.into_iter().skip(1)).collect()))
    });
    let broken = stories.min_by_key(|(_, story)| story.0.len());
    Verdict { worlds: checker.unique_state_count(), broken }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (action, world) in &self.0 {
            let tags = world.instance.tags.iter().map(|tag| format!(" {}.{}={}", tag.taken_at, tag.nonce, tag.holds));
            writeln!(
                f,
                "{:>3}  {:<58}  {:?} since {}, in place: {}, tags:{}",
                world.now,
                sentence(*action, world),
                world.instance.state,
                world.instance.launch.max(world.instance.stop),
                world.in_place,
                tags.collect::<String>()
            )?;
        }
        Ok(())
    }
}

fn sentence(action: Action, world: &World) -> String {
    match action {
        Action::Tick => "time passes".to_owned(),
        Action::Stop => "the instance is stopped".to_owned(),
        Action::Start => "the instance is started".to_owned(),
        Action::Return => "the instance is in service again".to_owned(),
        Action::Up => "the instance runs".to_owned(),
        Action::Remove(one) => format!("a person removes {one}"),
        Action::Add(one) => format!("a person adds {one}"),
        Action::Linger => "this description stays to be seen".to_owned(),
        Action::Begin(cause, view) => {
            let name = world.functions.last().filter(|function| function.cause == cause).map_or('-', |f| f.name);
            format!("{name}: {} {}", cause_of(cause), read(view))
        }
        Action::Call(name, call) => format!("{name}: {}", call_of(call)),
        Action::Die(name) => format!("{name}: dies"),
    }
}

fn cause_of(cause: Cause) -> String {
    match cause {
        Cause::Sweep => "a sweep".to_owned(),
        Cause::Event(None) => "an old event".to_owned(),
        Cause::Event(Some((true, time))) => format!("`running` of {time}"),
        Cause::Event(Some((false, time))) => format!("`stopped` of {time}"),
    }
}

fn read(view: View) -> &'static str {
    match view {
        View::Fresh => "reads the instance",
        View::Old => "reads an old description",
        View::OldState => "reads an old state with present tags",
        View::OldTags => "reads old tags with the present state",
    }
}

fn call_of(call: Call) -> String {
    match call {
        Call::Scan => "scans the balancers".to_owned(),
        Call::Renew(view) => format!("once more {}", read(view)),
        Call::Hold => "holds, where it has to".to_owned(),
        Call::DropOlder => "deletes the older tags".to_owned(),
        Call::Deregister(one) => format!("deregisters {one}"),
        Call::DeregisterUnheard(one) => format!("deregisters {one}, and does not hear the answer"),
        Call::TooLate => "has no time left to deregister".to_owned(),
        Call::LookAfterTaking(view) => format!("after taking, {}", read(view)),
        Call::Look => "looks how everything stands".to_owned(),
        Call::Register(one) => format!("registers {one}"),
        Call::LookAfterGiving(view) => format!("after giving back, {}", read(view)),
        Call::Forget => "deletes the tags that it read".to_owned(),
    }
}
