//! Target groups, as far as they matter here: the targets that they take, and their network.

use std::fmt;

use crate::{address::Family, balancer::TargetGroupId, id::VpcId};

/// A target group, reduced to what matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// The group's id.
    pub id: TargetGroupId,
    /// The port of targets that are registered without one.
    pub port: Option<u16>,
    /// The group's VPC.
    pub vpc: Option<VpcId>,
    /// The type of its targets.
    pub target_type: TargetType,
    /// The load balancers that forward to it.
    pub load_balancer_arns: Vec<String>,
}

/// The type of targets that a group takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetType {
    /// Instances by their id.
    Instance,
    /// Addresses of one family.
    Ip(Family),
    /// `lambda`, `alb`, and types that AWS adds later. They are left alone.
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

    /// Creates a target group in `vpc-1` with port 80.
    pub(crate) fn target_group(name: &str, target_type: TargetType) -> TargetGroup {
        let id = TargetGroupId { name: name.into(), id: "00000000000000aa".into() };
        TargetGroup { id, port: Some(80), vpc: Some("vpc-1".into()), target_type, load_balancer_arns: Vec::new() }
    }
}
