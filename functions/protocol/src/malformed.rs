//! What is wrong with the text of a registration.

use thiserror::Error;

use crate::balancer_kind::BalancerKind;

/// What is wrong with the text of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// No kind of balancer.
    #[error("it begins with neither {}", BalancerKind::named(" nor "))]
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

/// Splits at the first mark, which is dropped.
pub(crate) fn split_off(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(head, tail)| (head, Some(tail)))
}
