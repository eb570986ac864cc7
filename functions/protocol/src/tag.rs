//! The keys of the tags that mean something here.

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

/// Somebody else who looks after a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The operator wants it left alone.
    Ignored,
    /// A controller registers and deregisters there by itself.
    Kubernetes,
}
