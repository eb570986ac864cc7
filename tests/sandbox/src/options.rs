//! What the sandbox does where AWS leaves a choice, or where nobody verified what AWS does.

use std::time::Duration;

/// A time that AWS takes, drawn anew each time.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The shortest.
    pub least: Duration,
    /// The longest.
    pub most: Duration,
}

impl Span {
    /// From so many to so many milliseconds.
    pub const fn milliseconds(least: u64, most: u64) -> Self {
        Self { least: Duration::from_millis(least), most: Duration::from_millis(most) }
    }

    /// One of the times in the span.
    pub fn draw(self, dice: &mut fastrand::Rng) -> Duration {
        let milliseconds = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(dice.u64(milliseconds(self.least)..=milliseconds(self.most)))
    }
}

/// What RegisterTargets answers for an address that still drains. *Not verified* by anybody: tests run both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameAddressWhileDraining {
    /// An error.
    Refused,
    /// 200, and when the draining is over the target is gone all the same.
    AcceptedAndLost,
}

/// How fast a load balancer's routing follows what happens to its members. DescribeTargetHealth and DescribeInstanceHealth are
/// not concerned: they tell what the control plane knows, these say when requests stop. See [`crate::traffic`].
#[derive(Clone, Copy, Debug)]
pub struct RoutingLag {
    /// From the stop of an instance to the routing around it, where the balancer knows the instance by its id. *Not verified*:
    /// with `None` it learns of it by failing health checks only, as it always does of an address. Somebody saw 502 and 504 for
    /// one to two minutes after a stop (acantril/aws-sa-associate-saac03 issue 5), which speaks for `None`. The default is what
    /// leaves the functions least to gain, so that no figure flatters them.
    pub instance_stop: Option<Span>,
    /// How long an Application Load Balancer goes on sending new requests to a target after its deregistration. AWS says not
    /// at all; users and the maintainers of aws-load-balancer-controller reckon with 10 to 25 s (its issues 1064 and 1719).
    pub application_linger: Duration,
    /// The same for a Network Load Balancer. Users measured two minutes, whatever the deregistration delay
    /// (aws/containers-roadmap issue 470, aws-load-balancer-controller issues 2366 and 3270).
    pub network_linger: Duration,
    /// From a Network Load Balancer's finding a target unhealthy to the last new connection to it: "about 30-40 seconds"
    /// (aws/containers-roadmap issue 470).
    pub network_unhealthy: Span,
}

/// The choices.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides every draw.
    pub seed: u64,
    /// From request to work, and from work to answer, each.
    pub latency: Span,
    /// `pending` to `running`.
    pub starting: Span,
    /// `stopping` to `stopped`, and `shutting-down` to `terminated`.
    pub stopping: Span,
    /// From a state change to its event on the bus's targets.
    pub event_delay: Span,
    /// From registration (or start of the instance) to the first healthy answer.
    pub becoming_healthy: Span,
    /// From a change of what an Auto Scaling group has or wants to what it does about it.
    pub group_reaction: Span,
    /// From one state of a member of a group to the next, where nothing else is waited for.
    pub lifecycle_step: Span,
    /// From a launch or start by a group to the wait at its hooks. That the instance runs by then is *not verified*: the span
    /// reaches to both sides of `starting`.
    pub launch_to_wait: Span,
    /// From the moment that an instance is not running, or the end of the grace period, to the health check that finds it.
    pub health_check: Span,
    /// The replacement of an instance's root volume.
    pub root_volume_replacement: Span,
    /// Whether DescribeAutoScalingGroups lists the members of the warm pool among `Instances`. *Not verified*: kops reads
    /// DescribeWarmPool besides (`awsBuildCloudInstanceGroup`), so they seem to be left out; DescribeAutoScalingInstances
    /// has them (kops pull request 11216).
    pub groups_show_warm_pool: bool,
    /// Whether terminate hooks run for a launch that was abandoned or failed. *Not verified*.
    pub terminate_hooks_after_failed_launch: bool,
    /// How long after its end a terminated instance is still described (without addresses and tags).
    pub terminated_visible: Duration,
    /// See [`RoutingLag`].
    pub routing_lag: RoutingLag,
    /// See [`SameAddressWhileDraining`].
    pub same_address_while_draining: SameAddressWhileDraining,
    /// The most elements on a page, where smaller than AWS's own limit: small worlds have pages, too.
    pub page_size: Option<usize>,
    /// Whether the order of described elements varies from call to call.
    pub shuffle: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0x5eed,
            latency: Span::milliseconds(5, 40),
            starting: Span::milliseconds(10_000, 20_000),
            stopping: Span::milliseconds(20_000, 40_000),
            event_delay: Span::milliseconds(200, 1_500),
            becoming_healthy: Span::milliseconds(10_000, 25_000),
            group_reaction: Span::milliseconds(1_000, 10_000),
            lifecycle_step: Span::milliseconds(500, 3_000),
            launch_to_wait: Span::milliseconds(3_000, 30_000),
            health_check: Span::milliseconds(10_000, 60_000),
            root_volume_replacement: Span::milliseconds(30_000, 90_000),
            groups_show_warm_pool: false,
            terminate_hooks_after_failed_launch: false,
            terminated_visible: Duration::from_secs(3_600),
            routing_lag: RoutingLag::default(),
            same_address_while_draining: SameAddressWhileDraining::Refused,
            page_size: None,
            shuffle: true,
        }
    }
}

impl Default for RoutingLag {
    fn default() -> Self {
        Self {
            instance_stop: Some(Span::milliseconds(2_000, 6_000)),
            application_linger: Duration::ZERO,
            network_linger: Duration::from_secs(120),
            network_unhealthy: Span::milliseconds(30_000, 40_000),
        }
    }
}
