//! What an event may tell: which instance to look at, and no more.
//!
//! The state that it announces only helps to recognise a description that is older than the event; what to do follows from
//! what EC2 says. An event that is not understood is an error of that event alone.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use serde::Deserialize;
use thiserror::Error;

use crate::{
    id::InstanceId,
    instance::{State, Timestamp},
};

const STATE_CHANGE: &str = "EC2 Instance State-change Notification";

/// Look at this instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which one.
    pub instance: InstanceId,
    /// What it was said to be doing, and when. A hint: events come late, twice, or in another order.
    pub announced: Option<(State, Timestamp)>,
}

/// Where the function runs, and therefore whose events it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Such as `us-east-1`.
    pub region: String,
    /// Twelve digits; `None` where the function does not know its own ARN (`cargo lambda watch`).
    pub account: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StateChange {
    instance_id: String,
    state: String,
}

impl Notice {
    /// Reads an EventBridge event.
    ///
    /// # Errors
    /// Where it is not a state change of an EC2 instance of this account and Region, in its documented form. Repeating the
    /// event would not help: it is for a person to look at.
    pub fn of_event(text: &str, place: &Place) -> Result<Self, NotUnderstood> {
        let event: EventBridgeEvent =
            serde_json::from_str(text).map_err(|e| NotUnderstood::NotAnEvent(e.to_string()))?;
        if event.source != "aws.ec2" || event.detail_type != STATE_CHANGE {
            return Err(NotUnderstood::OtherEvent { source_name: event.source, detail_type: event.detail_type });
        }
        place.check(event.account.as_deref(), event.region.as_deref())?;
        let detail: StateChange =
            serde_json::from_value(event.detail).map_err(|e| NotUnderstood::Detail(e.to_string()))?;
        let instance = InstanceId::from(detail.instance_id);
        if !instance.is_well_formed() {
            return Err(NotUnderstood::InstanceId(instance));
        }
        let state = State::from_name(&detail.state);
        if state == State::Unknown {
            return Err(NotUnderstood::State(detail.state));
        }
        Ok(Self { instance, announced: event.time.map(|time| (state, time)) })
    }
}

impl Place {
    /// The place of a function with this ARN.
    pub fn of_function(arn: &str, region: &str) -> Self {
        let account = arn.split(':').nth(4).filter(|part| part.len() == 12 && part.bytes().all(|b| b.is_ascii_digit()));
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
        "an event `{detail_type}` from `{source_name}` is not for this function: its rule shall match only `{STATE_CHANGE}` from `aws.ec2`"
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
    #[error("the event's detail is not that of a state change: {0}")]
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn place() -> Place {
        Place::of_function("arn:aws:lambda:us-east-1:123456789012:function:instance-state", "us-east-1")
    }

    /// The sample of the EC2 user guide, which has no `version`.
    fn sample() -> Value {
        json!({
            "id": "7bf73129-1428-4cd3-a780-95db273d1602", "detail-type": STATE_CHANGE, "source": "aws.ec2",
            "account": "123456789012", "time": "2021-11-11T21:29:54Z", "region": "us-east-1",
            "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],
            "detail": { "instance-id": "i-abcd1111", "state": "pending" }
        })
    }

    #[test]
    fn the_documented_sample_names_its_instance() {
        let notice = Notice::of_event(&sample().to_string(), &place()).unwrap();
        let time = "2021-11-11T21:29:54Z".parse().unwrap();
        assert_eq!(notice, Notice { instance: "i-abcd1111".into(), announced: Some((State::Pending, time)) });
    }

    #[test]
    fn an_event_that_is_not_ours_is_refused_with_a_sentence_that_names_it() {
        for (pointer, value, words) in [
            ("/source", json!("aws.autoscaling"), "from `aws.autoscaling` is not for this function"),
            ("/detail-type", json!("EC2 Spot Instance Interruption Warning"), "Spot"),
            ("/account", json!("210987654321"), "account 210987654321"),
            ("/region", json!("eu-west-1"), "Region eu-west-1"),
            ("/detail/state", json!("exploded"), "`exploded`"),
            ("/detail/instance-id", json!("mi-1"), "`mi-1`"),
            ("/detail", json!({}), "instance-id"),
            ("/detail-type", json!(1), "not an EventBridge event"),
        ] {
            let mut event = sample();
            *event.pointer_mut(pointer).unwrap() = value;
            let error = Notice::of_event(&event.to_string(), &place()).unwrap_err().to_string();
            assert!(error.contains(words), "{pointer}: {error}");
        }
    }

    #[test]
    fn a_function_that_does_not_know_its_account_takes_any() {
        let place = Place::of_function("function-arn", "us-east-1");
        assert_eq!(place.account, None);
        assert!(Notice::of_event(&sample().to_string(), &place).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = Notice::of_event(&text, &place());
        }
    }
}
