//! Networks: which addresses the subnets of a VPC can give to an interface, and whether any interface has one of them.
//!
//! An address belongs to the interface that lists it, or that a prefix around it was delegated to. In a VPC that
//! another account shares with us, AWS does not show the interfaces of other accounts. No call can prove there that an
//! address is free. The same holds if EC2 may leave out interfaces that a service of AWS manages.

use std::{collections::BTreeMap, net::IpAddr, str::FromStr};

use crate::{
    address::Family,
    id::{InterfaceId, VpcId},
};

/// Addresses at the beginning of a subnet that AWS keeps to itself, such as the router and the resolver. It keeps the
/// last one, too (VPC guide, "Subnet CIDR blocks"). No interface has them, and yet they may answer.
const RESERVED: u128 = 4;

/// A range of addresses, such as `10.0.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    family: Family,
    first: u128,
    /// How many bits are free.
    host_bits: u32,
}

/// A subnet of a VPC.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// The account that owns it: another account if the VPC is shared with us.
    pub owner: String,
    /// Its ranges, of either family.
    pub blocks: Vec<Block>,
    /// The service that uses it, if EC2 says so: `Elastic VMware Service`, whose hosts have no interfaces of EC2
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Subnet.html>, `type`). A word that AWS adds later means
    /// that another one does.
    pub service: Option<String>,
}

/// What was read of some VPCs.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    /// The account that they were read in.
    account: String,
    subnets: BTreeMap<VpcId, Vec<Subnet>>,
    /// Addresses that an interface lists, each with the interface if nothing is attached to it.
    taken: BTreeMap<(VpcId, IpAddr), Option<InterfaceId>>,
    /// Prefixes that were delegated to interfaces. All addresses in a prefix are the interface's, and the interface
    /// lists none of them.
    delegated: BTreeMap<VpcId, Vec<(Block, Option<InterfaceId>)>>,
    /// Whether EC2 may have left out interfaces.
    is_partial: bool,
}

/// The owner of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// An interface that this account can see, and that is in use.
    Interface,
    /// An interface that is attached to nothing, so that no host answers at the address. It may be on its way from one
    /// instance to another, or have outlived its instance.
    Unattached(InterfaceId),
    /// None in this VPC: the address is in none of its subnets, or AWS keeps it.
    Outside,
    /// Perhaps an interface of another account, which shares the subnet with us.
    Unknown {
        /// The account that owns the subnet.
        owner: String,
    },
    /// Perhaps a host of a service that uses the subnet without interfaces.
    OfService {
        /// The service.
        service: String,
    },
    /// Perhaps an interface that a service of AWS manages, and that EC2 does not show.
    MayBeHidden,
    /// None: a subnet can give the address to the next host.
    Free,
}

impl Networks {
    /// Returns the networks of an account with their subnets, and no interface yet.
    pub fn of(account: &str, subnets: BTreeMap<VpcId, Vec<Subnet>>) -> Self {
        Self { account: account.to_owned(), subnets, ..Self::default() }
    }

    /// Adds an interface of a VPC: the addresses that it lists, and the prefixes that were delegated to it. An
    /// interface to which nothing is attached is named.
    pub fn note(
        &mut self,
        vpc: &VpcId,
        unattached: Option<&InterfaceId>,
        addresses: impl IntoIterator<Item = IpAddr>,
        delegated: impl IntoIterator<Item = Block>,
    ) {
        self.taken.extend(addresses.into_iter().map(|address| ((vpc.clone(), address), unattached.cloned())));
        let delegated = delegated.into_iter().map(|block| (block, unattached.cloned()));
        self.delegated.entry(vpc.clone()).or_default().extend(delegated);
    }

    /// Notes that EC2 may have left out interfaces.
    pub fn note_partial(&mut self) {
        self.is_partial = true;
    }

    /// Returns whether an interface of the VPC lists an address.
    pub fn is_listed(&self, place: &(VpcId, IpAddr)) -> bool {
        self.taken.contains_key(place)
    }

    /// Returns the owner of an address in a VPC, as the account sees it.
    pub fn whose(&self, vpc: &VpcId, address: IpAddr) -> Whose {
        let Some(subnet) = self.subnet_of(vpc, address) else { return Whose::Outside };
        let delegated = || {
            let mut blocks = self.delegated.get(vpc)?.iter();
            blocks.find(|(block, _)| block.contains(address)).map(|(_, unattached)| unattached)
        };
        if let Some(unattached) = self.taken.get(&(vpc.clone(), address)).or_else(delegated) {
            return unattached.clone().map_or(Whose::Interface, Whose::Unattached);
        }
        // "Participants cannot view ... resources that belong to other participants or the VPC owner"; the owner "can view
        // the details for all the network interfaces" (VPC guide, "Share your VPC subnets with other accounts").
        match &subnet.service {
            _ if subnet.owner != self.account => Whose::Unknown { owner: subnet.owner.clone() },
            Some(service) => Whose::OfService { service: service.clone() },
            None if self.is_partial => Whose::MayBeHidden,
            None => Whose::Free,
        }
    }

    /// Returns the subnet that can give out an address in a VPC.
    pub fn subnet_of(&self, vpc: &VpcId, address: IpAddr) -> Option<&Subnet> {
        self.subnets.get(vpc)?.iter().find(|subnet| subnet.blocks.iter().any(|block| block.gives_out(address)))
    }
}

impl Block {
    /// Returns the family of the block's addresses.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Returns whether the block contains an address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.offset(address).is_some()
    }

    /// Returns whether a subnet with this block can give an address to an interface.
    fn gives_out(&self, address: IpAddr) -> bool {
        self.offset(address).is_some_and(|offset| offset >= RESERVED && offset != self.last_offset())
    }

    fn offset(&self, address: IpAddr) -> Option<u128> {
        let offset = number(address).checked_sub(self.first)?;
        (self.family.has(address) && offset <= self.last_offset()).then_some(offset)
    }

    fn last_offset(&self) -> u128 {
        1_u128.checked_shl(self.host_bits).map_or(u128::MAX, |size| size - 1)
    }
}

impl FromStr for Block {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, length) = text.split_once('/').ok_or(())?;
        let (address, length): (IpAddr, u32) = (address.parse().map_err(drop)?, length.parse().map_err(drop)?);
        let bits = if address.is_ipv4() { 32_u32 } else { 128 };
        let host_bits = bits.checked_sub(length).ok_or(())?;
        let block = Self { family: Family::of(address), first: 0, host_bits };
        Ok(Self { first: number(address) & !block.last_offset(), ..block })
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "123456789012";

    fn networks(owner: &str) -> Networks {
        let blocks = ["10.0.0.0/24", "2600:1f18::/64"].map(|text| text.parse().unwrap()).to_vec();
        let subnets =
            BTreeMap::from([("vpc-1".into(), vec![Subnet { owner: owner.to_owned(), blocks, service: None }])]);
        let delegated = ["10.0.0.32/28", "2600:1f18::5:0:0:0/80"].map(|text| text.parse().unwrap());
        let mut networks = Networks::of(ACCOUNT, subnets);
        networks.note(&"vpc-1".into(), None, ["10.0.0.10".parse().unwrap()], delegated);
        let unattached = Some(&"eni-1".into());
        networks.note(&"vpc-1".into(), unattached, ["10.0.0.12".parse().unwrap()], ["10.0.0.64/28".parse().unwrap()]);
        networks
    }

    #[test]
    fn an_address_is_free_only_if_our_own_subnet_has_it() {
        let unknown = || Whose::Unknown { owner: "210987654321".to_owned() };
        for (address, whose, whose_if_shared) in [
            ("10.0.0.10", Whose::Interface, Whose::Interface),
            ("10.0.0.11", Whose::Free, unknown()),
            ("10.0.0.12", Whose::Unattached("eni-1".into()), Whose::Unattached("eni-1".into())),
            ("10.0.0.70", Whose::Unattached("eni-1".into()), Whose::Unattached("eni-1".into())),
            // This address is in a delegated prefix, which ends at .47.
            ("10.0.0.40", Whose::Interface, Whose::Interface),
            ("10.0.0.48", Whose::Free, unknown()),
            // AWS keeps these two: the resolver, and the last address.
            ("10.0.0.2", Whose::Outside, Whose::Outside),
            ("10.0.0.255", Whose::Outside, Whose::Outside),
            ("10.0.1.10", Whose::Outside, Whose::Outside),
            ("2600:1f18::5:0:0:7", Whose::Interface, Whose::Interface),
            ("2600:1f18::6:0:0:7", Whose::Free, unknown()),
            ("2600:1f19::7", Whose::Outside, Whose::Outside),
        ] {
            let ask = |owner| networks(owner).whose(&"vpc-1".into(), address.parse().unwrap());
            assert_eq!((ask(ACCOUNT), ask("210987654321")), (whose, whose_if_shared), "{address}");
        }
        let mut partial = networks(ACCOUNT);
        partial.note_partial();
        for (address, whose) in [("10.0.0.10", Whose::Interface), ("10.0.0.11", Whose::MayBeHidden)] {
            assert_eq!(partial.whose(&"vpc-1".into(), address.parse().unwrap()), whose, "{address}");
        }
        let elsewhere = networks(ACCOUNT).whose(&"vpc-2".into(), "10.0.0.11".parse().unwrap());
        assert_eq!(elsewhere, Whose::Outside);
    }

    #[test]
    fn blocks_are_read_with_their_host_bits_cleared_and_nonsense_is_refused() {
        let block: Block = "10.0.0.7/24".parse().unwrap();
        assert!(block.contains("10.0.0.0".parse().unwrap()) && !block.contains("10.0.1.0".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Block>().unwrap().contains("255.255.255.255".parse().unwrap()));
        assert!("::/0".parse::<Block>().unwrap().contains("ffff::".parse().unwrap()));
        assert!(!"::/0".parse::<Block>().unwrap().contains("10.0.0.1".parse().unwrap()));
        for text in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/x"] {
            assert_eq!(text.parse::<Block>(), Err(()), "{text}");
        }
    }
}
