//! Networks as EC2 shows them: the subnets of VPCs, and the interfaces that have an address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use aws_sdk_ec2::{
    operation::{
        describe_network_interfaces::DescribeNetworkInterfacesOutput, describe_subnets::DescribeSubnetsOutput,
    },
    types::{NetworkInterface, NetworkInterfaceStatus},
};
use protocol::{
    call_error::CallError,
    holder::{Holder, Holders},
    id::{InterfaceId, VpcId},
    network::{Networks, Subnet},
};

use crate::aws::{
    budget::ApiSet,
    ec2::{Ec2, FILTER_VALUES_MAX, PAGE_SIZE, blocks, filter},
};

impl Ec2 {
    /// Reads whose some addresses are. Interfaces are read last: an interface that lists one of the addresses by then
    /// has it.
    ///
    /// Addresses are asked for by name, which is one call for 200 of them. No filter finds a delegated prefix by an
    /// address in it. So all interfaces of a VPC are read for the addresses that no interface lists, and only for
    /// those.
    ///
    /// # Errors
    /// If a call fails: then nothing is known.
    pub async fn read_networks(&self, addresses: &BTreeSet<(VpcId, IpAddr)>) -> Result<Networks, CallError> {
        let mut networks = Networks::of(self.account.id(), self.subnets(addresses).await?);
        let inside: Vec<&(VpcId, IpAddr)> =
            addresses.iter().filter(|(vpc, address)| networks.subnet_of(vpc, *address).is_some()).collect();
        let asked = inside.iter().map(|(_, address)| *address).collect();
        self.interfaces_with(&asked, |found| note(&mut networks, found)).await?;
        let open = inside.into_iter().filter(|pair| !networks.is_listed(pair));
        let open: BTreeSet<&VpcId> = open.map(|(vpc, _)| vpc).collect();
        self.interfaces("vpc-id", open.iter().map(|id| id.as_str().to_owned()).collect(), |found| {
            note(&mut networks, found)
        })
        .await?;
        if !self.shows_all() {
            networks.note_partial();
        }
        Ok(networks)
    }

    async fn subnets(&self, addresses: &BTreeSet<(VpcId, IpAddr)>) -> Result<BTreeMap<VpcId, Vec<Subnet>>, CallError> {
        let vpcs: BTreeSet<&VpcId> = addresses.iter().map(|(vpc, _)| vpc).collect();
        let vpcs: Vec<String> = vpcs.into_iter().map(|id| id.as_str().to_owned()).collect();
        let mut subnets: BTreeMap<VpcId, Vec<Subnet>> = BTreeMap::new();
        for chunk in vpcs.chunks(FILTER_VALUES_MAX) {
            let call = self.client.describe_subnets().filters(filter("vpc-id", chunk.to_vec())).max_results(PAGE_SIZE);
            let page = |token| call.clone().set_next_token(token).send();
            let see = |page: DescribeSubnetsOutput| {
                for found in page.subnets() {
                    let Some(vpc) = found.vpc_id() else { continue };
                    let ipv6 = found.ipv6_cidr_block_association_set().iter().filter_map(|set| set.ipv6_cidr_block());
                    let blocks = found.cidr_block().into_iter().chain(ipv6);
                    let blocks = blocks.filter_map(|text| text.parse().ok()).collect();
                    let owner = found.owner_id().unwrap_or_default().to_owned();
                    let service = found.r#type().filter(|text| !text.is_empty()).map(str::to_owned);
                    subnets.entry(vpc.into()).or_default().push(Subnet { owner, blocks, service });
                }
            };
            let next = DescribeSubnetsOutput::next_token;
            self.budget.pages(ApiSet::Ec2Describe, "ec2:DescribeSubnets", page, next, see).await?;
        }
        Ok(subnets)
    }

    /// Reads which interfaces list some addresses, in all networks of the account. Of some places, it reads whether the
    /// address is inside the VPC.
    ///
    /// # Errors
    /// If a call fails: then nothing is known.
    pub async fn read_holders(
        &self,
        addresses: &BTreeSet<IpAddr>,
        places: &BTreeSet<(VpcId, IpAddr)>,
    ) -> Result<Holders, CallError> {
        let mut holders = Holders::default();
        if !places.is_empty() {
            let networks = Networks::of(self.account.id(), self.subnets(places).await?);
            let inside = places.iter().filter(|(vpc, address)| networks.subnet_of(vpc, *address).is_some());
            inside.for_each(|place| holders.note_inside(place.clone()));
        }
        let note = |found: &NetworkInterface| {
            let asked = addresses_of(found).filter(|address| addresses.contains(address));
            for address in asked {
                if let Some(holder) = holder(found, address) {
                    holders.note(address, holder);
                }
            }
        };
        self.interfaces_with(addresses, note).await?;
        if !self.shows_all() {
            holders.note_partial();
        }
        Ok(holders)
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
            loop {
                let asked = self.shows_all();
                let call = call.clone().set_include_managed_resources(asked.then_some(true));
                let page = |token| call.clone().set_next_token(token).send();
                let see = |page: DescribeNetworkInterfacesOutput| page.network_interfaces().iter().for_each(&mut see);
                let next = DescribeNetworkInterfacesOutput::next_token;
                match self.budget.pages(ApiSet::Ec2Describe, "ec2:DescribeNetworkInterfaces", page, next, see).await {
                    Err(error) if asked && self.does_not_show_all(&error) => {}
                    read => break read?,
                }
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

fn holder(found: &NetworkInterface, address: IpAddr) -> Option<Holder> {
    let is_it = |text: Option<&str>| text.and_then(|text| text.parse().ok()) == Some(address);
    let ipv4 = found.private_ip_addresses().iter().filter(|one| is_it(one.private_ip_address()));
    let ipv6 = found.ipv6_addresses().iter().filter(|one| is_it(one.ipv6_address()));
    let is_primary = ipv4.map(|one| one.primary()).chain(ipv6.map(|one| one.is_primary_ipv6()));
    Some(Holder {
        is_primary: is_primary.flatten().any(|is_primary| is_primary),
        is_managed: found.requester_managed().unwrap_or_default(),
        interface: found.network_interface_id()?.into(),
        vpc: found.vpc_id()?.into(),
        instance: found.attachment().and_then(|attachment| attachment.instance_id()).map(Into::into),
    })
}

/// Adds an interface, as EC2 describes it, to what is known of networks.
fn note(networks: &mut Networks, found: &NetworkInterface) {
    let Some(vpc) = found.vpc_id().map(VpcId::from) else { return };
    let ipv4 = found.ipv4_prefixes().iter().map(|prefix| prefix.ipv4_prefix());
    let ipv6 = found.ipv6_prefixes().iter().map(|prefix| prefix.ipv6_prefix());
    // "available" is an interface that is attached to nothing. A service attaches and deletes its interfaces by itself.
    // <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_NetworkInterface.html>
    let is_unattached =
        found.status() == Some(&NetworkInterfaceStatus::Available) && found.requester_managed() != Some(true);
    let unattached = found.network_interface_id().filter(|_| is_unattached).map(InterfaceId::from);
    networks.note(&vpc, unattached.as_ref(), addresses_of(found), blocks(ipv4.chain(ipv6)));
}
