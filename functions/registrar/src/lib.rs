//! The library of elb-registrar: keeps load balancers in step with EC2 instances that stop and start.
//!
//! Read it in the order in which the data flows:
//! - *notice*: which instance an event names ([`notice`]);
//! - *read*: instances and their tags ([`ec2`], [`instance`], [`held`], [`declaration`]), balancers ([`balancer`]),
//!   Auto Scaling groups and their hooks ([`auto_scaling`], [`hook`]), networks ([`network`]);
//! - *decide*: pure functions of what was read ([`decide`], [`orphan`], [`finding`]);
//! - *act*: the calls, in the order that loses nothing ([`converge`], which carries the protocol);
//! - *answer*: to the queue and to people ([`handler`], [`queue`], [`report`]).
//!
//! The functions are thin binaries around this crate. `docs/design.md` has the promises and why they hold.

pub mod address;
pub mod auto_scaling;
pub mod balancer;
pub mod budget;
pub mod call_watch;
pub mod clients;
pub mod config;
pub mod converge;
pub mod decide;
pub mod declaration;
pub mod ec2;
pub mod error;
pub mod finding;
pub mod handler;
pub mod held;
pub mod hook;
pub mod http;
pub mod id;
pub mod instance;
pub mod logging;
pub mod metrics;
pub mod network;
pub mod notice;
pub mod orphan;
pub mod queue;
pub mod registration;
pub mod report;
pub mod runtime;
pub mod tag;
