//! Balancers: what sends traffic, as the functions and as operators name it.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::{
    balancer_kind::BalancerKind,
    id::LoadBalancerName,
    malformed::{Malformed, split_off},
};

/// A balancer: what sends traffic to an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BalancerId {
    /// A Classic load balancer.
    Classic(LoadBalancerName),
    /// A target group of an Application, Network or Gateway Load Balancer.
    TargetGroup(TargetGroupId),
}

/// A balancer as an operator declares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Declared {
    /// A Classic load balancer.
    Classic(LoadBalancerName),
    /// A target group.
    TargetGroup(DeclaredGroup),
}

/// A target group, named by those two parts of its ARN that do not follow from account and Region.
///
/// A group that is deleted and created anew under its name gets another second part. So it is a different group here,
/// as it is for AWS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetGroupId {
    /// The group's name, unique in account and Region.
    pub name: String,
    /// The 16 hexadecimal digits after the name.
    pub id: String,
}

/// A target group as a declaration names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeclaredGroup {
    /// The group's name.
    pub name: String,
    /// The group's id, if the operator means this very group and no later one of its name.
    pub id: Option<String>,
}

impl BalancerId {
    /// Returns the kind and the name of the balancer.
    pub fn kind_and_name(&self) -> (BalancerKind, &str) {
        match self {
            Self::Classic(name) => (BalancerKind::Classic, name.as_str()),
            Self::TargetGroup(group) => (BalancerKind::TargetGroup, &group.name),
        }
    }
}

impl Declared {
    /// Reads the balancer that the text of a registration begins with. Returns the text that follows it, too.
    pub(crate) fn parse(text: &str) -> Result<(Self, &str), Malformed> {
        let (kind, rest) = BalancerKind::of_text(text).ok_or_else(|| unknown_kind(text))?;
        match kind {
            BalancerKind::Classic => Ok((Self::Classic(name_of(rest)?.into()), "")),
            BalancerKind::TargetGroup => {
                if text.contains([',', ';']) {
                    return Err(Malformed::NoSpace);
                }
                let (balancer, target) = rest.split_at(rest.find([':', '=', '@', '+']).unwrap_or(rest.len()));
                let (name, id) = split_off(balancer, '/');
                let (name, id) = (name_of(name)?.to_owned(), id.map(group_id_of).transpose()?.map(str::to_owned));
                Ok((Self::TargetGroup(DeclaredGroup { name, id }), target))
            }
        }
    }

    /// Returns the balancer as a held registration names it.
    pub(crate) fn complete(self) -> Result<BalancerId, Malformed> {
        match self {
            Self::Classic(name) => Ok(BalancerId::Classic(name)),
            Self::TargetGroup(DeclaredGroup { name, id }) => {
                let id = id.ok_or(Malformed::GroupWithoutId)?;
                Ok(BalancerId::TargetGroup(TargetGroupId { name, id }))
            }
        }
    }
}

impl TargetGroupId {
    /// Returns the group of an ARN such as `arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`.
    pub fn from_arn(arn: &str) -> Option<Self> {
        let (_, resource) = arn.split_once(":targetgroup/")?;
        resource.parse().ok()
    }

    /// Returns the group's ARN.
    pub fn arn(&self, region: &str, account: &str) -> String {
        format!("arn:{}:elasticloadbalancing:{region}:{account}:targetgroup/{self}", partition(region))
    }
}

/// Returns the partition of a Region, by its prefix as AWS's partition list has it.
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

impl Declared {
    /// Returns whether a balancer is the declared one. A target group may be declared by its name alone.
    pub fn means(&self, balancer: &BalancerId) -> bool {
        match (self, balancer) {
            (Self::Classic(declared), BalancerId::Classic(name)) => declared == name,
            (Self::TargetGroup(declared), BalancerId::TargetGroup(group)) => {
                declared.name == group.name && declared.id.as_ref().is_none_or(|id| *id == group.id)
            }
            _ => false,
        }
    }
}

impl fmt::Display for TargetGroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.id)
    }
}

impl fmt::Display for BalancerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind_and_name().0.prefix())?;
        match self {
            Self::Classic(name) => name.fmt(f),
            Self::TargetGroup(group) => group.fmt(f),
        }
    }
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classic(name) => write!(f, "{}:{name}", BalancerKind::Classic.prefix()),
            Self::TargetGroup(DeclaredGroup { name, id }) => {
                write!(f, "{}:{name}", BalancerKind::TargetGroup.prefix())?;
                id.iter().try_for_each(|id| write!(f, "/{id}"))
            }
        }
    }
}

impl Serialize for BalancerId {
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

/// Returns what is wrong with a text that begins with no kind, and what would be right if that is known.
fn unknown_kind(text: &str) -> Malformed {
    if let Some(group) = TargetGroupId::from_arn(text) {
        return Malformed::Meant(BalancerId::TargetGroup(group).to_string());
    }
    match BalancerKind::of_text(&text.to_ascii_lowercase()) {
        Some((kind, rest)) => {
            let rest = text.get(text.len() - rest.len()..).unwrap_or(rest);
            Malformed::Meant(format!("{}:{rest}", kind.prefix()))
        }
        None => Malformed::UnknownKind,
    }
}

/// Reads a name. Load balancers and target groups have names of up to 32 letters, digits and hyphens, which neither
/// begin nor end with a hyphen
/// (<https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_CreateLoadBalancer.html>,
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html>).
fn name_of(text: &str) -> Result<&str, Malformed> {
    let is_of_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let fits = (1..=32).contains(&text.len()) && text.bytes().all(is_of_name);
    if fits && !text.starts_with('-') && !text.ends_with('-') {
        Ok(text)
    } else {
        Err(Malformed::Name(text.to_owned()))
    }
}

/// Reads the id of a group. AWS refuses a call in which the id of one group has another form: "is not a valid target
/// group ARN" (<https://github.com/hashicorp/terraform-provider-aws/issues/4552>). That refusal would hit all groups of
/// the call.
fn group_id_of(text: &str) -> Result<&str, Malformed> {
    let fits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if fits { Ok(text) } else { Err(Malformed::GroupId(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_and_its_arn_follow_from_each_other_in_every_partition() {
        for (partition, region) in [("aws", "us-east-1"), ("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")] {
            let arn =
                format!("arn:{partition}:elasticloadbalancing:{region}:123456789012:targetgroup/api/0123456789abcdef");
            let group = TargetGroupId::from_arn(&arn).unwrap();
            assert_eq!(group.arn(region, "123456789012"), arn);
        }
        assert_eq!(TargetGroupId::from_arn("arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/a/b"), None);
    }
}
