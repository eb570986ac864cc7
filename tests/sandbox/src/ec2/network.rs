//! VPCs, subnets, and the free addresses of a subnet.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{State, Subnet, Vpc, block_contains_v4, block_contains_v6};
use crate::{
    wire::ApiError,
    world::{ACCOUNT, World},
};

/// The first address of a subnet that is given out, counted from its base. AWS keeps the first four to itself. A few more are
/// left out, so that a test has room for addresses of its own choice, and `10.0.0.10` reads well in a failure.
const FIRST_FREE: u32 = 10;

/// The addresses at the beginning of a subnet that AWS keeps to itself (VPC guide, "Subnet sizing"). It keeps the last one, too.
const RESERVED: u32 = 4;

/// Creates a VPC with an IPv4 block, such as `10.0.0.0/16`.
///
/// # Panics
/// If that is not a block of a VPC: a fixture's mistake.
pub fn create_vpc(world: &mut World, cidr: &str) -> String {
    add_vpc(world, cidr, false).expect("the fixture's block is one that a VPC can have")
}

/// Creates a VPC with an IPv4 block and a /56 of IPv6, as `AmazonProvidedIpv6CidrBlock` does.
///
/// # Panics
/// If that is not a block of a VPC: a fixture's mistake.
pub fn create_dual_stack_vpc(world: &mut World, cidr: &str) -> String {
    add_vpc(world, cidr, true).expect("the fixture's block is one that a VPC can have")
}

/// Creates a subnet. In a VPC with IPv6, it gets the next free /64 as well.
///
/// # Panics
/// If the VPC does not exist, or the block cannot be one of its subnets': a fixture's mistake.
pub fn create_subnet(world: &mut World, vpc_id: &str, zone: &str, cidr: &str) -> String {
    let taken = world.ec2.subnets.values().filter(|subnet| subnet.vpc_id == vpc_id).count();
    let vpc = world.ec2.vpcs.get(vpc_id).expect("the fixture's VPC exists");
    let ipv6 = vpc.ipv6_cidr.map(|(base, _)| {
        let number = u128::try_from(taken).expect("a count fits");
        (Ipv6Addr::from(u128::from(base) | number << 64), 64)
    });
    add_subnet(world, vpc_id, zone, cidr, ipv6).expect("the fixture's subnet is one that the VPC can have")
}

/// Lets another account own a subnet, and share it. That account's own resources in it are not in the sandbox: a participant does
/// not see them (VPC guide, "Share your VPC subnets with other accounts").
///
/// # Panics
/// If there is no such subnet: a fixture's mistake.
pub fn share_subnet_from(world: &mut World, subnet_id: &str, owner: &str) {
    world.ec2.subnets.get_mut(subnet_id).expect("the fixture's subnet exists").owner = owner.to_owned();
}

/// Makes a subnet one of Amazon Elastic VMware Service. Its hosts have no network interfaces of EC2 there.
///
/// # Panics
/// If there is no such subnet: a fixture's mistake.
pub fn use_subnet_for_vmware(world: &mut World, subnet_id: &str) {
    let subnet = world.ec2.subnets.get_mut(subnet_id).expect("the fixture's subnet exists");
    subnet.kind = Some("Elastic VMware Service".to_owned());
}

pub(super) fn add_vpc(world: &mut World, cidr: &str, dual_stack: bool) -> Result<String, ApiError> {
    let cidr = v4_block(cidr)?;
    if !(16..=28).contains(&cidr.1) {
        return Err(ApiError::sender("InvalidVpc.Range", format!("The CIDR '{}/{}' is invalid.", cidr.0, cidr.1)));
    }
    let id = world.invent_id("vpc");
    // Blocks of 2600:1f18::/32, as Amazon has in us-east-1, one after the other.
    let number = u128::try_from(world.ec2.vpcs.len()).expect("a count fits");
    let base = Ipv6Addr::from(0x2600_1f18_u128 << 96 | number << 72);
    let vpc = Vpc { id: id.clone(), cidr, ipv6_cidr: dual_stack.then_some((base, 56)) };
    world.ec2.vpcs.insert(id.clone(), vpc);
    Ok(id)
}

pub(super) fn add_subnet(
    world: &mut World,
    vpc_id: &str,
    zone: &str,
    cidr: &str,
    ipv6_cidr: Option<(Ipv6Addr, u8)>,
) -> Result<String, ApiError> {
    let state = &world.ec2;
    let vpc = state.vpcs.get(vpc_id).ok_or_else(|| vpc_not_found(vpc_id))?;
    let cidr = v4_block(cidr)?;
    let inside = cidr.1 >= vpc.cidr.1 && cidr.1 <= 28 && block_contains_v4(vpc.cidr, cidr.0);
    let inside_v6 =
        |block: (Ipv6Addr, u8)| vpc.ipv6_cidr.is_some_and(|outer| block.1 == 64 && block_contains_v6(outer, block.0));
    if !inside || !ipv6_cidr.is_none_or(inside_v6) {
        return Err(ApiError::sender("InvalidSubnet.Range", format!("The CIDR '{}/{}' is invalid.", cidr.0, cidr.1)));
    }
    let overlaps = |other: &&Subnet| {
        other.vpc_id == vpc_id
            && (block_contains_v4(other.cidr, cidr.0)
                || block_contains_v4(cidr, other.cidr.0)
                || ipv6_cidr.is_some() && ipv6_cidr == other.ipv6_cidr)
    };
    if state.subnets.values().any(|other| overlaps(&other)) {
        let message = format!("The CIDR '{}/{}' conflicts with another subnet", cidr.0, cidr.1);
        return Err(ApiError::sender("InvalidSubnet.Conflict", message));
    }
    let id = world.invent_id("subnet");
    let (vpc_id, zone) = (vpc_id.to_owned(), zone.to_owned());
    let subnet = Subnet { id: id.clone(), vpc_id, zone, cidr, ipv6_cidr, owner: ACCOUNT.to_owned(), kind: None };
    world.ec2.subnets.insert(id.clone(), subnet);
    Ok(id)
}

/// `10.0.0.0/16`, with the bits behind the prefix set to zero, as EC2 does ("10.0.0.1/16" is taken for it).
fn v4_block(text: &str) -> Result<(Ipv4Addr, u8), ApiError> {
    let parsed = text.split_once('/').and_then(|(base, prefix)| {
        let (base, prefix): (Ipv4Addr, u8) = (base.parse().ok()?, prefix.parse().ok()?);
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(prefix.into())?).unwrap_or(0);
        Some((Ipv4Addr::from(u32::from(base) & mask), prefix))
    });
    parsed.ok_or_else(|| not_a_block(text, "cidrBlock"))
}

/// `2600:1f18::/64`.
pub(super) fn v6_block(text: &str) -> Result<(Ipv6Addr, u8), ApiError> {
    let parsed = text.split_once('/').and_then(|(base, prefix)| Some((base.parse().ok()?, prefix.parse().ok()?)));
    parsed.ok_or_else(|| not_a_block(text, "ipv6CidrBlock"))
}

fn not_a_block(text: &str, parameter: &str) -> ApiError {
    let message = format!("Value ({text}) for parameter {parameter} is invalid. This is not a valid CIDR block.");
    ApiError::sender("InvalidParameterValue", message)
}

impl State {
    /// Returns the lowest free addresses of a subnet. `avoid` are free ones that must not be given.
    pub(super) fn free_ipv4(
        &self,
        subnet: &Subnet,
        count: usize,
        avoid: &[Ipv4Addr],
    ) -> Result<Vec<Ipv4Addr>, ApiError> {
        let base = u32::from(subnet.cidr.0);
        let free: Vec<_> = (base + FIRST_FREE..last_of(subnet))
            .map(Ipv4Addr::from)
            .filter(|address| {
                !avoid.contains(address) && self.interface_with(&subnet.vpc_id, (*address).into()).is_none()
            })
            .take(count)
            .collect();
        if free.len() == count { Ok(free) } else { Err(exhausted(subnet)) }
    }

    /// Returns the lowest free addresses of a subnet's IPv6 block.
    pub(super) fn free_ipv6(
        &self,
        subnet: &Subnet,
        count: usize,
        avoid: &[Ipv6Addr],
    ) -> Result<Vec<Ipv6Addr>, ApiError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let Some((base, _)) = subnet.ipv6_cidr else {
            let message = format!("Subnet {} has no IPv6 CIDR block associated with it", subnet.id);
            return Err(ApiError::sender("InvalidParameterValue", message));
        };
        let first = u128::from(base) + u128::from(FIRST_FREE);
        Ok((first..)
            .map(Ipv6Addr::from)
            .filter(|address| {
                !avoid.contains(address) && self.interface_with(&subnet.vpc_id, (*address).into()).is_none()
            })
            .take(count)
            .collect())
    }

    /// Refuses an address that the subnet cannot give out.
    pub(super) fn check_ipv4(&self, subnet: &Subnet, address: Ipv4Addr) -> Result<(), ApiError> {
        let number = u32::from(address);
        if number < u32::from(subnet.cidr.0) + RESERVED || number >= last_of(subnet) {
            return Err(outside(address));
        }
        Ok(())
    }

    /// Refuses an address that is not in the subnet's IPv6 block.
    pub(super) fn check_ipv6(&self, subnet: &Subnet, address: Ipv6Addr) -> Result<(), ApiError> {
        match subnet.ipv6_cidr {
            Some(block) if block_contains_v6(block, address) => Ok(()),
            _ => Err(outside(address)),
        }
    }

    /// Returns a subnet by its id.
    pub(super) fn subnet(&self, id: &str) -> Result<&Subnet, ApiError> {
        self.subnets
            .get(id)
            .ok_or_else(|| ApiError::sender("InvalidSubnetID.NotFound", format!("The subnet ID '{id}' does not exist")))
    }

    /// Returns how many of a subnet's addresses are free.
    pub(super) fn count_free(&self, subnet: &Subnet) -> usize {
        let (first, last) = (u32::from(subnet.cidr.0) + RESERVED, last_of(subnet));
        let interfaces = self.interfaces.values().filter(|interface| interface.subnet_id == subnet.id);
        let taken: usize = interfaces.map(|interface| interface.ipv4.len()).sum();
        usize::try_from(last - first).unwrap_or(usize::MAX).saturating_sub(taken)
    }
}

/// Returns the broadcast address of a subnet, which no interface gets.
fn last_of(subnet: &Subnet) -> u32 {
    u32::from(subnet.cidr.0) | u32::MAX.checked_shr(u32::from(subnet.cidr.1)).unwrap_or(0)
}

pub(super) fn vpc_not_found(id: &str) -> ApiError {
    ApiError::sender("InvalidVpcID.NotFound", format!("The vpc ID '{id}' does not exist"))
}

fn exhausted(subnet: &Subnet) -> ApiError {
    let message = format!("There are not enough free addresses in subnet '{}' to satisfy the request.", subnet.id);
    ApiError::sender("InsufficientFreeAddressesInSubnet", message)
}

fn outside(address: impl std::fmt::Display) -> ApiError {
    ApiError::sender(
        "InvalidParameterValue",
        format!("Address {address} does not fall within the subnet's address range"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn addresses_are_given_out_from_ten_upward_and_never_the_last() {
        let sandbox = crate::Sandbox::in_virtual_time();
        sandbox.with(|world| {
            let vpc = create_vpc(world, "10.0.0.1/16");
            let subnet = create_subnet(world, &vpc, "us-east-1a", "10.0.3.0/28");
            let subnet = world.ec2.subnets[&subnet].clone();
            let free = world.ec2.free_ipv4(&subnet, 5, &[]).unwrap();
            assert_eq!((free[0], free[4]), ("10.0.3.10".parse().unwrap(), "10.0.3.14".parse().unwrap()));
            assert_eq!(world.ec2.free_ipv4(&subnet, 6, &[]).unwrap_err().code, "InsufficientFreeAddressesInSubnet");
            assert_eq!(world.ec2.count_free(&subnet), 11);
        });
    }

    #[tokio::test(start_paused = true)]
    async fn overlapping_or_foreign_subnets_are_refused() {
        let sandbox = crate::Sandbox::in_virtual_time();
        sandbox.with(|world| {
            let vpc = create_dual_stack_vpc(world, "10.0.0.0/16");
            let subnet = create_subnet(world, &vpc, "us-east-1a", "10.0.1.0/24");
            assert_eq!(world.ec2.subnets[&subnet].ipv6_cidr, Some(("2600:1f18::".parse().unwrap(), 64)));
            let mut code = |cidr: &str| add_subnet(world, &vpc, "us-east-1b", cidr, None).unwrap_err().code;
            assert_eq!(code("10.0.1.128/25"), "InvalidSubnet.Conflict");
            assert_eq!(code("10.1.0.0/24"), "InvalidSubnet.Range");
            assert_eq!(code("nonsense"), "InvalidParameterValue");
        });
    }
}
