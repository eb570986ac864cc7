//! What the tests of several decisions share.

mod give_back;
mod room;
mod take_out;
mod weigh;

use crate::{
    balancer::TargetGroupId,
    event::Notice,
    held::{Stamp, tags_to_hold},
    instance::{
        Instance, State,
        tests::{at, instance},
    },
    observed::{Found, Health, Standing, Target},
    registration::{Registration, TargetName},
};

/// Returns a registration in a group of this name.
fn tg(name: &str) -> Registration {
    let group = TargetGroupId { name: name.to_owned(), id: "0123456789abcdef".to_owned() };
    Registration::in_group(group, TargetName { port: Some(80), ..TargetName::default() })
}

fn target(id: &str) -> Target {
    Target { id: id.into(), port: None, zone: None, quic_id: None, vpc: None }
}

fn found(name: &str) -> Found {
    Found { instance: "i-1".into(), registration: tg(name), target: target("i-1"), owner: None, doubt: None }
}

/// Creates an instance in a state, whose tags hold registrations that were held at some seconds.
fn holding(state: State, held: &[(i64, &[&str])]) -> Instance {
    let mut instance = instance("i-1");
    instance.state = state;
    for (second, names) in held {
        let registrations = names.iter().map(|name| tg(name)).collect();
        instance.tags.extend(tags_to_hold(&registrations, Stamp { taken_at: at(*second), nonce: 7 }));
    }
    instance
}

fn healthy() -> Standing {
    Standing::InPlace(Health { state: "InService".into(), reason: None, is_in_vain: false })
}

fn notice(state: State, second: i64) -> Notice {
    Notice { instance: "i-1".into(), announced: Some((state, at(second))), failures: 0 }
}
