//! The protocol of elb-registrar: what its functions read, remember and decide. It is pure: it makes no call, reads no
//! clock and never waits.
//!
//! - what instances, groups and balancers are: [`id`], [`address`], [`instance`], [`member`], [`hook`], [`network`],
//!   [`target_group`];
//! - what was observed of balancers: [`observed`]; whether an instance is in or out: [`presence`];
//! - who else looks after targets: [`controller`];
//! - what tags remember: [`tag`], [`registration`], [`held`], [`declaration`];
//! - what an event tells: [`event`];
//! - what follows from all of it: [`decide`]; and why, for people: [`decide::explain`], [`because`], [`names`],
//!   [`nearest`], [`fields`]; and how a text of others is shown: [`plain`];
//! - how long each of these counts: [`timing`].
//!
//! The crate `registrar` reads from AWS and does what is decided here. `docs/design.md` has the promises, and why they
//! hold.

// A text of others has any letters, and a slice in the middle of one would end the function.
#![warn(clippy::string_slice)]

pub mod address;
pub mod balancer;
pub mod balancer_kind;
pub mod because;
pub mod call_error;
pub mod controller;
pub mod decide;
pub mod declaration;
pub mod event;
pub mod fields;
pub mod held;
pub mod holder;
pub mod hook;
pub mod id;
pub mod instance;
pub mod malformed;
pub mod member;
pub mod names;
pub mod nearest;
pub mod network;
pub mod observed;
pub mod plain;
mod ports;
pub mod presence;
pub mod registration;
pub mod tag;
pub mod target_group;
pub mod time;
pub mod timing;
pub mod turn;
