//! EC2's operations.

use crate::{
    clock::Timestamp,
    wire::{Answer, ApiError, Request},
    world::World,
};

/// Does a call's work.
///
/// # Errors
/// As EC2 refuses.
pub fn answer(_world: &mut World, request: &Request, _as_of: Timestamp) -> Result<Answer, ApiError> {
    Err(ApiError::not_modelled(format!("the operation {}", request.action)))
}
