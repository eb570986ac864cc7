//! A report as a page for people: what stands on it, in which order, and what is counted as wrong.
//!
//! It is made once, and shown by several programs: on a terminal, as Markdown, as HTML, and as a widget of CloudWatch. Every text on
//! it is a [`Plain`] one, or our own. `html.rs` is the only place that writes tags around them.

use std::{collections::BTreeSet, fmt};

use protocol::{because::Because, decide::orphan::Orphan, id::InstanceId, plain::Plain, registration::Registration};
use serde::Serialize;

use super::{Action, InstanceReport, Report};

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// What it is called.
    pub title: &'static str,
    /// Where and when was looked, each with its name.
    pub facts: Vec<(&'static str, Plain)>,
    /// What was found, in figures.
    pub summary: Summary,
    /// The instances, the worst first.
    pub rows: Vec<Row>,
    /// The addresses that no interface has.
    pub orphans: Vec<Orphan>,
    /// What could not be read, so that the page lacks it.
    pub unread: Vec<Plain>,
}

/// What a page is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// How everything is at present.
    Status,
    /// What the mode `enforce` would do from now on.
    Plan,
    /// What is given back.
    Restore,
}

/// What a report has, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Instances of which there is something to tell.
    pub instances: usize,
    /// Registrations that they have.
    pub registered: usize,
    /// Instances that hold something.
    pub holding: usize,
    /// Registrations that they hold.
    pub held: usize,
    /// Instances that wait for something.
    pub waiting: usize,
    /// Instances of which something is wrong, or needs a person.
    pub wrong: usize,
    /// Addresses that no interface has.
    pub orphans: usize,
    /// What could not be read.
    pub unread: usize,
}

/// An instance on a page.
#[derive(Clone, Debug)]
pub struct Row {
    /// The instance's id.
    pub id: InstanceId,
    /// The value of its tag `Name`.
    pub name: Option<Plain>,
    /// Its state, as EC2 says it.
    pub state: &'static str,
    /// Where it is registered, is to be, or was.
    pub places: Vec<Place>,
    /// What else is to be told, the worst first.
    pub remarks: Vec<Remark>,
}

/// A registration of an instance on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What the registration is to the instance.
    pub kind: PlaceKind,
    /// The registration.
    pub registration: Plain,
    /// What its balancer says of its health, if it does.
    pub health: Option<Plain>,
    /// Whether it gets traffic, as far as its balancer has said so.
    pub is_healthy: bool,
}

/// What a registration is to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlaceKind {
    /// The balancer lists it.
    Registered,
    /// A tag holds it.
    Held,
    /// The operator declares it.
    Declared,
    /// A stop would take it, and the next start give it back.
    AtAStop,
}

/// A remark on an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What kind of remark it is.
    pub kind: RemarkKind,
    /// The remark.
    pub text: Plain,
}

/// What kind of remark it is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemarkKind {
    /// It could not be read or done.
    Failed,
    /// Only a person can put it right.
    NeedsAPerson,
    /// It should not be so.
    Wrong,
    /// It is given up.
    LetGo,
    /// It is done, by a program that acts.
    Done,
    /// It waits for something.
    Waiting,
    /// A program that acts would do it now.
    Would,
    /// It is not ours to touch.
    LeftAlone,
}

impl PlaceKind {
    /// Returns the word on pages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Held => "held",
            Self::Declared => "declared",
            Self::AtAStop => "at a stop",
        }
    }
}

impl RemarkKind {
    /// Returns the words on pages.
    pub fn words(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::NeedsAPerson => "needs a person",
            Self::Wrong => "wrong",
            Self::LetGo => "let go",
            Self::Done => "done",
            Self::Waiting => "waiting",
            Self::Would => "would",
            Self::LeftAlone => "left alone",
        }
    }

    /// Returns whether a person should look at it.
    pub fn is_bad(self) -> bool {
        self <= Self::Wrong
    }
}

/// The remark in a line of its own.
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            // The text begins with the verb.
            RemarkKind::Would => write!(f, "would {}", self.text),
            RemarkKind::Done => self.text.fmt(f),
            kind => write!(f, "{}: {}", kind.words(), self.text),
        }
    }
}

impl Summary {
    /// Counts what a report has.
    pub fn of(report: &Report) -> Self {
        let instances = report.instances.values();
        let count = |is_it: fn(&InstanceReport) -> bool| instances.clone().filter(|part| is_it(part)).count();
        Self {
            instances: report.instances.len(),
            registered: instances.clone().map(|part| part.registered.len()).sum(),
            holding: count(|part| !part.held.is_empty()),
            held: instances.clone().map(|part| part.held.len()).sum(),
            waiting: count(|part| !part.waiting.is_empty() || part.at_hook.is_some()),
            wrong: count(is_wrong),
            orphans: report.orphans.iter().filter(|orphan| orphan.fate.is_orphaned()).count(),
            unread: report.failures().count() + usize::from(report.left.is_some()),
        }
    }

    /// Returns whether a person should look at something.
    pub fn is_bad(&self) -> bool {
        self.wrong > 0 || self.orphans > 0
    }

    /// Returns the figures, each with its words and whether it is bad unless it is 0.
    pub fn figures(&self) -> [(usize, &'static str, bool); 8] {
        [
            (self.instances, "instances", false),
            (self.registered, "registrations", false),
            (self.held, "held", false),
            (self.holding, "instances that hold", false),
            (self.waiting, "waiting", false),
            (self.wrong, "wrong", true),
            (self.orphans, "orphans", true),
            (self.unread, "not read", true),
        ]
    }
}

/// Returns whether something of an instance is wrong, or only a person can put it right.
pub fn is_wrong(part: &InstanceReport) -> bool {
    !part.wrong.is_empty() || !part.needs_a_person.is_empty()
}

impl Page {
    /// Makes the page of a report.
    pub fn of(subject: Subject, report: &Report, facts: Vec<(&'static str, Plain)>) -> Self {
        let mut rows: Vec<Row> = report.instances.iter().map(|(id, part)| Row::of(subject, id, part)).collect();
        // Stable: within a kind they stay in the order of their ids.
        rows.sort_by_key(|row| row.worst().map_or(u8::MAX, |kind| kind as u8));
        let unread = report.failures().map(|(id, failed)| match id {
            Some(id) => Plain::of(format_args!("{id}: {}", failed.because)),
            None => Plain::of(&failed.because),
        });
        let left = report.left.iter().map(Plain::of);
        let title = match subject {
            Subject::Status => "elb-registrar: status",
            Subject::Plan => "elb-registrar: what the mode enforce would do",
            Subject::Restore => "elb-registrar: what is held, and given back",
        };
        let (summary, orphans) = (Summary::of(report), report.orphans.clone());
        Self { title, facts, summary, rows, orphans, unread: unread.chain(left).collect() }
    }
}

impl Place {
    /// Returns the place in words, with each text as a program shows it.
    pub fn in_words(&self, shown: impl Fn(&Plain) -> String) -> String {
        let kind = match self.kind {
            PlaceKind::Registered => String::new(),
            kind => format!("{}: ", kind.word()),
        };
        let health = self.health.as_ref().map(|health| format!(" {}", shown(health))).unwrap_or_default();
        format!("{kind}{}{health}", shown(&self.registration))
    }
}

impl Row {
    fn of(subject: Subject, id: &InstanceId, part: &InstanceReport) -> Self {
        let plain = |kind, registration: Plain| Place { kind, registration, health: None, is_healthy: true };
        let of_set = |kind, set: &BTreeSet<Registration>| {
            set.iter().map(|registration| plain(kind, Plain::of(registration))).collect::<Vec<_>>()
        };
        let registered = part.registered.iter().map(|registration| {
            let health = part.health.get(registration);
            Place {
                kind: PlaceKind::Registered,
                registration: Plain::of(registration),
                health: health.map(Plain::of),
                is_healthy: health.is_none_or(protocol::observed::Health::is_healthy),
            }
        });
        let mut places: Vec<Place> = registered.collect();
        places.extend(of_set(PlaceKind::Held, &part.held));
        places.extend(part.declared.iter().map(|text| plain(PlaceKind::Declared, text.clone())));
        if subject == Subject::Plan {
            places.extend(of_set(PlaceKind::AtAStop, &part.at_a_stop));
        }
        let state = part.state.map_or("gone", protocol::instance::State::name);
        Self { id: id.clone(), name: part.name.clone(), state, places, remarks: remarks(part) }
    }

    /// Returns the kind of the worst remark.
    pub fn worst(&self) -> Option<RemarkKind> {
        self.remarks.iter().map(|remark| remark.kind).min()
    }

    /// Returns what names the row: the instance's name, or its id.
    pub fn label(&self) -> &str {
        self.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(self.id.as_str())
    }

    /// Returns the places of one kind.
    pub fn places_of(&self, kind: PlaceKind) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(move |place| place.kind == kind)
    }
}

/// Returns the remarks on an instance, besides its registrations, the worst first.
fn remarks(part: &InstanceReport) -> Vec<Remark> {
    // One reason for several things is one remark, and so is one action.
    let of = |kind, reasons: &[Because]| {
        let reasons = together(reasons.iter().map(|because| (&because.why, because.what.as_ref())));
        let text = |(why, things): (&Plain, Vec<&Plain>)| match things.is_empty() {
            true => why.clone(),
            false => Plain::of(format_args!("{}: {why}", joined(&things))),
        };
        reasons.into_iter().map(|reason| Remark { kind, text: text(reason) }).collect::<Vec<_>>()
    };
    let deeds = |kind, deeds: &[super::Deed], word: fn(Action) -> &'static str| {
        let deeds = together(deeds.iter().map(|deed| (word(deed.action), Some(&deed.registration))));
        let text = |(word, places): (&str, Vec<&Registration>)| Plain::of(format_args!("{word}: {}", joined(&places)));
        deeds.into_iter().map(|deed| Remark { kind, text: text(deed) }).collect::<Vec<_>>()
    };
    let no_room = "its tags have no room for all that a stop would take: the rest would stay registered";
    let failed: Vec<Because> = part.failed.iter().map(|failed| failed.because.clone()).collect();
    let mut remarks = of(RemarkKind::Failed, &failed);
    remarks.extend(of(RemarkKind::NeedsAPerson, &part.needs_a_person));
    remarks.extend(part.has_no_room.then(|| Remark { kind: RemarkKind::NeedsAPerson, text: no_room.into() }));
    remarks.extend(of(RemarkKind::Wrong, &part.wrong));
    remarks.extend(of(RemarkKind::LetGo, &part.let_go));
    remarks.extend(deeds(RemarkKind::Done, &part.done, Action::past));
    remarks.extend(part.at_hook.iter().map(|text| Remark { kind: RemarkKind::Waiting, text: text.clone() }));
    remarks.extend(of(RemarkKind::Waiting, &part.waiting));
    remarks.extend(deeds(RemarkKind::Would, &part.would_do, Action::word));
    remarks.extend(of(RemarkKind::LeftAlone, &part.left_alone));
    remarks
}

/// Collects the things of each key, in the order in which the keys come.
fn together<K: PartialEq, T>(pairs: impl Iterator<Item = (K, Option<T>)>) -> Vec<(K, Vec<T>)> {
    let mut all: Vec<(K, Vec<T>)> = Vec::new();
    for (key, thing) in pairs {
        match all.iter_mut().find(|(known, _)| *known == key) {
            Some((_, things)) => things.extend(thing),
            None => all.push((key, thing.into_iter().collect())),
        }
    }
    all
}

fn joined<T: fmt::Display>(things: &[T]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use protocol::call_error::CallError;

    use super::*;
    use crate::{config::Mode, report::Journal};

    #[test]
    fn the_worst_comes_first_and_is_counted() {
        let mut journal = Journal::of_sweep(Mode::Observe);
        let (good, bad): (InstanceId, InstanceId) = ("i-1".into(), "i-2".into());
        journal.registered(&good, &Registration::classic("shop"));
        journal.at_hook(&good, "Pending:Wait");
        journal.registered(&bad, &Registration::classic("shop"));
        journal.wrong(&bad, Because::all("registered though stopped"));
        journal.left_alone(&bad, Because::all("a controller's"));
        let report = journal.into_report();
        let page = Page::of(Subject::Status, &report, Vec::new());
        assert_eq!(page.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["i-2", "i-1"]);
        let kinds: Vec<RemarkKind> = page.rows[0].remarks.iter().map(|remark| remark.kind).collect();
        assert_eq!(kinds, [RemarkKind::Wrong, RemarkKind::LeftAlone]);
        let expected = Summary { instances: 2, registered: 2, waiting: 1, wrong: 1, ..Summary::default() };
        assert_eq!((page.summary, page.summary.is_bad()), (expected, true));
    }

    #[test]
    fn one_reason_for_several_things_is_one_remark() {
        let (shop, till) = (Registration::classic("shop"), Registration::classic("till"));
        let wrong = [&shop, &till].map(|place| Because::of(place, "registered though stopped")).into();
        let deed = |registration: &Registration| super::super::Deed {
            action: Action::Hold,
            registration: registration.clone(),
            why: Plain::default(),
        };
        let part = InstanceReport { wrong, would_do: vec![deed(&shop), deed(&till)], ..InstanceReport::default() };
        let said: Vec<String> = remarks(&part).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["wrong: clb:shop, clb:till: registered though stopped", "would hold: clb:shop, clb:till"]);
    }

    #[test]
    fn what_could_not_be_read_is_named_and_counted() {
        let mut journal = Journal::of_sweep(Mode::Observe);
        journal.sweep_call_failed(None, &CallError::NoTime { action: "ec2:DescribeInstances" });
        let page = Page::of(Subject::Status, &journal.into_report(), Vec::new());
        assert_eq!((page.unread.len(), page.summary.unread), (1, 1));
    }

    #[test]
    fn only_a_plan_tells_what_a_stop_would_take() {
        let mut part = InstanceReport::default();
        part.at_a_stop.insert(Registration::classic("shop"));
        let kinds = |subject| Row::of(subject, &"i-1".into(), &part).places.len();
        assert_eq!((kinds(Subject::Status), kinds(Subject::Plan)), (0, 1));
    }
}
