//! Ids as types, so that two of them cannot change places in a signature. A call gets an id as AWS writes it, and a
//! person as a plain text: the name of a group may have any character.

use std::{borrow::Borrow, fmt};

use serde::{Serialize, Serializer};

use crate::plain::Plain;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Returns the id as AWS writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Plain::of(&self.0).fmt(f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

id! {
    /// `i-...`
    InstanceId
}
id! {
    /// `vpc-...`
    VpcId
}
id! {
    /// `eni-...`
    InterfaceId
}
id! {
    /// The name of a Classic load balancer, which is its id.
    LoadBalancerName
}
id! {
    /// The name of an Auto Scaling group, which is its id within account and Region.
    AutoScalingGroupName
}
id! {
    /// The name of a lifecycle hook, which is its id within its group.
    LifecycleHookName
}

impl InstanceId {
    /// Returns whether the text has the form of an instance id: `i-` and 8 or 17 hexadecimal digits.
    pub fn is_well_formed(&self) -> bool {
        has_form(&self.0, "i-")
    }
}

impl InterfaceId {
    /// Returns whether the text has the form of an interface's id: `eni-` and 8 or 17 hexadecimal digits.
    pub fn is_well_formed(&self) -> bool {
        has_form(&self.0, "eni-")
    }
}

fn has_form(id: &str, prefix: &str) -> bool {
    let Some(digits) = id.strip_prefix(prefix) else { return false };
    matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| b.is_ascii_hexdigit())
}
