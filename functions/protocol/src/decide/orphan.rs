//! Orphans: addresses that a target group lists, that lie in the subnets of its VPC, and that no interface has.
//!
//! An instance that was terminated before anybody looked leaves one behind: an ip target knows no instance. The subnet can
//! give the address to another host, which then receives the traffic. Nothing is remembered of an orphan, since there is no
//! instance that would get it back.
//!
//! Groups of an Auto Scaling group need not be asked for: "You can't specify a target type of ip when using an Auto Scaling
//! group" (Auto Scaling guide). A scope of tagged instances does not narrow the search: an orphan has no tags any more.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    balancer::TargetGroupId,
    id::VpcId,
    network::{Networks, Whose},
    observed::{AddressTarget, Health, Reason},
    registration::Registration,
    tag::Owner,
};

/// A target whose address nobody has, or of which nobody can say so.
#[derive(Clone, Debug, Serialize)]
pub struct Orphan {
    /// Where it is registered.
    pub registration: Registration,
    /// The network of its group.
    pub vpc: VpcId,
    /// What the balancer says of it.
    pub health: Health,
    /// What became of it.
    pub fate: Fate,
    /// Why.
    pub why: String,
}

/// What became of an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is told, and stays.
    Found,
    /// It would have been taken out, had the mode been `enforce`.
    WouldPrune,
    /// It was taken out.
    Pruned,
    /// Somebody has the address by now, or it is not registered any more.
    Gone,
    /// It was to be taken out, and was not.
    NotPruned,
    /// Somebody else looks after its group.
    LeftAlone,
    /// It may be another account's, and stays.
    CannotTell,
}

impl Fate {
    /// Whether nobody has the address, as far as anybody can say.
    pub fn is_orphaned(self) -> bool {
        !matches!(self, Self::Gone | Self::CannotTell)
    }

    /// The word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::WouldPrune => "would be pruned",
            Self::Pruned => "pruned",
            Self::Gone => "gone",
            Self::NotPruned => "not pruned",
            Self::LeftAlone => "left alone",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// The network and the address of a target: what has to be asked whose it is.
pub fn places(listed: &[AddressTarget]) -> BTreeSet<(VpcId, std::net::IpAddr)> {
    listed.iter().map(|target| (target.vpc.clone(), target.address)).collect()
}

/// Finds the orphans among targets, with the networks read after them.
pub fn among<'t>(listed: &'t [AddressTarget], networks: &Networks) -> Vec<(&'t AddressTarget, Whose)> {
    let whose = |target: &'t AddressTarget| (target, networks.whose(&target.vpc, target.address));
    let is_orphan = |(_, whose): &(_, Whose)| matches!(whose, Whose::Nobody | Whose::Unknown { .. });
    listed.iter().map(whose).filter(is_orphan).collect()
}

/// Writes down what was found, before anything is done about it.
pub fn judge(target: &AddressTarget, whose: &Whose, owners: &BTreeMap<TargetGroupId, Owner>) -> Orphan {
    let (fate, why) = match (whose, owners.get(&target.group)) {
        (Whose::Unknown { owner }, _) => (
            Fate::CannotTell,
            format!(
                "no interface that this account can see has the address, and its subnet belongs to the account {owner}: \
                 what other accounts have there is not shown"
            ),
        ),
        (_, Some(owner)) => (Fate::LeftAlone, Reason::from(*owner).to_string()),
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
    Orphan { registration, vpc, health: target.health.clone(), fate, why }
}
