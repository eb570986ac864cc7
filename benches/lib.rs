//! The common parts of the benchmarks. They are programs: `cargo storm`, `benches/cold/run` and `.ci/instructions`; `benches/run`
//! runs all of them.

pub mod machine;

/// Colours of lines and bars in plots, for people who see few colours, too (Okabe and Ito).
pub const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
