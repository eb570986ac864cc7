//! Texts for people, with nothing in them that could change what stands around them.
//!
//! Tags, names, metadata, events and the sentences of AWS are written by others, and EC2 allows any character in a tag. A
//! newline in a name would make a row of a table that no instance has, an escape sequence would repaint a terminal, and
//! a mark of direction would turn the rest of a line round. [`Plain`] is the one way by which a text gets into a report,
//! an error or the log. A page in HTML or Markdown takes it from there, by [`Plain::html`] and [`Plain::markdown`].

use std::{
    fmt::{self, Write},
    ops::Deref,
};

use serde::{Serialize, Serializer};

/// Characters of a foreign text that are shown. The longest sentence of AWS is that of a denied call with its encoded
/// message, some 2,000 characters.
///
/// Too small: such a message cannot be decoded. Too large: an event with a field of a megabyte makes a line of the log of
/// that length.
const SHOWN_MAX: usize = 4_000;

/// A text for people in one line, in which every character is shown as itself or by its number.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plain(String);

impl Plain {
    /// Makes a text harmless: each character that could move, hide or repaint another is written as its number, `\n` or
    /// `\u{1b}`. What Unicode calls no character is left out. A text that is plain already stays as it is.
    pub fn of(text: impl fmt::Display) -> Self {
        let mut plain = Writer { text: String::new(), shown: 0, left_out: 0 };
        // A `String` takes everything, so only `text` itself could fail, and then what it has said so far is left.
        let _ = write!(plain, "{text}");
        match plain.left_out {
            0 => Self(plain.text),
            more => Self(format!("{}… ({more} more characters)", plain.text)),
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text as HTML that shows it, as the content of an element or in a quoted attribute.
    pub fn html(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            for c in self.0.chars() {
                match c {
                    '&' | '<' | '>' | '"' | '\'' | '`' | '=' => write!(f, "&#{};", u32::from(c))?,
                    c => f.write_char(c)?,
                }
            }
            Ok(())
        })
    }

    /// Returns the text as Markdown that shows it, also in a cell of a table: each punctuation mark of ASCII is escaped
    /// ("Any ASCII punctuation character may be backslash-escaped", <https://spec.commonmark.org/0.31.2/#backslash-escapes>).
    /// An angle bracket and an ampersand are written as their numbers, for a reader that takes HTML in Markdown.
    pub fn markdown(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            for c in self.0.chars() {
                match c {
                    '&' | '<' | '>' => write!(f, "&#{};", u32::from(c))?,
                    c if c.is_ascii_punctuation() => write!(f, "\\{c}")?,
                    c => f.write_char(c)?,
                }
            }
            Ok(())
        })
    }
}

/// Writes a text with each character as itself or by its number, up to so many characters.
struct Writer {
    text: String,
    shown: usize,
    left_out: usize,
}

impl Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if is_none(c) {
                continue;
            }
            if self.shown == SHOWN_MAX {
                self.left_out += 1;
                continue;
            }
            self.shown += 1;
            match is_plain(c) {
                true => self.text.push(c),
                false => self.text.extend(escaped(c)),
            }
        }
        Ok(())
    }
}

/// Returns a character by its number.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let short = matches!(c, '\n' | '\r' | '\t').then(|| c.escape_default());
    let long = short.is_none().then(|| c.escape_unicode());
    short.into_iter().flatten().chain(long.into_iter().flatten())
}

/// Returns whether a character shows as itself, in its own place, whatever shows it.
///
/// These do not: controls; what Unicode calls formats, among them the marks of direction; separators of lines; what is
/// not shown at all (`Default_Ignorable_Code_Point` in
/// <https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt>); and the lines of which a table is drawn.
pub fn is_plain(c: char) -> bool {
    let is_format = matches!(u32::from(c),
        0xad | 0x34f | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x115f..=0x1160
        | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164
        | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0x110bd | 0x110cd | 0x13430..=0x1343f
        | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff);
    let is_line = matches!(c, '\u{2500}'..='\u{259f}');
    !(c.is_control() || is_format || is_line || is_none(c))
}

/// Returns whether a character is none: NUL, the last two of each plane, and 32 more. SQS refuses a message for some of them.
fn is_none(c: char) -> bool {
    c == '\0' || u32::from(c) & 0xfffe == 0xfffe || matches!(c, '\u{fdd0}'..='\u{fdef}')
}

impl Deref for Plain {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl From<&str> for Plain {
    fn from(text: &str) -> Self {
        Self::of(text)
    }
}

impl From<String> for Plain {
    fn from(text: String) -> Self {
        Self::of(text)
    }
}

impl PartialEq<str> for Plain {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Plain {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_change_its_surroundings_is_written_as_its_number() {
        for (text, plain) in [
            ("web-1", "web-1"),
            ("Zürich 東京 🙂 [blue] | <b> & \\", "Zürich 東京 🙂 [blue] | <b> & \\"),
            ("web\nweb-2\r\tx", "web\\nweb-2\\r\\tx"),
            ("\u{1b}[2J\u{9b}31m\u{7}\u{7f}", "\\u{1b}[2J\\u{9b}31m\\u{7}\\u{7f}"),
            ("a\u{202e}b\u{2066}c\u{200f}\u{61c}", "a\\u{202e}b\\u{2066}c\\u{200f}\\u{61c}"),
            ("a\u{2028}b\u{2029}c\u{85}", "a\\u{2028}b\\u{2029}c\\u{85}"),
            ("a\u{200b}\u{feff}\u{ad}\u{3164}\u{e0041}", "a\\u{200b}\\u{feff}\\u{ad}\\u{3164}\\u{e0041}"),
            ("x │ web-2 ┆", "x \\u{2502} web-2 \\u{2506}"),
            ("a\u{ffff}\u{fdd0}\u{1fffe}\u{0}b", "ab"),
        ] {
            assert_eq!(Plain::of(text), plain, "{text:?}");
            assert_eq!(Plain::of(Plain::of(text)), plain, "twice: {text:?}");
        }
    }

    #[test]
    fn a_text_without_end_has_one() {
        let long = Plain::of("\u{1b}".repeat(1_000_000));
        assert!(long.len() < 30_000 && long.ends_with("… (996000 more characters)"), "{}", long.len());
    }

    #[test]
    fn a_page_shows_a_text_and_nothing_of_its_markup() {
        let text = Plain::of("<img src=x onerror='a()'> [a](http://b) |`*_#!\n\"&amp;");
        let html = text.html().to_string();
        assert!(!html.contains(['<', '>', '"', '\'', '`', '=']), "{html}");
        assert!(html.starts_with("&#60;img src&#61;x onerror&#61;&#39;a()&#39;&#62; [a](http://b) |"), "{html}");
        let markdown = text.markdown().to_string();
        assert!(markdown.contains("\\[a\\]\\(http\\:\\/\\/b\\) \\|\\`\\*\\_\\#\\!\\\\n"), "{markdown}");
        assert!(!markdown.contains(['<', '>']), "{markdown}");
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_line(text in any::<String>()) {
            let plain = Plain::of(&text);
            prop_assert!(plain.chars().all(is_plain));
            prop_assert_eq!(plain.lines().count(), usize::from(!plain.is_empty()));
            let html = plain.html().to_string();
            prop_assert!(!html.contains(['<', '>', '"', '\'']));
        }
    }
}
