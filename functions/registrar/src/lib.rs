//! The library of elb-registrar: keeps load balancers in step with EC2 instances that stop and start.
//!
//! Read it in the order in which the data flows:
//! - *notice*: which instance an event names ([`protocol::event`]);
//! - *read*: instances and their tags ([`ec2`]), balancers ([`balancer`]), Auto Scaling groups and their hooks ([`auto_scaling`]),
//!   networks ([`network`]);
//! - *decide*: pure functions of what was read ([`protocol`]);
//! - *act*: the calls, in the order that loses nothing ([`converge`], which carries the protocol);
//! - *answer*: to the queue and to people ([`handler`], [`queue`], [`report`]).
//!
//! The functions are thin binaries around this crate. `docs/design.md` has the promises and why they hold.

pub mod auto_scaling;
pub mod balancer;
pub mod budget;
mod call;
pub mod call_watch;
pub mod clients;
pub mod config;
pub mod converge;
pub mod ec2;
pub mod handler;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod network;
pub mod queue;
pub mod report;
#[cfg(test)]
mod testing;
