//! The content of a page as HTML, for a page of its own and for a widget of CloudWatch. Here alone tags are written around texts
//! of others, each by [`Plain::html`].
//!
//! A widget may have no script and nothing from elsewhere: "JavaScript is not allowed in the returned HTML", and `<iframe>` and
//! `<use>` are removed
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_security.html>). So this content
//! has none of that.

use std::fmt::Write;

use protocol::plain::Plain;

use super::page::{Page, Place, PlaceKind, Row};

/// How much of a page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Rows of each table.
    pub rows: usize,
    /// Lines of each cell.
    pub lines: usize,
    /// Characters of each text.
    pub characters: usize,
}

impl Most {
    /// All of it.
    pub const ALL: Self = Self { rows: usize::MAX, lines: usize::MAX, characters: usize::MAX };
}

/// The text of an empty cell.
const NOTHING: &str = "–";

/// Returns the content of a page. Its classes are for the style sheet of the program that shows it.
pub fn content(page: &Page, most: Most) -> String {
    let mut html = String::new();
    // A `String` takes everything.
    let _ = write_content(&mut html, page, most);
    html
}

fn write_content(html: &mut String, page: &Page, most: Most) -> std::fmt::Result {
    if !page.facts.is_empty() {
        write!(html, "<dl class=\"facts\">")?;
        for (name, text) in &page.facts {
            write!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", shown(text, most))?;
        }
        write!(html, "</dl>")?;
    }
    write!(html, "<ul class=\"figures\">")?;
    for (figure, words, is_bad) in page.summary.figures() {
        let class = if is_bad && figure > 0 { " class=\"bad\"" } else { "" };
        write!(html, "<li{class}><b>{figure}</b> {words}</li>")?;
    }
    write!(html, "</ul>")?;
    if !page.unread.is_empty() {
        write!(html, "<h2>Not read</h2><p>What follows lacks this.</p><ul class=\"unread\">")?;
        for text in page.unread.iter().take(most.rows) {
            write!(html, "<li>{}</li>", shown(text, most))?;
        }
        write!(html, "</ul>")?;
        left_out(html, page.unread.len(), most)?;
    }
    if !page.orphans.is_empty() {
        write!(html, "<h2>Addresses without an owner</h2>")?;
        head(html, &["registration", "VPC", "health", "fate", "why"])?;
        for orphan in page.orphans.iter().take(most.rows) {
            let of = |text: &dyn std::fmt::Display| shown(&Plain::of(text), most);
            let cells = [
                ("registration", of(&orphan.registration)),
                ("VPC", of(&orphan.vpc)),
                ("health", of(&orphan.health)),
                ("fate", orphan.fate.word().to_owned()),
                ("why", of(&orphan.why)),
            ];
            write!(html, "<tr>")?;
            for (label, cell) in cells {
                write!(html, "<td data-label=\"{label}\">{cell}</td>")?;
            }
            write!(html, "</tr>")?;
        }
        write!(html, "</tbody></table>")?;
        left_out(html, page.orphans.len(), most)?;
    }
    write!(html, "<h2>Instances</h2>")?;
    if page.rows.is_empty() {
        return write!(html, "<p>There is nothing to tell.</p>");
    }
    head(html, &["instance", "state", "registrations", "remarks"])?;
    for row in page.rows.iter().take(most.rows) {
        write_row(html, row, most)?;
    }
    write!(html, "</tbody></table>")?;
    left_out(html, page.rows.len(), most)
}

fn head(html: &mut String, columns: &[&str]) -> std::fmt::Result {
    write!(html, "<table><thead><tr>")?;
    for column in columns {
        write!(html, "<th scope=\"col\">{column}</th>")?;
    }
    write!(html, "</tr></thead><tbody>")
}

fn left_out(html: &mut String, all: usize, most: Most) -> std::fmt::Result {
    match all.saturating_sub(most.rows) {
        0 => Ok(()),
        more => write!(
            html,
            "<p class=\"more\">{more} more are left out: <code>elb-registrar status</code> shows them.</p>"
        ),
    }
}

fn write_row(html: &mut String, row: &Row, most: Most) -> std::fmt::Result {
    let kind = row.worst();
    let class = if kind.is_some_and(|kind| kind.is_bad()) { " class=\"bad\"" } else { "" };
    write!(html, "<tr{class}><td data-label=\"instance\">")?;
    if let Some(name) = &row.name {
        write!(html, "<b>{}</b> ", shown(name, most))?;
    }
    write!(html, "<code>{}</code></td>", shown(&Plain::of(&row.id), most))?;
    write!(html, "<td data-label=\"state\">{}</td>", row.state)?;
    write!(html, "<td data-label=\"registrations\" data-sort=\"{}\">", row.places.len())?;
    let places: Vec<String> = row.places.iter().map(|place| of_place(place, most)).collect();
    list(html, &places, most)?;
    // Sorted by what is worst.
    let rank = kind.map_or(99, |kind| kind as u8);
    write!(html, "</td><td data-label=\"remarks\" data-sort=\"{rank}\">")?;
    let remarks = row.remarks.iter().map(|remark| {
        let (kind, class) = (remark.kind.words(), if remark.kind.is_bad() { " bad" } else { "" });
        format!("<span class=\"kind{class}\">{kind}</span> {}", shown(&remark.text, most))
    });
    list(html, &remarks.collect::<Vec<_>>(), most)?;
    write!(html, "</td></tr>")
}

fn of_place(place: &Place, most: Most) -> String {
    let text = format!("<code>{}</code>", shown(&place.registration, most));
    let kind = match place.kind {
        PlaceKind::Registered => String::new(),
        kind => format!("<span class=\"kind\">{}</span> ", kind.word()),
    };
    let health = place.health.as_ref().map(|health| {
        let class = if place.is_healthy { "" } else { " class=\"sick\"" };
        format!(" <span{class}>{}</span>", shown(health, most))
    });
    format!("{kind}{text}{}", health.unwrap_or_default())
}

fn list(html: &mut String, lines: &[String], most: Most) -> std::fmt::Result {
    if lines.is_empty() {
        return html.write_str(NOTHING);
    }
    write!(html, "<ul>")?;
    for line in lines.iter().take(most.lines) {
        write!(html, "<li>{line}</li>")?;
    }
    match lines.len().saturating_sub(most.lines) {
        0 => {}
        more => write!(html, "<li>and {more} more</li>")?,
    }
    write!(html, "</ul>")
}

/// Returns a text as HTML, without what is too long.
fn shown(text: &Plain, most: Most) -> String {
    match text.char_indices().nth(most.characters) {
        None => text.html().to_string(),
        Some((end, _)) => format!("{}…", Plain::of(text.get(..end).unwrap_or_default()).html()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{because::Because, registration::Registration};

    use super::*;
    use crate::{
        config::Mode,
        report::{
            InstanceReport, Journal,
            page::{Page, Subject},
        },
    };

    const HOSTILE: &str = "<script>alert(1)</script>\" onload='x' | \u{1b}[31m\u{202e}";

    fn page_of(count: usize) -> Page {
        let mut journal = Journal::of_sweep(Mode::Observe);
        for number in 0..count {
            let id = format!("i-{number:017}").as_str().into();
            journal.registered(&id, &Registration::classic("shop"));
            journal.wrong(&id, Because::of(&HOSTILE, HOSTILE));
        }
        let mut report = journal.into_report();
        report.instances.values_mut().for_each(|part: &mut InstanceReport| part.name = Some(Plain::of(HOSTILE)));
        Page::of(Subject::Status, &report, vec![("account", Plain::of(HOSTILE))])
    }

    #[test]
    fn no_text_of_others_is_markup() {
        let html = content(&page_of(1), Most::ALL);
        assert!(
            html.contains("&#60;script&#62;alert(1)&#60;/script&#62;&#34; onload&#61;&#39;x&#39; | \\u{1b}[31m"),
            "{html}"
        );
        let tags: std::collections::BTreeSet<&str> = html
            .split('<')
            .skip(1)
            .filter_map(|rest| rest.split([' ', '>', '/']).find(|word| !word.is_empty()))
            .collect();
        let known = [
            "b", "code", "dd", "div", "dl", "dt", "h2", "li", "p", "span", "table", "tbody", "td", "th", "thead", "tr",
            "ul",
        ];
        assert!(tags.iter().all(|tag| known.contains(tag)), "{tags:?}");
        for forbidden in ["<script", "<iframe", "<use", "onload=", "http:", "https:", "url(", "javascript:"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let most = Most { rows: 3, lines: 1, characters: 10 };
        let html = content(&page_of(10), most);
        assert_eq!(html.matches("<tr class=\"bad\">").count(), 3);
        assert!(html.contains("7 more are left out"), "{html}");
        assert!(html.contains("&#60;script&#62;al…"), "{html}");
    }

    #[test]
    fn a_page_with_nothing_says_so() {
        assert!(content(&page_of(0), Most::ALL).contains("There is nothing to tell."));
    }
}
