//! The log: one JSON line for each thing done, with an RFC 3339 time stamp, without which Lambda ignores a line's level.

use std::{fmt::Write, io};

use protocol::plain::is_plain;
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

/// The variable that Lambda sets from the function's logging configuration.
const LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";

/// Starts logging to the standard output, for the rest of the process.
pub fn start() {
    let level = std::env::var(LEVEL).ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(level)
        .with_writer(PlainLines(io::stdout))
        .init();
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
    use std::io::Write;

    use super::*;

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
