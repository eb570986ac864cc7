//! The log: one JSON line for each thing done, with an RFC 3339 time stamp, without which Lambda ignores a line's level.

use std::{
    fmt::{self, Write},
    io,
};

use protocol::plain::is_plain;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::LevelFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// The variable that Lambda sets from the function's logging configuration.
const LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";

/// The field of a line whose text is JSON already. It becomes a part of the line, so that a query can name what is in it.
pub const REPORT: &str = "report";

/// Starts logging to the standard output, for the rest of the process.
pub fn start() {
    let level = std::env::var(LEVEL).ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let log = tracing_subscriber::fmt().event_format(Line).with_max_level(level);
    log.with_writer(PlainLines(io::stdout)).init();
}

/// Writes an event as one line of JSON.
///
/// `tracing_subscriber`'s own format writes a structure as a text in quotation marks, in which CloudWatch finds no fields.
#[derive(Clone, Copy, Debug)]
pub struct Line;

impl<S: Subscriber + for<'s> LookupSpan<'s>, F: for<'w> FormatFields<'w> + 'static> FormatEvent<S, F> for Line {
    fn format_event(&self, _: &FmtContext<'_, S, F>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut at = String::new();
        SystemTime.format_time(&mut Writer::new(&mut at))?;
        let mut fields = Fields(String::new());
        fields.text("timestamp", &at);
        fields.text("level", event.metadata().level().as_str());
        event.record(&mut fields);
        writeln!(writer, "{{{}}}", fields.0)
    }
}

/// The fields of a line so far, without the braces around them.
struct Fields(String);

impl Fields {
    fn json(&mut self, name: &str, json: &str) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(&text_in_json(name));
        self.0.push(':');
        self.0.push_str(json);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.json(name, &text_in_json(text));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no number for what is none.
        let json = if value.is_finite() { value.to_string() } else { "null".to_owned() };
        self.json(name_of(field), &json);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.json(name_of(field), &value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.json(name_of(field), &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.json(name_of(field), &value.to_string());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match name_of(field) {
            REPORT => self.json(REPORT, value),
            name => self.text(name, value),
        }
    }

    /// Values that are displayed come here, too.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // A `String` takes everything.
        if write!(text, "{value:?}").is_ok() {
            self.record_str(field, &text);
        }
    }
}

/// Returns a field's name, without the mark of a name that is also a word of Rust.
fn name_of(field: &Field) -> &'static str {
    let name = field.name();
    name.strip_prefix("r#").unwrap_or(name)
}

fn text_in_json(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// Writes lines of JSON in which each character that is not plain stands by its number, whatever wrote it: the SDK and
/// the runtime write into the log, too. A reader of JSON gets the character back.
pub struct PlainLines<W>(pub W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for PlainLines<W> {
    type Writer = PlainLines<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        PlainLines(self.0.make_writer())
    }
}

impl<W: io::Write> io::Write for PlainLines<W> {
    /// Writes all of it. A line comes in one piece, so no character is cut.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if text.chars().all(|c| c == '\n' || is_plain(c)) {
            self.0.write_all(line)?;
            return Ok(line.len());
        }
        let mut plain = String::with_capacity(line.len());
        for c in text.chars() {
            match c == '\n' || is_plain(c) {
                true => plain.push(c),
                false => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(plain, "\\u{unit:04x}");
                    }
                }
            }
        }
        self.0.write_all(plain.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Returns what a start needs, or ends the process with a line in the log that says what is wrong.
///
/// A `main` that returns the error would print its `Debug` form, in which no reader finds the sentence.
pub fn or_exit<T>(needed: Result<T, impl std::error::Error>) -> T {
    needed.unwrap_or_else(|error| {
        tracing::error!(why = %error, "cannot start");
        std::process::exit(1)
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex, PoisonError},
    };

    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the lines that some work logs, each without its time.
    fn lines(work: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let to = written.clone();
        let subscriber = tracing_subscriber::fmt().event_format(Line).with_writer(move || to.clone()).finish();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = written.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8(bytes).expect("UTF-8");
        let mut lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
        for line in &mut lines {
            let at = line.as_object_mut().expect("an object").remove("timestamp").expect("a time");
            assert!(at.as_str().is_some_and(|at| at.parse::<protocol::time::Timestamp>().is_ok()), "{at}");
        }
        lines
    }

    #[test]
    fn every_line_is_json_with_its_level_and_its_fields() {
        let written = lines(|| {
            tracing::warn!(instance = %"i-1", count = 3_u64, less = -1_i64, is = true, part = 0.5, none = f64::NAN, "a \"word\"\n");
        });
        let line = json!({
            "level": "WARN", "message": "a \"word\"\n", "instance": "i-1", "count": 3, "less": -1, "is": true, "part": 0.5,
            "none": null,
        });
        assert_eq!(written, [line]);
    }

    #[test]
    fn a_report_is_a_part_of_its_line_and_no_text() {
        let report = json!({ "instances": { "i-1": { "waiting": [] } } });
        let written = lines(|| tracing::info!(report = %report, "converged"));
        assert_eq!(written, [json!({ "level": "INFO", "message": "converged", "report": report })]);
    }

    /// Returns the sources of this crate.
    fn sources(folder: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let read = |path: std::path::PathBuf| match path.is_dir() {
            true => sources(&path),
            false => vec![std::fs::read_to_string(&path).expect("a text")],
        };
        entries.flat_map(read).collect()
    }

    /// A person reads the log, and `Some(Denied)` is no sentence.
    #[test]
    fn no_line_has_a_value_in_rusts_debug_form() {
        let sources = sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        let lines = sources.iter().flat_map(|source| source.split("tracing::").skip(1));
        let lines: Vec<&str> = lines.filter_map(|rest| rest.split_once("!(").map(|(_, rest)| rest)).collect();
        // `(`, `,` or `=` before a question mark is tracing's sign for that form; behind a call, it is Rust's for an error.
        let is_debug = |line: &str| {
            let line = line.split(");").next().unwrap_or_default();
            line.starts_with('?') || line.contains(" ?") || line.contains("{:?}") || line.contains(":?}")
        };
        assert!(lines.len() > 30, "the sources of all lines are read");
        assert_eq!(lines.into_iter().filter(|line| is_debug(line)).collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn a_name_that_is_a_word_of_rust_is_written_plainly() {
        let written = lines(|| tracing::info!(r#type = "t", "m"));
        assert_eq!(written, [json!({ "level": "INFO", "message": "m", "type": "t" })]);
    }

    #[test]
    fn a_line_of_the_log_has_plain_characters_and_says_the_same() {
        let (said, mut line) = ("a\u{202e}b\u{9b}31m\u{1b}\u{e0041}é│", Vec::new());
        let written = serde_json::json!({ "why": said }).to_string();
        let length = PlainLines(&mut line).write(format!("{written}\n").as_bytes()).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert_eq!((length, line.lines().count()), (written.len() + 1, 1));
        assert!(line.trim_end().chars().all(is_plain), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["why"], said);
    }
}
