//! Stub.
use crate::{
    clock::Timestamp,
    wire::{Answer, ApiError, Request},
    world::World,
};
/// State.
#[derive(Debug, Default)]
pub struct State {}
/// Does a call's work.
pub fn answer(_world: &mut World, request: &Request, _as_of: Timestamp) -> Result<Answer, ApiError> {
    Err(ApiError::not_modelled(format!("the operation {}", request.action)))
}
