//! Plain orders, which this project's functions send to each other: look at this instance, or at these together.
//!
//! `{"instance": "i-..."}` goes to the queue of events, where it is one more event. `{"look_at": [{"instance":
//! "i-..."}, ...]}` goes to the queue of orders, which one invocation at a time serves. Neither says what to do: that
//! follows from what AWS says.

use serde::{Deserialize, Serialize};

use crate::{
    event::{NotUnderstood, Notice, field::Field, instance_id_of},
    instance::State,
    time::Timestamp,
};

/// Instances in one order, at most: as many as a batch of events has. So an order that a stranger made up costs no more
/// than a batch.
pub const LOOKS_AN_ORDER_MAX: usize = 10;

/// What can be read, for a person who sent something else.
const TAKES: &str = "A plain order is `{\"instance\": \"i-...\"}` for the queue of events, and `{\"look_at\": [{\"instance\": \"i-...\"}]}` for \
                     the queue of orders";

/// An order to look at one instance.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    instance: String,
    /// The state that an event announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// The time of that event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    /// How often the work on the instance has failed together with others.
    #[serde(default, skip_serializing_if = "is_zero")]
    failures: u32,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Order {
    look_at: Vec<Look>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Look {
    fn of(notice: &Notice) -> Self {
        let (state, time) = notice.announced.map(|(state, time)| (state.name().to_owned(), time)).unzip();
        Self { instance: notice.instance.to_string(), state, time, failures: notice.failures }
    }

    pub(super) fn read(text: &str) -> Result<Self, NotUnderstood> {
        serde_json::from_str(text).map_err(not_an_order)
    }

    pub(super) fn into_notice(self) -> Result<Notice, NotUnderstood> {
        let announced = match self.state.as_deref().map(State::from_name) {
            Some(State::Unknown) => return Err(NotUnderstood::State(self.state.unwrap_or_default())),
            state => state.zip(self.time),
        };
        let instance = instance_id_of(Field::Text(self.instance), "instance")?;
        Ok(Notice { instance, announced, failures: self.failures })
    }
}

impl Notice {
    /// Returns the notice as a plain order for the queue of events.
    pub fn to_order(&self) -> String {
        serde_json::to_string(&Look::of(self)).unwrap_or_default()
    }
}

/// Returns some notices as one order for the queue of orders.
pub fn order_of(notices: &[&Notice]) -> String {
    let look_at = notices.iter().map(|notice| Look::of(notice)).collect();
    serde_json::to_string(&Order { look_at }).unwrap_or_default()
}

/// Reads an order from the queue of orders.
///
/// # Errors
/// If the text is no order. Repeating it would not help.
pub fn notices_of(text: &str) -> Result<Vec<Notice>, NotUnderstood> {
    let order: Order = serde_json::from_str(text).map_err(not_an_order)?;
    if order.look_at.len() > LOOKS_AN_ORDER_MAX {
        let why =
            format!("it names {} instances, and an order names {LOOKS_AN_ORDER_MAX} at most", order.look_at.len());
        return Err(refuse(why));
    }
    order.look_at.into_iter().map(Look::into_notice).collect()
}

/// Says what is wrong with a text that does not parse, in words for a person.
fn not_an_order(error: serde_json::Error) -> NotUnderstood {
    refuse(if error.is_data() { "its fields are not those of one" } else { "it is not JSON" }.to_owned())
}

fn refuse(why: String) -> NotUnderstood {
    NotUnderstood::NotAnOrder { why, takes: TAKES }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{event::Place, instance::tests::at};

    fn place() -> Place {
        Place::of_function("arn:aws:lambda:us-east-1:123456789012:function:instance-state", "us-east-1")
    }

    #[test]
    fn a_notice_that_is_sent_on_is_read_as_it_was() {
        let plain = Notice { instance: "i-abcd1111".into(), announced: None, failures: 0 };
        let told = Notice { announced: Some((State::ShuttingDown, at(7))), failures: 3, ..plain.clone() };
        for notice in [&plain, &told] {
            assert_eq!(Notice::of_event(&notice.to_order(), &place()).as_ref(), Ok(notice));
        }
        assert_eq!(plain.to_order(), r#"{"instance":"i-abcd1111"}"#);
        assert_eq!(notices_of(&order_of(&[&plain, &told])), Ok(vec![plain, told]));
    }

    #[test]
    fn what_is_no_order_is_refused_with_a_sentence_that_names_it() {
        let eleven = format!(r#"{{"look_at":[{}]}}"#, [r#"{"instance":"i-abcd1111"}"#; 11].join(","));
        for (text, words) in [
            ("", "it is not JSON"),
            (r#"{"look_at": "i-abcd1111"}"#, "its fields are not those of one"),
            (r#"{"look_at": [], "register": []}"#, "its fields are not those of one"),
            (r#"{"look_at": [{"instance": "mi-1"}]}"#, "`mi-1`"),
            (r#"{"look_at": [{"instance": "i-abcd1111", "state": "exploded"}]}"#, "`exploded`"),
            (&eleven, "it names 11 instances"),
        ] {
            let error = notices_of(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        let slip = Notice::of_event(r#"{"instance": "i-abcd1111", "sate": "stopped"}"#, &place()).unwrap_err();
        assert!(slip.to_string().contains("its fields are not those of one"), "{slip}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = notices_of(&text);
        }
    }
}
