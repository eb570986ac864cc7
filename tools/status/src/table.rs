//! The report as tables: instances, and orphans if there are any.

use std::collections::BTreeMap;

use anstyle::Style;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use protocol::{because::Because, id::InstanceId, plain::Plain};
use registrar::report::{InstanceReport, Report};

const BOLD: Style = Style::new().bold();

/// The text of an empty cell.
const NOTHING: &str = "–";

/// Returns everything that a report says of the account.
pub(crate) fn of(report: &Report) -> String {
    let mut text = heading(&format!("{} instance(s) with something to tell", report.instances.len()));
    if !report.instances.is_empty() {
        text.push_str(&instances(&report.instances));
    }
    if !report.orphans.is_empty() {
        text.push_str(&heading(&format!("{} address(es) without an owner", report.orphans.len())));
        text.push_str(&orphans(report));
    }
    text
}

fn heading(words: &str) -> String {
    format!("{BOLD}{words}{BOLD:#}\n")
}

fn instances(instances: &BTreeMap<InstanceId, InstanceReport>) -> String {
    let mut table = table(["instance", "registered", "held", "declared", "what else"]);
    for (id, part) in instances {
        let state = part.state.map_or("gone", |state| state.name());
        let name = part.name.iter().map(Plain::as_str);
        let id = id.to_string();
        let who = name.chain([id.as_str(), state]).collect::<Vec<_>>().join("\n");
        let registered = part.registered.iter().map(|registration| match part.health.get(registration) {
            Some(health) => format!("{registration} {health}"),
            None => registration.to_string(),
        });
        let held = part.held.iter().map(ToString::to_string);
        table.add_row([
            who,
            lines(registered),
            lines(held),
            lines(part.declared.iter().map(ToString::to_string)),
            lines(remarks(part)),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

/// Returns the remarks on an instance, besides its registrations, the worst first.
fn remarks(part: &InstanceReport) -> impl Iterator<Item = String> {
    let of = |word: &'static str, reasons: &[Because]| {
        reasons.iter().map(|because| format!("{word}: {because}")).collect::<Vec<_>>()
    };
    let would = part.would_do.iter().map(|deed| format!("would {}: {}", deed.action.word(), deed.registration));
    [
        part.failed.iter().map(|failed| format!("failed: {}", failed.because)).collect(),
        of("needs a person", &part.needs_a_person),
        of("wrong", &part.wrong),
        of("let go", &part.let_go),
        of("waiting", &part.waiting),
        of("left alone", &part.left_alone),
        would.collect(),
    ]
    .into_iter()
    .flatten()
}

fn orphans(report: &Report) -> String {
    let mut table = table(["registration", "VPC", "health", "fate", "why"]);
    for orphan in &report.orphans {
        let (registration, health) = (orphan.registration.to_string(), orphan.health.to_string());
        table.add_row([
            registration,
            orphan.vpc.to_string(),
            health,
            orphan.fate.word().to_owned(),
            orphan.why.to_string(),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

fn table<const N: usize>(head: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(head);
    table
}

fn lines(texts: impl Iterator<Item = String>) -> String {
    let text = texts.collect::<Vec<_>>().join("\n");
    if text.is_empty() { NOTHING.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use protocol::{
        instance::{Instance, State},
        observed::Health,
        registration::Registration,
    };
    use registrar::{
        config::Mode,
        report::{Action, Journal},
    };

    use super::*;

    fn stopped(id: &InstanceId, name: &str) -> Instance {
        Instance {
            id: id.clone(),
            state: State::Stopped,
            launch_time: None,
            made_at: None,
            stop_time: None,
            vpc: None,
            interfaces: Vec::new(),
            tags: [("Name".to_owned(), name.to_owned())].into(),
        }
    }

    #[test]
    fn each_row_shows_an_instances_places_and_its_faults() {
        let mut journal = Journal::of_sweep(Mode::Observe);
        let (id, clb) = ("i-0123456789abcdef0".into(), Registration::classic("shop"));
        journal.seen(&stopped(&id, "web-1"));
        journal.registered(&id, &clb);
        journal.health(&id, &clb, Health { state: "OutOfService".to_owned(), reason: None, is_in_vain: false });
        journal.wrong(&id, Because::of(&clb, "registered though stopped"));
        journal.deed(&id, Action::Deregister, &clb, "");
        let expected = "\
1 instance(s) with something to tell
┌─────────────────────┬───────────────────────┬──────┬──────────┬────────────────────────────────────────────┐
│ instance            ┆ registered            ┆ held ┆ declared ┆ what else                                  │
╞═════════════════════╪═══════════════════════╪══════╪══════════╪════════════════════════════════════════════╡
│ web-1               ┆ clb:shop OutOfService ┆ –    ┆ –        ┆ wrong: clb:shop: registered though stopped │
│ i-0123456789abcdef0 ┆                       ┆      ┆          ┆ would deregister: clb:shop                 │
│ stopped             ┆                       ┆      ┆          ┆                                            │
└─────────────────────┴───────────────────────┴──────┴──────────┴────────────────────────────────────────────┘
";
        let plain = anstream::adapter::strip_str(&of(&journal.into_report())).to_string();
        assert_eq!(plain, expected);
    }

    #[test]
    fn an_account_without_anything_is_told_in_a_line() {
        let text = of(&Journal::of_sweep(Mode::Observe).into_report());
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), "0 instance(s) with something to tell\n");
    }
}
