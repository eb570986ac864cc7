//! Every duration of the protocol, and the one relation between them that the promises need.
//!
//! What belongs to a mechanism alone stays with it: the rates of calls, and the limits of a queue.

use std::time::Duration;

use chrono::TimeDelta;

// Calls, and what they entitle to.

/// Opening a connection, with its handshake. Within a Region that takes milliseconds. Too small: a name server that has to ask first fails
/// the call. Too large: a network that lets nothing through takes the whole attempt.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// One attempt. The slowest calls here (a page of 400 target groups) take a second or two.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// One call with all its attempts: part of what [`SETTLE`] is made of.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a reading entitles to deregister, or to register: whoever reads again after it may find the instance running, or stopped.
///
/// Small, and a long scan reads twice; large, and [`SETTLE`] grows with it.
pub const READING_GOOD_FOR: Duration = Duration::from_secs(45);

/// How old a reading is renewed before something begins that it has to entitle to.
///
/// Small, and more is read than is needed; large, and the reading expires in the midst of it.
pub const RENEWED_AFTER: Duration = Duration::from_secs(15);

/// How young a tag is that nobody can be about to delete before whoever relies on it has deregistered: what is held is
/// forgotten [`SETTLE`] after it was taken at the earliest, and who has read now deregisters within [`READING_GOOD_FOR`] and
/// one operation of the SDK ([`OPERATION_TIMEOUT`]).
///
/// Larger, and a deregistration can meet a forgetting that began before it. Smaller, and what failed is held anew with each
/// attempt.
pub const HELD_IS_FRESH_FOR: TimeDelta = TimeDelta::seconds(40);

/// How long after a holding no function can still be about to take what relies on it: the time that a tag counts as fresh, that a
/// reading is good for, and the longest operation of the SDK ([`OPERATION_TIMEOUT`]). Only then "it is in place" cannot be undone
/// any more by a late deregistration that wrote no tag of its own, and what is held may be forgotten.
///
/// Too small loses registrations. Too large keeps tags that say nothing new, and takes what a person removed meanwhile for
/// something to repair.
pub const SETTLE: TimeDelta = TimeDelta::seconds(120);

// The model of the protocol (tests/model) loses a registration where this sum is a moment longer than what settles.
const _: () = assert!(
    HELD_IS_FRESH_FOR.num_seconds().unsigned_abs() + READING_GOOD_FOR.as_secs() + OPERATION_TIMEOUT.as_secs()
        < SETTLE.num_seconds().unsigned_abs()
);

/// How much younger a tag can be than the reading that a sweep counts from: an invocation lasts 15 minutes at the most. Smaller, and a tag
/// that somebody relies on is forgotten at once; larger, and a key that a person made up is kept for longer.
pub const YOUNGER_THAN_A_SWEEP: TimeDelta = TimeDelta::hours(1);

// Descriptions that lag.

/// How long EC2's descriptions may lag behind what has happened: docs/design.md, "The simulation".
pub const SHOWS_WITHIN: Duration = Duration::from_secs(15);

/// How long after an event a description may still be older than it. Reports speak of seconds (boto3 issue 4386). Too
/// small, and a stale description is believed, which costs a needless round for a running instance; too large, and a
/// restart that was overtaken by the next stop waits for nothing.
pub const DESCRIPTION_LAG_MAX: TimeDelta = TimeDelta::seconds(60);

/// How soon a stale description is looked at again.
pub const DESCRIPTION_RETRY: Duration = Duration::from_secs(5);

/// How long after a change its event can still be under way or at work: EventBridge's seconds, the queue's window, one run of
/// `instance-state` (two minutes at most), and one repetition.
pub const EVENT_UNDER_WAY: TimeDelta = TimeDelta::seconds(300);

// Giving back, and when to look again.

/// As soon as the queue can: what was read is already known to be old.
pub const AT_ONCE: Duration = Duration::from_secs(1);

/// How long after a stop its event is served at the earliest: EventBridge delivers it, and the queue's mapping gathers for two seconds
/// (template.yaml). Whoever has registered sooner after its reading was before that event's scan, which then finds what was
/// registered.
pub const EVENT_TAKES_AT_LEAST: Duration = Duration::from_secs(1);

/// How soon after a registration somebody sees whether it is there: registering an address too early may be answered with
/// success and undone when the draining ends (*not verified*, AWS-FACTS).
pub const CHECK_AFTER: Duration = Duration::from_secs(15);

/// How long after its start an instance is surely looked at for the first time by this event or another: what it holds, nobody
/// has given back yet. Smaller, and a busy function looks in vain; larger, and a second look registers what is registered.
pub const FIRST_LOOK_WITHIN: TimeDelta = TimeDelta::seconds(60);

/// The longest deregistration delay that a target group can have, 3,600 s, and a minute for the deregistering itself.
pub const DRAINING_MAX: TimeDelta = TimeDelta::seconds(3_660);

/// How often a draining address is looked at whose end is not known.
pub const DRAINING_RETRY: Duration = Duration::from_secs(20);

// Storms.

/// How far apart two instances do the same that do it together. EC2 tells the time of a stop in whole seconds. Shorter, and a schedule's stops
/// are worked on one by one; longer, and a lone stop waits for a sweep.
pub const TOGETHER_WITHIN: TimeDelta = TimeDelta::seconds(5);

/// How soon after its time an event is served that nothing has held up. An older one says little of what others do at the present.
pub const EVENT_IS_FRESH_FOR: TimeDelta = TimeDelta::seconds(10);

/// Of how many seconds the stops tell whether a storm goes on. Longer, and all wait longer for the last; shorter, and EC2's whole seconds decide.
pub const STORM_GROWS_WITHIN: TimeDelta = TimeDelta::seconds(3);

/// How long a storm's first instances wait at the most while others join it: a schedule stops a fleet one by one. Longer, and the first
/// ones are served dead for longer; shorter, and balancers are written to once more.
pub const STORM_GATHERED_AT_MOST: TimeDelta = TimeDelta::seconds(90);

/// How long a process sends further first events of a storm on, without looking, that it has seen itself. Longer, and an instance that stops alone
/// after a storm waits for its sweep; shorter, and EC2 is asked more often.
pub const STORM_IS_ON_FOR: Duration = Duration::from_secs(10);

/// The same for second events, `stopped` after `stopping`: nobody waits for them, and EC2 takes half a minute until then. Longer, and the second
/// event of a lone stop, whose first one was lost, waits for a sweep more often; shorter, and each of a storm's second events is scanned for.
pub const STORM_IS_KNOWN_FOR: Duration = Duration::from_secs(180);

/// How long after its `LaunchTime` an event says that an instance runs, if it tells of the same start: EC2 takes 10 to 20 s. Shorter, and more
/// is looked at twice; longer, and the event of the next start is taken for one of this start.
pub const RUNS_WITHIN: TimeDelta = TimeDelta::seconds(20);

/// How long after its stop began an instance has stopped, or ended, if it is the same stop. Shorter, and more is looked at twice; longer, and a
/// second stop of which the first event was lost waits for the scheduled sweep.
pub const STOPPED_WITHIN: TimeDelta = TimeDelta::seconds(180);

/// How long a sweep of a storm waits before it reads, for the next instances that do the same. Shorter, and a fleet that stops within a minute
/// takes more sweeps; longer, and the first instances of a storm are served dead for longer.
pub const ORDERS_GATHERED_FOR: Duration = Duration::from_secs(1);

/// How long an order stays in flight without a sign of life. An invocation gives one twice as often. Shorter, and a process that stands still is
/// overtaken; longer, and an order whose process died waits for longer.
pub const ORDER_IS_TAKEN_FOR: Duration = Duration::from_secs(120);

/// How long a stop or start is remembered that was seen through. EC2 takes a minute or two from `stopping` to `stopped`, and some minutes
/// with a large memory to hibernate. Longer, and what is registered with an instance while it is stopped waits for the sweep if its
/// event is sent once more.
pub const SERVED_REMEMBERED_FOR: Duration = Duration::from_secs(600);

// Lifecycle actions.

/// The shortest wait between two looks. Shorter, and the first minute of every action costs a dozen invocations.
pub const LOOK_MIN: Duration = Duration::from_secs(5);

/// The longest wait within the first hour: what was ready is noticed that much later at most.
pub const LOOK_MAX: Duration = Duration::from_secs(90);

/// The longest wait of all, in actions that last for hours.
pub const LONG_LOOK_MAX: Duration = Duration::from_secs(600);

/// How long after the end of a draining that is known to the second it is looked at: the balancer's clock is not ours.
pub const DRAINED_SLACK: Duration = Duration::from_secs(2);

/// How long before the hook's global limit an action is completed whatever is left to do: heartbeats cannot extend it, and
/// what Auto Scaling ends by itself it ends by the hook's default result.
pub const LAST_MOMENT: TimeDelta = TimeDelta::seconds(60);

/// The documented default of `HeartbeatTimeout`.
pub const HEARTBEAT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3_600);

/// "The maximum is 172800 seconds (48 hours) or 100 times `HeartbeatTimeout`, whichever is smaller" (API reference,
/// `GlobalTimeout`).
pub const GLOBAL_TIMEOUT_MAX: Duration = Duration::from_secs(172_800);

/// A Network Load Balancer goes on opening new connections to a deregistered target for about two minutes, whatever the
/// group's delay says (measured by several users: aws/containers-roadmap issue 470, aws-load-balancer-controller issues 2366
/// and 3270; AWS says "a few minutes").
pub const NETWORK_DRAIN_DEFAULT: Duration = Duration::from_secs(120);

/// How soon a look is repeated that failed over the action itself. Hooks wait 30 s at the least without a heartbeat.
pub const ACTION_FAILED_RETRY: Duration = Duration::from_secs(15);

// Invocations, and their end.

/// How long a start may wait for its first connections. They take some ten milliseconds; shorter, and a name server that has to ask
/// first makes the first event pay for them; longer, and a network that lets nothing through eats up the 10 s that a start has.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// What is kept of an invocation's time when calls that were refused are made again: for their last attempts, for deciding,
/// and for answering the queue.
pub const INVOCATION_RESERVE: Duration = Duration::from_secs(OPERATION_TIMEOUT.as_secs() + 15);

/// What is kept of the time for the work that is begun: a hundred instances with ten groups each that nobody has read yet, at
/// 10 calls a second; or holding and deregistering what a scan found, at 4 calls a second. Less, and an invocation ends in
/// the middle of it; more, and a sweep has more parts.
pub const SWEEP_RESERVE: Duration = Duration::from_secs(180);

/// How soon the first retry of a failure comes. Sooner, and a throttled account is throttled more.
pub const FAILED_RETRY_MIN: Duration = Duration::from_secs(15);

/// How long after the end of an invocation a message comes back that killed it, where that must be soon: while Lambda may still be
/// ending it, another one must not work on the same.
pub const COMES_BACK_AFTER: Duration = Duration::from_secs(5);

// Orphans.

/// How long after the first look the second one comes: as long as a description of EC2 may lag.
///
/// Shorter, and both may be wrong in the same way; longer, and every sweep with something to take pays for it.
pub const SECOND_LOOK_AFTER: Duration = Duration::from_secs(60);

/// How soon after the second look everything has to be taken. Longer, and an address may be another host's by then;
/// shorter, and a throttled call leaves all of it to the next sweep.
pub const PRUNE_WITHIN: Duration = Duration::from_secs(15);

/// What is needed from the wait to the last call.
pub const TIME_TO_PRUNE: Duration = Duration::from_secs(60 + 15 + 30);
