//! Colours. They are always written; `anstream` takes them out if the output is not a terminal.

use anstyle::{AnsiColor, Style};

use crate::registered::Standing;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const OPERATOR: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const AWS: Style = AnsiColor::Cyan.on_default();
pub(crate) const FUNCTION: Style = AnsiColor::Green.on_default().bold();
pub(crate) const ALARM: Style = AnsiColor::Red.on_default().bold();

/// Returns a text in a style.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Returns the style of a standing.
pub(crate) fn of_standing(standing: Standing) -> Style {
    match standing {
        Standing::Healthy => AnsiColor::Green.on_default(),
        Standing::Initial => AnsiColor::Blue.on_default(),
        Standing::Draining => AnsiColor::Yellow.on_default(),
        Standing::Down(_) => AnsiColor::Red.on_default(),
    }
}
