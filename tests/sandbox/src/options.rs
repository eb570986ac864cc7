//! The sandbox's choices where AWS leaves one, or where AWS's behaviour is not verified.

use std::time::Duration;

/// A time that AWS takes, drawn for each use.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The shortest.
    pub least: Duration,
    /// The longest.
    pub most: Duration,
}

impl Span {
    /// Returns a span between two numbers of milliseconds.
    pub const fn milliseconds(least: u64, most: u64) -> Self {
        Self { least: Duration::from_millis(least), most: Duration::from_millis(most) }
    }

    /// Draws one of the times in the span.
    pub fn draw(self, dice: &mut fastrand::Rng) -> Duration {
        let milliseconds = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(dice.u64(milliseconds(self.least)..=milliseconds(self.most)))
    }
}

/// RegisterTargets' answer for an address that still drains. *Not verified*: tests run both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameAddressWhileDraining {
    /// An error.
    Refused,
    /// 200, and when the draining is over the target is missing all the same.
    AcceptedAndLost,
}

/// How fast a load balancer's routing follows its members. DescribeTargetHealth and DescribeInstanceHealth do not depend on it:
/// they show the control plane, and these times are about requests. See [`crate::traffic`].
#[derive(Clone, Copy, Debug)]
pub struct RoutingLag {
    /// From the stop of an instance to the routing around it, if the balancer knows the instance by its id. *Not verified*: with
    /// `None` it learns of it only by failing health checks, as it always does of an address. A user saw 502 and 504 for one to
    /// two minutes after a stop (acantril/aws-sa-associate-saac03 issue 5), which speaks for `None`. The default leaves the
    /// functions least to gain, so that no figure flatters them.
    pub instance_stop: Option<Span>,
    /// How long an Application Load Balancer goes on sending new requests to a target after its deregistration. AWS says that it
    /// does not; users and the maintainers of aws-load-balancer-controller reckon with 10 to 25 s (its issues 1064 and 1719).
    pub application_linger: Duration,
    /// The same for a Network Load Balancer. Users measured two minutes, whatever the deregistration delay
    /// (aws/containers-roadmap issue 470, aws-load-balancer-controller issues 2366 and 3270).
    pub network_linger: Duration,
    /// From the time when a Network Load Balancer finds a target unhealthy to the last new connection to it: "about 30-40
    /// seconds" (aws/containers-roadmap issue 470).
    pub network_unhealthy: Span,
}

/// What descriptions say of resources that a service of AWS manages in the account: nodes of EKS Auto Mode, managed instances of ECS
/// and Lambda, and their interfaces (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyManagedResourceVisibility.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagedResources {
    /// They are left out, unless the caller asks for them with `IncludeManagedResources`. "Hidden resources remain fully operational".
    Hidden,
    /// They are shown.
    Visible,
    /// They are left out, and EC2 does not know the parameter: an older API of another partition.
    HiddenForAll,
}

/// How an answer in XML has a character that XML 1.0 does not have, as EC2 takes it in a tag. *Not verified*: tests run all
/// ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForbiddenCharacters {
    /// As it is. The SDK's parser fails at it (`NonXmlChar` of xmlparser 0.13.6), and the whole answer is lost.
    AsTheyAre,
    /// As a reference, `&#x1;`, which XML 1.0 does not have either. S3 writes such ones (API reference, ListObjectsV2,
    /// `EncodingType`).
    AsReferences,
}

/// Why AWS takes Spot Instances back, which decides what their requests say meanwhile and afterwards (EC2 guide, "State changes for
/// a Spot request").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpotReclaim {
    /// It needs the capacity. During the two minutes of a notice of termination, the request is `closed` with
    /// `instance-terminated-no-capacity`, and the instance still runs.
    Capacity,
    /// The price is above the request's. Meanwhile the request is `active` with `marked-for-termination`.
    Price,
}

/// The detail type of the warning for an interruptible Capacity Reservation. The guide's page
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitor-interruptible-cr.html>) has had both, so it is *not verified*: tests
/// run both ways. The short one is that of the page's Markdown, of Capacity Blocks
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/capacity-blocks-monitor.html>), and of the rules that Karpenter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservationWarning {
    /// `EC2 Interruptible Capacity Reservation Instance Interruption Warning`.
    Long,
    /// `EC2 Capacity Reservation Instance Interruption Warning`.
    Short,
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
    /// How long an instance answers no request for a reboot: "in most cases, it takes only a few minutes" (EC2 guide, "Reboot your
    /// Amazon EC2 instance").
    pub rebooting: Span,
    /// `stopping` to `stopped`, and `shutting-down` to `terminated`.
    pub stopping: Span,
    /// From a state change to its event on the bus's targets.
    pub event_delay: Span,
    /// From registration (or start of the instance) to the first healthy answer.
    pub becoming_healthy: Span,
    /// From a change of an Auto Scaling group's actual or wanted members to the group's reaction.
    pub group_reaction: Span,
    /// From one state of a member of a group to the next, unless it waits for something else.
    pub lifecycle_step: Span,
    /// From a launch or start by a group to the wait at its hooks. It is *not verified* that the instance runs by then: the span
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
    /// See [`ManagedResources`].
    pub managed_resources: ManagedResources,
    /// See [`SpotReclaim`].
    pub spot_reclaim: SpotReclaim,
    /// See [`ReservationWarning`].
    pub reservation_warning: ReservationWarning,
    /// See [`RoutingLag`].
    pub routing_lag: RoutingLag,
    /// See [`SameAddressWhileDraining`].
    pub same_address_while_draining: SameAddressWhileDraining,
    /// See [`ForbiddenCharacters`].
    pub forbidden_characters: ForbiddenCharacters,
    /// The most elements on a page, if smaller than AWS's own limit: small worlds have pages, too.
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
            rebooting: Span::milliseconds(30_000, 120_000),
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
            managed_resources: ManagedResources::Hidden,
            spot_reclaim: SpotReclaim::Capacity,
            reservation_warning: ReservationWarning::Short,
            routing_lag: RoutingLag::default(),
            same_address_while_draining: SameAddressWhileDraining::Refused,
            forbidden_characters: ForbiddenCharacters::AsTheyAre,
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
