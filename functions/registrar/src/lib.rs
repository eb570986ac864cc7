//! The library of elb-registrar: keeps load balancers in step with EC2 instances that stop and start.
//!
//! Its layers, each of which imports only from those after it (`.ci/layers` fails otherwise):
//! - [`handler`]: what comes in from Lambda, and what is answered;
//! - [`workflow`]: what each function does with that: events of instances, lifecycle actions, sweeps;
//! - [`engine`]: holding, deregistering, registering and deleting tags, in the order that loses nothing;
//! - [`balancer`] and [`report`]: what sends traffic; and what people, logs and metrics are told;
//! - [`aws`]: the clients, and how fast they call;
//! - the crate [`protocol`]: what is read, remembered and decided, without a call.
//!
//! [`config`] and [`logging`] are for all of them.
//!
//! The functions are thin binaries around this crate. `docs/design.md` has the promises, and why they hold.

// A text of others has any letters, and a slice in the middle of one would end the function.
#![warn(clippy::string_slice)]

pub mod aws;
pub mod balancer;
pub mod config;
pub mod engine;
pub mod handler;
pub mod logging;
pub mod report;
pub mod runtime;
#[cfg(test)]
mod testing;
pub mod workflow;
