//! The simulated AWS as a timeline: AWS's own changes, and the function's calls and lines.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use chrono::TimeDelta;
use sandbox::{
    Sandbox, Timestamp, World,
    auto_scaling::LifecycleState,
    clock::delta,
    deployment::{DEAD_LETTERS, LIFECYCLE_DEAD_LETTERS},
    ec2::InstanceState,
    fleet::{self, Fleet, Member},
    log_line::LogLine,
};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    paint::{ALARM, AWS, DIM, FUNCTION, OPERATOR, paint},
    registered::{Register, Snapshot, Standing},
    table,
};

/// How often the world is looked at, in real time. Too large: events that belong together appear in jerks. Too small: one
/// sentence of the function is torn into several lines.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks without a new line, after which the function has finished its sentence.
const QUIET_LOOKS: u32 = 2;

/// The function's last lines, shown if the story ends badly.
const LINES_KEPT: usize = 20;

/// The prefix of every tag that the function writes.
const OUR_TAGS: &str = "elb-registrar:";

/// The actor of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Operator,
    Ec2,
    EventBridge,
    Sqs,
    Group,
    Balancers,
    Function,
}

/// One line of the timeline.
#[derive(Clone, Debug)]
struct Moment {
    at: Timestamp,
    who: Who,
    text: String,
}

/// A function to be watched.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) function: &'static str,
    /// The queue of its events.
    pub(crate) queue: &'static str,
    /// Lines that it writes, with the simulated time at which they came.
    pub(crate) lines: UnboundedReceiver<(Timestamp, String)>,
}

/// An Auto Scaling group whose members are watched, too.
#[derive(Debug)]
struct Recruits {
    group: &'static str,
    /// Names for the members that have none yet, in the order of their joining.
    names: VecDeque<&'static str>,
    /// The lifecycle state of each member at the last look.
    states: BTreeMap<String, LifecycleState>,
}

/// Looks at the world, and prints the news.
#[derive(Debug)]
pub(crate) struct Watch {
    sandbox: Sandbox,
    pub(crate) fleet: Fleet,
    recruits: Option<Recruits>,
    register: Register,
    subject: Subject,
    last_lines: VecDeque<String>,
    /// When the timeline begins.
    start: Timestamp,
    snapshot: Snapshot,
    events_seen: usize,
    /// Receipts of the messages in the function's queue, by their ids.
    receipts: BTreeMap<String, u32>,
    /// The beginning of the function's sentence.
    saying: Vec<(Timestamp, LogLine)>,
    /// Events meanwhile: they are told after it, in the order of time.
    meanwhile: Vec<Moment>,
    quiet_looks: u32,
}

/// Says that something did not happen in time.
#[derive(Debug)]
pub(crate) struct NotReached {
    /// The expected event.
    pub(crate) what: &'static str,
    /// How long, in simulated time.
    pub(crate) within: Duration,
}

impl Watch {
    pub(crate) fn new(sandbox: Sandbox, fleet: Fleet, subject: Subject) -> Self {
        let start = sandbox.with(|world| world.now());
        Self {
            sandbox,
            fleet,
            recruits: None,
            register: Register::default(),
            subject,
            last_lines: VecDeque::new(),
            start,
            snapshot: Snapshot::new(),
            events_seen: 0,
            receipts: BTreeMap::new(),
            saying: Vec::new(),
            meanwhile: Vec::new(),
            quiet_looks: 0,
        }
    }

    /// Returns the same, with the members of a group, which get these names in the order of their joining.
    #[must_use]
    pub(crate) fn of_group(self, group: &'static str, names: &[&'static str]) -> Self {
        let names = names.iter().copied().collect();
        Self { recruits: Some(Recruits { group, names, states: BTreeMap::new() }), ..self }
    }

    /// Begins the timeline. The state at its beginning is not told.
    pub(crate) fn begin(&mut self) {
        self.hear();
        self.saying.clear();
        let sandbox = self.sandbox.clone();
        sandbox.with(|world| drop(self.new_states(world)));
        let (sandbox, register, fleet) = (&self.sandbox, &mut self.register, &self.fleet);
        (self.start, self.snapshot, self.events_seen) =
            sandbox.with(|world| (world.now(), register.read(world, fleet), world.events.log.len()));
    }

    /// Returns the registrations at the last look.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the function's last lines.
    pub(crate) fn last_lines(&self) -> impl Iterator<Item = &str> {
        self.last_lines.iter().map(String::as_str)
    }

    /// Waits without telling.
    pub(crate) async fn wait_silently(
        &mut self,
        what: &'static str,
        within: Duration,
        mut is_so: impl FnMut(&World, &Snapshot) -> bool,
    ) -> Result<(), NotReached> {
        let end = self.sandbox.clock().now() + delta(within);
        loop {
            self.begin();
            if self.sandbox.with(|world| is_so(world, &self.snapshot)) {
                return Ok(());
            }
            if self.sandbox.clock().now() > end {
                return Err(NotReached { what, within });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Tells the events until a condition holds, and until the function has told all of its own part.
    pub(crate) async fn until(
        &mut self,
        what: &'static str,
        within: Duration,
        is_so: impl Fn(&World, &Snapshot) -> bool,
    ) -> Result<(), NotReached> {
        let end = self.sandbox.clock().now() + delta(within);
        loop {
            self.look();
            let is_quiet = self.quiet_looks >= QUIET_LOOKS && self.saying.is_empty();
            let (is_so, is_idle) = self
                .sandbox
                .with(|world| (is_so(world, &self.snapshot), world.lambda.running(self.subject.function) == 0));
            if is_so && is_idle && is_quiet {
                return Ok(());
            }
            if self.sandbox.clock().now() > end {
                self.tell_everything();
                return Err(NotReached { what, within });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Tells a person's act, as its command.
    pub(crate) fn operator(&mut self, command: &str) {
        let at = self.sandbox.with(|world| world.now());
        self.tell(&Moment { at, who: Who::Operator, text: format!("$ {command}") });
    }

    /// Returns the table of now.
    pub(crate) fn table(&mut self) -> String {
        let (sandbox, register, fleet) = (&self.sandbox, &mut self.register, &self.fleet);
        sandbox.with(|world| {
            let snapshot = register.read(world, fleet);
            table::of_fleet(world, fleet, &snapshot)
        })
    }

    fn look(&mut self) {
        let is_quiet = !self.hear();
        self.quiet_looks = if is_quiet { self.quiet_looks + 1 } else { 0 };
        self.see();
        if is_quiet || self.saying.is_empty() {
            self.tell_everything();
        }
    }

    /// Takes note of the function's lines since the last look. Returns whether there were any.
    fn hear(&mut self) -> bool {
        let mut is_anything = false;
        while let Ok((at, line)) = self.subject.lines.try_recv() {
            is_anything = true;
            self.last_lines.push_back(line.clone());
            if self.last_lines.len() > LINES_KEPT {
                self.last_lines.pop_front();
            }
            self.saying.extend(LogLine::of(&line).map(|line| (at, line)));
        }
        is_anything
    }

    /// Takes note of AWS's changes since the last look.
    fn see(&mut self) {
        let sandbox = self.sandbox.clone();
        let moments = sandbox.with(|world| {
            let mut moments = self.new_states(world);
            moments.extend(self.new_events(world));
            moments.extend(self.new_messages(world));
            moments.extend(self.new_standings(world));
            moments
        });
        self.meanwhile.extend(moments);
    }

    /// Returns the new states of the group's members. A new member gets a name.
    fn new_states(&mut self, world: &World) -> Vec<Moment> {
        let Some(recruits) = &mut self.recruits else { return Vec::new() };
        let Some(group) = world.auto_scaling.groups.get(recruits.group) else { return Vec::new() };
        let mut moments = Vec::new();
        for (id, member) in &group.members {
            if !self.fleet.members.iter().any(|known| known.id == *id) {
                let Some(name) = recruits.names.pop_front() else { continue };
                self.fleet.members.push(Member { name, id: id.clone() });
            }
            let state = member.lifecycle_state;
            let is_new = recruits.states.insert(id.clone(), state) != Some(state);
            // The states in between last for a moment only.
            if is_new && (state == LifecycleState::InService || state.name().ends_with(":Wait")) {
                let text = format!("{} is {}", self.fleet.name_of(id), state.name());
                let action = world.auto_scaling.actions.iter().find(|action| action.instance_id == *id);
                let at = action.map_or(world.now(), |action| action.begun);
                moments.push(Moment { at, who: Who::Group, text });
            }
        }
        moments
    }

    fn new_events(&mut self, world: &World) -> Vec<Moment> {
        let new = &world.events.log[self.events_seen..];
        self.events_seen = world.events.log.len();
        let of_event = |event: &sandbox::events::Event| {
            let (id, state) = (event.detail["instance-id"].as_str()?, event.detail["state"].as_str()?);
            self.fleet.members.iter().find(|member| member.id == id)?;
            let address = fleet::primary_address(world, id);
            let and = match (state, address) {
                ("stopped", None) => ", and has no address any more".to_owned(),
                ("pending", Some(address)) => format!(", with the address {address}"),
                _ => String::new(),
            };
            let text = format!("{} is {state}{and}", self.fleet.name_of(id));
            Some(Moment { at: event.time, who: Who::Ec2, text })
        };
        new.iter().filter_map(of_event).collect()
    }

    fn new_messages(&mut self, world: &World) -> Vec<Moment> {
        let Some(queue) = world.sqs.queue(self.subject.queue) else { return Vec::new() };
        let mut moments = Vec::new();
        for message in queue.messages() {
            let Some(event) = self.event_in(&message.body) else { continue };
            let function = self.subject.function;
            let receipts = self.receipts.insert(message.id.clone(), message.receive_count);
            if receipts.is_none() {
                let text = format!("\"{event}\" goes by the rule into the queue of {function}");
                moments.push(Moment { at: message.sent, who: Who::EventBridge, text });
            }
            if let (Some(1..), Some(at)) = (receipts.filter(|n| *n < message.receive_count), message.last_received) {
                moments.push(Moment { at, who: Who::Sqs, text: format!("\"{event}\" was parked, and comes back") });
            }
        }
        moments
    }

    fn event_in(&self, body: &str) -> Option<String> {
        let event: Value = serde_json::from_str(body).ok()?;
        let detail = |name: &str| event["detail"][name].as_str();
        let (id, what) = match detail("state") {
            Some(state) => (detail("instance-id")?, format!("is {state}")),
            None => (detail("EC2InstanceId")?, format!("waits at {}", detail("LifecycleHookName")?)),
        };
        let member = self.fleet.members.iter().find(|member| member.id == id)?;
        Some(format!("{} {what}", member.name))
    }

    /// Returns the balancers' own changes: the function tells the rest.
    fn new_standings(&mut self, world: &World) -> Vec<Moment> {
        let new = self.register.read(world, &self.fleet);
        let old = std::mem::replace(&mut self.snapshot, new);
        let mut by_text: BTreeMap<(usize, &str), Vec<String>> = BTreeMap::new();
        for key in old.keys().chain(self.snapshot.keys().filter(|key| !old.contains_key(key))) {
            let (before, after) = (old.get(key), self.snapshot.get(key));
            let text = match (before, after) {
                (before, after) if before == after => continue,
                (Some(Standing::Draining), None) => "is drained",
                (_, Some(Standing::Healthy)) => "is healthy",
                (_, Some(Standing::Down(word))) => word,
                _ => continue,
            };
            by_text.entry((key.member, text)).or_default().push(self.fleet.places[key.place].label());
        }
        let moment = |((member, text), places): ((usize, &str), Vec<String>)| {
            let name = self.fleet.members[member].name;
            let text = match text {
                "is drained" | "is healthy" => format!("{name} {text} in {}", places.join(", ")),
                word => format!("{name} is registered but {word} in {}", places.join(", ")),
            };
            Moment { at: world.now(), who: Who::Balancers, text }
        };
        by_text.into_iter().map(moment).collect()
    }

    fn tell_everything(&mut self) {
        let mut moments = std::mem::take(&mut self.meanwhile);
        let mut said: Vec<(Timestamp, LogLine)> = Vec::new();
        for (at, line) in std::mem::take(&mut self.saying) {
            // Of instances that this act does not show, the other act tells.
            if line.instance.as_ref().is_some_and(|id| !self.fleet.members.iter().any(|member| member.id == *id)) {
                continue;
            }
            let is_absorbed = said.last_mut().is_some_and(|(_, last)| last.absorb(&line));
            // The end of a run is worth a line only if it tells when it goes on.
            if !is_absorbed && !line.is_mere_end() {
                said.push((at, line));
            }
        }
        let of_function =
            said.iter().map(|(at, line)| Moment { at: *at, who: Who::Function, text: self.sentence(line) });
        moments.extend(of_function);
        moments.sort_by_key(|moment| moment.at);
        moments.iter().for_each(|moment| self.tell(moment));
    }

    fn sentence(&self, line: &LogLine) -> String {
        let name = line.instance.as_deref().map(|id| format!("{}: ", self.fleet.name_of(id))).unwrap_or_default();
        let text = format!("{name}{line}");
        match (line.message.as_str(), line.is_alarming) {
            (_, true) => paint(ALARM, &text),
            ("held" | "forgotten", _) => format!("{text}{}", self.tags_of(line.instance.as_deref())),
            _ => text,
        }
    }

    /// Returns the instance's tags that are ours, as they are written.
    fn tags_of(&self, instance_id: Option<&str>) -> String {
        let tags = self.sandbox.with(|world| {
            let instance = instance_id.and_then(|id| world.ec2.instance(id));
            instance.map(|instance| instance.tags.clone()).unwrap_or_default()
        });
        let ours = tags.iter().filter(|(key, _)| key.starts_with(OUR_TAGS));
        let texts: Vec<String> = ours.map(|(key, value)| format!("\ntag {key}\n  = {value}")).collect();
        if texts.is_empty() { "\nno tag of elb-registrar is left".to_owned() } else { texts.concat() }
    }

    fn tell(&self, moment: &Moment) {
        let (name, style) = moment.who.name_and_style();
        let mut lines = moment.text.lines();
        let time = paint(DIM, &elapsed(moment.at - self.start));
        anstream::println!("{time}  {}  {}", paint(style, &format!("{name:<11}")), lines.next().unwrap_or_default());
        for line in lines {
            anstream::println!("{:20}{}", "", paint(DIM, line));
        }
    }
}

impl Who {
    fn name_and_style(self) -> (&'static str, anstyle::Style) {
        match self {
            Self::Operator => ("operator", OPERATOR),
            Self::Ec2 => ("EC2", AWS),
            Self::EventBridge => ("EventBridge", AWS),
            Self::Sqs => ("SQS", AWS),
            Self::Group => ("group", AWS),
            Self::Balancers => ("balancers", AWS),
            Self::Function => ("function", FUNCTION),
        }
    }
}

/// Returns whether the function is through with the event of an instance's state.
pub(crate) fn is_through_with(world: &World, state: InstanceState) -> bool {
    let bodies = world.lambda.log.iter().filter_map(|ended| ended.payload["Records"].as_array()).flatten();
    let events = bodies.filter_map(|record| serde_json::from_str::<Value>(record["body"].as_str()?).ok());
    events.into_iter().any(|event| event["detail"]["state"] == state.name())
}

/// Returns whether an instance bears any tag that the function has written.
pub(crate) fn has_our_tags(world: &World, instance_id: &str) -> bool {
    let instance = world.ec2.instance(instance_id);
    instance.is_some_and(|instance| instance.tags.keys().any(|key| key.starts_with(OUR_TAGS)))
}

/// Returns how many events no function understood, or failed for good.
pub(crate) fn dead_letters(world: &World) -> usize {
    let in_queue = |name| world.sqs.queue(name).map_or(0, |queue| queue.messages().count());
    [DEAD_LETTERS, LIFECYCLE_DEAD_LETTERS].into_iter().map(in_queue).sum()
}

/// Returns minutes and seconds of simulated time, such as ` 1:05`.
fn elapsed(time: TimeDelta) -> String {
    let seconds = time.num_seconds().max(0);
    format!("{:2}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_in_minutes_and_seconds() {
        let told = [0, 65, 754, -1].map(|seconds| elapsed(TimeDelta::seconds(seconds)));
        assert_eq!(told, [" 0:00", " 1:05", "12:34", " 0:00"]);
    }
}
