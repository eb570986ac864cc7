//! What the benchmarks share. They are programs: `cargo storm`, `benches/cold/run` and `.ci/instructions`; `benches/run` runs all of them.

pub mod machine;
