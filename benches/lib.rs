//! The common parts of the benchmarks. They are programs: `cargo storm`, `benches/cold/run` and `.ci/instructions`; `benches/run`
//! runs all of them.

pub mod machine;
pub mod plot;

/// Colours of lines and bars in plots, for people who see few colours, too (Okabe and Ito).
pub const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// Returns a number with its thousands apart.
pub fn whole(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
