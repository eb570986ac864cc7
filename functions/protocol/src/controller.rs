//! Controllers: programs that register and deregister targets by themselves. What a controller registers, it gives back:
//! Amazon ECS on another port or interface, Kubernetes for another pod.
//!
//! They are told by the tags of the balancer, by those of the instance, and by the interfaces of the instance.

use std::fmt;

/// A program that looks after targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// A controller of Kubernetes.
    Kubernetes,
    /// Amazon ECS.
    Ecs,
    /// Another service of AWS that manages instances of the account.
    Service,
}

/// Keys that a controller puts on balancers and on instances alike.
///
/// - `kubernetes.io/cluster/NAME`, and `KubernetesCluster` before it:
///   <https://github.com/kubernetes/cloud-provider-aws/blob/master/pkg/providers/v1/tags.go>
/// - `eks:eks-cluster-name`: EKS Auto Mode, and Karpenter since version 1
///   (<https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonEKSLoadBalancingPolicy.html>,
///   <https://karpenter.sh/docs/upgrading/upgrade-guide/>).
/// - `AmazonECSManaged`: what a capacity provider of ECS looks after
///   (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/asg-capacity-providers.html>), and what ECS creates.
const OF_BOTH: [(&str, Controller); 4] = [
    ("kubernetes.io/cluster/*", Controller::Kubernetes),
    ("KubernetesCluster", Controller::Kubernetes),
    ("eks:eks-cluster-name", Controller::Kubernetes),
    ("AmazonECSManaged", Controller::Ecs),
];

/// Keys on balancers only.
///
/// - The AWS Load Balancer Controller:
///   <https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/ingress/annotations/#resource-tags>
/// - EKS Auto Mode: <https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonEKSLoadBalancingPolicy.html>
/// - `kubernetes.io/service-name`: the cloud provider, on its Classic load balancers.
/// - `services.k8s.aws/…`: AWS Controllers for Kubernetes, which deregister from a target group what its resource does not list:
///   <https://aws-controllers-k8s.github.io/community/docs/user-docs/ack-tags/>. The capability of EKS writes `eks:…`.
const OF_BALANCERS: [(&str, Controller); 10] = [
    ("services.k8s.aws/*", Controller::Kubernetes),
    ("eks:eks-capability-arn", Controller::Kubernetes),
    ("eks:kubernetes-*", Controller::Kubernetes),
    ("elbv2.k8s.aws/*", Controller::Kubernetes),
    ("ingress.k8s.aws/*", Controller::Kubernetes),
    ("service.k8s.aws/*", Controller::Kubernetes),
    ("gateway.k8s.aws*", Controller::Kubernetes),
    ("ingress.eks.amazonaws.com/*", Controller::Kubernetes),
    ("service.eks.amazonaws.com/*", Controller::Kubernetes),
    ("kubernetes.io/service-name", Controller::Kubernetes),
];

/// Keys on instances only.
///
/// - Managed node groups: <https://docs.aws.amazon.com/eks/latest/userguide/eks-using-tags.html> (`aws:eks:...`), and
///   the group's own `eks:cluster-name` and `eks:nodegroup-name`.
/// - Karpenter: <https://karpenter.sh/docs/concepts/nodeclasses/#spectags>. Its `karpenter.sh/discovery` is no sign of a
///   node: operators put it on whatever is to be found.
/// - `aws:ecs:...`: only AWS can write these (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html>).
const OF_INSTANCES: [(&str, Controller); 8] = [
    ("aws:eks:*", Controller::Kubernetes),
    ("eks:cluster-name", Controller::Kubernetes),
    ("eks:nodegroup-name", Controller::Kubernetes),
    ("karpenter.sh/nodepool", Controller::Kubernetes),
    ("karpenter.sh/nodeclaim", Controller::Kubernetes),
    ("karpenter.sh/provisioner-name", Controller::Kubernetes),
    ("karpenter.sh/managed-by", Controller::Kubernetes),
    ("aws:ecs:*", Controller::Ecs),
];

impl Controller {
    /// Returns the controller that puts a tag with this key on a balancer.
    pub fn of_balancer(key: &str) -> Option<Self> {
        by_key(key, OF_BOTH.iter().chain(&OF_BALANCERS))
    }

    /// Returns the controller that puts a tag with this key on an instance.
    pub fn of_instance(key: &str) -> Option<Self> {
        by_key(key, OF_BOTH.iter().chain(&OF_INSTANCES))
    }

    /// Returns the controller that manages an instance with its interfaces, by the service's principal
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_OperatorResponse.html>).
    pub fn of_operator(principal: &str) -> Self {
        match principal.split('.').next() {
            Some("eks") => Self::Kubernetes,
            Some("ecs") => Self::Ecs,
            _ => Self::Service,
        }
    }

    /// Returns the controller that made a network interface, by the interface's description and type. The description
    /// of an instance has neither the tags of its interfaces nor who requested them.
    ///
    /// - The VPC CNI writes `aws-K8S-INSTANCE` (<https://github.com/aws/amazon-vpc-cni-k8s/pull/2856>), and its trunks
    ///   and branches are called likewise.
    /// - ECS writes the ARN of the attachment to a task of the network mode `awsvpc`, `arn:aws:ecs:...:attachment/...`
    ///   (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-networking-awsvpc.html>). With trunking, the
    ///   instance has one interface of the type `trunk` for them
    ///   (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-instance-eni.html>).
    pub fn of_interface(description: &str, interface_type: &str) -> Option<Self> {
        let is_of_task = description.starts_with("arn:aws") && description.contains(":ecs:");
        if description.to_ascii_lowercase().starts_with("aws-k8s-") {
            Some(Self::Kubernetes)
        } else if (is_of_task && description.contains(":attachment/")) || interface_type == "trunk" {
            Some(Self::Ecs)
        } else {
            None
        }
    }
}

/// Looks a key up. A known key may end in `*`, for any rest.
fn by_key<'t>(key: &str, mut known: impl Iterator<Item = &'t (&'t str, Controller)>) -> Option<Controller> {
    let is_it = |known: &str| known.strip_suffix('*').map_or(key == known, |prefix| key.starts_with(prefix));
    known.find(|(known, _)| is_it(known)).map(|(_, controller)| *controller)
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kubernetes => "a Kubernetes controller",
            Self::Ecs => "Amazon ECS",
            Self::Service => "a service of AWS",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_the_controller_of_what_bears_it() {
        let (kubernetes, ecs) = (Some(Controller::Kubernetes), Some(Controller::Ecs));
        for (key, of_balancer, of_instance) in [
            ("kubernetes.io/cluster/prod", kubernetes, kubernetes),
            ("AmazonECSManaged", ecs, ecs),
            ("elbv2.k8s.aws/cluster", kubernetes, None),
            ("gateway.k8s.aws.nlb/stack", kubernetes, None),
            ("aws:eks:cluster-name", None, kubernetes),
            ("karpenter.sh/nodepool", None, kubernetes),
            // Operators put these on much that is no node.
            ("karpenter.sh/discovery", None, None),
            ("kubernetes.io/role/elb", None, None),
            ("amazonecsmanaged", None, None),
            ("Name", None, None),
        ] {
            assert_eq!(
                (Controller::of_balancer(key), Controller::of_instance(key)),
                (of_balancer, of_instance),
                "{key}"
            );
        }
    }

    #[test]
    fn a_principal_tells_the_service_that_manages_an_instance() {
        for (principal, controller) in [
            ("eks.amazonaws.com", Controller::Kubernetes),
            ("ecs.amazonaws.com", Controller::Ecs),
            ("lambda.amazonaws.com", Controller::Service),
            ("", Controller::Service),
        ] {
            assert_eq!(Controller::of_operator(principal), controller, "{principal}");
        }
    }

    #[test]
    fn a_description_tells_the_controller_that_made_an_interface() {
        let task = "arn:aws-us-gov:ecs:us-gov-west-1:123456789012:attachment/3a1b";
        for (description, interface_type, controller) in [
            ("aws-K8S-i-0123456789abcdef0", "interface", Some(Controller::Kubernetes)),
            ("aws-k8s-trunk-eni", "trunk", Some(Controller::Kubernetes)),
            (task, "interface", Some(Controller::Ecs)),
            ("", "trunk", Some(Controller::Ecs)),
            ("arn:aws:ecs:us-east-1:123456789012:cluster/prod", "interface", None),
            ("Primary network interface", "interface", None),
            ("", "efa", None),
        ] {
            assert_eq!(Controller::of_interface(description, interface_type), controller, "{description}");
        }
    }
}
