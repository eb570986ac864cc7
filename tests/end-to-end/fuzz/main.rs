//! Fuzzing: what comes from outside (events, SQS bodies, tags, hooks' metadata, settings) must neither end a function, nor reach
//! what it does not name, nor cost more memory than it has size.
//!
//! With proptest, because it runs on stable Rust, is here already, and shrinks what fails to the few changes of a sample that
//! matter. It is blind to coverage, which cargo-fuzz is not; that one needs a nightly compiler, and would spend its time in the
//! JSON parser. Bolero is either: without nightly it draws as proptest does. So samples are changed by their structure
//! ([`mutation`]), and what draws well is what the functions look at.
//!
//! `campaign.rs` says how long it runs and how a failure is repeated.

mod campaign;
mod handlers;
mod memory;
mod mutation;
mod parsers;
mod sample;
mod scene;
