//! The page `docs/cold.md`, with its plot.

use std::{fmt::Write as _, io, path::Path};

use benchmarks::{
    COLOURS,
    machine::{here, today},
    plot::heading,
};

use crate::{
    contender::{Contender, Measured},
    parts,
    table::{compared, plotted, table},
};

const BEGINNING: &str = "\
# A first event: from the start of the process to the answer

What an event costs that meets no process, beside two others. *The limit* makes the same calls by hyper and rustls alone, unsigned and with
answers hardly parsed (`benches/cold/limit.rs`): the least that Rust could take. *Python* does the same job by boto3 with the official runtime client
`awslambdaric`, with batch calls, paginators, and clients made once (`benches/cold/python`). Written by

```sh
benches/cold/run --write
```

which starts the processes in turn, at the sandbox's Runtime API, with TLS as of AWS's endpoints. The event is an instance that stops, which is in one of a few
target groups. Medians, and in brackets how many times more than the limit. *INIT* is from the start of the process to the first
question for an event; a small function in Lambda has a whole core for that, and a fraction of one afterwards. A *page fault* is a page of code or data
that the kernel had to bring in. *Memory* is the most that the process had.

";

const TITLE: &str = "What a first event costs, from the start of the process to the answer";

const READING: &str = "Shorter is better. Each measure has a linear scale of its own, which begins at 0.";

/// The space for both, in pixels.
const HEAD: f64 = 50.0;

/// Of the picture, in pixels.
const WIDTH: f64 = 760.0;

/// Of a bar and the space under it.
const ROW: f64 = 26.0;

/// Where bars begin and the longest ends.
const BARS: (f64, f64) = (170.0, 660.0);

/// Writes page and plot into the folder of a repository. The part on instructions stays as it is.
///
/// # Errors
/// Where a file cannot be written.
pub(crate) fn write(repository: &Path, contenders: &[Contender], rounds: &[Vec<Measured>]) -> io::Result<()> {
    let docs = repository.join("docs");
    let (_, parts) = read(repository)?;
    let mut page = format!("{BEGINNING}{}", table(contenders, rounds));
    let count = rounds.first().map_or(0, Vec::len);
    let _ = writeln!(page, "\n{}", compared(contenders, rounds));
    let _ = writeln!(page, "\n![{TITLE}, as bars. {READING}](cold.svg)");
    let _ = writeln!(page, "\nMeasured on {}, on {}, in {count} rounds.", today(), here());
    std::fs::write(docs.join("cold.md"), page + &parts)?;
    let names: Vec<&str> = contenders.iter().map(|contender| contender.name.as_str()).collect();
    std::fs::write(docs.join("cold.svg"), plot(&names, &plotted(rounds)))
}

/// Writes the part on instructions into the page. What was measured stays as it is.
///
/// # Errors
/// Where the page cannot be read or written.
pub(crate) fn write_parts(repository: &Path, section: &str) -> io::Result<()> {
    let (measured, _) = read(repository)?;
    std::fs::write(repository.join("docs/cold.md"), format!("{}\n\n{section}", measured.trim_end()))
}

/// Returns the page as it is, in front of its part on instructions and from there.
fn read(repository: &Path) -> io::Result<(String, String)> {
    let page = std::fs::read_to_string(repository.join("docs/cold.md"))?;
    let begin = page.find(&format!("\n{}\n", parts::HEADING)).unwrap_or(page.len());
    let (measured, parts) = page.split_at(begin);
    Ok((measured.to_owned(), parts.to_owned()))
}

/// Returns the picture of some measures, each with its median for each contender.
fn plot(contenders: &[&str], columns: &[(&str, Vec<f64>)]) -> String {
    let height = HEAD + columns.len() as f64 * (contenders.len() as f64 + 1.5) * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    heading(&mut svg, (12.0, 22.0), TITLE, READING);
    let mut y = HEAD + ROW;
    for (head, medians) in columns {
        let most = medians.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let _ = writeln!(svg, "<text x=\"12\" y=\"{y:.0}\" font-weight=\"bold\">{head}</text>");
        for ((contender, median), colour) in contenders.iter().zip(medians).zip(COLOURS.iter().cycle()) {
            y += ROW;
            let length = (BARS.1 - BARS.0) * median / most;
            let _ = writeln!(svg, "<text x=\"12\" y=\"{y:.0}\">{contender}</text>");
            let top = y - 13.0;
            let _ = writeln!(
                svg,
                "<rect x=\"{}\" y=\"{top:.0}\" width=\"{length:.1}\" height=\"16\" fill=\"{colour}\"/>",
                BARS.0
            );
            let _ = writeln!(svg, "<text x=\"{:.0}\" y=\"{y:.0}\">{median:.1}</text>", BARS.0 + length + 6.0);
        }
        y += 1.5 * ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_have_a_title_and_say_how_to_read_them() {
        let svg = plot(&["the limit", "Python"], &[("memory, MiB", vec![5.0, 50.0])]);
        for text in [TITLE, READING, "memory, MiB", "the limit", "Python", "5.0", "50.0"] {
            assert!(svg.contains(&format!(">{text}</text>")), "{text}");
        }
        let longest = BARS.1 - BARS.0;
        assert!(
            svg.contains(&format!("width=\"{longest:.1}\""))
                && svg.contains(&format!("width=\"{:.1}\"", longest / 10.0))
        );
    }
}
