//! Whose a target is: the one question that is asked before a target is deregistered, and before it is registered.
//!
//! A target group lists an address and knows no instance. Inside the group's VPC an address is that of the interface
//! that has it. Outside, networks may overlap. There an address is the instance's only while no other interface of the
//! account has it, whatever zone the target is listed with.
//!
//! On an instance where a controller runs tasks or pods, a registration is the controller's, unless the operator says that
//! it is not.

use std::collections::BTreeSet;

use crate::{
    address::Address,
    controller::Controller,
    declaration::Declaration,
    held::REGISTRATIONS_MAX,
    holder::{Holder, Holders},
    id::InstanceId,
    instance::{Instance, Side},
    observed::{Reason, Target},
    presence::Facts,
    registration::{Registration, TargetName, count_by_balancer},
    tag,
    time::Timestamp,
    timing::FOLLOWED_WITHIN,
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
    // Absence from a partial answer proves nothing.
    let may_be_hidden = || holders.is_partial().then_some(Reason::MayBeHidden(address));
    if !target.is_far() {
        let moved = |other: &Holder| Reason::AddressMoved { address, interface: other.interface.clone() };
        let has_it = instance.side(address, Some(vpc)) == Some(Side::Near);
        let moved = others.find(|other| other.vpc == *vpc).map(moved);
        return moved.or_else(|| may_be_hidden().filter(|_| !has_it));
    }
    if holders.is_inside(vpc, address) {
        return Some(Reason::AddressOfGroupsVpc(address));
    }
    others.next().map(|_| Reason::AddressNotUnique(address)).or_else(may_be_hidden)
}

/// Returns the instance that has taken over an address from an instance that is out, if it certainly has: fail-over
/// software, or a person, has moved it there as a secondary address.
///
/// An address that is free can become any host's. So a primary address is no such one, nor is that of an interface which
/// a service of AWS looks after.
pub fn heir<'h>(instance: &'h Instance, target: &Target, holders: &'h Holders) -> Option<&'h InstanceId> {
    let mut others = holders.others(instance, target.address()?);
    let (holder, vpc) = (others.next()?, target.vpc.as_ref()?);
    let is_where_it_was = target.is_far() || holder.vpc == *vpc;
    let is_sole = others.next().is_none()
        && !holders.is_partial()
        && !(target.is_far() && holders.is_inside(vpc, target.address()?));
    let is_moved = is_where_it_was && is_sole && !holder.is_primary && !holder.is_managed;
    holder.instance.as_ref().filter(|_| is_moved)
}

/// Returns whether the addresses of an instance that is out may be followed to another host. Fail-over comes with the stop. What
/// a person deregisters from the new host later stays deregistered.
pub fn may_be_followed(instance: &Instance, now: Timestamp) -> bool {
    told_to_stop(instance).is_some_and(|stop| now - stop <= FOLLOWED_WITHIN)
}

/// Returns what an instance holds at literal addresses that it does not have. Of more than [`REGISTRATIONS_MAX`], the balancers with the
/// fewest come first.
pub fn lost_addresses(instance: &Instance) -> BTreeSet<Registration> {
    let is_lost = |registration: &Registration| match registration.target.address {
        Some(Address::Literal(address)) => !instance.owns(address),
        _ => false,
    };
    let lost: BTreeSet<Registration> = instance.held().registrations().into_iter().filter(is_lost).collect();
    let counts = count_by_balancer(&lost);
    let mut ranked: Vec<&Registration> = lost.iter().collect();
    ranked.sort_by_key(|registration| counts[&registration.balancer]);
    ranked.into_iter().take(REGISTRATIONS_MAX).cloned().collect()
}

/// Returns when an instance was told to stop. EC2 does not say it of one that shut itself down, so then it is when the functions held
/// something first: an instance keeps its addresses until they are moved.
fn told_to_stop(instance: &Instance) -> Option<Timestamp> {
    instance.stop_time.or_else(|| instance.held().first_taken_at())
}

/// Returns whether an instance has certainly got an address from another one: it runs, it ran already when the other
/// one was told to stop, and it is none on which a controller hands addresses out.
///
/// The time in a held tag does not tell, since a tag is renewed if more is taken.
pub fn is_heir(instance: &Instance, target: &Target, of: &Instance) -> bool {
    let side = target.address().and_then(|address| instance.side(address, target.vpc.as_ref()));
    let is_there = side == Some(if target.is_far() { Side::Far } else { Side::Near });
    let ran_already = instance.launch_time.zip(told_to_stop(of)).is_some_and(|(launch, stop)| launch <= stop);
    let is_node = instance.controller().is_some();
    is_there && ran_already && !is_node && !instance.is_ignored() && Facts::of(instance).presence().is_in()
}

/// Returns the controller that may have made one of an instance's registrations, or may make another in its place;
/// `None` if no controller runs there, or the operator says that this registration is not its own.
///
/// A port or an interface does not tell what a controller made: a port that ECS chooses, and one that a person registers,
/// can be the same (<https://github.com/aws/amazon-ecs-agent/issues/500>), and what is given back wrongly is another
/// service's traffic. What is left alone costs a dead entry while the instance is stopped.
pub fn controller_of(instance: &Instance, registration: &Registration) -> Option<Reason> {
    let controller = master(instance)?;
    let is_declared = instance.declarations().iter().any(|declared| may_mean(instance, declared, registration));
    (!is_declared).then_some(Reason::ControllersHost(controller))
}

/// Returns the same of a registration that an instance should have. What is declared was completed by then, and has to
/// be this very one.
pub fn controller_of_wanted(
    instance: &Instance,
    registration: &Registration,
    declared: &BTreeSet<Registration>,
) -> Option<Reason> {
    let is_open = || master(instance).filter(|_| !declared.contains(registration)).map(Reason::ControllersHost);
    controller_of(instance, registration).or_else(is_open)
}

/// Returns the controller on an instance that no operator has overruled.
fn master(instance: &Instance) -> Option<Controller> {
    instance.controller().filter(|_| !instance.tags.contains_key(tag::MANAGE))
}

/// Returns whether a registration can be a declared one. What the declaration leaves out may be anything, except that a
/// missing address is `eth0`, or the instance itself.
fn may_mean(instance: &Instance, declared: &Declaration, registration: &Registration) -> bool {
    let TargetName { port, address, .. } = &registration.target;
    let is_port = declared.target.port.is_none() || declared.target.port == *port;
    let is_address = match (&declared.target.address, address) {
        (None, None) => true,
        (Some(_), None) => false,
        (meant, Some(address)) => {
            let meant = meant.as_ref().unwrap_or(&Address::ETH0);
            match (meant, address) {
                (Address::Interface(position), Address::Attached { index, .. }) => position == index,
                (Address::Interface(_), Address::Literal(literal)) => instance.can_mean(meant, *literal),
                _ => meant == address,
            }
        }
    };
    declared.balancer.means(&registration.balancer) && is_port && is_address
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::{id::VpcId, instance::tests::instance};

    fn target(id: &str, zone: Option<&str>) -> Target {
        let zone = zone.map(str::to_owned);
        Target { id: id.to_owned(), port: Some(443), zone, quic_id: None, vpc: Some("vpc-1".into()) }
    }

    /// Returns the holders of an address: interfaces with their VPCs and instances.
    fn holders(address: &str, of: &[(&str, &str, Option<&str>)]) -> Holders {
        let mut holders = Holders::default();
        for (interface, vpc, instance) in of {
            let instance = instance.map(Into::into);
            let (interface, vpc) = ((*interface).into(), (*vpc).into());
            let holder = Holder { interface, vpc, instance, is_primary: false, is_managed: false };
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

    #[test]
    fn a_partial_answer_proves_no_absence() {
        let partial = |of: &[(&str, &str, Option<&str>)]| {
            let mut holders = holders("10.0.0.10", of);
            holders.note_partial();
            holders
        };
        let (instance, near) = (instance("i-1"), target("10.0.0.10", None));
        let hidden = Some(Reason::MayBeHidden("10.0.0.10".parse().unwrap()));
        assert_eq!(doubt(&instance, &near, &partial(&[])), None, "its own description shows the address");
        let terminated = Instance { interfaces: Vec::new(), ..instance.clone() };
        assert_eq!(doubt(&terminated, &near, &partial(&[])), hidden);
        let far = Target { vpc: Some("vpc-2".into()), ..target("10.0.0.10", Some("all")) };
        assert_eq!(doubt(&instance, &far, &partial(&[("eni-00", "vpc-1", Some("i-1"))])), hidden);
    }

    #[test]
    fn a_declaration_means_registrations_with_all_that_it_says() {
        let own = "tg:api/00000000000000aa:9100";
        let (eth0, eth1) = (format!("{own}=eth0"), format!("{own}=eth1.eni-0123456789abcdef0"));
        for (declared, registration, means) in [
            ("tg:api:9100", own, true),
            ("tg:api", own, true),
            ("tg:api/00000000000000aa:9100", own, true),
            ("tg:api/00000000000000bb:9100", own, false),
            ("tg:api:9101", own, false),
            ("tg:apis:9100", own, false),
            ("clb:api", own, false),
            ("clb:api", "clb:api", true),
            ("tg:api", &eth0, true),
            ("tg:api", &eth1, false),
            ("tg:api=eth1", &eth1, true),
            ("tg:api=eth1", own, false),
        ] {
            let (declaration, registration): (Declaration, Registration) =
                (declared.parse().unwrap(), registration.parse().unwrap());
            assert_eq!(may_mean(&instance("i-1"), &declaration, &registration), means, "{declared} {registration}");
        }
    }
}
