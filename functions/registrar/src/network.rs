//! Networks: which addresses a VPC's subnets give out, and whether any interface has one of them.
//!
//! An address belongs to an interface that lists it, or that was delegated a prefix around it. What other accounts have in a
//! VPC that they share with us is not shown: there nobody can say that an address is free.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    str::FromStr,
};

use aws_sdk_ec2::types::NetworkInterface;

use crate::{
    address::Family,
    budget::ApiSet,
    ec2::{Ec2, FILTER_VALUES_MAX, PAGE_SIZE, filter, following},
    error::CallError,
    id::VpcId,
};

/// Addresses at the beginning of a subnet that AWS keeps to itself, and so is the last one: the router, the resolver (VPC
/// guide, "Subnet CIDR blocks"). No interface has them, and something answers there all the same.
const RESERVED: u128 = 4;

/// A range of addresses, such as `10.0.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    family: Family,
    first: u128,
    /// How many bits are free.
    host_bits: u32,
}

/// A part of a VPC.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// The account that it belongs to: another one where the VPC is shared with us.
    pub owner: String,
    /// Its ranges, of either family.
    pub blocks: Vec<Block>,
}

/// What was read of some VPCs.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    subnets: BTreeMap<VpcId, Vec<Subnet>>,
    /// Addresses that an interface lists.
    taken: BTreeSet<(VpcId, IpAddr)>,
    /// Prefixes that were delegated to interfaces: all addresses in them are the interface's, and none is listed.
    delegated: BTreeMap<VpcId, Vec<Block>>,
}

/// Whose an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// An interface's that we can see.
    Interface,
    /// None of the VPC's own: in none of its subnets, or kept by AWS.
    Outside,
    /// Perhaps an interface's of another account, which shares the subnet with us.
    Unknown {
        /// The account that owns the subnet.
        owner: String,
    },
    /// Nobody's: a subnet can give it to the next host.
    Nobody,
}

impl Networks {
    /// Whose an address in a VPC is, as the account sees it that the reading was made in.
    pub fn whose(&self, vpc: &VpcId, address: IpAddr, account: &str) -> Whose {
        let Some(subnet) = self.subnet_of(vpc, address) else { return Whose::Outside };
        let is_delegated = || self.delegated.get(vpc).is_some_and(|blocks| blocks.iter().any(|b| b.contains(address)));
        if self.taken.contains(&(vpc.clone(), address)) || is_delegated() {
            return Whose::Interface;
        }
        // "Participants cannot view ... resources that belong to other participants or the VPC owner"; the owner "can view
        // the details for all the network interfaces" (VPC guide, "Share your VPC subnets with other accounts").
        match subnet.owner == account {
            true => Whose::Nobody,
            false => Whose::Unknown { owner: subnet.owner.clone() },
        }
    }

    fn subnet_of(&self, vpc: &VpcId, address: IpAddr) -> Option<&Subnet> {
        self.subnets.get(vpc)?.iter().find(|subnet| subnet.blocks.iter().any(|block| block.gives_out(address)))
    }

    fn note(&mut self, found: &NetworkInterface) {
        let Some(vpc) = found.vpc_id().map(VpcId::from) else { return };
        self.taken.extend(addresses_of(found).map(|address| (vpc.clone(), address)));
        let ipv4 = found.ipv4_prefixes().iter().filter_map(|prefix| prefix.ipv4_prefix());
        let ipv6 = found.ipv6_prefixes().iter().filter_map(|prefix| prefix.ipv6_prefix());
        let blocks = ipv4.chain(ipv6).filter_map(|text| text.parse::<Block>().ok());
        self.delegated.entry(vpc).or_default().extend(blocks);
    }
}

impl Ec2 {
    /// Reads whose some addresses are. Interfaces are asked for last: whatever lists one of the addresses by then has it.
    ///
    /// Addresses are asked for by name, which is one call for 200 of them. Only for those that no interface lists all
    /// interfaces of their VPC are read, since no filter finds a delegated prefix by an address in it.
    ///
    /// # Errors
    /// Where a call fails: then nothing is known.
    pub async fn read_networks(&self, addresses: &BTreeSet<(VpcId, IpAddr)>) -> Result<Networks, CallError> {
        let mut networks = Networks { subnets: self.subnets(addresses).await?, ..Networks::default() };
        let inside: Vec<&(VpcId, IpAddr)> =
            addresses.iter().filter(|(vpc, address)| networks.subnet_of(vpc, *address).is_some()).collect();
        let asked = inside.iter().map(|(_, address)| *address).collect();
        self.interfaces_with(&asked, |found| networks.note(found)).await?;
        let open = inside.into_iter().filter(|pair| !networks.taken.contains(*pair));
        let open: BTreeSet<&VpcId> = open.map(|(vpc, _)| vpc).collect();
        self.interfaces("vpc-id", open.iter().map(ToString::to_string).collect(), |found| networks.note(found)).await?;
        Ok(networks)
    }

    async fn subnets(&self, addresses: &BTreeSet<(VpcId, IpAddr)>) -> Result<BTreeMap<VpcId, Vec<Subnet>>, CallError> {
        let vpcs: BTreeSet<&VpcId> = addresses.iter().map(|(vpc, _)| vpc).collect();
        let vpcs: Vec<String> = vpcs.into_iter().map(ToString::to_string).collect();
        let mut subnets: BTreeMap<VpcId, Vec<Subnet>> = BTreeMap::new();
        for chunk in vpcs.chunks(FILTER_VALUES_MAX) {
            let call = self.client.describe_subnets().filters(filter("vpc-id", chunk.to_vec())).max_results(PAGE_SIZE);
            let mut next = Some(None);
            while let Some(token) = next {
                let page = async || {
                    let page = call.clone().set_next_token(token.clone()).send().await;
                    page.map_err(|e| CallError::new("ec2:DescribeSubnets", e))
                };
                let page = self.budget.call(ApiSet::Ec2Describe, page).await?;
                for found in page.subnets() {
                    let Some(vpc) = found.vpc_id() else { continue };
                    let ipv6 = found.ipv6_cidr_block_association_set().iter().filter_map(|set| set.ipv6_cidr_block());
                    let blocks = found.cidr_block().into_iter().chain(ipv6);
                    let blocks = blocks.filter_map(|text| text.parse().ok()).collect();
                    let owner = found.owner_id().unwrap_or_default().to_owned();
                    subnets.entry(vpc.into()).or_default().push(Subnet { owner, blocks });
                }
                next = following(page.next_token());
            }
        }
        Ok(subnets)
    }

    /// Counts the interfaces that have each of some addresses, in whatever network of the account.
    ///
    /// # Errors
    /// Where a call fails.
    pub async fn count_interfaces(&self, addresses: &BTreeSet<IpAddr>) -> Result<BTreeMap<IpAddr, usize>, CallError> {
        let mut counts = BTreeMap::new();
        let count = |found: &NetworkInterface| {
            addresses_of(found).for_each(|address| *counts.entry(address).or_default() += 1);
        };
        self.interfaces_with(addresses, count).await?;
        Ok(counts)
    }

    /// Reads the interfaces that list any of some addresses.
    async fn interfaces_with(
        &self,
        addresses: &BTreeSet<IpAddr>,
        mut see: impl FnMut(&NetworkInterface),
    ) -> Result<(), CallError> {
        let (ipv4, ipv6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv4());
        for (name, addresses) in [("addresses.private-ip-address", ipv4), ("ipv6-addresses.ipv6-address", ipv6)] {
            self.interfaces(name, addresses.iter().map(ToString::to_string).collect(), &mut see).await?;
        }
        Ok(())
    }

    /// Reads the interfaces that have any of some values under a filter's name.
    async fn interfaces(
        &self,
        name: &str,
        values: Vec<String>,
        mut see: impl FnMut(&NetworkInterface),
    ) -> Result<(), CallError> {
        for chunk in values.chunks(FILTER_VALUES_MAX) {
            let call = self.client.describe_network_interfaces().filters(filter(name, chunk.to_vec()));
            let call = call.max_results(PAGE_SIZE);
            let mut next = Some(None);
            while let Some(token) = next {
                let page = async || {
                    let page = call.clone().set_next_token(token.clone()).send().await;
                    page.map_err(|e| CallError::new("ec2:DescribeNetworkInterfaces", e))
                };
                let page = self.budget.call(ApiSet::Ec2Describe, page).await?;
                page.network_interfaces().iter().for_each(&mut see);
                next = following(page.next_token());
            }
        }
        Ok(())
    }
}

fn addresses_of(found: &NetworkInterface) -> impl Iterator<Item = IpAddr> + '_ {
    let ipv4 = found.private_ip_addresses().iter().filter_map(|a| a.private_ip_address());
    let ipv6 = found.ipv6_addresses().iter().filter_map(|a| a.ipv6_address());
    ipv4.chain(ipv6).filter_map(|text| text.parse().ok())
}

impl Block {
    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.offset(address).is_some()
    }

    /// Whether a subnet with this block can give an address to an interface.
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
        let subnets = BTreeMap::from([("vpc-1".into(), vec![Subnet { owner: owner.to_owned(), blocks }])]);
        let delegated = ["10.0.0.32/28", "2600:1f18::5:0:0:0/80"].map(|text| text.parse().unwrap()).to_vec();
        let taken = BTreeSet::from([("vpc-1".into(), "10.0.0.10".parse().unwrap())]);
        Networks { subnets, taken, delegated: BTreeMap::from([("vpc-1".into(), delegated)]) }
    }

    #[test]
    fn an_address_is_nobodys_only_where_a_subnet_of_ours_can_give_it_out() {
        let unknown = || Whose::Unknown { owner: "210987654321".to_owned() };
        for (address, whose, whose_if_shared) in [
            ("10.0.0.10", Whose::Interface, Whose::Interface),
            ("10.0.0.11", Whose::Nobody, unknown()),
            // In a delegated prefix, which ends at .47.
            ("10.0.0.40", Whose::Interface, Whose::Interface),
            ("10.0.0.48", Whose::Nobody, unknown()),
            // The resolver, and the last one.
            ("10.0.0.2", Whose::Outside, Whose::Outside),
            ("10.0.0.255", Whose::Outside, Whose::Outside),
            ("10.0.1.10", Whose::Outside, Whose::Outside),
            ("2600:1f18::5:0:0:7", Whose::Interface, Whose::Interface),
            ("2600:1f18::6:0:0:7", Whose::Nobody, unknown()),
            ("2600:1f19::7", Whose::Outside, Whose::Outside),
        ] {
            let ask = |owner| networks(owner).whose(&"vpc-1".into(), address.parse().unwrap(), ACCOUNT);
            assert_eq!((ask(ACCOUNT), ask("210987654321")), (whose, whose_if_shared), "{address}");
        }
        let elsewhere = networks(ACCOUNT).whose(&"vpc-2".into(), "10.0.0.11".parse().unwrap(), ACCOUNT);
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
