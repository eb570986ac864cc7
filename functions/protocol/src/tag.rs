//! The keys of the tags that mean something here, and those that a person may have meant so.

use std::fmt;

use crate::nearest::nearest;

/// Prefix of the keys under which registrations are held; written by us. See [`crate::held`].
pub const HELD: &str = "elb-registrar:held";

/// Registrations that the instance shall have whenever it runs; written by the operator.
pub const REGISTER: &str = "elb-registrar:register";

/// Leave this instance, load balancer (with its target groups) or target group alone; any value. Written by the operator.
pub const IGNORE: &str = "elb-registrar:ignore";

/// What people call an instance; the console shows it.
pub const NAME: &str = "Name";

/// Membership in an Auto Scaling group; written by Auto Scaling.
pub const AUTO_SCALING_GROUP: &str = "aws:autoscaling:groupName";

/// Whose a balancer with these tags is, where it belongs to a controller of Kubernetes or to an operator who said `ignore`.
pub fn owner<'k>(keys: impl IntoIterator<Item = &'k str>) -> Option<Owner> {
    keys.into_iter().find_map(|key| match key {
        IGNORE => Some(Owner::Ignored),
        // The AWS Load Balancer Controller's own mark, and that of the in-tree cloud provider.
        "elbv2.k8s.aws/cluster" => Some(Owner::Kubernetes),
        _ if key.starts_with("kubernetes.io/cluster/") => Some(Owner::Kubernetes),
        _ => None,
    })
}

/// A key that means nothing here, and looks as if a person thought it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odd {
    /// The key that was meant, if one is near.
    pub meant: Option<&'static str>,
}

/// Tells a key that is nearly one of ours: an operator who misspells `elb-registrar:ignore` believes that production is left alone.
pub fn odd(key: &str) -> Option<Odd> {
    const OURS: [&str; 3] = [REGISTER, IGNORE, HELD];
    let is_held = key.strip_prefix(HELD).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if is_held || OURS.contains(&key) {
        return None;
    }
    let lower = key.to_lowercase();
    // Keys under which something is held have a stamp after a point.
    let start = if lower.contains(HELD_NAME) { lower.split('.').next().unwrap_or_default() } else { &lower };
    let slips = |ours: &&str| strsim::osa_distance(start, ours);
    let near = OURS.into_iter().filter(|ours| slips(ours) <= SLIPS_MAX).min_by_key(slips);
    match near {
        Some(near) => Some(Odd { meant: Some(near) }),
        None => {
            let name = start.strip_prefix(PREFIX)?;
            let meant = nearest(name, OURS.iter().filter_map(|ours| ours.strip_prefix(PREFIX)));
            Some(Odd { meant: OURS.into_iter().find(|ours| ours.strip_prefix(PREFIX) == meant) })
        }
    }
}

/// What stands before the colon in each key of ours.
const PREFIX: &str = "elb-registrar:";

/// What stands after it in the keys under which something is held.
const HELD_NAME: &str = "held";

/// Characters of a whole key that may be wrong, missing or too many. Fewer, and two slips go unseen; more, and keys of another tool with
/// a name like this one's are named at every look.
const SLIPS_MAX: usize = 2;

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key of this tag means nothing to elb-registrar")?;
        match self.meant {
            Some(meant) => write!(f, ": did you mean `{meant}`?"),
            None => write!(f, ", which knows `{REGISTER}`, `{IGNORE}`, and `{HELD}.…` of its own"),
        }
    }
}

/// Somebody else who looks after a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The operator wants it left alone.
    Ignored,
    /// A controller registers and deregisters there by itself.
    Kubernetes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_nearly_ours_is_told_with_what_was_meant() {
        for (key, meant) in [
            ("elb-registrar:ignored", IGNORE),
            ("elb-registar:ignore", IGNORE),
            ("elb_registrar:ignore", IGNORE),
            ("elb-registrar/ignore", IGNORE),
            ("Elb-Registrar:Ignore", IGNORE),
            ("elb-registrar:ignore ", IGNORE),
            ("elb-registrar:registered", REGISTER),
            ("ELB-REGISTRAR:REGISTER", REGISTER),
            ("elb-registrar:hold", HELD),
            ("Elb-registrar:held.2026-01-05T08:00:00Z.0000beef", HELD),
        ] {
            assert_eq!(odd(key).map(|odd| odd.meant), Some(Some(meant)), "{key}");
        }
        let unknown = odd("elb-registrar:note").map(|odd| odd.to_string()).unwrap_or_default();
        assert!(unknown.contains("which knows `elb-registrar:register`"), "{unknown}");
    }

    #[test]
    fn keys_of_ours_and_of_others_are_not_odd() {
        for key in [
            REGISTER,
            IGNORE,
            HELD,
            "elb-registrar:held.2",
            "elb-registrar:held.x.2",
            "Name",
            "elb",
            "registrar",
            "ignore",
        ] {
            assert_eq!(odd(key), None, "{key}");
        }
    }
}
