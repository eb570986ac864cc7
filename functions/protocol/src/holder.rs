//! The interfaces that have an address, in all networks of the account.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    id::{InstanceId, InterfaceId, VpcId},
    instance::Instance,
};

/// An interface that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The interface.
    pub interface: InterfaceId,
    /// The interface's VPC.
    pub vpc: VpcId,
    /// The instance that the interface is attached to; `None` if it is attached to none, or is a service's.
    pub instance: Option<InstanceId>,
    /// Whether the address is the interface's primary one. Only another one can move from interface to interface.
    pub is_primary: bool,
    /// Whether a service of AWS looks after the interface (`RequesterManaged`).
    pub is_managed: bool,
}

impl Holder {
    /// Returns whether the interface is an instance's. One that is attached to no instance is its last instance's.
    fn is_of(&self, instance: &Instance) -> bool {
        match &self.instance {
            Some(id) => *id == instance.id,
            None => instance.has_interface(&self.interface),
        }
    }
}

/// The interfaces that list some addresses, in all networks of the account, and which of the addresses are inside which
/// VPC.
///
/// No filter of EC2 finds a delegated prefix by an address in it. So an address that is in a prefix alone has no holder
/// here.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    by_address: BTreeMap<IpAddr, Vec<Holder>>,
    inside: BTreeSet<(VpcId, IpAddr)>,
    is_partial: bool,
}

impl Holders {
    /// Adds an interface that lists an address.
    pub fn note(&mut self, address: IpAddr, holder: Holder) {
        self.by_address.entry(address).or_default().push(holder);
    }

    /// Adds that an address is inside a subnet of a VPC.
    pub fn note_inside(&mut self, place: (VpcId, IpAddr)) {
        self.inside.insert(place);
    }

    /// Notes that EC2 may have left out interfaces. Then no address can be proven to have no other holder.
    pub fn note_partial(&mut self) {
        self.is_partial = true;
    }

    /// Returns whether EC2 may have left out interfaces.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Returns the interfaces with an address that are not an instance's.
    pub fn others<'h>(&'h self, instance: &'h Instance, address: IpAddr) -> impl Iterator<Item = &'h Holder> {
        let holders = self.by_address.get(&address).into_iter().flatten();
        holders.filter(|holder| !holder.is_of(instance))
    }

    /// Returns whether a subnet of a VPC can give out an address.
    pub fn is_inside(&self, vpc: &VpcId, address: IpAddr) -> bool {
        self.inside.contains(&(vpc.clone(), address))
    }
}
