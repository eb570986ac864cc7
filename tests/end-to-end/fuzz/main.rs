//! Fuzzing: no input from outside (events, SQS bodies, tags, hooks' metadata, settings) may end a function, change an instance
//! that it does not name, or cost more memory than its size allows.
//!
//! It uses proptest, because proptest runs on stable Rust, is already a dependency, and shrinks a failing case to the few changes
//! of a sample that matter. proptest does not measure coverage. cargo-fuzz does, but it needs a nightly compiler, and would spend
//! its time in the JSON parser. Bolero without nightly draws as proptest does. So samples are changed by their structure
//! ([`mutation`]), and are drawn from values that the functions look at.
//!
//! `campaign.rs` says how long it runs and how a failure is repeated.

mod campaign;
mod handlers;
mod memory;
mod mutation;
mod parsers;
mod sample;
mod scene;
