//! Addresses as a registration names them: if possible by interface, so that they can be looked up anew after a
//! restart.

use std::{fmt, net::IpAddr, str::FromStr};

/// How a registration in an `ip` target group names the instance's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// `eth0`, `eth1`, ...: the primary address of the interface with this device index on network card 0. The target
    /// group decides whether its IPv4 or its IPv6 address is meant.
    Interface(u32),
    /// One literal address, such as a secondary one. It counts only while the instance owns it.
    Literal(IpAddr),
}

impl Address {
    /// The primary interface, to which load balancers route by default (SEED elb-classic-register).
    pub const ETH0: Self = Self::Interface(0);
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(index) => write!(f, "eth{index}"),
            Self::Literal(address) => address.fmt(f),
        }
    }
}

impl FromStr for Address {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(index) = text.strip_prefix("eth") {
            let index: u32 = index.parse().map_err(drop)?;
            // `eth00` and `eth+1` parse as well, but would be written back as another text.
            return if text == format!("eth{index}") { Ok(Self::Interface(index)) } else { Err(()) };
        }
        text.parse().map(Self::Literal).map_err(drop)
    }
}

/// The two families of addresses. A target group takes one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4, the default of target groups.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Returns the family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Returns whether an address is of this family.
    pub fn has(self, address: IpAddr) -> bool {
        Self::of(address) == self
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
