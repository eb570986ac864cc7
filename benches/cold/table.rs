//! The medians of all rounds as a table, with how many times more than the first contender's each is.

use std::{fmt::Write as _, time::Duration};

use crate::contender::{Contender, Measured};

/// A column: its head, and what is in it.
type Column = (&'static str, fn(&Measured) -> f64);

const PLOTTED: [&str; 3] = ["INIT + first, ms", "processor to first, ms", "memory, MiB"];

const COLUMNS: [Column; 8] = [
    ("INIT, ms", |one| milliseconds(one.init)),
    ("first stop, ms", |one| milliseconds(one.first)),
    ("INIT + first, ms", |one| milliseconds(one.init + one.first)),
    ("next stop, ms", |one| milliseconds(one.second)),
    ("restart, ms", |one| milliseconds(one.restart)),
    ("processor to first, ms", |one| milliseconds(one.processor)),
    ("page faults to first", |one| count(one.faults)),
    ("memory, MiB", |one| mebibytes(one.memory_kib)),
];

/// A row for each contender, as a Markdown table.
pub(crate) fn table(contenders: &[Contender], rounds: &[Vec<Measured>]) -> String {
    let heads = COLUMNS.map(|(head, _)| head).join(" | ");
    let mut table = format!("| | {heads} |\n|---|{}\n", "---:|".repeat(COLUMNS.len()));
    let first = COLUMNS.map(|(_, of)| median(rounds.first().map_or(&[], Vec::as_slice), of));
    for (contender, measured) in contenders.iter().zip(rounds) {
        let cells: Vec<String> = COLUMNS
            .iter()
            .zip(first)
            .map(|((_, of), base)| {
                let value = median(measured, *of);
                format!("{value:.1} ({:.1}x)", value / base)
            })
            .collect();
        let _ = writeln!(table, "| {} | {} |", contender.name, cells.join(" | "));
    }
    table
}

/// How many times more the last contender takes than the one before it, as a sentence.
pub(crate) fn compared(contenders: &[Contender], rounds: &[Vec<Measured>]) -> String {
    let [.., of_function, of_last] = rounds else { return String::new() };
    let [.., function, last] = contenders else { return String::new() };
    let times = COLUMNS.into_iter().filter(|(head, _)| PLOTTED.contains(head));
    let times = times.map(|(head, of)| {
        let what = head.split(',').next().unwrap_or_default();
        format!("{what} {:.0} times", median(of_last, of) / median(of_function, of))
    });
    format!("{} beside {}: {}.", last.name, function.name, times.collect::<Vec<_>>().join(", "))
}

/// The columns that are plotted: their heads, and the medians of each contender.
pub(crate) fn plotted(rounds: &[Vec<Measured>]) -> Vec<(&'static str, Vec<f64>)> {
    let plotted = COLUMNS.into_iter().filter(|(head, _)| PLOTTED.contains(head));
    plotted.map(|(head, of)| (head, rounds.iter().map(|measured| median(measured, of)).collect())).collect()
}

fn median(measured: &[Measured], of: fn(&Measured) -> f64) -> f64 {
    let mut values: Vec<f64> = measured.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "page faults of a process are far from 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "kibibytes of a process are far from 2^52")]
fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}
