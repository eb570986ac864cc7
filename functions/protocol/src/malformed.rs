//! What is wrong with the text of a registration.

use thiserror::Error;

use crate::{balancer_kind::BalancerKind, plain::Plain};

/// What is wrong with the text of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The text begins with no kind of balancer.
    #[error("it begins with neither {}", BalancerKind::named(" nor "))]
    UnknownKind,
    /// The text is an ARN, or has its kind in capital letters.
    #[error("did you mean `{}`?", Plain::of(.0))]
    Meant(String),
    /// One text has more than one registration.
    #[error("several registrations are separated by a space, and by nothing else")]
    NoSpace,
    /// AWS would not accept the name.
    #[error("`{}` is not a name of up to 32 letters, digits and hyphens, with no hyphen at its ends", Plain::of(.0))]
    Name(String),
    /// The group's id is missing. A held registration names the very group.
    #[error("the target group's id is missing: write `tg:NAME/ID:PORT`")]
    GroupWithoutId,
    /// The id is not the last part of an ARN.
    #[error("`{}` is not the id of a target group: the last 16 characters of its ARN, digits and letters from a to f", Plain::of(.0))]
    GroupId(String),
    /// The port is missing. A held registration names the port.
    #[error("the port is missing: write `tg:NAME/ID:PORT`")]
    NoPort,
    /// The port is not a number from 1 to 65535.
    #[error("`{}` is not a port from 1 to 65535", Plain::of(.0))]
    Port(String),
    /// The range of ports is none, or has too many.
    #[error("`{0}` is not a range of 2 to {1} ports")]
    Ports(String, usize),
    /// The address is neither an interface nor a literal address.
    #[error("`{}` is neither `eth0`, `eth1`, ... nor an IP address", Plain::of(.0))]
    Address(String),
    /// The zone is not one that AWS could have.
    #[error("`{}` is neither `all` nor an Availability Zone", Plain::of(.0))]
    Zone(String),
    /// The QUIC server id does not have the documented form.
    #[error("`{}` is not `0x` and 16 lowercase hexadecimal digits", Plain::of(.0))]
    QuicId(String),
}

/// Splits the text at the first mark, and drops the mark.
pub(crate) fn split_off(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(head, tail)| (head, Some(tail)))
}
