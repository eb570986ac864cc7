//! State changes of EC2 instances.

use serde::Deserialize;

use crate::{
    event::{Input, NotUnderstood, Place, field::Field, instance_id_of, look::Look},
    id::InstanceId,
    instance::State,
    time::Timestamp,
};

const STATE_CHANGE: &str = "EC2 Instance State-change Notification";

/// A notice that an instance has to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The instance to look at.
    pub instance: InstanceId,
    /// The state that the event announced, and when. It is a hint: events come late, twice, or in another order.
    pub announced: Option<(State, Timestamp)>,
    /// How often the work on the instance has failed before, together with others.
    pub failures: u32,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct StateChange {
    instance_id: Field,
    state: Field,
}

impl Notice {
    /// What can be read, for a person who sent something else.
    pub const TAKES: &str = "`instance-state` takes `EC2 Instance State-change Notification` from `aws.ec2`: \
                             events/instance-stopped.json in the repository of elb-registrar is a sample";

    /// Returns whether the notice tells that the instance stops, or ends.
    pub fn tells_of_a_stop(&self) -> bool {
        self.announced.is_some_and(|(state, _)| state.is_out())
    }

    /// Returns the notice as its queue tells it, which got the event at this time. No event is of a later time.
    #[must_use]
    pub fn told_by_queue(self, at: Timestamp) -> Self {
        Self { announced: self.announced.map(|(state, time)| (state, time.min(at))), ..self }
    }

    /// Reads an EventBridge event, also inside the envelope of SNS, or a plain order.
    ///
    /// # Errors
    /// If it is not a state change of an EC2 instance of this account and Region, in its documented form. Repeating the
    /// event would not help: a person has to look at it.
    pub fn of_event(text: &str, place: &Place) -> Result<Self, NotUnderstood> {
        let is_ours = |source: &str, detail_type: &str| source == "aws.ec2" && detail_type == STATE_CHANGE;
        let input = Input::of(text, Self::TAKES)?;
        if input.outline.instance != Field::Absent {
            return Look::read(&input.text)?.into_notice();
        }
        let (time, detail): (_, StateChange) = input.event(place, Self::TAKES, is_ours)?;
        let instance = instance_id_of(detail.instance_id, "detail.instance-id")?;
        let name = detail.state.text().ok_or(NotUnderstood::NoField("detail.state"))?;
        let state = State::from_name(&name);
        if state == State::Unknown {
            return Err(NotUnderstood::State(name));
        }
        Ok(Self { instance, announced: time.map(|time| (state, time)), failures: 0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn place() -> Place {
        Place::of_function("arn:aws:lambda:us-east-1:123456789012:function:instance-state", "us-east-1")
    }

    /// Returns the sample of the EC2 user guide, which has no `version`.
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
        assert_eq!(
            notice,
            Notice { instance: "i-abcd1111".into(), announced: Some((State::Pending, time)), failures: 0 }
        );
    }

    #[test]
    fn a_foreign_event_is_refused_with_a_sentence_that_names_it() {
        for (pointer, value, words) in [
            ("/source", json!("aws.autoscaling"), "from `aws.autoscaling` is not for this function"),
            ("/detail-type", json!("EC2 Spot Instance Interruption Warning"), "Spot"),
            ("/account", json!("210987654321"), "account 210987654321"),
            ("/region", json!("eu-west-1"), "Region eu-west-1"),
            ("/detail/state", json!("exploded"), "`exploded`"),
            ("/detail/instance-id", json!("mi-1"), "`mi-1`"),
            ("/detail", json!({}), "no `detail.instance-id`"),
            ("/detail", json!([]), "no `detail`"),
            ("/detail", json!({ "instance-id": "i-abcd1111", "state": 7 }), "no `detail.state`"),
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
        // The ARNs that `cargo lambda watch` sends, and that the runtime interface emulator and `sam local` send.
        for arn in ["function-arn", "arn:aws:lambda:us-east-1:012345678912:function:test_function"] {
            let place = Place::of_function(arn, "us-east-1");
            assert_eq!(place.account, None);
            assert!(Notice::of_event(&sample().to_string(), &place).is_ok());
        }
    }

    #[test]
    fn an_event_without_account_and_region_is_of_here() {
        let mut event = sample();
        for field in ["account", "region", "resources"] {
            event.as_object_mut().unwrap().remove(field);
        }
        for (account, region) in [("123456789012", "us-east-1"), ("210987654321", "eu-west-1")] {
            let arn = format!("arn:aws:lambda:{region}:{account}:function:instance-state");
            assert!(Notice::of_event(&event.to_string(), &Place::of_function(&arn, region)).is_ok(), "{arn}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = Notice::of_event(&text, &place());
        }
    }
}
