//! End-to-end scenarios: events through rule, queue and function, in a simulated AWS on virtual time.

mod binary;
mod calls;
mod courses;
mod crashes;
mod declared;
mod events;
mod fail_closed;
mod fleet_traffic;
mod giving_back;
mod input;
mod left_alone;
mod lifecycle;
mod limits;
mod observe;
mod orphans;
mod readme;
mod security;
mod simulation;
mod starts;
mod status;
mod storms;
mod sweep;
mod taking_out;
mod template;
mod timing;
mod traffic;
