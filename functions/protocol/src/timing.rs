//! Every duration of the protocol, and the one relation between them that the promises need.
//!
//! What concerns one mechanism alone stays with it, such as the rates of calls and the limits of a queue.

use std::time::Duration;

use chrono::TimeDelta;

// Calls, and what they entitle to.

/// The longest time for opening a connection, with its handshake. Within a Region that takes milliseconds.
///
/// Too small: a call fails if a name server has to ask first. Too large: a network that lets nothing through takes the
/// whole attempt.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest time for one attempt. The slowest calls here (a page of 400 target groups) take a second or two.
///
/// Too small: a slow answer is lost, and the call is made again. Too large: [`OPERATION_TIMEOUT`] leaves no time for
/// another attempt.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time for one call with all its attempts: a part of [`SETTLE`].
///
/// Too small: a call fails that another attempt would have saved. Too large: [`SETTLE`] grows with it.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a reading entitles to deregister or to register. After that, the instance may have been started or stopped,
/// and has to be read again.
///
/// Too small: a long scan reads twice. Too large: [`SETTLE`] grows with it.
pub const READING_GOOD_FOR: Duration = Duration::from_secs(45);

/// The age from which a reading is renewed before an invocation begins something that the reading has to entitle to.
///
/// Too small: instances are read more often than is needed. Too large: the reading expires in the middle of the work.
pub const RENEWED_AFTER: Duration = Duration::from_secs(15);

/// How long a held tag is fresh: no invocation can delete it before an invocation that relies on it has deregistered.
///
/// What is held is deleted [`SETTLE`] after it was held, at the earliest. An invocation that has just read deregisters
/// within [`READING_GOOD_FOR`] and one operation of the SDK ([`OPERATION_TIMEOUT`]).
///
/// Too small: after a failure, each attempt holds anew. Too large: a deregistration can meet a deletion of the tag that
/// began before it.
pub const HELD_IS_FRESH_FOR: TimeDelta = TimeDelta::seconds(40);

/// How long after a holding no invocation can still be about to deregister what relies on it.
///
/// It is longer than three times together: how long a tag is fresh, how long a reading entitles, and how long an
/// operation of the SDK lasts ([`OPERATION_TIMEOUT`]). A late deregistration, which wrote no tag of its own, can undo
/// "it is in place" until then. Only after that the tag may be deleted.
///
/// Too small: registrations are lost. Too large: tags stay that say nothing new, and what a person removed meanwhile is
/// repaired.
pub const SETTLE: TimeDelta = TimeDelta::seconds(120);

// The model of the protocol (tests/model) loses a registration if this sum is a moment longer than `SETTLE`.
const _: () = assert!(
    HELD_IS_FRESH_FOR.num_seconds().unsigned_abs() + READING_GOOD_FOR.as_secs() + OPERATION_TIMEOUT.as_secs()
        < SETTLE.num_seconds().unsigned_abs()
);

/// How much younger a tag can be than the reading that a sweep counts from. An invocation lasts 15 minutes at most.
///
/// Too small: a tag on which an invocation relies is deleted at once. Too large: a key that a person made up is kept
/// for longer.
pub const YOUNGER_THAN_A_SWEEP: TimeDelta = TimeDelta::hours(1);

/// The time after a reading in which no instance that ran can have stopped and lost an address. EC2 takes 20 s and more
/// for a stop.
///
/// Too small: ordinary restarts cost one more call. Too large: a tag that is deleted during a stop is not written again.
pub const STOPS_NOT_WITHIN: Duration = Duration::from_secs(2);

// Descriptions that lag.

/// How long EC2's descriptions may lag behind what has happened: docs/design.md, "The simulation".
///
/// Too small: a sweep or a hook reads again before EC2 must show the change. Too large: both wait longer than they
/// need.
pub const SHOWS_WITHIN: Duration = Duration::from_secs(15);

/// How long after an event a description may still be older than it. Reports speak of seconds (boto3 issue 4386).
///
/// Too small: a stale description is believed, which costs a needless round for a running instance. Too large: the
/// event of a start waits in vain if the next stop has overtaken it.
pub const DESCRIPTION_LAG_MAX: TimeDelta = TimeDelta::seconds(60);

/// How soon a stale description is read again.
///
/// Too small: the same stale answer costs more calls. Too large: a dead instance is served for longer.
pub const DESCRIPTION_RETRY: Duration = Duration::from_secs(5);

/// How long after a change a sweep says that its event may still be under way. It covers EventBridge's seconds, the
/// wait in the queue, an ordinary run of `instance-state`, and one repetition.
///
/// Too small: a sweep calls an event missed that is about to be served. Too large: a sweep does not name an event that
/// was missed.
pub const EVENT_UNDER_WAY: TimeDelta = TimeDelta::seconds(300);

// Registering again, and when to look again.

/// The shortest wait for a look: as soon as the queue can, because what was read is already known to be old.
pub const AT_ONCE: Duration = Duration::from_secs(1);

/// How soon after a registration an invocation looks whether it is in place. AWS may answer a registration that comes
/// too early with success, and undo it when the draining ends (*not verified*, AWS-FACTS).
///
/// Too small: the look comes before the balancer shows the change. Too large: an undone registration is repaired later.
pub const CHECK_AFTER: Duration = Duration::from_secs(15);

/// How long after an instance's start a look counts as the first one. At the first look, what the instance holds cannot
/// have been registered again yet.
///
/// Too small: a busy function asks the balancers in vain. Too large: a second look registers what is registered
/// already.
pub const FIRST_LOOK_WITHIN: TimeDelta = TimeDelta::seconds(60);

/// The longest that an address can be draining: 3,600 s, the longest deregistration delay of a target group, and a
/// minute for the deregistration itself.
pub const DRAINING_MAX: TimeDelta = TimeDelta::seconds(3_660);

/// How long after an instance was told to stop its addresses are followed to another host: the longest draining, and a few
/// sweeps.
///
/// Too small: an address that drains for an hour is not served at its new host. Too large: what a person deregisters from
/// the new host is registered again for longer.
pub const FOLLOWED_WITHIN: TimeDelta = TimeDelta::seconds(5_400);

/// How often a draining address is looked at if the end of the draining is not known.
///
/// Too small: each draining costs more calls. Too large: the address is registered later than it could be.
pub const DRAINING_RETRY: Duration = Duration::from_secs(20);

/// How often a draining address is looked at within its group's delay, if it is not known when the draining began.
///
/// Too small: the address is registered later than it could be. Too large: a long draining costs more calls.
pub const DRAINING_LOOKS: u32 = 20;

// Storms.

/// How far apart two instances stop or start that do so together. EC2 tells the time of a stop in whole seconds.
///
/// Too small: a schedule's stops are worked on one by one. Too large: a lone stop waits for a sweep.
pub const TOGETHER_WITHIN: TimeDelta = TimeDelta::seconds(5);

/// How soon after its time an event is served that nothing has held up. An older event says little of what other
/// instances do at present.
///
/// Too small: a slow delivery hides a storm, and its first instances are worked on one by one. Too large: late events
/// of lone stops each cost a call.
pub const EVENT_IS_FRESH_FOR: TimeDelta = TimeDelta::seconds(10);

/// The last seconds whose stops tell whether a storm still grows.
///
/// Too small: EC2's whole seconds decide. Too large: all instances wait longer for the last one.
pub const STORM_GROWS_WITHIN: TimeDelta = TimeDelta::seconds(3);

/// How long a storm's first instances wait at most while others join it. A schedule stops a fleet one by one.
///
/// Too small: balancers are written to once more. Too large: the first instances are served dead for longer.
pub const STORM_GATHERED_AT_MOST: TimeDelta = TimeDelta::seconds(90);

/// How long a process passes on further first events of a storm without looking, if it has seen the storm itself.
///
/// Too small: EC2 is asked more often. Too large: an instance that stops alone after a storm waits for its sweep.
pub const STORM_IS_ON_FOR: Duration = Duration::from_secs(10);

/// The same for second events, `stopped` after `stopping`. No instance waits for them, and EC2 sends them half a minute
/// later.
///
/// Too small: each of a storm's second events is scanned for. Too large: the second event of a lone stop, whose first
/// event was lost, waits for a sweep more often.
pub const STORM_IS_KNOWN_FOR: Duration = Duration::from_secs(180);

/// How long after its `LaunchTime` an event says that an instance runs, if it tells of the same start. EC2 takes 10 to
/// 20 s.
///
/// Too small: more instances are looked at twice. Too large: the event of the next start is taken for one of this
/// start.
pub const RUNS_WITHIN: TimeDelta = TimeDelta::seconds(20);

/// How long after a stop began an instance has stopped, or ended, if it is the same stop.
///
/// Too small: more instances are looked at twice. Too large: a second stop whose first event was lost waits for the
/// scheduled sweep.
pub const STOPPED_WITHIN: TimeDelta = TimeDelta::seconds(180);

/// How long a sweep of a storm waits before it reads, so that the next instances of the storm join it.
///
/// Too small: a fleet that stops within a minute takes more sweeps. Too large: the first instances of a storm are
/// served dead for longer.
pub const ORDERS_GATHERED_FOR: Duration = Duration::from_secs(1);

/// How long an order stays in flight without a sign of life. An invocation gives one twice as often.
///
/// Too small: an order is served twice if its process pauses for a moment. Too large: an order waits longer after its
/// process has died.
pub const ORDER_IS_TAKEN_FOR: Duration = Duration::from_secs(120);

/// How long a stop or start is remembered that was worked on. EC2 takes a minute or two from `stopping` to `stopped`,
/// and some minutes to hibernate a large memory.
///
/// Too small: the second event of a slow stop costs another scan. Too large: what a person registers with a stopped
/// instance waits for the sweep, even if its event is sent once more.
pub const SERVED_REMEMBERED_FOR: Duration = Duration::from_secs(600);

// Lifecycle actions.

/// The shortest wait between two looks.
///
/// Too small: the first minute of every action costs a dozen invocations. Too large: what is ready early is noticed
/// late.
pub const LOOK_MIN: Duration = Duration::from_secs(5);

/// How long after the end of a wait the next look records its heartbeat at the latest. Lambda "might wait for up to 20
/// seconds" until it serves a message of a queue
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>), and the look reads for some seconds first.
///
/// Too small: a hook of half a minute ends before its next heartbeat. Too large: such a hook is looked at all the time.
pub const NEXT_LOOK_WITHIN: Duration = Duration::from_secs(25);

/// The longest wait within the first hour: what is ready is noticed that much later at most.
///
/// Too small: an hour of waiting costs more invocations. Too large: an instance that is ready gets its traffic later.
pub const LOOK_MAX: Duration = Duration::from_secs(90);

/// The longest wait of all, in actions that last for hours.
///
/// Too small: a wait of two days costs thousands of invocations. Too large: its end is noticed late.
pub const LONG_LOOK_MAX: Duration = Duration::from_secs(600);

/// How long after the known end of a draining it is looked at: the balancer's clock is not ours.
///
/// Too small: the look comes before the end by the balancer's clock, and has to be repeated. Too large: every hook is
/// held for longer.
pub const DRAINED_SLACK: Duration = Duration::from_secs(2);

/// How long before the hook's global limit an action is completed, whatever is left to do. Heartbeats cannot extend
/// that limit, and Auto Scaling would end the action by the hook's default result.
///
/// Too small: one failed call is enough for Auto Scaling to end the action. Too large: a slow launch is given up that
/// could still become healthy.
pub const LAST_MOMENT: TimeDelta = TimeDelta::seconds(60);

/// The documented default of `HeartbeatTimeout`.
pub const HEARTBEAT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3_600);

/// "The maximum is 172800 seconds (48 hours) or 100 times `HeartbeatTimeout`, whichever is smaller" (API reference,
/// `GlobalTimeout`).
pub const GLOBAL_TIMEOUT_MAX: Duration = Duration::from_secs(172_800);

/// How long a Network Load Balancer goes on opening new connections to a deregistered target, whatever the group's
/// delay says: about two minutes. Several users measured it (aws/containers-roadmap issue 470,
/// aws-load-balancer-controller issues 2366 and 3270); AWS says "a few minutes".
///
/// Too small: an instance ends while it still gets connections. Too large: every termination behind such a balancer is
/// held for longer.
pub const NETWORK_DRAIN_DEFAULT: Duration = Duration::from_secs(120);

/// How soon a look is repeated in which a call about the action itself failed. Without a heartbeat, a hook waits 30 s
/// at least.
///
/// Too small: a throttled account is throttled more. Too large: a short hook ends before its next heartbeat.
pub const ACTION_FAILED_RETRY: Duration = Duration::from_secs(5);

// Invocations, and their end.

/// How long a start may wait for its first connections. They take some ten milliseconds.
///
/// Too small: with a slow name server, the first event has to wait for them. Too large: a network that lets nothing
/// through uses up the 10 s that a start has.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// The time of an invocation that is kept when refused calls are made again: for their last attempts, for deciding, and
/// for answering the queue.
///
/// Too small: Lambda ends an invocation before it has answered. Too large: calls are given up that another attempt
/// would have saved.
pub const INVOCATION_RESERVE: Duration = Duration::from_secs(OPERATION_TIMEOUT.as_secs() + 15);

/// The time of a sweep that is kept for the work that has begun. It may be a hundred unread instances with ten groups
/// each, at 10 calls a second. Or it holds and deregisters what a scan found, at 4 calls a second.
///
/// Too small: an invocation ends in the middle of it. Too large: a sweep has more parts.
pub const SWEEP_RESERVE: Duration = Duration::from_secs(180);

/// How soon the first retry of a failure comes.
///
/// Too small: a throttled account is throttled more. Too large: a failure that passes quickly is repaired late.
pub const FAILED_RETRY_MIN: Duration = Duration::from_secs(15);

/// How long after an invocation's deadline its unanswered messages come back, if they have to come back soon.
///
/// Too small: Lambda may still be ending that invocation while another works on the same message. Too large: a
/// lifecycle action waits for longer.
pub const COMES_BACK_AFTER: Duration = Duration::from_secs(5);

// Orphans.

/// How long after the first look the second one comes: as long as a description of EC2 may lag.
///
/// Too small: both looks may be wrong in the same way. Too large: every sweep that finds an orphan waits for longer.
pub const SECOND_LOOK_AFTER: Duration = Duration::from_secs(60);

/// How soon after the second look all orphans have to be deregistered.
///
/// Too small: one throttled call leaves all of them to the next sweep. Too large: another host may have an address by
/// then.
pub const PRUNE_WITHIN: Duration = Duration::from_secs(15);

/// The time that is needed from the wait to the last call.
pub const TIME_TO_PRUNE: Duration = Duration::from_secs(60 + 15 + 30);
