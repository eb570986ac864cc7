//! Names of balancers: what an operator may have meant by a name that does not exist.

use std::fmt;

use crate::{balancer_kind::BalancerKind, nearest::nearest};

/// Characters by which a suggested name may differ.
const SLIPS_MAX: usize = 2;

/// A name that exists in the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// The name of a balancer.
    Balancer(BalancerKind, String),
    /// The name of an Application, Network or Gateway Load Balancer, which takes no targets itself.
    LoadBalancer {
        /// The name.
        name: String,
        /// The kind in the API's word, such as `application`.
        kind: String,
        /// The names of the target groups that it forwards to.
        groups: Vec<String>,
    },
}

impl Name {
    fn is(&self, sought: BalancerKind) -> bool {
        matches!(self, Self::Balancer(kind, _) if *kind == sought)
    }

    fn text(&self) -> &str {
        match self {
            Self::Balancer(_, name) | Self::LoadBalancer { name, .. } => name,
        }
    }
}

/// The name as a declaration would have it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balancer(kind, name) => write!(f, "{}:{name}", kind.prefix()),
            Self::LoadBalancer { name, .. } => f.write_str(name),
        }
    }
}

/// Returns what an operator may have meant by a name that does not exist, as the end of a sentence. It is empty if no
/// name is near.
pub fn hint(sought: BalancerKind, name: &str, names: &[Name]) -> String {
    let same_name = names.iter().find(|other| other.text() == name && !other.is(sought));
    match same_name {
        Some(Name::LoadBalancer { kind, groups, .. }) => {
            let kind = match kind.as_str() {
                "application" => "an Application Load Balancer",
                "network" => "a Network Load Balancer",
                "gateway" => "a Gateway Load Balancer",
                _ => "another kind of load balancer",
            };
            let groups: Vec<String> = groups.iter().map(|group| format!("`tg:{group}`")).collect();
            match groups.as_slice() {
                [] => format!(": `{name}` is {kind}, which has no target group for instances or addresses"),
                groups => format!(": `{name}` is {kind}; name its target group, {}", groups.join(" or ")),
            }
        }
        Some(other) => format!(": did you mean `{other}`?"),
        None => {
            let near = |names: &mut dyn Iterator<Item = &Name>| {
                let names: Vec<&Name> = names.collect();
                let text = nearest(name, names.iter().map(|name| name.text()))?;
                // A name with another number, or with another word, is another balancer: a suggestion would lead to it.
                let letters = |name: &str| name.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
                if letters(name) == letters(text) || strsim::osa_distance(name, text) > SLIPS_MAX {
                    return None;
                }
                names.into_iter().find(|name| name.text() == text).map(ToString::to_string)
            };
            let meant = near(&mut names.iter().filter(|name| name.is(sought)));
            meant.map(|meant| format!(": did you mean `{meant}`?")).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_what_an_operator_may_have_meant() {
        let names = [
            Name::Balancer(BalancerKind::Classic, "shop".into()),
            Name::Balancer(BalancerKind::TargetGroup, "web".into()),
            Name::LoadBalancer { name: "front".into(), kind: "application".into(), groups: vec!["web".into()] },
            Name::LoadBalancer { name: "bare".into(), kind: "network".into(), groups: vec![] },
        ];
        for (sought, name, said) in [
            (BalancerKind::Classic, "shpo", ": did you mean `clb:shop`?"),
            (BalancerKind::TargetGroup, "wbe", ": did you mean `tg:web`?"),
            (BalancerKind::Classic, "web", ": did you mean `tg:web`?"),
            (BalancerKind::TargetGroup, "shop", ": did you mean `clb:shop`?"),
            (
                BalancerKind::Classic,
                "front",
                ": `front` is an Application Load Balancer; name its target group, `tg:web`",
            ),
            (
                BalancerKind::TargetGroup,
                "bare",
                ": `bare` is a Network Load Balancer, which has no target group for instances or addresses",
            ),
            (BalancerKind::TargetGroup, "nowhere", ""),
            (BalancerKind::TargetGroup, "web2", ""),
        ] {
            assert_eq!(hint(sought, name, &names), said, "{sought} {name}");
        }
    }
}
