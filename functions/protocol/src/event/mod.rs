//! What an event may tell: which instance to look at, and no more.
//!
//! The state that it announces only helps to recognise a description that is older than the event; what to do follows from
//! what AWS says. An event that is not understood is an error of that event alone.

mod field;
mod lifecycle_action;
mod look;
mod state_change;

use std::borrow::Cow;

use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;

use self::field::{Field, Object};
use crate::{
    id::{InstanceId, LifecycleHookName},
    malformed::Malformed,
    time::Timestamp,
};

pub use lifecycle_action::{LifecycleAction, Transition};
pub use look::{LOOKS_AN_ORDER_MAX, notices_of, order_of};
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

/// What an input says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<N> {
    /// Something to look at.
    Look(N),
    /// Nothing that needs any work, and why.
    Nothing(&'static str),
}

/// The fields by which an input is told from others, and those of an EventBridge event that are looked at.
///
/// Not aws_lambda_events' own, which keeps a detail of any kind as a JSON value first: that takes 50 times the size of a message full
/// of small numbers.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Outline {
    source: Field,
    detail_type: Field,
    account: Field,
    region: Field,
    time: Field,
    /// `Notification` in what SNS delivers.
    #[serde(rename = "Type")]
    sns_type: Field,
    /// What was published, in what SNS delivers.
    #[serde(rename = "Message")]
    sns_message: Field,
    /// Of a plain order.
    instance: Field,
    /// `AWS Auto Scaling` in a notification that a lifecycle hook sends to a queue or a topic.
    #[serde(rename = "Service")]
    service: Field,
    /// What a notification that is no event tells of, such as `autoscaling:EC2_INSTANCE_LAUNCH`.
    #[serde(rename = "Event")]
    event: Field,
}

/// An input that was taken out of its envelope.
struct Input<'t> {
    text: Cow<'t, str>,
    outline: Outline,
}

impl<'t> Input<'t> {
    /// Reads an input. What SNS wraps around a message is taken off: a subscription without raw message delivery sends
    /// `{"Type": "Notification", "Message": "...", ...}` to a queue.
    ///
    /// Source: <https://docs.aws.amazon.com/sns/latest/dg/sns-sqs-as-subscriber.html>
    fn of(text: &'t str, takes: &'static str) -> Result<Self, NotUnderstood> {
        let refuse = |why: String| NotUnderstood::NotAnEvent { why, takes };
        let mut outline: Outline = object(text).map_err(refuse)?;
        let message = std::mem::take(&mut outline.sns_message).text();
        match (outline.sns_type.as_text(), message) {
            (Some("Notification"), Some(message)) => {
                let outline = object(&message).map_err(|why| refuse(format!("SNS delivered a message: {why}")))?;
                Ok(Self { text: message.into(), outline })
            }
            (Some(kind @ ("SubscriptionConfirmation" | "UnsubscribeConfirmation")), _) => {
                Err(refuse(format!("SNS delivered a `{kind}`, which tells of no instance")))
            }
            _ => Ok(Self { text: text.into(), outline }),
        }
    }

    /// Reads an EventBridge event of this account and Region: when it happened, and its detail.
    fn event<D: DeserializeOwned>(
        self,
        place: &Place,
        takes: &'static str,
        is_ours: impl Fn(&str, &str) -> bool,
    ) -> Result<(Option<Timestamp>, D), NotUnderstood> {
        let Outline { source, detail_type, account, region, time, service, event, .. } = self.outline;
        let refuse = |why: &str| NotUnderstood::NotAnEvent { why: why.to_owned(), takes };
        if let Some(source_name) = service.text() {
            let detail_type = event.text().unwrap_or_else(|| "notification".to_owned());
            return Err(NotUnderstood::OtherNotification { source_name, detail_type, takes });
        }
        let source_name = source.text().ok_or_else(|| refuse("it has no `source` that is a text"))?;
        let detail_type = detail_type.text().ok_or_else(|| refuse("it has no `detail-type` that is a text"))?;
        if !is_ours(&source_name, &detail_type) {
            return Err(NotUnderstood::OtherEvent { source_name, detail_type, takes });
        }
        place.check(&account, &region)?;
        let time = time_of(&time, "time")?;
        let Detailed { detail: Object(detail) } = object(&self.text).map_err(|_| NotUnderstood::NoField("detail"))?;
        Ok((time, detail))
    }
}

/// Reads a text; `None` if there is nothing.
fn optional<'f>(field: &'f Field, name: &'static str) -> Result<Option<&'f str>, NotUnderstood> {
    match field {
        Field::Other => Err(NotUnderstood::NoField(name)),
        Field::Absent | Field::Text(_) => Ok(field.as_text()),
    }
}

/// Reads a time; `None` if there is none.
fn time_of(field: &Field, name: &'static str) -> Result<Option<Timestamp>, NotUnderstood> {
    let text = optional(field, name)?;
    text.map(str::parse).transpose().map_err(|_| NotUnderstood::NoField(name))
}

/// An event, of which the detail is looked at.
#[derive(Deserialize)]
struct Detailed<D> {
    detail: Object<D>,
}

/// Reads a JSON object.
///
/// # Errors
/// What is wrong with it, in a person's words: `it is ...`.
fn object<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let start = text.trim_start();
    if start.is_empty() || start == "null" {
        return Err("it is empty".to_owned());
    }
    serde_json::from_str(text).map(|Object(read)| read).map_err(|error| {
        let why = match error.is_data() {
            true if start.starts_with('{') => "a field of it is there twice, or of the wrong kind",
            true => "it is no JSON object",
            false => "it is not JSON",
        };
        why.to_owned()
    })
}

/// An instance id in an event.
fn instance_id_of(field: Field, name: &'static str) -> Result<InstanceId, NotUnderstood> {
    let instance = InstanceId::from(field.text().ok_or(NotUnderstood::NoField(name))?);
    if instance.is_well_formed() { Ok(instance) } else { Err(NotUnderstood::InstanceId(instance)) }
}

impl Place {
    /// Returns the place of a function with this ARN.
    pub fn of_function(arn: &str, region: &str) -> Self {
        let account = arn.split(':').nth(4).filter(|part| part.len() == 12 && part.bytes().all(|b| b.is_ascii_digit()));
        let account = account.filter(|account| *account != EMULATORS_ACCOUNT);
        Self { region: region.to_owned(), account: account.map(str::to_owned) }
    }

    fn check(&self, account: &Field, region: &Field) -> Result<(), NotUnderstood> {
        let (account, region) = (optional(account, "account")?, optional(region, "region")?);
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
    #[error("this is not an EventBridge event, since {why}. {takes}")]
    NotAnEvent {
        /// What is wrong with it: `it is ...`.
        why: String,
        /// What the function takes, and where a sample is.
        takes: &'static str,
    },
    /// Of another kind.
    #[error(
        "an event `{detail_type}` from `{source_name}` is not for this function: its rule should match only what the template's rule of this function does. {takes}"
    )]
    OtherEvent {
        /// The event's source.
        source_name: String,
        /// The event's detail-type.
        detail_type: String,
        /// What the function takes, and where a sample is.
        takes: &'static str,
    },
    /// A notification that is no event of EventBridge's.
    #[error("`{detail_type}`, a notification of `{source_name}`, is not for this function. {takes}")]
    OtherNotification {
        /// The service.
        source_name: String,
        /// What it tells of.
        detail_type: String,
        /// What the function takes, and where a sample is.
        takes: &'static str,
    },
    /// A batch of another service.
    #[error(
        "these are records {origin}, and this function takes records of its own SQS queue alone, to which the template's rule sends. {takes}"
    )]
    OtherRecords {
        /// `of aws:sns`, and the like.
        origin: String,
        /// What the function takes, and where a sample is.
        takes: &'static str,
    },
    /// Neither an event nor an order.
    #[error("this is no order: {why}. {takes}")]
    NotAnOrder {
        /// What is wrong with it.
        why: String,
        /// What the function takes, and where a sample is.
        takes: &'static str,
    },
    /// Without a field that AWS documents.
    #[error("the event has no `{0}` that is what AWS documents for it")]
    NoField(&'static str),
    /// Not an id.
    #[error("`{0}` is not the id of an instance")]
    InstanceId(InstanceId),
    /// A word that is not documented.
    #[error("`{0}` is not a state of an instance that this version knows")]
    State(String),
    /// A word that is not documented.
    #[error("`{0}` is not a lifecycle transition that this version knows")]
    Transition(String),
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
        "the lifecycle hook `{hook}` is left to its own timeout and default result, because its NotificationMetadata is not understood: {why}"
    )]
    Metadata {
        /// Whose.
        hook: LifecycleHookName,
        /// What is wrong with it.
        why: String,
    },
    /// A registration in what the operator wrote at the hook.
    #[error(
        "the lifecycle hook `{hook}` is left to its own timeout and default result, because its NotificationMetadata has `{text}`, which is not a registration: {why}"
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
