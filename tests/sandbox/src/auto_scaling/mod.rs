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
/// What the service does when an instance has reached a state.
pub(crate) fn instance_changed(_world: &mut World, _instance_id: &str, _state: crate::ec2::InstanceState) {}
