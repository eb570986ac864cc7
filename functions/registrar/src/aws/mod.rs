//! AWS: the clients, how fast they may call, and the calls to each service.
//!
//! The load balancers' own calls are in [`crate::balancer`].

pub(crate) mod account;
pub mod auto_scaling;
pub mod budget;
pub(crate) mod call;
pub mod call_watch;
pub mod clients;
pub mod ec2;
mod legible;
mod network;
pub(crate) mod parts;
pub mod queue;

/// Calls that read, under way at once. The account's buckets allow 40 to 200 calls at once, and 10 to 50 a second.
///
/// Too small: a scan of hundreds of groups waits for round trips. Too large: the buckets are emptied, and other
/// controllers find nothing.
pub const CALLS_IN_FLIGHT_MAX: usize = 8;
