//! A page on a terminal, at the terminal's width.

use anstyle::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets::UTF8_FULL_CONDENSED};
use protocol::plain::Plain;
use registrar::report::page::{Page, Row};

const BOLD: Style = Style::new().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// The text of an empty cell.
const NOTHING: &str = "–";

/// The width from which on registrations and remarks stand beside each other.
const WIDE: u16 = 140;

/// The widest that an instance's names may be on a narrow terminal: an id of 19 letters, and the blanks around it.
const WHO_MAX: u16 = 26;

/// The narrowest that a table is made.
const WIDTH_MIN: u16 = 60;

/// Returns how wide the terminal is; `None` if standard output is none, whose lines may have any length.
pub(crate) fn width() -> Option<u16> {
    terminal_size::terminal_size().map(|(width, _)| width.0)
}

/// Returns everything that a page says.
pub(crate) fn of(page: &Page, width: Option<u16>) -> String {
    let mut text = format!("{BOLD}{}{BOLD:#}\n", page.title);
    for (name, fact) in &page.facts {
        text.push_str(&format!("{name:<9} {fact}\n"));
    }
    let figures = page.summary.figures().map(|(figure, words, is_bad)| {
        let style = if is_bad && figure > 0 { BAD } else { Style::new() };
        format!("{style}{figure} {words}{style:#}")
    });
    text.push_str(&format!("{}\n", in_lines(&figures, width)));
    if !page.unread.is_empty() {
        text.push_str(&format!("\n{BAD}Not read, so that what follows lacks it{BAD:#}\n"));
        page.unread.iter().for_each(|unread| text.push_str(&format!("- {unread}\n")));
    }
    if !page.rows.is_empty() {
        text.push_str(&instances(&page.rows, width));
    }
    if !page.orphans.is_empty() {
        text.push_str(&format!("\n{BOLD}Addresses without an owner{BOLD:#}\n"));
        text.push_str(&orphans(page, width));
    }
    text
}

/// Returns figures, in as many lines as a terminal needs for them.
fn in_lines(figures: &[String], width: Option<u16>) -> String {
    let length = |text: &str| anstream::adapter::strip_str(text).to_string().chars().count();
    let widest = width.map_or(usize::MAX, |width| width.max(WIDTH_MIN).into());
    let mut lines: Vec<String> = Vec::new();
    for figure in figures {
        match lines.last_mut() {
            // A comma follows each figure but the last.
            Some(line) if length(line) + ", ,".len() + length(figure) <= widest => {
                line.push_str(&format!(", {figure}"))
            }
            _ => lines.push(figure.clone()),
        }
    }
    lines.join(",\n")
}

fn instances(rows: &[Row], width: Option<u16>) -> String {
    let is_narrow = is_narrow(width);
    let mut table = match is_narrow {
        true => table(&["instance", "registrations and remarks"], width),
        false => table(&["instance", "registrations", "remarks"], width),
    };
    if let (true, Some(column)) = (is_narrow, table.column_mut(0)) {
        column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(WHO_MAX)));
    }
    for row in rows {
        let name = row.name.iter().map(ToString::to_string);
        let who = lines(name.chain([row.id.to_string(), row.state.to_owned()]));
        let (places, remarks) = (
            row.places.iter().map(|place| place.in_words(Plain::to_string)),
            row.remarks.iter().map(ToString::to_string),
        );
        match is_narrow {
            true => table.add_row([who, lines(places.chain(remarks))]),
            false => table.add_row([who, lines(places), lines(remarks)]),
        };
    }
    format!("{}\n", table.trim_fmt())
}

/// Returns whether registrations and remarks have no room beside each other: both are long words.
fn is_narrow(width: Option<u16>) -> bool {
    width.is_some_and(|width| width < WIDE)
}

fn orphans(page: &Page, width: Option<u16>) -> String {
    let heads = ["registration", "VPC", "health", "fate", "why"];
    let is_narrow = is_narrow(width);
    let mut table = match is_narrow {
        true => table(&["registration", "what is known of it"], width),
        false => table(&heads, width),
    };
    for orphan in &page.orphans {
        let (vpc, health, fate) = (orphan.vpc.to_string(), orphan.health.to_string(), orphan.fate.word());
        match is_narrow {
            true => {
                table.add_row([orphan.registration.to_string(), format!("{vpc}\n{health}\n{fate}: {}", orphan.why)])
            }
            false => {
                table.add_row([orphan.registration.to_string(), vpc, health, fate.to_owned(), orphan.why.to_string()])
            }
        };
    }
    format!("{}\n", table.trim_fmt())
}

fn table(head: &[&str], width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(head);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.max(WIDTH_MIN));
    }
    table
}

fn lines(texts: impl Iterator<Item = String>) -> String {
    let text = texts.collect::<Vec<_>>().join("\n");
    if text.is_empty() { NOTHING.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use protocol::{
        because::Because,
        id::InstanceId,
        instance::{Instance, State},
        observed::Health,
        registration::Registration,
    };
    use registrar::{
        config::Mode,
        report::{Action, Journal, page::Subject},
    };

    use super::*;

    fn page() -> Page {
        let mut journal = Journal::of_sweep(Mode::Observe);
        let (id, clb): (InstanceId, _) = ("i-0123456789abcdef0".into(), Registration::classic("shop"));
        journal.seen(&Instance {
            id: id.clone(),
            state: State::Stopped,
            launch_time: None,
            made_at: None,
            stop_time: None,
            vpc: None,
            interfaces: Vec::new(),
            tags: [("Name".to_owned(), "web-1".to_owned())].into(),
        });
        journal.registered(&id, &clb);
        journal.health(&id, &clb, Health { state: "OutOfService".to_owned(), reason: None, is_in_vain: false });
        journal.wrong(&id, Because::of(&clb, "registered though stopped"));
        journal.deed(&id, Action::Deregister, &clb, "");
        Page::of(Subject::Status, &journal.into_report(), vec![("Region", "us-east-1".into())])
    }

    fn shown(page: &Page, width: Option<u16>) -> String {
        anstream::adapter::strip_str(&of(page, width)).to_string()
    }

    #[test]
    fn each_row_shows_an_instances_places_and_its_faults() {
        let expected = "\
elb-registrar: status
Region    us-east-1
1 instances, 1 registrations, 0 held, 0 instances that hold, 0 waiting, 1 wrong, 0 orphans, 0 not read
┌─────────────────────┬───────────────────────┬────────────────────────────────────────────┐
│ instance            ┆ registrations         ┆ remarks                                    │
╞═════════════════════╪═══════════════════════╪════════════════════════════════════════════╡
│ web-1               ┆ clb:shop OutOfService ┆ wrong: clb:shop: registered though stopped │
│ i-0123456789abcdef0 ┆                       ┆ would deregister: clb:shop                 │
│ stopped             ┆                       ┆                                            │
└─────────────────────┴───────────────────────┴────────────────────────────────────────────┘
";
        assert_eq!(shown(&page(), None), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [60, 80, 139, 140, 200] {
            let text = shown(&page(), Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= width.into()), "{width}\n{text}");
            assert!(text.replace('\n', " ").contains("0 held, 0 instances that hold, 0 waiting, 1 wrong"), "{text}");
        }
    }

    #[test]
    fn an_account_without_anything_is_told_in_a_line() {
        let empty = Page::of(Subject::Status, &Journal::of_sweep(Mode::Observe).into_report(), Vec::new());
        assert!(shown(&empty, None).starts_with("elb-registrar: status\n0 instances, 0 registrations, "));
    }
}
