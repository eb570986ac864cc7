//! A lifecycle hook as its operator made it: how long it waits, and what its `NotificationMetadata` says.
//!
//! The functions read the hook at every look, and never the event's copy. So a made-up event declares nothing, and an
//! operator's correction at the hook counts from the next look on.

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

/// Returns whether a hook belongs to the deployment with the prefix `own`, by the hook's name. `others` are the prefixes of other
/// deployments: of two prefixes of which one is the beginning of the other, the longer one has the hook.
///
/// Otherwise both deployments would serve it, and the first to complete it would end what the other still waits for.
pub fn is_own(name: &str, own: &str, others: &[String]) -> bool {
    name.starts_with(own) && !others.iter().any(|other| other.len() > own.len() && name.starts_with(other.as_str()))
}

/// A hook as Auto Scaling describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleHook {
    /// The transition that the hook is for.
    pub lifecycle_transition: Option<String>,
    /// The heartbeat timeout, in seconds.
    pub heartbeat_timeout: Option<i32>,
    /// The global timeout, in seconds.
    pub global_timeout: Option<i32>,
    /// `CONTINUE` or `ABANDON`.
    pub default_result: Option<String>,
    /// What the operator wrote there.
    pub notification_metadata: Option<String>,
}

/// Metadata as an operator would write it.
const SAMPLE: &str = r#"{"register": ["tg:web"]}"#;

/// What a field of seconds has to be. An action can wait for 48 hours at most.
const SECONDS: &str = "a whole number of seconds from 0 to 172800";

/// What the field `on_timeout` has to be.
const RESULTS: &str = "`ABANDON` or `CONTINUE`";

/// What the field `register` has to be.
const REGISTRATIONS: &str = "a list of registrations, each a text such as `tg:web`";

/// A lifecycle hook, reduced to what matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// How long an action waits after its beginning, or after a heartbeat, until Auto Scaling ends it.
    pub heartbeat_timeout: Duration,
    /// How long an action can wait in all, however many heartbeats there are.
    pub global_timeout: Duration,
    /// How Auto Scaling ends the action then.
    pub default_result: ActionResult,
    /// What the operator wrote there.
    pub metadata: Metadata,
    /// Why the metadata could not be read. Then `metadata` is empty, and must not be acted on.
    pub unread: Option<NotUnderstood>,
}

/// What an operator sets for one hook, in its `NotificationMetadata`. What is left out follows the function's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Registrations to make at the launch, beside those of the instance's own tags.
    pub register: Vec<Declaration>,
    /// How long to wait for health, or for a balancer that cannot be read or written. 0 means as long as the hook
    /// waits, whatever the setting is.
    pub timeout: Option<Duration>,
    /// How to end an action that is given up, instead of by the hook's default result.
    pub on_timeout: Option<ActionResult>,
    /// How long a Network Load Balancer may still open new connections to a deregistered target.
    pub network_drain: Option<Duration>,
}

impl Hook {
    /// Reads a hook as Auto Scaling describes it.
    pub fn of(name: &LifecycleHookName, described: &LifecycleHook) -> Self {
        let seconds = |value: Option<i32>| value.and_then(|value| u64::try_from(value).ok()).map(Duration::from_secs);
        let heartbeat_timeout = seconds(described.heartbeat_timeout).unwrap_or(HEARTBEAT_TIMEOUT_DEFAULT);
        let global_timeout = seconds(described.global_timeout);
        let (metadata, unread) = match Metadata::of(name, described) {
            Ok(metadata) => (metadata, None),
            Err(why) => (Metadata::default(), Some(why)),
        };
        Self {
            heartbeat_timeout,
            global_timeout: global_timeout.unwrap_or_else(|| (heartbeat_timeout * 100).min(GLOBAL_TIMEOUT_MAX)),
            default_result: match described.default_result.as_deref() {
                Some("CONTINUE") => ActionResult::Continue,
                _ => ActionResult::Abandon,
            },
            metadata,
            unread,
        }
    }
}

impl Metadata {
    fn of(name: &LifecycleHookName, described: &LifecycleHook) -> Result<Self, NotUnderstood> {
        let refuse = |why: String| NotUnderstood::Metadata { hook: name.clone(), why };
        let transition = described.lifecycle_transition.as_deref().unwrap_or_default();
        let transition = Transition::from_name(transition)
            .ok_or_else(|| refuse(format!("`{transition}` is not a lifecycle transition that this version knows")))?;
        let written = match described.notification_metadata.as_deref().unwrap_or_default().trim() {
            "" => return Ok(Self::default()),
            text => text,
        };
        let refuse = |why: BadFields| match why {
            BadFields::NotJson => refuse(format!("it is not JSON, such as `{SAMPLE}`")),
            why => refuse(why.to_string()),
        };
        match transition {
            Transition::Launching => {
                let (metadata, register) = Self::of_launch(written).map_err(refuse)?;
                let (register, unread) = Declaration::all_in(&register);
                match unread.into_iter().next() {
                    None => Ok(Self { register, ..metadata }),
                    Some((text, why)) => Err(NotUnderstood::Declaration { hook: name.clone(), text, why }),
                }
            }
            Transition::Terminating => Self::of_termination(written).map_err(refuse),
        }
    }

    /// Reads what a launch hook says. Returns the texts of its registrations, too.
    fn of_launch(written: &str) -> Result<(Self, String), BadFields> {
        let mut fields = Fields::read(written, &["register", "timeout_seconds", "on_timeout"])?;
        let register = fields.take("register", REGISTRATIONS, texts)?;
        let metadata = Self {
            timeout: fields.take("timeout_seconds", SECONDS, seconds)?,
            on_timeout: fields.take("on_timeout", RESULTS, result)?,
            ..Self::default()
        };
        Ok((metadata, register.unwrap_or_default()))
    }

    fn of_termination(written: &str) -> Result<Self, BadFields> {
        let mut fields = Fields::read(written, &["timeout_seconds", "on_timeout", "network_drain_seconds"])?;
        Ok(Self {
            timeout: fields.take("timeout_seconds", SECONDS, seconds)?,
            on_timeout: fields.take("on_timeout", RESULTS, result)?,
            network_drain: fields.take("network_drain_seconds", SECONDS, seconds)?,
            ..Self::default()
        })
    }
}

/// Reads a list of texts, none of them empty. Returns them in one text, as a tag has them.
fn texts(value: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
    let texts: Option<Vec<String>> = value.as_array()?.iter().map(text).collect();
    Some(texts?.join(" "))
}

fn result(value: &Value) -> Option<ActionResult> {
    ActionResult::from_word(value.as_str()?)
}

fn seconds(value: &Value) -> Option<Duration> {
    value.as_u64().map(Duration::from_secs).filter(|time| *time <= GLOBAL_TIMEOUT_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hook_belongs_to_the_longest_prefix_of_its_name() {
        let prefixes = ["reg", "reg-blue", "other"].map(str::to_owned);
        for (name, owner) in [
            ("reg-in", Some("reg")),
            ("reg-blue-in", Some("reg-blue")),
            ("reg-blue", Some("reg-blue")),
            ("other-in", Some("other")),
            ("re-in", None),
        ] {
            // Each deployment may know its own prefix as another's, too.
            let owners: Vec<&String> = prefixes.iter().filter(|own| is_own(name, own, &prefixes)).collect();
            assert_eq!(owners, owner.into_iter().collect::<Vec<_>>(), "{name}");
        }
        assert!(is_own("reg-blue-in", "reg", &[]), "a prefix that it does not know keeps nothing from it");
    }

    fn described(transition: &str) -> LifecycleHook {
        let lifecycle_transition = Some(format!("autoscaling:EC2_INSTANCE_{transition}"));
        LifecycleHook { lifecycle_transition, ..LifecycleHook::default() }
    }

    fn hook_of(described: LifecycleHook) -> Result<Hook, String> {
        let hook = Hook::of(&"elb-registrar-hook".into(), &described);
        hook.unread.clone().map_or(Ok(hook), |why| Err(why.to_string()))
    }

    fn read_of(transition: &str, metadata: &str) -> Result<Metadata, String> {
        let notification_metadata = Some(metadata.to_owned());
        hook_of(LifecycleHook { notification_metadata, ..described(transition) }).map(|hook| hook.metadata)
    }

    #[test]
    fn what_an_operator_writes_at_the_hook_is_read() {
        let metadata = r#"{"register": ["tg:web:8080", "clb:shop"], "timeout_seconds": 600, "on_timeout": "CONTINUE"}"#;
        let metadata = read_of("LAUNCHING", metadata).unwrap();
        let register: Vec<String> = metadata.register.iter().map(ToString::to_string).collect();
        assert_eq!(register, ["tg:web:8080", "clb:shop"]);
        assert_eq!(
            (metadata.timeout, metadata.on_timeout),
            (Some(Duration::from_secs(600)), Some(ActionResult::Continue))
        );
        let metadata = r#"{"network_drain_seconds": 180, "on_timeout": "ABANDON"}"#;
        let metadata = read_of("TERMINATING", metadata).unwrap();
        assert_eq!(metadata.network_drain, Some(Duration::from_secs(180)));
        assert_eq!(metadata.on_timeout, Some(ActionResult::Abandon));
        assert_eq!(read_of("LAUNCHING", " "), Ok(Metadata::default()));
    }

    #[test]
    fn unknown_metadata_is_refused_with_a_sentence_that_names_the_hook() {
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
        assert_eq!((hook.default_result, hook.metadata), (ActionResult::Abandon, Metadata::default()));
    }

    proptest! {
        #[test]
        fn no_metadata_makes_it_panic(metadata in "\\PC{0,200}") {
            let _ = read_of("LAUNCHING", &metadata);
            let _ = read_of("TERMINATING", &metadata);
        }
    }
}
