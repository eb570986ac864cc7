//! Registrations and their text form, which the instance's tags hold.
//!
//! The form is `clb:NAME`, `tg:NAME/ID:PORT` (instance target), `tg:NAME/ID:PORT=eth0` (ip target), `...=eth1.eni-ID` (of
//! another interface) or `...=10.0.3.7` (a literal address), then `@ZONE` and `+QUICID` if there are any. What is held may have a range
//! of ports, `8080-8089`. The form has only characters that AWS allows in every tag.
//! No part of it belongs to one instance alone, so all instances of a service share one value.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::{
    address::Address,
    balancer::{BalancerId, Declared, TargetGroupId},
    id::LoadBalancerName,
    malformed::{Malformed, split_off},
};

/// The zone of a target that is outside its group's VPC.
pub const ZONE_ALL: &str = "all";

/// One place where an instance gets traffic: a balancer, and the target that the instance is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registration {
    /// The balancer, which sends the traffic.
    pub balancer: BalancerId,
    /// The target, which gets the traffic.
    pub target: TargetName,
}

/// A target by name, without the id that it has at the moment. All fields are `None` at a Classic load balancer, which
/// knows instances alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetName {
    /// The port. A target group reports it for every target.
    pub port: Option<u16>,
    /// The address, in a group of type `ip`; `None` in a group of type `instance`.
    pub address: Option<Address>,
    /// `all`, or a zone, for an address outside the group's VPC. For an address inside, AWS finds the zone itself, and
    /// refuses a request that names it.
    pub zone: Option<String>,
    /// The server id for QUIC.
    pub quic_id: Option<String>,
}

/// Counts the registrations at each balancer. If there is no room for all of an instance, the balancers with the fewest come first: the
/// operator of one target group can register the instance there on hundreds of ports.
pub(crate) fn count_by_balancer<'r>(
    registrations: impl IntoIterator<Item = &'r Registration>,
) -> BTreeMap<&'r BalancerId, usize> {
    let mut counts = BTreeMap::new();
    for registration in registrations {
        *counts.entry(&registration.balancer).or_default() += 1;
    }
    counts
}

impl Registration {
    /// Creates the registration of an instance with a Classic load balancer.
    pub fn classic(name: impl Into<LoadBalancerName>) -> Self {
        Self { balancer: BalancerId::Classic(name.into()), target: TargetName::default() }
    }

    /// Creates the registration of a target in a target group.
    pub fn in_group(group: TargetGroupId, target: TargetName) -> Self {
        Self { balancer: BalancerId::TargetGroup(group), target }
    }

    /// Returns whether two registrations are the same but for their ids for QUIC.
    pub fn has_other_quic_id_than(&self, other: &Self) -> bool {
        let without_id = |of: &Self| {
            let target = TargetName { quic_id: None, ..of.target.clone() };
            Self { target, ..of.clone() }
        };
        let (Some(id), Some(other_id)) = (&self.target.quic_id, &other.target.quic_id) else { return false };
        id != other_id && without_id(self) == without_id(other)
    }
}

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.balancer, self.target)
    }
}

/// The part of the text form that follows the balancer.
impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, address, zone, quic_id } = self;
        if let Some(port) = port {
            write!(f, ":{port}")?;
        }
        if let Some(address) = address {
            write!(f, "={address}")?;
        }
        if let Some(zone) = zone {
            write!(f, "@{zone}")?;
        }
        if let Some(quic_id) = quic_id {
            write!(f, "+{quic_id}")?;
        }
        Ok(())
    }
}

impl Serialize for Registration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Registration {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (balancer, target) = parts_of(text)?;
        let balancer = balancer.complete()?;
        if matches!(balancer, BalancerId::TargetGroup(_)) {
            target.port.ok_or(Malformed::NoPort)?;
        }
        Ok(Self { balancer, target })
    }
}

/// Splits the text form into the balancer, of which a declaration may leave out a part, and the target.
pub(crate) fn parts_of(text: &str) -> Result<(Declared, TargetName), Malformed> {
    let (balancer, target) = Declared::parse(text)?;
    Ok((balancer, target_of(target)?))
}

/// Reads what follows the balancer: `[:PORT][=ADDRESS][@ZONE][+QUICID]`.
fn target_of(text: &str) -> Result<TargetName, Malformed> {
    // From the end: neither a QUIC id nor a zone can contain the mark that introduces the part before it.
    let (rest, quic_id) = split_off(text, '+');
    let (rest, zone) = split_off(rest, '@');
    let (rest, address) = split_off(rest, '=');
    let (_, port) = split_off(rest, ':');
    Ok(TargetName {
        port: port.map(port_of).transpose()?,
        address: address.map(|a| a.parse().map_err(|()| Malformed::Address(a.to_owned()))).transpose()?,
        zone: zone.map(zone_of).transpose()?.map(str::to_owned),
        quic_id: quic_id.map(quic_id_of).transpose()?.map(str::to_owned),
    })
}

/// Reads the texts in a tag's value, separated by spaces. Returns those that were understood, and each of the others
/// with the reason.
pub(crate) fn read_value<T, O: IntoIterator<Item = T>>(
    value: &str,
    read: impl Fn(&str) -> Result<O, Malformed>,
) -> (Vec<T>, Vec<(String, Malformed)>) {
    let (mut understood, mut malformed) = (Vec::new(), Vec::new());
    for text in value.split_ascii_whitespace() {
        match read(text) {
            Ok(found) => understood.extend(found),
            Err(why) => malformed.push((text.to_owned(), why)),
        }
    }
    (understood, malformed)
}

pub(crate) fn port_of(text: &str) -> Result<u16, Malformed> {
    match text.parse() {
        // `+80` and `080` parse as well, but would be written back as another text.
        Ok(port) if port > 0 && text == format!("{port}") => Ok(port),
        _ => Err(Malformed::Port(text.to_owned())),
    }
}

fn zone_of(text: &str) -> Result<&str, Malformed> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(text) } else { Err(Malformed::Zone(text.to_owned())) }
}

/// Reads a QUIC server id: "`0x` followed by 16 hexadecimal characters. Any letters must be lowercase" (API reference,
/// TargetDescription).
fn quic_id_of(text: &str) -> Result<&str, Malformed> {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    let fits = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if fits { Ok(text) } else { Err(Malformed::QuicId(text.to_owned())) }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Draws any registration that AWS could report.
    pub(crate) fn any_registration() -> impl Strategy<Value = Registration> {
        let name = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?";
        let address = prop_oneof![
            (0..8u32).prop_map(Address::Interface),
            (1..8u32, "eni-([0-9a-f]{8}|[0-9a-f]{17})")
                .prop_map(|(index, id)| Address::Attached { index, interface: id.into() }),
            any::<std::net::IpAddr>().prop_map(Address::Literal),
        ];
        let zone = prop_oneof![Just("all".to_owned()), "[a-z]{2}-[a-z]{4,9}-[1-9][a-f]"];
        let target = (
            (name, "[0-9a-f]{16}"),
            1..=u16::MAX,
            proptest::option::of(address),
            proptest::option::of(zone),
            proptest::option::of("0x[0-9a-f]{16}"),
        );
        prop_oneof![
            name.prop_map(Registration::classic),
            target.prop_map(|((name, id), port, address, zone, quic_id)| {
                let target = TargetName { port: Some(port), address, zone, quic_id };
                Registration::in_group(TargetGroupId { name, id }, target)
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(registration in any_registration()) {
            prop_assert_eq!(registration.to_string().parse(), Ok(registration));
        }

        #[test]
        fn the_text_has_only_characters_that_every_tag_may_have(registration in any_registration()) {
            let text = registration.to_string();
            prop_assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "+-=._:/@".contains(c)), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,80}") {
            if let Ok(registration) = text.parse::<Registration>() {
                prop_assert_eq!(registration.to_string(), text);
            }
        }

        #[test]
        fn what_looks_like_a_registration_is_read_exactly_or_refused(text in "(clb|tg):[a-z0-9/:=@+.-]{0,40}") {
            if let Ok(registration) = text.parse::<Registration>() {
                let again: Result<Registration, _> = registration.to_string().parse();
                prop_assert_eq!(again, Ok(registration));
            }
        }
    }

    #[test]
    fn the_forms_of_the_design_page_are_understood() {
        for text in [
            "clb:web",
            "tg:api/0123456789abcdef:8080",
            "tg:api/0123456789abcdef:8080=eth0",
            "tg:api/0123456789abcdef:8080=eth1.eni-0123456789abcdef0",
            "tg:api/0123456789abcdef:8080=10.0.3.7",
            "tg:api/0123456789abcdef:443=2001:db8::1@all+0x0123456789abcdef",
        ] {
            assert_eq!(text.parse::<Registration>().map(|r| r.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_broken_text_is_refused_with_what_is_wrong() {
        for (text, wrong) in [
            ("web", Malformed::UnknownKind),
            ("clb:", Malformed::Name(String::new())),
            ("clb:a b", Malformed::Name("a b".into())),
            ("clb:-x", Malformed::Name("-x".into())),
            ("tg:x-/0123456789abcdef:80", Malformed::Name("x-".into())),
            ("tg:api/0123:80", Malformed::GroupId("0123".into())),
            ("tg:api/0123456789ABCDEF:80", Malformed::GroupId("0123456789ABCDEF".into())),
            ("tg:api:80", Malformed::GroupWithoutId),
            ("tg:api/0123456789abcdef", Malformed::NoPort),
            ("tg:api/0123456789abcdef:0", Malformed::Port("0".into())),
            ("tg:api/0123456789abcdef:70000", Malformed::Port("70000".into())),
            ("tg:api/0123456789abcdef:80=eth", Malformed::Address("eth".into())),
            ("tg:api/0123456789abcdef:80=eth1.eni-1", Malformed::Address("eth1.eni-1".into())),
            ("tg:api/0123456789abcdef:80=eth0@", Malformed::Zone(String::new())),
            ("tg:api/0123456789abcdef:80+1", Malformed::QuicId("1".into())),
        ] {
            assert_eq!(text.parse::<Registration>(), Err(wrong), "{text}");
        }
    }
}
