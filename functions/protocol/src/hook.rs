//! A lifecycle hook as its operator made it: how long it waits, and what its `NotificationMetadata` wants.
//!
//! Read from the hook at every look, and never from an event: so a made-up event declares nothing, and what an operator
//! corrects at the hook counts from the next look on.

use std::time::Duration;

use serde_json::Value;

use crate::{
    declaration::Declaration,
    event::{NotUnderstood, Transition},
    fields::{BadFields, Fields},
    id::LifecycleHookName,
    member::ActionResult,
    timing::{GLOBAL_TIMEOUT_MAX, HEARTBEAT_TIMEOUT_DEFAULT},
};

/// What Auto Scaling says of a hook, as it says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleHook {
    /// Which way it is for.
    pub lifecycle_transition: Option<String>,
    /// In seconds.
    pub heartbeat_timeout: Option<i32>,
    /// In seconds.
    pub global_timeout: Option<i32>,
    /// `CONTINUE` or `ABANDON`.
    pub default_result: Option<String>,
    /// What its operator wrote there.
    pub notification_metadata: Option<String>,
}

/// Metadata as an operator would write it.
const SAMPLE: &str = r#"{"register": ["tg:web"]}"#;

/// What a field of seconds has to be.
const SECONDS: &str = "a whole number of seconds";

/// A lifecycle hook, reduced to what matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// How long an action waits after its beginning, or after a heartbeat, until Auto Scaling ends it.
    pub heartbeat_timeout: Duration,
    /// How long an action can wait in all, however many heartbeats there are.
    pub global_timeout: Duration,
    /// How Auto Scaling ends it then.
    pub default_result: ActionResult,
    /// What the operator wants of it.
    pub wishes: Wishes,
}

/// What an operator wants of one hook, by its `NotificationMetadata`. What is left out follows the function's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Registrations to make at the launch, beside those of the instance's own tags. As the text of the tag.
    pub register: String,
    /// How long to wait for health, or for a balancer that cannot be read or written. `None` for 0, too: as long as the hook.
    pub timeout: Option<Duration>,
    /// How the launch ends that is not healthy in time.
    pub on_timeout: Option<ActionResult>,
    /// How long a target behind a Network Load Balancer may still get new connections.
    pub network_drain: Option<Duration>,
}

impl Hook {
    /// Reads a hook as Auto Scaling describes it.
    ///
    /// # Errors
    /// Where its metadata, or the way that it is for, is not what this version knows.
    pub fn of(name: &LifecycleHookName, described: &LifecycleHook) -> Result<Self, NotUnderstood> {
        let seconds = |value: Option<i32>| value.and_then(|value| u64::try_from(value).ok()).map(Duration::from_secs);
        let heartbeat_timeout = seconds(described.heartbeat_timeout).unwrap_or(HEARTBEAT_TIMEOUT_DEFAULT);
        let global_timeout = seconds(described.global_timeout);
        Ok(Self {
            heartbeat_timeout,
            global_timeout: global_timeout.unwrap_or_else(|| (heartbeat_timeout * 100).min(GLOBAL_TIMEOUT_MAX)),
            default_result: match described.default_result.as_deref() {
                Some("CONTINUE") => ActionResult::Continue,
                _ => ActionResult::Abandon,
            },
            wishes: Wishes::of(name, described)?,
        })
    }
}

impl Wishes {
    fn of(name: &LifecycleHookName, described: &LifecycleHook) -> Result<Self, NotUnderstood> {
        let refuse = |why: String| NotUnderstood::Metadata { hook: name.clone(), why };
        let transition = described.lifecycle_transition.as_deref().unwrap_or_default();
        let transition = Transition::from_name(transition)
            .ok_or_else(|| refuse(format!("`{transition}` is not a lifecycle transition that this version knows")))?;
        let metadata = match described.notification_metadata.as_deref().unwrap_or_default().trim() {
            "" => return Ok(Self::default()),
            text => serde_json::from_str(text).map_err(|_| refuse(format!("it is not JSON, such as `{SAMPLE}`")))?,
        };
        let wishes = match transition {
            Transition::Launching => Self::of_launch(metadata),
            Transition::Terminating => Self::of_termination(metadata),
        };
        let wishes = wishes.map_err(|why| refuse(why.to_string()))?;
        match Declaration::all_in(&wishes.register).1.into_iter().next() {
            Some((text, why)) => Err(NotUnderstood::Declaration { hook: name.clone(), text, why }),
            None => Ok(wishes),
        }
    }

    fn of_launch(metadata: Value) -> Result<Self, BadFields> {
        let mut fields = Fields::of(metadata, &["register", "timeout_seconds", "on_timeout"])?;
        Ok(Self {
            register: fields.take("register", "a list of registrations, each a text", texts)?.unwrap_or_default(),
            timeout: fields.take("timeout_seconds", SECONDS, seconds)?.filter(|timeout| !timeout.is_zero()),
            on_timeout: fields
                .take("on_timeout", "`ABANDON` or `CONTINUE`", |value| ActionResult::from_word(value.as_str()?))?,
            network_drain: None,
        })
    }

    fn of_termination(metadata: Value) -> Result<Self, BadFields> {
        let mut fields = Fields::of(metadata, &["timeout_seconds", "network_drain_seconds"])?;
        Ok(Self {
            timeout: fields.take("timeout_seconds", SECONDS, seconds)?.filter(|timeout| !timeout.is_zero()),
            network_drain: fields.take("network_drain_seconds", SECONDS, seconds)?,
            ..Self::default()
        })
    }
}

/// Reads a list of texts, as the text of the tag has them.
fn texts(value: &Value) -> Option<String> {
    let texts: Option<Vec<&str>> = value.as_array()?.iter().map(Value::as_str).collect();
    Some(texts?.join(" "))
}

fn seconds(value: &Value) -> Option<Duration> {
    value.as_u64().filter(|seconds| *seconds <= u32::MAX.into()).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn described(transition: &str) -> LifecycleHook {
        let lifecycle_transition = Some(format!("autoscaling:EC2_INSTANCE_{transition}"));
        LifecycleHook { lifecycle_transition, ..LifecycleHook::default() }
    }

    fn hook_of(described: LifecycleHook) -> Result<Hook, String> {
        Hook::of(&"elb-registrar-hook".into(), &described).map_err(|error| error.to_string())
    }

    fn read_of(transition: &str, metadata: &str) -> Result<Wishes, String> {
        let notification_metadata = Some(metadata.to_owned());
        hook_of(LifecycleHook { notification_metadata, ..described(transition) }).map(|hook| hook.wishes)
    }

    #[test]
    fn what_an_operator_writes_at_the_hook_is_read() {
        let metadata = r#"{"register": ["tg:web:8080", "clb:shop"], "timeout_seconds": 600, "on_timeout": "CONTINUE"}"#;
        let wishes = read_of("LAUNCHING", metadata).unwrap();
        assert_eq!(wishes.register, "tg:web:8080 clb:shop");
        assert_eq!((wishes.timeout, wishes.on_timeout), (Some(Duration::from_secs(600)), Some(ActionResult::Continue)));
        let wishes = read_of("TERMINATING", r#"{"network_drain_seconds": 180}"#).unwrap();
        assert_eq!(wishes.network_drain, Some(Duration::from_secs(180)));
        assert_eq!(read_of("LAUNCHING", " "), Ok(Wishes::default()));
    }

    #[test]
    fn a_timeout_of_0_is_as_long_as_the_hook() {
        for transition in ["LAUNCHING", "TERMINATING"] {
            assert_eq!(read_of(transition, r#"{"timeout_seconds": 0}"#), Ok(Wishes::default()), "{transition}");
        }
        let drain = read_of("TERMINATING", r#"{"network_drain_seconds": 0}"#).unwrap().network_drain;
        assert_eq!(drain, Some(Duration::ZERO), "no time at all, as in the setting");
    }

    #[test]
    fn metadata_that_says_something_else_is_refused_with_a_sentence_that_names_the_hook() {
        for (transition, metadata, words) in [
            ("LAUNCHING", r#"{"registre": []}"#, "`registre` is no field of it: did you mean `register`?"),
            ("LAUNCHING", r#"{"register": ["web"]}"#, "`web`, which is not a registration"),
            ("LAUNCHING", r#"{"network_drain_seconds": 3}"#, "`network_drain_seconds` is no field of it"),
            ("LAUNCHING", r#"{"on_timeout": "continue"}"#, "has to be `ABANDON` or `CONTINUE`"),
            ("TERMINATING", r#"{"register": ["tg:web"]}"#, "`register` is no field of it"),
            ("TERMINATING", r#"{"timeout_seconds": -1}"#, "has to be a whole number of seconds"),
            ("TERMINATING", "my-metadata", "it is not JSON, such as"),
            ("MOVING", "{}", "`autoscaling:EC2_INSTANCE_MOVING` is not a lifecycle transition"),
        ] {
            let error = read_of(transition, metadata).unwrap_err();
            assert!(error.contains("hook `elb-registrar-hook`") && error.contains(words), "{metadata}: {error}");
        }
    }

    #[test]
    fn what_a_hook_does_not_say_is_as_documented() {
        let hook = hook_of(described("LAUNCHING")).unwrap();
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        assert_eq!((hook.heartbeat_timeout, hook.global_timeout), (hours(1), hours(48)));
        assert_eq!((hook.default_result, hook.wishes), (ActionResult::Abandon, Wishes::default()));
    }

    proptest! {
        #[test]
        fn no_metadata_makes_it_panic(metadata in "\\PC{0,200}") {
            let _ = read_of("LAUNCHING", &metadata);
            let _ = read_of("TERMINATING", &metadata);
        }
    }
}
