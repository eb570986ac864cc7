//! A page as Markdown with GitHub's tables, for a ticket or a pull request.

use protocol::plain::Plain;
use registrar::report::page::{Page, Row};

/// Returns everything that a page says.
pub(crate) fn of(page: &Page) -> String {
    let mut text = format!("# {}\n\n", page.title);
    if !page.facts.is_empty() {
        text.push_str("| | |\n|---|---|\n");
        for (name, fact) in &page.facts {
            text.push_str(&row([(*name).to_owned(), shown(fact)]));
        }
        text.push('\n');
    }
    let figures = page.summary.figures().map(|(figure, words, is_bad)| match is_bad && figure > 0 {
        true => format!("**{figure} {words}**"),
        false => format!("{figure} {words}"),
    });
    text.push_str(&format!("{}.\n", figures.join(", ")));
    if !page.unread.is_empty() {
        text.push_str("\n## Not read\n\nWhat follows lacks this.\n\n");
        page.unread.iter().for_each(|unread| text.push_str(&format!("- {}\n", shown(unread))));
    }
    if !page.orphans.is_empty() {
        text.push_str("\n## Addresses without an owner\n\n");
        text.push_str(&head(["registration", "VPC", "health", "fate", "why"]));
        for orphan in &page.orphans {
            let of = |text: &dyn std::fmt::Display| shown(&Plain::of(text));
            let fate = orphan.fate.word().to_owned();
            text.push_str(&row([of(&orphan.registration), of(&orphan.vpc), of(&orphan.health), fate, of(&orphan.why)]));
        }
    }
    text.push_str("\n## Instances\n\n");
    if page.rows.is_empty() {
        text.push_str("There is nothing to tell.\n");
        return text;
    }
    text.push_str(&head(["instance", "state", "registrations", "remarks"]));
    page.rows.iter().for_each(|it| text.push_str(&instance(it)));
    text
}

fn instance(it: &Row) -> String {
    let name = it.name.iter().map(|name| format!("**{}**", shown(name)));
    let id = shown(&Plain::of(&it.id));
    let remarks = it.remarks.iter().map(|remark| shown(&Plain::of(remark)));
    row([
        lines(name.chain([id])),
        it.state.to_owned(),
        lines(it.places.iter().map(|place| place.in_words(shown))),
        lines(remarks),
    ])
}

fn shown(text: &Plain) -> String {
    text.markdown().to_string()
}

fn lines(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join("<br>")
}

fn head<const N: usize>(columns: [&str; N]) -> String {
    format!("{}|{}\n", row(columns.map(str::to_owned)), "---|".repeat(N))
}

fn row<const N: usize>(cells: [String; N]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use protocol::{because::Because, id::InstanceId, registration::Registration};
    use registrar::{
        config::Mode,
        report::{Journal, page::Subject},
    };

    use super::*;

    #[test]
    fn no_text_of_others_makes_a_cell_or_markup() {
        let mut journal = Journal::of_sweep(Mode::Observe);
        let id: InstanceId = "i-1".into();
        journal.registered(&id, &Registration::classic("shop"));
        journal.wrong(&id, Because::of(&"<script>|x|</script>", "`code` [a](http://b)\n| row |"));
        let text = of(&Page::of(Subject::Status, &journal.into_report(), vec![("account", "1|2".into())]));
        let last = text.lines().last().unwrap_or_default();
        let bars = last.char_indices().filter(|(at, c)| *c == '|' && !last[..*at].ends_with('\\')).count();
        assert_eq!(bars, 5, "{last}");
        assert!(text.contains("| account | 1\\|2 |") && !text.contains("<script>"), "{text}");
        assert!(last.contains("\\`code\\` \\[a\\]\\(http"), "{last}");
    }
}
