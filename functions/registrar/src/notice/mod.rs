//! What an event may tell: which instance to look at, and no more.
//!
//! The state that it announces only helps to recognise a description that is older than the event; what to do follows from
//! what AWS says. An event that is not understood is an error of that event alone.

mod lifecycle_action;
mod state_change;

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use thiserror::Error;

use crate::{
    id::{InstanceId, LifecycleHookName},
    instance::Timestamp,
    registration::Malformed,
};

pub use lifecycle_action::{LifecycleAction, Transition};
pub use state_change::Notice;

/// The account in the ARN that local emulators make up, in `us-east-1` whatever the Region is. No event is of it.
///
/// It is in the runtime interface emulator, which `sam local` starts, too (`InvokedFunctionArn` in
/// <https://github.com/aws/aws-lambda-runtime-interface-emulator/blob/4fa21571526087e3a0076b9fecf67a79e3927994/internal/lambda/rie/handlers.go>;
/// the emulator's binaries are in <https://github.com/aws/aws-sam-cli/tree/v1.164.0/samcli/local/rapid>).
const EMULATORS_ACCOUNT: &str = "012345678912";

/// Where the function runs, and therefore whose events it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Such as `us-east-1`.
    pub region: String,
    /// Twelve digits; `None` if the function does not know its account, as under `cargo lambda watch` and `sam local`.
    pub account: Option<String>,
}

/// The fields of an EventBridge event that are looked at.
///
/// Not aws_lambda_events' own, which keeps a detail of any kind as a JSON value first: that takes 50 times the size of a message full
/// of small numbers.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Event<D> {
    source: String,
    detail_type: String,
    account: Option<String>,
    region: Option<String>,
    time: Option<Timestamp>,
    detail: D,
}

/// Reads an EventBridge event of this account and Region: when it happened, and its detail.
fn event_of<D: DeserializeOwned>(
    text: &str,
    place: &Place,
    is_ours: impl Fn(&str, &str) -> bool,
) -> Result<(Option<Timestamp>, D), NotUnderstood> {
    let event: Event<IgnoredAny> = serde_json::from_str(text).map_err(|e| NotUnderstood::NotAnEvent(e.to_string()))?;
    if !is_ours(&event.source, &event.detail_type) {
        return Err(NotUnderstood::OtherEvent { source_name: event.source, detail_type: event.detail_type });
    }
    place.check(event.account.as_deref(), event.region.as_deref())?;
    let event: Event<D> = serde_json::from_str(text).map_err(|e| NotUnderstood::Detail(e.to_string()))?;
    Ok((event.time, event.detail))
}

/// An instance id in an event.
fn instance_id_of(text: String) -> Result<InstanceId, NotUnderstood> {
    let instance = InstanceId::from(text);
    if instance.is_well_formed() { Ok(instance) } else { Err(NotUnderstood::InstanceId(instance)) }
}

impl Place {
    /// Returns the place of a function with this ARN.
    pub fn of_function(arn: &str, region: &str) -> Self {
        let account = arn.split(':').nth(4).filter(|part| part.len() == 12 && part.bytes().all(|b| b.is_ascii_digit()));
        let account = account.filter(|account| *account != EMULATORS_ACCOUNT);
        Self { region: region.to_owned(), account: account.map(str::to_owned) }
    }

    fn check(&self, account: Option<&str>, region: Option<&str>) -> Result<(), NotUnderstood> {
        if let (Some(ours), Some(theirs)) = (&self.account, account)
            && ours != theirs
        {
            return Err(NotUnderstood::OtherAccount { ours: ours.clone(), theirs: theirs.to_owned() });
        }
        match region {
            Some(theirs) if theirs != self.region => {
                Err(NotUnderstood::OtherRegion { ours: self.region.clone(), theirs: theirs.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// Why an event says nothing to this function.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotUnderstood {
    /// Not JSON, or without the fields of an event.
    #[error("this is not an EventBridge event: {0}")]
    NotAnEvent(String),
    /// Of another kind.
    #[error(
        "an event `{detail_type}` from `{source_name}` is not for this function: its rule shall match only what the template's rule of this function does"
    )]
    OtherEvent {
        /// The event's source.
        source_name: String,
        /// The event's detail-type.
        detail_type: String,
    },
    /// Neither an event nor an order for a sweep.
    #[error("this is no order for a sweep, such as `{{}}` or `{{\"report\": \"all\"}}`: {0}")]
    NotAnOrder(String),
    /// Of another kind, at the sweep.
    #[error(
        "an event `{detail_type}` from `{source_name}` is not for the sweep, which takes `Scheduled Event` and `{{}}`"
    )]
    NotScheduled {
        /// The event's source.
        source_name: String,
        /// The event's detail-type.
        detail_type: String,
    },
    /// Without the documented fields.
    #[error("the event's detail is not what AWS documents for it: {0}")]
    Detail(String),
    /// Not an id.
    #[error("`{0}` is not the id of an instance")]
    InstanceId(InstanceId),
    /// A word that is not documented.
    #[error("`{0}` is not a state of an instance that this version knows")]
    State(String),
    /// From elsewhere.
    #[error("the event is of account {theirs}, and this function works in {ours}: deploy it there, too")]
    OtherAccount {
        /// The function's.
        ours: String,
        /// The event's.
        theirs: String,
    },
    /// From elsewhere.
    #[error("the event is of Region {theirs}, and this function works in {ours}: deploy it there, too")]
    OtherRegion {
        /// The function's.
        ours: String,
        /// The event's.
        theirs: String,
    },
    /// A hook that somebody else serves, by its name.
    #[error(
        "the lifecycle hook `{hook}` is somebody else's: the name of a hook for this function begins with `{prefix}` (REGISTRAR_LIFECYCLE_HOOK_PREFIX)"
    )]
    OtherHook {
        /// The event's.
        hook: LifecycleHookName,
        /// The function's.
        prefix: String,
    },
    /// What the operator wrote at the hook.
    #[error(
        "the NotificationMetadata of the lifecycle hook `{hook}` is not understood: {why}. The hook is left to its own timeout and default result"
    )]
    Metadata {
        /// Whose.
        hook: LifecycleHookName,
        /// What is wrong with it.
        why: String,
    },
    /// A registration in what the operator wrote at the hook.
    #[error(
        "the NotificationMetadata of the lifecycle hook `{hook}` has `{text}`, which is not a registration: {why}. The hook is left to its own timeout and default result"
    )]
    Declaration {
        /// Whose.
        hook: LifecycleHookName,
        /// What it says.
        text: String,
        /// What is wrong with it.
        why: Malformed,
    },
}
