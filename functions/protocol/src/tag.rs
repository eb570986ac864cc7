//! The keys of the tags that mean something here, and the keys by which a person may have meant them.

use std::fmt;

use crate::{controller::Controller, nearest::nearest};

/// Prefix of the keys under which the functions hold registrations. See [`crate::held`].
pub const HELD: &str = "elb-registrar:held";

/// Registrations that the instance should have whenever it runs. The operator writes it.
pub const REGISTER: &str = "elb-registrar:register";

/// Converge this instance as any other one, although a controller registers what runs on it. The operator writes it.
pub const MANAGE: &str = "elb-registrar:manage";

/// Leave this instance, load balancer (with its target groups) or target group alone, whatever the value is. The
/// operator writes it.
pub const IGNORE: &str = "elb-registrar:ignore";

/// The name of an instance for people. The console shows it.
pub const NAME: &str = "Name";

/// The name of the Auto Scaling group of which the instance is a member. Auto Scaling writes it.
pub const AUTO_SCALING_GROUP: &str = "aws:autoscaling:groupName";

/// Returns the owner of a balancer with these tags: a controller, or an operator who wrote `ignore`.
pub fn owner<'k>(keys: impl IntoIterator<Item = &'k str>) -> Option<Owner> {
    keys.into_iter().find_map(|key| match key {
        IGNORE => Some(Owner::Ignored),
        _ => Controller::of_balancer(key).map(Owner::Controller),
    })
}

/// A key that means nothing here, but looks as if a person thought that it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odd {
    /// The key that was meant, if one is near.
    pub meant: Option<&'static str>,
}

/// Recognises a key that is nearly one of ours. An operator who misspells `elb-registrar:ignore` believes that
/// production is left alone.
///
/// The words of the key decide, whatever stands between them. One is nearly `elb`, the next nearly `registrar`, and the
/// one after that nearly a name of ours. Any other name after exactly `elb-registrar` is odd as well.
pub fn odd(key: &str) -> Option<Odd> {
    let is_held = key.strip_prefix(HELD).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if is_held || [REGISTER, IGNORE, MANAGE].contains(&key) {
        return None;
    }
    let lower = key.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let slips = |word: &str, ours: &str| strsim::osa_distance(word, ours);
    for (place, word) in words.iter().enumerate() {
        let next = words.get(place + 1).copied().unwrap_or_default();
        let (slips, after) = match (is_nearly_elb(word), slips(word, "elbregistrar")) {
            (true, _) if slips(next, "registrar") <= SLIPS_MAX => {
                (slips(next, "registrar") + usize::from(*word != "elb"), place + 2)
            }
            (_, slips) if slips <= SLIPS_MAX => (slips, place + 1),
            _ => continue,
        };
        let meant = words.get(after).and_then(|name| name_meant(name));
        return (meant.is_some() || slips == 0).then_some(Odd { meant });
    }
    None
}

/// Returns whether a word is `elb` with at most one slip: a missing letter, one too many, or two in the wrong order. A
/// word with another letter is another service: `ecs`, `alb`, `eip`.
fn is_nearly_elb(word: &str) -> bool {
    let is_turned = word.len() == 3 && ["leb", "ebl"].contains(&word);
    word == "elb" || is_turned || (word.len() != 3 && strsim::osa_distance(word, "elb") == 1)
}

/// Returns the key that a word most likely means. Slips are seldom in the first letter, and `deregister` means the
/// opposite.
fn name_meant(word: &str) -> Option<&'static str> {
    let names = [(REGISTER, "register"), (IGNORE, "ignore"), (MANAGE, "manage"), (HELD, "held")];
    let has_its_first_letter = |name: &&str| name.chars().next() == word.chars().next();
    let near = nearest(word, names.map(|(_, name)| name).into_iter().filter(has_its_first_letter))?;
    names.into_iter().find(|(_, name)| *name == near).map(|(key, _)| key)
}

/// Characters of a word that may be wrong, missing or too many. Too small: two slips are not noticed. Too large: keys
/// of another tool with a similar name are reported at every look.
const SLIPS_MAX: usize = 2;

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key of this tag means nothing to elb-registrar")?;
        match self.meant {
            Some(meant) => write!(f, ": did you mean `{meant}`?"),
            None => write!(f, ", which knows `{REGISTER}`, `{IGNORE}`, `{MANAGE}`, and `{HELD}.…` of its own"),
        }
    }
}

/// An owner of a balancer other than the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The operator wants the balancer left alone.
    Ignored,
    /// A controller registers and deregisters there by itself.
    Controller(Controller),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            ("elb-registrar:managed", MANAGE),
            ("Elb-registrar:held.2026-01-05T08:00:00Z.0000beef", HELD),
        ] {
            assert_eq!(odd(key).map(|odd| odd.meant), Some(Some(meant)), "{key}");
        }
        let unknown = odd("elb-registrar:note").map(|odd| odd.to_string()).unwrap_or_default();
        assert!(unknown.contains("which knows `elb-registrar:register`"), "{unknown}");
    }

    proptest! {
        #[test]
        fn any_key_can_be_read(
            name in prop::sample::select(vec!["elb-registrar", "elb_registrar", "team-elb-registrar", "elb-registar"]),
            between in prop::sample::select(vec![":", "/", "_", ""]),
            word in any::<String>(),
        ) {
            let key = format!("{name}{between}{word}");
            prop_assert!(odd(&key).is_none_or(|odd| !odd.to_string().is_empty()));
        }
    }

    #[test]
    fn the_words_of_a_key_tell_and_not_what_stands_between_them() {
        for key in [
            "elb-registrar",
            "elb_registrar_ignored",
            "elb-registrar.io/ignore",
            "elb-registrator:ignored",
            "aws-elb-registrar:ignore",
            "elb-registrar.held.2026-01-04T08:00:00Z.0000beef",
        ] {
            assert!(odd(key).is_some(), "{key}");
        }
    }

    #[test]
    fn keys_of_tools_with_other_names_are_not_odd() {
        for key in [
            "ecs-registrar:ignore",
            "eip-registrar:ignore",
            "eks-registrar:register",
            "alb-registrar:held",
            "elb-registry:x",
        ] {
            assert_eq!(odd(key), None, "{key}");
        }
    }

    #[test]
    fn the_opposite_is_never_suggested() {
        for key in ["elb-registrar:deregister", "elb-registrar:unregister", "elb-registrar:no-register"] {
            assert_eq!(odd(key).map(|odd| odd.meant), Some(None), "{key}");
        }
    }

    #[test]
    fn keys_of_ours_and_of_others_are_not_odd() {
        for key in [
            REGISTER,
            IGNORE,
            MANAGE,
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
