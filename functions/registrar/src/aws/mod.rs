//! AWS at the edge: the clients, how fast they may call, and what each service is asked and told.
//!
//! The load balancers' own calls are in [`crate::balancer`].

pub(crate) mod account;
pub mod auto_scaling;
pub mod budget;
pub(crate) mod call;
pub mod call_watch;
pub mod clients;
pub mod ec2;
pub mod http;
mod network;
pub mod queue;

/// Calls that read, under way at once. More only fills the account's buckets (40 to 200 calls at once, 10 to 50 a second)
/// and leaves nothing to other controllers; fewer makes a scan of hundreds of groups wait for round trips.
pub const CALLS_IN_FLIGHT_MAX: usize = 8;
