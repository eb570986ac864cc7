//! Stub.
use crate::{
    wire::{Answer, ApiError, Request},
    world::World,
};
/// State.
#[derive(Debug, Default)]
pub struct State {}
/// Does a call's work.
pub fn answer(_world: &mut World, request: &Request) -> Result<Answer, ApiError> {
    Err(ApiError::not_modelled(format!("the operation {}", request.action)))
}
