//! Tables of figures: aligned for a terminal, and the same as Markdown.

use benchmarks::whole;

/// A table. Columns are aligned to the right but for the first.
pub(crate) struct Table {
    /// Its subject, in a sentence.
    pub(crate) title: String,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Returns a table without rows.
    pub(crate) fn new(title: impl Into<String>, header: &[&'static str]) -> Self {
        Self { title: title.into(), header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, of as many cells as the header has.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.header.len(), "cells for each column of `{}`", self.title);
        self.rows.push(cells);
    }

    /// Returns it for a terminal.
    pub(crate) fn to_text(&self) -> String {
        let widths = self.widths();
        let line = |cells: &[String]| {
            let cells = cells.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        };
        let header: Vec<String> = self.header.iter().map(ToString::to_string).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}\n{}{rows}", self.title, line(&header))
    }

    /// Returns it for a page.
    pub(crate) fn to_markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let header: Vec<String> = self.header.iter().map(ToString::to_string).collect();
        let rules: Vec<String> =
            (0..header.len()).map(|column| if column == 0 { "---" } else { "---:" }.into()).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}\n\n{}{}{rows}", self.title, line(&header), line(&rules))
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.header[column].chars().count()]).max().unwrap_or_default()
        };
        (0..self.header.len()).map(width).collect()
    }
}

/// Returns seconds, as exact as is worth reading; a word if it never came to that.
pub(crate) fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        None => "never".to_owned(),
        Some(seconds) if seconds < 10.0 => format!("{seconds:.1}"),
        Some(seconds) => whole(seconds.round() as usize),
    }
}
