//! Orphans: addresses that a target group lists, in the subnets of its VPC, and that no network interface has.
//!
//! An instance that is terminated before a function looks leaves an orphan behind, because an ip target knows no
//! instance. The subnet can give the address to another host, which then receives the traffic. No tag holds an orphan,
//! because there is no instance that would get it back.
//!
//! Target groups that are attached to an Auto Scaling group need not be asked: "You can't specify a target type of ip
//! when using an Auto Scaling group" (Auto Scaling guide). A scope of tagged instances does not narrow the search,
//! because an orphan has no tags any more.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    balancer::TargetGroupId,
    id::VpcId,
    network::{Networks, Whose},
    observed::{AddressTarget, Health, Reason},
    plain::Plain,
    registration::Registration,
    tag::Owner,
};

/// An address target that no interface of this account has.
#[derive(Clone, Debug, Serialize)]
pub struct Orphan {
    /// The registration of the address.
    pub registration: Registration,
    /// The VPC of its target group.
    pub vpc: VpcId,
    /// What the balancer says of the target.
    pub health: Health,
    /// What became of it.
    pub fate: Fate,
    /// Why it came to that.
    pub why: Plain,
}

/// What became of an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is reported, and stays registered.
    Found,
    /// It would have been deregistered in the mode `enforce`.
    WouldPrune,
    /// It was deregistered.
    Pruned,
    /// An interface has the address by now, or it is not registered any more.
    Gone,
    /// It should have been deregistered, and was not.
    NotPruned,
    /// An interface has it that is attached to nothing. It is reported, and stays registered.
    Unattached,
    /// An operator or a controller looks after its target group.
    LeftAlone,
    /// An interface that is not shown may have it, or a host without any, so it stays registered.
    CannotTell,
}

impl Fate {
    /// Returns whether no interface has the address, as far as this account can tell.
    pub fn is_orphaned(self) -> bool {
        !matches!(self, Self::Gone | Self::CannotTell | Self::Unattached)
    }

    /// Returns the word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::WouldPrune => "would be pruned",
            Self::Pruned => "pruned",
            Self::Gone => "gone",
            Self::NotPruned => "not pruned",
            Self::Unattached => "unattached",
            Self::LeftAlone => "left alone",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// Returns the VPC and the address of each target: what has to be looked up among the interfaces.
pub fn places(listed: &[AddressTarget]) -> BTreeSet<(VpcId, std::net::IpAddr)> {
    listed.iter().map(|target| (target.vpc.clone(), target.address)).collect()
}

/// Returns the targets whose address no interface is known to have, or one that is attached to nothing, by networks that were read after the targets.
pub fn among<'t>(listed: &'t [AddressTarget], networks: &Networks) -> Vec<(&'t AddressTarget, Whose)> {
    let whose = |target: &'t AddressTarget| (target, networks.whose(&target.vpc, target.address));
    let is_orphan = |(_, whose): &(_, Whose)| !matches!(whose, Whose::Interface | Whose::Outside);
    listed.iter().map(whose).filter(is_orphan).collect()
}

/// Decides what to report of an orphan, before anything is done about it.
pub fn judge(target: &AddressTarget, whose: &Whose, owners: &BTreeMap<TargetGroupId, Owner>) -> Orphan {
    let (fate, why) = match (whose, owners.get(&target.group)) {
        (Whose::Unknown { owner }, _) => (
            Fate::CannotTell,
            format!(
                "no interface that this account can see has the address, and its subnet belongs to the account {owner}: \
                 what other accounts have there is not shown"
            ),
        ),
        (Whose::OfService { service }, _) => (
            Fate::CannotTell,
            format!(
                "no interface has the address, and its subnet is one of {service}, whose hosts have no interfaces that \
                 EC2 shows"
            ),
        ),
        (Whose::MayBeHidden, _) => (
            Fate::CannotTell,
            "no interface that EC2 shows has the address, and EC2 may not show all: it does not know IncludeManagedResources \
             here"
                .to_owned(),
        ),
        (_, Some(owner)) => (Fate::LeftAlone, Reason::from(*owner).to_string()),
        (Whose::Unattached(interface), None) => (
            Fate::Unattached,
            format!(
                "its interface {interface} is attached to nothing, so that no host answers: it outlived its instance, or \
                 is on its way to another one; attach it, or deregister the address"
            ),
        ),
        _ => (
            Fate::Found,
            format!(
                "no interface in {} has the address: its host was terminated and no event told, or lost the address; \
                 the subnet can give it to another host, which would receive the traffic",
                target.vpc
            ),
        ),
    };
    let (registration, vpc) = (target.registration.clone(), target.vpc.clone());
    Orphan { registration, vpc, health: target.health.clone(), fate, why: Plain::of(why) }
}
