//! How a report is shown: on a terminal, as JSON, as Markdown, or as a page of HTML.

use std::io::{ErrorKind, Write};

use protocol::plain::Plain;
use registrar::report::{
    Report,
    page::{Page, Subject, Summary},
};
use serde::Serialize;

use crate::{about::About, arguments::Form, deployed::Deployment, html, markdown, terminal};

/// What is shown.
pub(crate) struct Shown<'s> {
    pub(crate) subject: Subject,
    pub(crate) report: &'s Report,
    pub(crate) about: &'s About,
}

/// The JSON for machines: where was looked, the figures, and the report.
#[derive(Serialize)]
struct Json<'j> {
    account: Option<&'j Plain>,
    region: &'j Plain,
    seen_at: &'j str,
    #[serde(skip_serializing_if = "Option::is_none")]
    functions: Option<&'j [Deployment]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    functions_unknown: Option<Plain>,
    summary: Summary,
    #[serde(flatten)]
    report: &'j Report,
}

/// Shows a report on standard output.
///
/// # Errors
/// If standard output takes no more: a disk is full, say.
pub(crate) fn show(shown: &Shown<'_>, form: &Form) -> Result<(), String> {
    let page = || Page::of(shown.subject, shown.report, shown.about.facts());
    print(&match form {
        Form { json: true, .. } => format!("{}\n", json(shown)),
        Form { markdown: true, .. } => markdown::of(&page()),
        Form { html: true, .. } => html::of(&page()),
        _ => terminal::of(&page(), terminal::width()),
    })
}

/// Writes a text to standard output. A reader that wants no more of it, such as `head`, is no error.
///
/// # Errors
/// If standard output takes no more.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("nothing can be written any more: {error}")),
        _ => Ok(()),
    }
}

fn json(Shown { report, about, .. }: &Shown<'_>) -> String {
    let json = Json {
        account: about.account.as_ref(),
        region: &about.region,
        seen_at: &about.at,
        functions: about.deployed.as_deref().ok(),
        functions_unknown: about.deployed.as_ref().err().map(Plain::of),
        summary: Summary::of(report),
        report,
    };
    serde_json::to_string_pretty(&json).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use protocol::{id::InstanceId, observed::Health, registration::Registration};
    use registrar::{config::Mode, report::Journal};

    use super::*;

    /// `cargo test ten_thousand_instances -- --nocapture` prints sizes and times.
    #[test]
    fn ten_thousand_instances_fit_into_every_form() {
        let mut journal = Journal::of_sweep(Mode::Observe);
        for number in 0..10_000 {
            let id: InstanceId = format!("i-{number:017}").as_str().into();
            for port in [80, 8080] {
                let place: Registration = format!("tg:web-{}/0123456789abcdef:{port}", number / 500).parse().unwrap();
                journal.registered(&id, &place);
                journal.health(&id, &place, Health { state: "healthy".to_owned(), reason: None, is_in_vain: false });
            }
        }
        let report = journal.into_report();
        let page = Page::of(Subject::Status, &report, Vec::new());
        let forms: [(&str, &dyn Fn() -> String, usize); 5] = [
            ("on a terminal", &|| terminal::of(&page, Some(100)), 6),
            ("in a pipe", &|| terminal::of(&page, None), 6),
            ("JSON", &|| serde_json::to_string_pretty(&report).unwrap(), 5),
            ("Markdown", &|| markdown::of(&page), 3),
            ("HTML", &|| html::of(&page), 5),
        ];
        for (name, form, megabytes) in forms {
            let begun = tokio::time::Instant::now();
            let text = form();
            println!("{name}: {} bytes, {} ms", text.len(), begun.elapsed().as_millis());
            assert!(text.len() < megabytes * 1_000_000, "{name}: {}", text.len());
        }
    }
}
