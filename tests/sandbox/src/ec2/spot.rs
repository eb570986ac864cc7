//! Spot Instances: their requests, and the notices of their interruption.
//!
//! The states and status codes of a request are those of the EC2 guide, "State changes for a Spot request"
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instances-request-status-lifecycle.html>). A request follows its
//! instance; only an interruption by AWS is a deed of its own. Notices are told "on a best effort basis"
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>).

use std::time::Duration;

use chrono::SecondsFormat;
use serde_json::json;

use super::{InstanceState, instance_arn, launch::Market, lifecycle};
use crate::{
    clock::{Timestamp, delta},
    events,
    history::History,
    options::{ReservationWarning, SpotReclaim},
    wire::ApiError,
    world::World,
};

/// From a notice to the interruption.
const NOTICE: Duration = Duration::from_secs(120);

/// "Spot Instance requests are deleted four hours after they are canceled and their instances are terminated" (botocore,
/// DescribeSpotInstanceRequests).
const KEPT_AFTER_ITS_END: Duration = Duration::from_secs(4 * 3_600);

/// What an interruption does to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpotAction {
    /// It is terminated.
    Terminate,
    /// It is stopped.
    Stop,
    /// It is hibernated: from outside it looks stopped.
    Hibernate,
}

/// The wishes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Whether the request is open again after its instance has gone. Otherwise it is for one time.
    pub is_persistent: bool,
    /// What an interruption does.
    pub on_interruption: SpotAction,
}

/// The state of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpotState {
    /// `open`: it waits for an instance.
    Open,
    /// `active`: it has its instance.
    Active,
    /// `disabled`: its instance is stopped.
    Disabled,
    /// `closed`: its instance has gone.
    Closed,
}

/// A Spot request.
#[derive(Clone, Debug)]
pub struct SpotRequest {
    /// `sir-...`
    pub id: String,
    /// The instance that fulfilled it.
    pub instance_id: String,
    /// What it asked for.
    pub spot: Spot,
    /// When it was made.
    pub created: Timestamp,
    /// Its state.
    pub state: SpotState,
    /// Such as `fulfilled`.
    pub status_code: &'static str,
    /// Since when it has this code.
    pub updated: Timestamp,
    /// Whether AWS has taken the instance away, and not a user.
    is_reclaimed: bool,
}

impl SpotAction {
    /// Returns AWS's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Terminate => "terminate",
            Self::Stop => "stop",
            Self::Hibernate => "hibernate",
        }
    }

    /// Reads AWS's word for it.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        [Self::Terminate, Self::Stop, Self::Hibernate].into_iter().find(|action| action.name() == name)
    }

    fn mark(self) -> &'static str {
        match self {
            Self::Terminate => "marked-for-termination",
            Self::Stop | Self::Hibernate => "marked-for-stop",
        }
    }
}

impl Spot {
    /// Returns a request that ends with its instance, which an interruption terminates: RunInstances' own default.
    pub fn one_time() -> Self {
        Self { is_persistent: false, on_interruption: SpotAction::Terminate }
    }

    /// Returns a request that survives interruptions, which stop or hibernate its instance.
    pub fn persistent(on_interruption: SpotAction) -> Self {
        Self { is_persistent: true, on_interruption }
    }

    /// Returns AWS's word for how long the request lives.
    pub fn kind(self) -> &'static str {
        if self.is_persistent { "persistent" } else { "one-time" }
    }

    fn ended(self) -> SpotState {
        if self.is_persistent { SpotState::Open } else { SpotState::Closed }
    }
}

impl SpotState {
    /// Returns AWS's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Closed => "closed",
        }
    }
}

/// Makes the request of an instance that is about to be launched, and returns its id.
pub(super) fn request(world: &mut World, instance_id: &str, spot: Spot) -> String {
    let (now, id) = (world.now(), format!("sir-{:08x}", world.invent_number()));
    let request = SpotRequest {
        id: id.clone(),
        instance_id: instance_id.to_owned(),
        spot,
        created: now,
        state: SpotState::Active,
        status_code: "fulfilled",
        updated: now,
        is_reclaimed: false,
    };
    world.ec2.spot_requests.insert(id.clone(), History::new(now, request));
    id
}

/// AWS tells that it will interrupt a Spot Instance, and does so two minutes later, or not after all.
///
/// The mark that the request bears meanwhile depends on the reason ([`SpotReclaim`]). "Hibernation begins immediately", so it is told
/// without the two minutes. What a request says whose notice does not come true is *not verified*: here it bears the mark for the
/// two minutes, and is `fulfilled` again.
///
/// # Errors
/// If the instance is no Spot Instance that runs, or its request asks for another action.
pub fn interrupt(world: &mut World, id: &str, action: SpotAction, comes_true: bool) -> Result<(), ApiError> {
    let request = running(world, id)?;
    let (request_id, spot) = (request.id.clone(), request.spot);
    if spot.on_interruption != action {
        let message = format!("the request of {id} asks for {}", spot.on_interruption.name());
        return Err(ApiError::sender("InvalidParameterValue", message));
    }
    let detail = json!({ "instance-id": id, "instance-action": action.name() });
    events::emit(world, SOURCE, "EC2 Spot Instance Interruption Warning", vec![instance_arn(id)], detail);
    let marked_at = world.now();
    if comes_true && action == SpotAction::Terminate && world.options.spot_reclaim == SpotReclaim::Capacity {
        // "The status is immediately set to instance-terminated-no-capacity (it is not set to marked-for-termination). However,
        // the instance remains in the running state for 2 minutes" (the guide, the last note under its tables).
        set(world, &request_id, spot.ended(), "instance-terminated-no-capacity");
    } else {
        set(world, &request_id, SpotState::Active, action.mark());
    }
    let notice = if comes_true && action == SpotAction::Hibernate { Duration::ZERO } else { NOTICE };
    let id = id.to_owned();
    world.after(notice, move |world| match comes_true {
        true => reclaim(world, &id, &request_id, action),
        false => take_back(world, &request_id, marked_at),
    });
    Ok(())
}

/// The capacity for a Spot Instance that AWS has stopped is there again: AWS starts it.
///
/// # Errors
/// If AWS has not stopped it.
pub fn resume(world: &mut World, id: &str) -> Result<(), ApiError> {
    let request = request_of(world, id).filter(|request| request.is_reclaimed && request.state == SpotState::Disabled);
    let request_id = request.map(|request| request.id.clone()).ok_or_else(|| not_to_be_started(id))?;
    change(world, &request_id, |request| request.is_reclaimed = false);
    lifecycle::start(world, id)
}

/// AWS tells that a Spot Instance is at elevated risk of an interruption, which need not follow. No call tells of it
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html>).
///
/// # Errors
/// If the instance is no Spot Instance that runs.
pub fn recommend_rebalance(world: &mut World, id: &str) -> Result<(), ApiError> {
    running(world, id)?;
    let detail = json!({ "instance-id": id });
    events::emit(world, SOURCE, "EC2 Instance Rebalance Recommendation", vec![instance_arn(id)], detail);
    Ok(())
}

/// AWS tells that it will take back the capacity of an instance in an interruptible Capacity Reservation, and terminates the instance
/// two minutes later, or not after all. No call tells of it
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitor-interruptible-cr.html>).
///
/// # Errors
/// If the instance does not run in such a reservation.
pub fn interrupt_reserved(world: &mut World, id: &str, comes_true: bool) -> Result<(), ApiError> {
    let instance = lifecycle::existing(world, id)?;
    let is_reserved = world.ec2.launches.get(id).is_some_and(|facts| facts.market == Market::InterruptibleReservation);
    if !is_reserved || instance.state != InstanceState::Running {
        let message = format!("{id} does not run in an interruptible Capacity Reservation");
        return Err(ApiError::sender("InvalidParameterValue", message));
    }
    let zone = match instance.zone.bytes().last() {
        Some(letter @ b'a'..=b'z') => format!("use1-az{}", letter - b'a' + 1),
        _ => instance.zone.clone(),
    };
    let ends = (world.now() + delta(NOTICE)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let detail = json!({
        "instance-id": id,
        "instance-action": "terminate",
        "instance-termination-time": ends,
        "azId": zone,
    });
    let detail_type = match world.options.reservation_warning {
        ReservationWarning::Long => "EC2 Interruptible Capacity Reservation Instance Interruption Warning",
        ReservationWarning::Short => "EC2 Capacity Reservation Instance Interruption Warning",
    };
    events::emit(world, SOURCE, detail_type, vec![instance_arn(id)], detail);
    if comes_true {
        let id = id.to_owned();
        world.after(NOTICE, move |world| lifecycle::terminate_for_aws(world, &id));
    }
    Ok(())
}

/// The source of the events.
const SOURCE: &str = "aws.ec2";

/// Returns the request of an instance.
pub(super) fn request_of<'a>(world: &'a World, instance_id: &str) -> Option<&'a SpotRequest> {
    let id = world.ec2.launches.get(instance_id)?.spot_request.as_ref()?;
    world.ec2.spot_requests.get(id).map(History::current)
}

/// Refuses to stop an instance whose request is for one time, in the words that many users have met
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-spot-instances-request.html> has the rule).
pub(super) fn check_stop(world: &World, id: &str) -> Result<(), ApiError> {
    match request_of(world, id) {
        Some(request) if !request.spot.is_persistent => Err(ApiError::sender(
            "UnsupportedOperation",
            format!(
                "You can't stop the Spot Instance '{id}' because it is associated with a one-time Spot Instance request. You can \
                 only stop Spot Instances associated with persistent Spot Instance requests."
            ),
        )),
        _ => Ok(()),
    }
}

/// Refuses to start an instance that AWS has stopped: "Only Amazon EC2 can restart an interrupted stopped Spot Instance" (EC2 guide,
/// "Interruption behavior", <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/interruption-behavior.html>). Users have met the code;
/// that AWS has the guide's words for it is *not verified*.
pub(super) fn check_start(world: &World, id: &str) -> Result<(), ApiError> {
    match request_of(world, id) {
        Some(request) if request.is_reclaimed && request.state == SpotState::Disabled => Err(not_to_be_started(id)),
        _ => Ok(()),
    }
}

fn not_to_be_started(id: &str) -> ApiError {
    let message = format!("Only Amazon EC2 can restart an interrupted stopped Spot Instance: {id}");
    ApiError::sender("IncorrectSpotRequestState", message)
}

/// Lets a request follow its instance.
pub(super) fn instance_changed(world: &mut World, instance_id: &str, state: InstanceState) {
    use InstanceState::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
    let Some(request) = request_of(world, instance_id) else { return };
    let (id, spot, is_reclaimed) = (request.id.clone(), request.spot, request.is_reclaimed);
    let by_price = world.options.spot_reclaim == SpotReclaim::Price;
    let (state, code) = match (state, is_reclaimed) {
        (Stopping, false) => (SpotState::Active, "marked-for-stop"),
        (Stopped, false) => (SpotState::Disabled, "instance-stopped-by-user"),
        (Stopped, true) if by_price => (SpotState::Disabled, "instance-stopped-by-price"),
        (Stopped, true) => (SpotState::Disabled, "instance-stopped-no-capacity"),
        (Pending, _) if request.state == SpotState::Disabled => (SpotState::Open, "pending-evaluation"),
        (Running, _) => (SpotState::Active, "fulfilled"),
        (Terminated, true) if by_price => (spot.ended(), "instance-terminated-by-price"),
        (Terminated, true) => (spot.ended(), "instance-terminated-no-capacity"),
        (Terminated, false) => (SpotState::Closed, "instance-terminated-by-user"),
        (Pending | Stopping | ShuttingDown, _) => return,
    };
    set(world, &id, state, code);
    if code.starts_with("instance-terminated") {
        world.after(KEPT_AFTER_ITS_END, move |world| {
            world.ec2.spot_requests.remove(&id);
        });
    }
}

fn reclaim(world: &mut World, instance_id: &str, request_id: &str, action: SpotAction) {
    // A user may have stopped or terminated it meanwhile.
    if running(world, instance_id).is_err() {
        return;
    }
    change(world, request_id, |request| request.is_reclaimed = true);
    match action {
        SpotAction::Terminate => lifecycle::terminate_for_aws(world, instance_id),
        SpotAction::Stop | SpotAction::Hibernate => lifecycle::stop_for_aws(world, instance_id),
    }
}

/// Takes a mark back, unless something else has changed the request since.
fn take_back(world: &mut World, request_id: &str, marked_at: Timestamp) {
    let request = world.ec2.spot_requests.get(request_id).map(History::current);
    if request.is_some_and(|request| request.updated == marked_at && request.status_code.starts_with("marked-for")) {
        set(world, request_id, SpotState::Active, "fulfilled");
    }
}

fn running<'a>(world: &'a World, id: &str) -> Result<&'a SpotRequest, ApiError> {
    let instance = lifecycle::existing(world, id)?;
    request_of(world, id)
        .filter(|_| instance.state == InstanceState::Running)
        .ok_or_else(|| ApiError::sender("InvalidParameterValue", format!("{id} is not a Spot Instance that runs")))
}

fn set(world: &mut World, id: &str, state: SpotState, code: &'static str) {
    let now = world.now();
    change(world, id, |request| {
        if (request.state, request.status_code) != (state, code) {
            (request.state, request.status_code, request.updated) = (state, code, now);
        }
    });
}

fn change(world: &mut World, id: &str, change: impl FnOnce(&mut SpotRequest)) {
    let now = world.now();
    if let Some(request) = world.ec2.spot_requests.get_mut(id) {
        request.change(now, change);
    }
}
