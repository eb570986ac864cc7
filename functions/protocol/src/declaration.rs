//! What an operator declares in the tag `elb-registrar:register`: registrations that the instance should have when it
//! runs.
//!
//! The text form is that of what is held, except that a target group's id and the port may be left out.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::{
    address::Address,
    balancer::{Declared, DeclaredGroup},
    malformed::Malformed,
    registration::{Registration, TargetName, parts_of, read_value},
    target_group::{TargetGroup, TargetType},
};

/// One declared registration, as the tag has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Declaration {
    /// The balancer that the instance should be registered with.
    pub balancer: Declared,
    /// The target. In a target group, a missing port is the group's own; in one of type `ip`, a missing address is
    /// `eth0`.
    pub target: TargetName,
}

impl Declaration {
    /// Reads the value of the tag. Returns the declarations, and each text that is none, with the reason.
    pub fn all_in(value: &str) -> (Vec<Self>, Vec<(String, Malformed)>) {
        read_value(value, |text| text.parse().map(Some))
    }
}

impl DeclaredGroup {
    /// Completes the declaration with what the target group of that name has.
    ///
    /// # Errors
    /// If the declaration and the group do not fit. There is nothing to register until a person changes one of them.
    pub fn resolve(&self, target: &TargetName, found: &TargetGroup) -> Result<Registration, DoesNotFit> {
        if self.id.as_ref().is_some_and(|id| *id != found.id.id) {
            return Err(DoesNotFit::OtherGroup { found: found.id.id.clone() });
        }
        let address = match (&found.target_type, target.address.clone()) {
            (TargetType::Instance, None) => None,
            (TargetType::Instance, Some(_)) => return Err(DoesNotFit::AddressInInstanceGroup),
            (TargetType::Ip(_), address) => Some(address.unwrap_or(Address::ETH0)),
            (TargetType::Other(kind), _) => return Err(DoesNotFit::TargetType(kind.clone())),
        };
        let port = target.port.or(found.port).ok_or(DoesNotFit::NoPort)?;
        Ok(Registration::in_group(found.id.clone(), TargetName { port: Some(port), address, ..target.clone() }))
    }
}

impl FromStr for Declaration {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (balancer, target) = parts_of(text)?;
        Ok(Self { balancer, target })
    }
}

impl fmt::Display for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.balancer, self.target)
    }
}

/// Why a declaration and the target group that it names do not fit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DoesNotFit {
    /// The group of that name is another one.
    #[error("the target group of that name has the id {found}, and not this one: correct the id, or leave it out")]
    OtherGroup {
        /// The id that the group of that name has.
        found: String,
    },
    /// The group takes instances.
    #[error("the target group takes instances: leave out the address")]
    AddressInInstanceGroup,
    /// The group takes neither instances nor addresses.
    #[error("the target group takes targets of type {0}: only `instance` and `ip` are registered here")]
    TargetType(String),
    /// The group has no port of its own.
    #[error("the target group has no port of its own: add `:PORT`")]
    NoPort,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{address::Family, target_group::tests::target_group};

    fn resolved(text: &str, found: &TargetGroup) -> Result<String, DoesNotFit> {
        let Declaration { balancer, target } = text.parse().unwrap();
        let Declared::TargetGroup(group) = balancer else { panic!("{text} declares a target group") };
        group.resolve(&target, found).map(|registration| registration.to_string())
    }

    #[test]
    fn what_a_declaration_leaves_out_comes_from_the_group() {
        let instances = target_group("api", TargetType::Instance);
        let addresses = target_group("nlb", TargetType::Ip(Family::V4));
        for (text, group, full) in [
            ("tg:api", &instances, "tg:api/00000000000000aa:80"),
            ("tg:api:8080", &instances, "tg:api/00000000000000aa:8080"),
            ("tg:api/00000000000000aa", &instances, "tg:api/00000000000000aa:80"),
            ("tg:nlb", &addresses, "tg:nlb/00000000000000aa:80=eth0"),
            ("tg:nlb:53=eth1@all", &addresses, "tg:nlb/00000000000000aa:53=eth1@all"),
        ] {
            assert_eq!(resolved(text, group), Ok(full.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_declaration_that_does_not_fit_its_group_says_why() {
        let instances = target_group("api", TargetType::Instance);
        let lambdas = target_group("fn", TargetType::Other("lambda".into()));
        let later = DoesNotFit::OtherGroup { found: "00000000000000aa".into() };
        assert_eq!(resolved("tg:api=eth0", &instances), Err(DoesNotFit::AddressInInstanceGroup));
        assert_eq!(resolved("tg:fn", &lambdas), Err(DoesNotFit::TargetType("lambda".into())));
        assert_eq!(resolved("tg:api/0123456789abcdef", &instances), Err(later));
    }

    #[test]
    fn a_declaration_reads_back_as_it_was_written() {
        let value = "clb:web tg:api tg:api:8080 tg:nlb/0123456789abcdef:53=eth0@all broken:x";
        let (declarations, malformed) = Declaration::all_in(value);
        let texts: Vec<String> = declarations.iter().map(ToString::to_string).collect();
        assert_eq!(texts.join(" ") + " broken:x", value);
        assert_eq!(malformed, [("broken:x".to_owned(), Malformed::UnknownKind)]);
    }
}
