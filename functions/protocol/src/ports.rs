//! Ranges of ports: registrations that differ in nothing but their ports have one text, such as
//! `tg:api/0123456789abcdef:8080-8089=eth0`. A service with a hundred ports would fill all tags of its instance otherwise.

use std::collections::BTreeSet;

use crate::{
    malformed::Malformed,
    registration::{Registration, TargetName, port_of},
};

/// Ports that one text can have at most. A tag that a person makes up is bounded by it, too.
const PORTS_OF_A_TEXT_MAX: usize = 32;

/// Ports that are written as a range at least. A version that does not know ranges names such a text for a person.
const PORTS_OF_A_RANGE_MIN: usize = 3;

/// Returns the texts of some registrations.
pub(crate) fn texts_of(registrations: &BTreeSet<Registration>) -> Vec<String> {
    let mut sorted: Vec<&Registration> = registrations.iter().collect();
    sorted.sort_by_key(|one| {
        (&one.balancer, &one.target.address, &one.target.zone, &one.target.quic_id, one.target.port)
    });
    let mut texts = Vec::new();
    for run in sorted.chunk_by(|one, next| follows(one, next)) {
        for part in run.chunks(PORTS_OF_A_TEXT_MAX) {
            match part {
                [first, .., last] if part.len() >= PORTS_OF_A_RANGE_MIN => texts.push(range(first, last)),
                _ => texts.extend(part.iter().map(ToString::to_string)),
            }
        }
    }
    texts
}

/// Reads a text, which has one registration, or one for each port of a range.
///
/// # Errors
/// If it is no registration, or its range is none.
pub(crate) fn read(text: &str) -> Result<Vec<Registration>, Malformed> {
    let ports = match text.parse() {
        Ok(one) => return Ok(vec![one]),
        Err(Malformed::Port(ports)) if ports.contains('-') => ports,
        Err(why) => return Err(why),
    };
    let wrong = || Malformed::Ports(ports.clone(), PORTS_OF_A_TEXT_MAX);
    let (first, last) = ports.split_once('-').ok_or_else(wrong)?;
    let (first, last) = (port_of(first).map_err(|_| wrong())?, port_of(last).map_err(|_| wrong())?);
    if first >= last || usize::from(last - first) >= PORTS_OF_A_TEXT_MAX {
        return Err(wrong());
    }
    // The last place: a group's name can look the same.
    let (head, tail) = text.rsplit_once(&format!(":{ports}")).ok_or_else(wrong)?;
    let one: Registration = format!("{head}:{first}{tail}").parse()?;
    let on = |port| Registration { target: TargetName { port: Some(port), ..one.target.clone() }, ..one.clone() };
    Ok((first..=last).map(on).collect())
}

/// Returns whether a registration is on the port after another one's, and the same otherwise.
fn follows(one: &Registration, next: &Registration) -> bool {
    let (Some(port), Some(next_port)) = (one.target.port, next.target.port) else { return false };
    let is_alike =
        one.balancer == next.balancer && TargetName { port: next.target.port, ..one.target.clone() } == next.target;
    port.checked_add(1) == Some(next_port) && is_alike
}

fn range(first: &Registration, last: &Registration) -> String {
    let (from, to) = (first.target.port.unwrap_or_default(), last.target.port.unwrap_or_default());
    let rest = TargetName { port: None, ..first.target.clone() };
    format!("{}:{from}-{to}{rest}", first.balancer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registration::tests::any_registration;

    fn on_ports(of: &Registration, ports: &BTreeSet<u16>) -> BTreeSet<Registration> {
        let on = |port: &u16| Registration {
            target: TargetName { port: of.target.port.map(|_| *port), ..of.target.clone() },
            ..of.clone()
        };
        ports.iter().map(on).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_with_ranges_is_read_back(
            one in any_registration(),
            other in any_registration(),
            ports in proptest::collection::btree_set(prop_oneof![1..=60_u16, 65_500..=65_535_u16], 1..80),
        ) {
            let mut registrations = on_ports(&one, &ports);
            registrations.extend(on_ports(&other, &ports));
            let texts = texts_of(&registrations);
            let read: BTreeSet<Registration> = texts.iter().flat_map(|text| read(text).unwrap()).collect();
            prop_assert_eq!(read, registrations);
        }

        #[test]
        fn any_text_with_a_hyphen_is_read_or_refused_without_a_panic(text in "tg:[a-z0-9-]{1,9}/[0-9a-f]{16}:[0-9:-]{0,12}(=eth0)?") {
            if let Ok(read) = read(&text) {
                prop_assert!(read.len() <= PORTS_OF_A_TEXT_MAX);
            }
        }
    }

    #[test]
    fn three_ports_in_a_row_are_a_range_and_two_are_not() {
        let group = "tg:80-90/0123456789abcdef";
        for (ports, texts) in [
            (vec![80, 81], vec!["80=eth0", "81=eth0"]),
            (vec![80, 81, 82, 84], vec!["80-82=eth0", "84=eth0"]),
            ((1..=33).collect(), vec!["1-32=eth0", "33=eth0"]),
        ] {
            let registrations: BTreeSet<Registration> =
                ports.iter().map(|port| format!("{group}:{port}=eth0").parse().unwrap()).collect();
            let texts: Vec<String> = texts.iter().map(|text| format!("{group}:{text}")).collect();
            assert_eq!(texts_of(&registrations), texts);
        }
    }

    #[test]
    fn a_range_that_is_none_is_refused() {
        for ports in ["80-", "-80", "80-80", "81-80", "1-33", "1-65535", "80-081", "80-81-82"] {
            let text = format!("tg:api/0123456789abcdef:{ports}");
            assert!(matches!(read(&text), Err(Malformed::Ports(..))), "{text}: {:?}", read(&text));
        }
        assert!(matches!(read("clb:a:80-90"), Err(Malformed::Name(_))), "{:?}", read("clb:a:80-90"));
    }
}
