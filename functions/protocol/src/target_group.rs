//! Target groups, as far as they matter here: what they take, and where.

use std::fmt;

use crate::{address::Family, balancer::TargetGroupId, id::VpcId};

/// A target group, reduced to what matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Which one.
    pub id: TargetGroupId,
    /// The port of targets that are registered without one.
    pub port: Option<u16>,
    /// Its network.
    pub vpc: Option<VpcId>,
    /// What it takes.
    pub target_type: TargetType,
    /// The load balancers that forward to it.
    pub load_balancer_arns: Vec<String>,
}

/// What a target group takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetType {
    /// Instances by their id.
    Instance,
    /// Addresses of a family.
    Ip(Family),
    /// `lambda`, `alb`, and whatever AWS adds: left alone.
    Other(String),
}

impl fmt::Display for TargetType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance => f.write_str("instances"),
            Self::Ip(family) => write!(f, "{family} addresses"),
            Self::Other(kind) => write!(f, "targets of type {kind}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A target group in `vpc-1` with port 80.
    pub(crate) fn target_group(name: &str, target_type: TargetType) -> TargetGroup {
        let id = TargetGroupId { name: name.into(), id: "00000000000000aa".into() };
        TargetGroup { id, port: Some(80), vpc: Some("vpc-1".into()), target_type, load_balancer_arns: Vec::new() }
    }
}
