//! Events: each tells which instance to look at, and no more.
//!
//! The state that an event announces only helps to recognise a description that is older than the event. What to do
//! follows from what AWS says. An event that is not understood is an error of that event alone.

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
    plain::Plain,
    time::Timestamp,
};

pub use lifecycle_action::{ActionKey, LifecycleAction, Transition};
pub use look::{LOOKS_AN_ORDER_MAX, notices_of, order_of};
pub use state_change::Notice;

/// The account in the ARN that local emulators make up, in `us-east-1` whatever the Region is. No event comes from it.
///
/// The runtime interface emulator has it, too, which `sam local` starts (`InvokedFunctionArn` in
/// <https://github.com/aws/aws-lambda-runtime-interface-emulator/blob/4fa21571526087e3a0076b9fecf67a79e3927994/internal/lambda/rie/handlers.go>;
/// the emulator's binaries are in <https://github.com/aws/aws-sam-cli/tree/v1.164.0/samcli/local/rapid>).
const EMULATORS_ACCOUNT: &str = "012345678912";

/// The Region and account in which the function runs. It takes events of this place only.
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
    /// An instance or an action to look at.
    Look(N),
    /// Nothing that needs any work, with the reason.
    Nothing(&'static str),
}

/// The fields that tell one kind of input from another, and those fields of an EventBridge event that are read.
///
/// aws_lambda_events would keep a detail of any kind as a JSON value first: that takes 50 times the size of a message
/// full of small numbers.
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
    /// The published message in what SNS delivers.
    #[serde(rename = "Message")]
    sns_message: Field,
    /// The instance of a plain order.
    instance: Field,
    /// `AWS Auto Scaling` in a notification that a lifecycle hook sends to a queue or a topic.
    #[serde(rename = "Service")]
    service: Field,
    /// The subject of a notification that is no event, such as `autoscaling:EC2_INSTANCE_LAUNCH`.
    #[serde(rename = "Event")]
    event: Field,
}

/// An input without its envelope.
struct Input<'t> {
    text: Cow<'t, str>,
    outline: Outline,
}

impl<'t> Input<'t> {
    /// Reads an input, and removes what SNS wraps around a message. A subscription without raw message delivery sends
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

    /// Reads an EventBridge event of this account and Region. Returns its time and its detail.
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

/// Reads a text; `None` if there is none.
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

/// An event of which the detail is read.
#[derive(Deserialize)]
struct Detailed<D> {
    detail: Object<D>,
}

/// Reads a JSON object.
///
/// # Errors
/// Says what is wrong with the text, in words for a person: `it is ...`.
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

/// Reads an instance id of an event.
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
    /// The input is not JSON, or lacks the fields of an event.
    #[error("this is not an EventBridge event, since {}. {takes}", Plain::of(why))]
    NotAnEvent {
        /// What is wrong with the input: `it is ...`.
        why: String,
        /// What the function takes, and where a sample is.
        takes: &'static str,
    },
    /// The event is of another kind.
    #[error(
        "an event `{}` from `{}` is not for this function: its rule should match only what the template's rule of this function does. {takes}",
        Plain::of(detail_type),
        Plain::of(source_name)
    )]
    OtherEvent {
        /// The event's source.
        source_name: String,
        /// The event's detail-type.
        detail_type: String,
        /// What the function takes, and where a sample is.
        takes: &'static str,
    },
    /// The input is a notification, and no event of EventBridge.
    #[error(
        "`{}`, a notification of `{}`, is not for this function. {takes}",
        Plain::of(detail_type),
        Plain::of(source_name)
    )]
    OtherNotification {
        /// The service that sent it.
        source_name: String,
        /// The subject of the notification.
        detail_type: String,
        /// What the function takes, and where a sample is.
        takes: &'static str,
    },
    /// The input is a batch of another service.
    #[error(
        "these are records {}, and this function takes records of its own SQS queue alone, to which the template's rule sends. {takes}",
        Plain::of(origin)
    )]
    OtherRecords {
        /// The origin: `of aws:sns`, and the like.
        origin: String,
        /// What the function takes, and where a sample is.
        takes: &'static str,
    },
    /// The input is neither an event nor an order.
    #[error("this is no order: {}. {takes}", Plain::of(why))]
    NotAnOrder {
        /// What is wrong with the input.
        why: String,
        /// What the function takes, and where a sample is.
        takes: &'static str,
    },
    /// The event lacks a field that AWS documents.
    #[error("the event has no `{0}` that is what AWS documents for it")]
    NoField(&'static str),
    /// The text is not the id of an instance.
    #[error("`{0}` is not the id of an instance")]
    InstanceId(InstanceId),
    /// The state is not documented.
    #[error("`{}` is not a state of an instance that this version knows", Plain::of(.0))]
    State(String),
    /// The transition is not documented.
    #[error("`{}` is not a lifecycle transition that this version knows", Plain::of(.0))]
    Transition(String),
    /// The event comes from another account.
    #[error("the event is of account {}, and this function works in {ours}: deploy it there, too", Plain::of(theirs))]
    OtherAccount {
        /// The function's account.
        ours: String,
        /// The event's account.
        theirs: String,
    },
    /// The event comes from another Region.
    #[error("the event is of Region {}, and this function works in {ours}: deploy it there, too", Plain::of(theirs))]
    OtherRegion {
        /// The function's Region.
        ours: String,
        /// The event's Region.
        theirs: String,
    },
    /// By its name, the hook is served by another system.
    #[error(
        "the lifecycle hook `{hook}` is not for this function: the name of a hook for this function begins with `{prefix}` (REGISTRAR_LIFECYCLE_HOOK_PREFIX)"
    )]
    OtherHook {
        /// The event's hook.
        hook: LifecycleHookName,
        /// The prefix of the hooks that this function serves.
        prefix: String,
    },
    /// The function does not understand what the operator wrote at the hook.
    #[error(
        "the lifecycle hook `{hook}` is left to its own timeout and default result, because its NotificationMetadata is not understood: {}",
        Plain::of(why)
    )]
    Metadata {
        /// The hook that has the metadata.
        hook: LifecycleHookName,
        /// What is wrong with the metadata.
        why: String,
    },
    /// The operator wrote something at the hook that is not a registration.
    #[error(
        "the lifecycle hook `{hook}` is left to its own timeout and default result, because its NotificationMetadata has `{}`, which is not a registration: {why}",
        Plain::of(text)
    )]
    Declaration {
        /// The hook that has the metadata.
        hook: LifecycleHookName,
        /// The text that is not a registration.
        text: String,
        /// What is wrong with the text.
        why: Malformed,
    },
}
