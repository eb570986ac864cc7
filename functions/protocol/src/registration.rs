//! Registrations and their text form, which is what the instance's tags remember.
//!
//! `clb:NAME`, `tg:NAME/ID:PORT` (instance target), `tg:NAME/ID:PORT=eth0` (ip target), `...=10.0.3.7` (a literal address),
//! then `@ZONE` and `+QUICID` where there was one: only characters that AWS allows in every tag, and nothing of one
//! instance alone, so that all instances of a service share one value.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::{address::Address, id::LoadBalancerName};

/// The zone of a target that is outside its group's VPC.
pub const ZONE_ALL: &str = "all";

/// What sends traffic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BalancerId {
    /// A Classic load balancer.
    Classic(LoadBalancerName),
    /// A target group of an Application, Network or Gateway Load Balancer.
    TargetGroup(TargetGroupId),
}

/// A target group, by the two parts of its ARN that account and Region do not tell.
///
/// The second part makes a group that was deleted and created anew under its name a different one, as it is for AWS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetGroupId {
    /// Its name, unique in account and Region.
    pub name: String,
    /// The 16 hexadecimal digits after the name.
    pub id: String,
}

/// One place where an instance receives traffic: a balancer, and the target that the instance is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registration {
    /// What sends the traffic.
    pub balancer: BalancerId,
    /// What it sends it to.
    pub target: TargetName,
}

/// A target by name: without the id that it has at the moment. All is `None` at a Classic load balancer, which knows instances alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetName {
    /// The port. A target group reports that of every target.
    pub port: Option<u16>,
    /// The address, in a group of type `ip`; `None` in a group of type `instance`.
    pub address: Option<Address>,
    /// `all`, or a zone, for an address outside the group's VPC. For one inside, AWS reports the zone that it found by
    /// itself and refuses to be told.
    pub zone: Option<String>,
    /// The server id for QUIC.
    pub quic_id: Option<String>,
}

impl Registration {
    /// An instance of a Classic load balancer.
    pub fn classic(name: impl Into<LoadBalancerName>) -> Self {
        Self { balancer: BalancerId::Classic(name.into()), target: TargetName::default() }
    }

    /// A target of a target group.
    pub fn in_group(group: TargetGroupId, target: TargetName) -> Self {
        Self { balancer: BalancerId::TargetGroup(group), target }
    }
}

impl TargetGroupId {
    /// The group of an ARN such as `arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`.
    pub fn from_arn(arn: &str) -> Option<Self> {
        let (_, resource) = arn.split_once(":targetgroup/")?;
        resource.parse().ok()
    }

    /// Its ARN.
    pub fn arn(&self, region: &str, account: &str) -> String {
        format!("arn:{}:elasticloadbalancing:{region}:{account}:targetgroup/{self}", partition(region))
    }
}

/// The partition of a Region, by its prefix as AWS's partition list has it.
fn partition(region: &str) -> &'static str {
    const PARTITIONS: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-iso-", "aws-iso"),
        ("eusc-", "aws-eusc"),
    ];
    PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

impl fmt::Display for TargetGroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.id)
    }
}

impl fmt::Display for BalancerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classic(name) => write!(f, "clb:{name}"),
            Self::TargetGroup(group) => write!(f, "tg:{group}"),
        }
    }
}

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.balancer, self.target)
    }
}

/// What follows the balancer in the text form.
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

impl Serialize for BalancerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Registration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for TargetGroupId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (name, id) = text.split_once('/').ok_or(Malformed::GroupWithoutId)?;
        Ok(Self { name: name_of(name)?.to_owned(), id: group_id_of(id)?.to_owned() })
    }
}

impl FromStr for Registration {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (balancer, target) = parts_of(text)?;
        match balancer {
            Balancer::Classic(name) => Ok(Self::classic(name)),
            Balancer::TargetGroup { name, id } => {
                let (name, id) = (name.to_owned(), id.ok_or(Malformed::GroupWithoutId)?.to_owned());
                target.port.ok_or(Malformed::NoPort)?;
                Ok(Self::in_group(TargetGroupId { name, id }, target))
            }
        }
    }
}

/// Reads the texts in a tag's value, separated by spaces: what could be understood, and what could not with the reason.
pub(crate) fn read_value<T: FromStr<Err = Malformed>>(value: &str) -> (Vec<T>, Vec<(String, Malformed)>) {
    let (mut understood, mut malformed) = (Vec::new(), Vec::new());
    for text in value.split_ascii_whitespace() {
        match text.parse() {
            Ok(found) => understood.push(found),
            Err(why) => malformed.push((text.to_owned(), why)),
        }
    }
    (understood, malformed)
}

/// A balancer in the text form, of which a declaration may leave out a part.
pub(crate) enum Balancer<'t> {
    /// `clb:NAME`
    Classic(&'t str),
    /// `tg:NAME[/ID]`
    TargetGroup { name: &'t str, id: Option<&'t str> },
}

/// Takes the text form apart: `clb:NAME`, or `tg:NAME[/ID][:PORT][=ADDRESS][@ZONE][+QUICID]`.
pub(crate) fn parts_of(text: &str) -> Result<(Balancer<'_>, TargetName), Malformed> {
    if let Some(name) = text.strip_prefix("clb:") {
        return Ok((Balancer::Classic(name_of(name)?), TargetName::default()));
    }
    let rest = text.strip_prefix("tg:").ok_or_else(|| unknown_kind(text))?;
    if text.contains([',', ';']) {
        return Err(Malformed::NoSpace);
    }
    // From the end: neither a QUIC id nor a zone can contain what introduces the part before it.
    let (rest, quic_id) = split_off(rest, '+');
    let (rest, zone) = split_off(rest, '@');
    let (rest, address) = split_off(rest, '=');
    let (rest, port) = split_off(rest, ':');
    let (name, id) = split_off(rest, '/');
    let balancer = Balancer::TargetGroup { name: name_of(name)?, id: id.map(group_id_of).transpose()? };
    let target = TargetName {
        port: port.map(port_of).transpose()?,
        address: address.map(|a| a.parse().map_err(|()| Malformed::Address(a.to_owned()))).transpose()?,
        zone: zone.map(zone_of).transpose()?.map(str::to_owned),
        quic_id: quic_id.map(quic_id_of).transpose()?.map(str::to_owned),
    };
    Ok((balancer, target))
}

/// What is wrong with a text that begins with neither kind, and what would be right where that is known.
fn unknown_kind(text: &str) -> Malformed {
    let lower = text.to_ascii_lowercase();
    match TargetGroupId::from_arn(text) {
        Some(group) => Malformed::Meant(format!("tg:{group}")),
        None if lower.starts_with("tg:") || lower.starts_with("clb:") => {
            let (kind, rest) = lower.split_at(lower.find(':').unwrap_or_default());
            Malformed::Meant(format!("{kind}{}", &text[text.len() - rest.len()..]))
        }
        None => Malformed::UnknownKind,
    }
}

/// Splits at the first mark, which is dropped.
fn split_off(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(head, tail)| (head, Some(tail)))
}

/// Load balancers and target groups have names of up to 32 letters, digits and hyphens (API reference of both).
fn name_of(text: &str) -> Result<&str, Malformed> {
    let fits = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if fits { Ok(text) } else { Err(Malformed::Name(text.to_owned())) }
}

/// In practice 16 hexadecimal digits; no page promises it, so only the characters of an ARN's part are required.
fn group_id_of(text: &str) -> Result<&str, Malformed> {
    let fits = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if fits { Ok(text) } else { Err(Malformed::GroupId(text.to_owned())) }
}

fn port_of(text: &str) -> Result<u16, Malformed> {
    match text.parse() {
        // `+80` and `080` parse as well, but would not come out again as they went in.
        Ok(port) if port > 0 && text == format!("{port}") => Ok(port),
        _ => Err(Malformed::Port(text.to_owned())),
    }
}

fn zone_of(text: &str) -> Result<&str, Malformed> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(text) } else { Err(Malformed::Zone(text.to_owned())) }
}

/// "`0x` followed by 16 hexadecimal characters. Any letters must be lowercase" (API reference, TargetDescription).
fn quic_id_of(text: &str) -> Result<&str, Malformed> {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    let fits = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if fits { Ok(text) } else { Err(Malformed::QuicId(text.to_owned())) }
}

/// What is wrong with the text of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Neither kind of balancer.
    #[error("it begins with neither `clb:` (a Classic load balancer) nor `tg:` (a target group)")]
    UnknownKind,
    /// An ARN, or a kind in capital letters.
    #[error("did you mean `{0}`?")]
    Meant(String),
    /// More than one in one text.
    #[error("several registrations are separated by a space, and by nothing else")]
    NoSpace,
    /// Not a name that AWS would accept.
    #[error("`{0}` is not a name of up to 32 letters, digits and hyphens")]
    Name(String),
    /// A held registration names the very group.
    #[error("the target group's id is missing: write `tg:NAME/ID:PORT`")]
    GroupWithoutId,
    /// Not the last part of an ARN.
    #[error("`{0}` is not the id in a target group's ARN")]
    GroupId(String),
    /// A held registration names the port.
    #[error("the port is missing: write `tg:NAME/ID:PORT`")]
    NoPort,
    /// Not a port.
    #[error("`{0}` is not a port from 1 to 65535")]
    Port(String),
    /// Neither an interface nor an address.
    #[error("`{0}` is neither `eth0`, `eth1`, ... nor an IP address")]
    Address(String),
    /// Not a zone.
    #[error("`{0}` is neither `all` nor an Availability Zone")]
    Zone(String),
    /// Not a QUIC server id.
    #[error("`{0}` is not `0x` and 16 lowercase hexadecimal digits")]
    QuicId(String),
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any registration that AWS could report.
    pub(crate) fn any_registration() -> impl Strategy<Value = Registration> {
        let name = "[a-zA-Z0-9][a-zA-Z0-9-]{0,30}";
        let address =
            prop_oneof![(0..8u32).prop_map(Address::Interface), any::<std::net::IpAddr>().prop_map(Address::Literal),];
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
            ("tg:api:80", Malformed::GroupWithoutId),
            ("tg:api/0123456789abcdef", Malformed::NoPort),
            ("tg:api/0123456789abcdef:0", Malformed::Port("0".into())),
            ("tg:api/0123456789abcdef:70000", Malformed::Port("70000".into())),
            ("tg:api/0123456789abcdef:80=eth", Malformed::Address("eth".into())),
            ("tg:api/0123456789abcdef:80=eth0@", Malformed::Zone(String::new())),
            ("tg:api/0123456789abcdef:80+1", Malformed::QuicId("1".into())),
        ] {
            assert_eq!(text.parse::<Registration>(), Err(wrong), "{text}");
        }
    }

    #[test]
    fn a_group_is_found_in_its_arn_and_gives_it_back_in_every_partition() {
        for (partition, region) in [("aws", "us-east-1"), ("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")] {
            let arn =
                format!("arn:{partition}:elasticloadbalancing:{region}:123456789012:targetgroup/api/0123456789abcdef");
            let group = TargetGroupId::from_arn(&arn).unwrap();
            assert_eq!(group.arn(region, "123456789012"), arn);
        }
        assert_eq!(TargetGroupId::from_arn("arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/a/b"), None);
    }
}
