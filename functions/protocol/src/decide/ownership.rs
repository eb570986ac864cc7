//! Whose a target is: the one question that is asked before a target is deregistered, and before it is registered.
//!
//! A target group lists an address and knows no instance. Inside the group's VPC an address is that of the interface
//! that has it. Outside, networks may overlap. There an address is the instance's only while no other interface of the
//! account has it, whatever zone the target is listed with.

use crate::{
    address::Address,
    holder::Holders,
    instance::{Instance, Side},
    observed::{Reason, Target},
    registration::Registration,
};

/// Returns whether the instance's own description is not enough to tell whose a target is: it is outside its group's
/// VPC, the instance does not have its address (any more), or it is an address that can move to another interface at
/// any time.
pub fn is_doubtful(instance: &Instance, registration: &Registration, target: &Target) -> bool {
    let Some(address) = target.address() else { return false };
    let can_move = matches!(registration.target.address, Some(Address::Literal(_)));
    can_move || target.is_far() || instance.side(address, target.vpc.as_ref()) != Some(Side::Near)
}

/// Returns why a target is not the instance's, or may not be; `None` if it is.
///
/// `holders` has the interfaces with the target's address, read after the instance.
pub fn doubt(instance: &Instance, target: &Target, holders: &Holders) -> Option<Reason> {
    let (address, vpc) = (target.address()?, target.vpc.as_ref()?);
    let mut others = holders.others(instance, address);
    if !target.is_far() {
        let other = others.find(|other| other.vpc == *vpc)?;
        return Some(Reason::AddressMoved { address, interface: other.interface.clone() });
    }
    if holders.is_inside(vpc, address) {
        return Some(Reason::AddressOfGroupsVpc(address));
    }
    others.next().map(|_| Reason::AddressNotUnique(address))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::{holder::Holder, id::VpcId, instance::tests::instance};

    fn target(id: &str, zone: Option<&str>) -> Target {
        let zone = zone.map(str::to_owned);
        Target { id: id.to_owned(), port: Some(443), zone, quic_id: None, vpc: Some("vpc-1".into()) }
    }

    /// Returns the holders of an address: interfaces with their VPCs and instances.
    fn holders(address: &str, of: &[(&str, &str, Option<&str>)]) -> Holders {
        let mut holders = Holders::default();
        for (interface, vpc, instance) in of {
            let instance = instance.map(Into::into);
            let holder = Holder { interface: (*interface).into(), vpc: (*vpc).into(), instance };
            holders.note(address.parse().unwrap(), holder);
        }
        holders
    }

    #[test]
    fn inside_the_groups_network_only_another_interface_there_is_the_owner() {
        let (instance, target) = (instance("i-1"), target("10.0.0.10", None));
        let moved = |interface: &str| {
            let address: IpAddr = "10.0.0.10".parse().unwrap();
            Some(Reason::AddressMoved { address, interface: interface.into() })
        };
        for (of, doubt_of_it) in [
            (vec![], None),
            (vec![("eni-00", "vpc-1", Some("i-1"))], None),
            // Its instance was terminated, and has left the interface behind.
            (vec![("eni-00", "vpc-1", None)], None),
            (vec![("eni-9", "vpc-2", Some("i-2"))], None),
            (vec![("eni-9", "vpc-1", Some("i-2"))], moved("eni-9")),
            (vec![("eni-9", "vpc-1", None)], moved("eni-9")),
            // The interface itself was attached to another instance.
            (vec![("eni-00", "vpc-1", Some("i-2"))], moved("eni-00")),
        ] {
            assert_eq!(doubt(&instance, &target, &holders("10.0.0.10", &of)), doubt_of_it, "{of:?}");
        }
    }

    #[test]
    fn outside_the_groups_network_any_other_interface_makes_it_doubtful() {
        let instance = instance("i-1");
        let address: IpAddr = "10.0.0.10".parse().unwrap();
        for zone in ["all", "us-east-1a"] {
            let target = Target { vpc: Some("vpc-2".into()), ..target("10.0.0.10", Some(zone)) };
            let own = ("eni-00", "vpc-1", Some("i-1"));
            assert_eq!(doubt(&instance, &target, &holders("10.0.0.10", &[own])), None);
            let other = holders("10.0.0.10", &[own, ("eni-9", "vpc-3", None)]);
            assert_eq!(doubt(&instance, &target, &other), Some(Reason::AddressNotUnique(address)));
            let mut inside = holders("10.0.0.10", &[own]);
            inside.note_inside((VpcId::from("vpc-2"), address));
            assert_eq!(doubt(&instance, &target, &inside), Some(Reason::AddressOfGroupsVpc(address)));
        }
    }
}
