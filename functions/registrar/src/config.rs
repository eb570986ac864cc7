//! Settings, which are read once, at the start, from the environment that the template sets.

use std::{collections::BTreeMap, time::Duration};

use protocol::{decide::orphan::Fate, nearest::nearest, timing::NETWORK_DRAIN_DEFAULT};
use serde::Serialize;
use thiserror::Error;

/// Names of the variables. docs/install.md and template.yaml have the same.
pub const MODE: &str = "REGISTRAR_MODE";
/// See [`Config::scope`].
pub const SCOPE: &str = "REGISTRAR_SCOPE";
/// See [`Config::orphans`].
pub const PRUNE_ORPHANS: &str = "REGISTRAR_PRUNE_ORPHANS";
/// See [`Config::stack`].
pub const STACK: &str = "REGISTRAR_STACK";
/// See [`Config::queue_url`].
pub const QUEUE_URL: &str = "REGISTRAR_QUEUE_URL";
/// See [`Config::order_queue_url`].
pub const ORDER_QUEUE_URL: &str = "REGISTRAR_ORDER_QUEUE_URL";
/// See [`Config::event_queue_url`].
pub const EVENT_QUEUE_URL: &str = "REGISTRAR_EVENT_QUEUE_URL";
/// See [`Config::dead_letter_queue_url`].
pub const DEAD_LETTER_QUEUE_URL: &str = "REGISTRAR_DEAD_LETTER_QUEUE_URL";
/// See [`Config::lifecycle_hook_prefix`].
pub const LIFECYCLE_HOOK_PREFIX: &str = "REGISTRAR_LIFECYCLE_HOOK_PREFIX";
/// See [`Config::other_hook_prefixes`].
pub const OTHER_HOOK_PREFIXES: &str = "REGISTRAR_OTHER_HOOK_PREFIXES";
/// See [`Config::health_timeout`].
pub const HEALTH_TIMEOUT: &str = "REGISTRAR_HEALTH_TIMEOUT_SECONDS";
/// See [`Config::network_drain`].
pub const NETWORK_DRAIN: &str = "REGISTRAR_NETWORK_DRAIN_SECONDS";

/// How the names of all variables begin.
const PREFIX: &str = "REGISTRAR_";

/// The names of all variables.
pub const NAMES: [&str; 12] = [
    MODE,
    SCOPE,
    PRUNE_ORPHANS,
    STACK,
    QUEUE_URL,
    ORDER_QUEUE_URL,
    EVENT_QUEUE_URL,
    DEAD_LETTER_QUEUE_URL,
    LIFECYCLE_HOOK_PREFIX,
    OTHER_HOOK_PREFIXES,
    HEALTH_TIMEOUT,
    NETWORK_DRAIN,
];

/// The longest time that a lifecycle action can wait, in seconds: a limit of Auto Scaling.
const TWO_DAYS: u64 = 172_800;

/// What the operator has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether anything is changed.
    pub mode: Mode,
    /// Which instances are converged.
    pub scope: Scope,
    /// What a sweep does about orphans.
    pub orphans: Orphans,
    /// The name by which metrics tell this deployment from others. The template sets it.
    pub stack: String,
    /// Whether metrics are written to the standard output. No variable sets it. Only a simulation turns it off:
    /// thousands of functions share one process there, and nothing reads their metrics.
    pub has_metrics: bool,
    /// The queue from which the events come, for parking. Without it, an event that has to wait comes back when the
    /// queue's own visibility timeout is over.
    pub queue_url: Option<String>,
    /// The FIFO queue of orders for one sweep of many instances. Without it, each batch of events works on its own
    /// instances.
    pub order_queue_url: Option<String>,
    /// The queue of events, to which a sweep sends the instances that have to be looked at once more. Without it, they
    /// wait for the next sweep.
    pub event_queue_url: Option<String>,
    /// The queue for events that are not understood. Without it, such an event's own queue retries it until it gives
    /// up.
    pub dead_letter_queue_url: Option<String>,
    /// How the names of the lifecycle hooks begin that are served. A hook with another name must not be completed.
    pub lifecycle_hook_prefix: String,
    /// The prefixes of other deployments in the account and Region. A hook belongs to the longest prefix that its name begins
    /// with, so only those matter that begin with this deployment's own.
    pub other_hook_prefixes: Vec<String>,
    /// How long an instance may take to become healthy at a launch hook. Without it, as long as its hook waits by
    /// itself.
    pub health_timeout: Option<Duration>,
    /// How long a Network Load Balancer may go on opening connections to a deregistered target. A terminate hook is
    /// held for so long, and for the group's delay, even when nothing is draining any more.
    pub network_drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            scope: Scope::default(),
            stack: String::new(),
            has_metrics: true,
            queue_url: None,
            order_queue_url: None,
            event_queue_url: None,
            dead_letter_queue_url: None,
            lifecycle_hook_prefix: "elb-registrar".to_owned(),
            other_hook_prefixes: Vec::new(),
            health_timeout: None,
            network_drain: NETWORK_DRAIN_DEFAULT,
            orphans: Orphans::default(),
        }
    }
}

/// Whether anything is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Decide and act.
    Enforce,
    /// Decide and report. A function that was not told to act does not act.
    #[default]
    Observe,
}

/// Which instances are converged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All instances of the account and Region.
    #[default]
    All,
    /// Instances that bear the tag `elb-registrar:register`, which may be empty.
    Tagged,
}

/// What a sweep does about orphans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphans {
    /// It reports them.
    #[default]
    Report,
    /// It deregisters them, too, if the mode is `enforce`.
    Prune,
    /// It deregisters addresses of interfaces that are attached to nothing, too.
    PruneUnattached,
}

impl Orphans {
    /// Returns whether a sweep deregisters what it found to have a fate.
    pub fn prunes(self, fate: Fate) -> bool {
        match fate {
            Fate::Found => self != Self::Report,
            Fate::Unattached => self == Self::PruneUnattached,
            _ => false,
        }
    }
}

impl Mode {
    /// Returns its word, as a setting and on pages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

impl Config {
    /// Returns mode and scope in words, for pages.
    pub fn in_words(&self) -> String {
        let scope = if self.scope == Scope::Tagged { ", tagged instances only" } else { "" };
        format!("{}{scope}", self.mode.word())
    }

    /// Logs in which mode the function works: a function that only observes looks like one that does nothing.
    pub fn announce(&self) {
        match self.mode {
            Mode::Enforce => tracing::info!(mode = "enforce", "what is decided is done"),
            Mode::Observe => tracing::warn!(
                mode = "observe",
                "nothing is changed, and what would be is in the log and in reports: {MODE}=enforce acts"
            ),
        }
    }

    /// Reads the process's environment.
    ///
    /// # Errors
    /// If a variable has a value that means nothing, or a name of ours that means nothing. The function must not start
    /// with it.
    pub fn from_env() -> Result<Self, BadSetting> {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self::of(&std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect())
    }

    /// Reads variables from anywhere. An empty one counts as missing, because a template cannot leave one out.
    /// Variables with another prefix do not count.
    ///
    /// # Errors
    /// As for [`Config::from_env`].
    pub fn of(variables: &BTreeMap<String, String>) -> Result<Self, BadSetting> {
        let ours = variables.keys().filter(|name| name.starts_with(PREFIX));
        if let Some(name) = ours.into_iter().find(|name| !NAMES.contains(&name.as_str())) {
            let suffixes = NAMES.iter().filter_map(|name| name.strip_prefix(PREFIX));
            let meant = match nearest(name.strip_prefix(PREFIX).unwrap_or(name), suffixes) {
                Some(suffix) => format!("did you mean {PREFIX}{suffix}?"),
                None => format!("there are {}", NAMES.join(", ")),
            };
            return Err(BadSetting::Unknown { name: name.clone(), meant });
        }
        let variable = |name| {
            let value = variables.get(name).map(|value| value.trim().to_owned());
            value.filter(|value| !value.is_empty())
        };
        let default = Self::default();
        Ok(Self {
            mode: one_of(MODE, variable(MODE), &[Mode::Enforce, Mode::Observe].map(|mode| (mode.word(), mode)))?,
            scope: one_of(SCOPE, variable(SCOPE), &[("all", Scope::All), ("tagged", Scope::Tagged)])?,
            orphans: one_of(
                PRUNE_ORPHANS,
                variable(PRUNE_ORPHANS),
                &[("false", Orphans::Report), ("true", Orphans::Prune), ("prune-unattached", Orphans::PruneUnattached)],
            )?,
            stack: variable(STACK).unwrap_or_default(),
            has_metrics: default.has_metrics,
            queue_url: url(QUEUE_URL, variable(QUEUE_URL))?,
            order_queue_url: url(ORDER_QUEUE_URL, variable(ORDER_QUEUE_URL))?,
            event_queue_url: url(EVENT_QUEUE_URL, variable(EVENT_QUEUE_URL))?,
            dead_letter_queue_url: url(DEAD_LETTER_QUEUE_URL, variable(DEAD_LETTER_QUEUE_URL))?,
            lifecycle_hook_prefix: variable(LIFECYCLE_HOOK_PREFIX).unwrap_or(default.lifecycle_hook_prefix),
            other_hook_prefixes: prefixes(variable(OTHER_HOOK_PREFIXES))?,
            // A template cannot leave a number out, so 0 stands for none.
            health_timeout: seconds(HEALTH_TIMEOUT, variable(HEALTH_TIMEOUT))?.filter(|timeout| !timeout.is_zero()),
            network_drain: seconds(NETWORK_DRAIN, variable(NETWORK_DRAIN))?.unwrap_or(default.network_drain),
        })
    }
}

fn one_of<T: Copy + Default>(
    name: &'static str,
    value: Option<String>,
    allowed: &[(&str, T)],
) -> Result<T, BadSetting> {
    let Some(value) = value else { return Ok(T::default()) };
    match allowed.iter().find(|(word, _)| *word == value) {
        Some((_, meaning)) => Ok(*meaning),
        None => {
            let words: Vec<String> = allowed.iter().map(|(word, _)| format!("`{word}`")).collect();
            Err(BadSetting::Value { name, value, allowed: words.join(" or ") })
        }
    }
}

fn seconds(name: &'static str, value: Option<String>) -> Result<Option<Duration>, BadSetting> {
    let Some(value) = value else { return Ok(None) };
    match value.parse() {
        Ok(seconds) if seconds <= TWO_DAYS => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(BadSetting::Value { name, value, allowed: format!("a whole number of seconds from 0 to {TWO_DAYS}") }),
    }
}

/// Reads prefixes with commas between them.
fn prefixes(value: Option<String>) -> Result<Vec<String>, BadSetting> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let is_prefix = |prefix: &str| {
        !prefix.is_empty() && prefix.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/'))
    };
    let prefixes: Vec<String> = value.split(',').map(|prefix| prefix.trim().to_owned()).collect();
    match prefixes.iter().all(|prefix| is_prefix(prefix)) {
        true => Ok(prefixes),
        false => {
            let allowed = "the beginnings of lifecycle hooks' names, with a comma between two of them".to_owned();
            Err(BadSetting::Value { name: OTHER_HOOK_PREFIXES, value, allowed })
        }
    }
}

fn url(name: &'static str, value: Option<String>) -> Result<Option<String>, BadSetting> {
    match value {
        Some(value) if !value.starts_with("https://") && !value.starts_with("http://") => {
            Err(BadSetting::Value { name, value, allowed: "the URL of a queue, as GetQueueUrl tells it".to_owned() })
        }
        value => Ok(value),
    }
}

/// Why the function cannot start with its settings.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadSetting {
    /// A variable has a value that means nothing.
    #[error("the environment variable {name} is `{value}`, and has to be {allowed}")]
    Value {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it could be.
        allowed: String,
    },
    /// A variable has a name like ours that means nothing.
    #[error("the environment variable {name} means nothing: {meant}")]
    Unknown {
        /// The variable.
        name: String,
        /// The name that may have been meant, or all names.
        meant: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Config, String> {
        Config::of(&BTreeMap::from([(name.to_owned(), value.to_owned())])).map_err(|e| e.to_string())
    }

    #[test]
    fn without_settings_all_instances_are_observed() {
        assert_eq!(Config::of(&BTreeMap::new()), Ok(Config::default()));
        assert_eq!((Config::default().mode, Config::default().scope), (Mode::Observe, Scope::All));
        assert_eq!(read(MODE, " "), Ok(Config::default()), "an empty variable is as good as none");
    }

    #[test]
    fn settings_are_read_by_their_names() {
        assert_eq!(read(MODE, "enforce").map(|c| c.mode), Ok(Mode::Enforce));
        assert_eq!(read(MODE, "observe").map(|c| c.mode), Ok(Mode::Observe));
        assert_eq!(read(STACK, "fleet").map(|c| c.stack), Ok("fleet".to_owned()));
        assert_eq!(read(SCOPE, "tagged").map(|c| c.scope), Ok(Scope::Tagged));
        assert_eq!(read(HEALTH_TIMEOUT, "900").map(|c| c.health_timeout), Ok(Some(Duration::from_secs(900))));
        assert_eq!(read(HEALTH_TIMEOUT, "0").map(|c| c.health_timeout), Ok(None));
        assert_eq!(read(NETWORK_DRAIN, "0").map(|c| c.network_drain), Ok(Duration::ZERO));
        assert_eq!(read(LIFECYCLE_HOOK_PREFIX, "drain").map(|c| c.lifecycle_hook_prefix), Ok("drain".to_owned()));
        let others = read(OTHER_HOOK_PREFIXES, "elb-registrar-blue, drain_b").map(|c| c.other_hook_prefixes);
        assert_eq!(others, Ok(vec!["elb-registrar-blue".to_owned(), "drain_b".to_owned()]));
        assert_eq!(read(PRUNE_ORPHANS, "true").map(|c| c.orphans), Ok(Orphans::Prune));
        assert_eq!(read(PRUNE_ORPHANS, "prune-unattached").map(|c| c.orphans), Ok(Orphans::PruneUnattached));
        assert_eq!(read(QUEUE_URL, "https://q").map(|c| c.queue_url), Ok(Some("https://q".into())));
        assert_eq!(read(ORDER_QUEUE_URL, "https://o").map(|c| c.order_queue_url), Ok(Some("https://o".into())));
        assert_eq!(read(EVENT_QUEUE_URL, "https://e").map(|c| c.event_queue_url), Ok(Some("https://e".into())));
        assert_eq!(
            read(DEAD_LETTER_QUEUE_URL, "https://d").map(|c| c.dead_letter_queue_url),
            Ok(Some("https://d".into()))
        );
    }

    #[test]
    fn an_unknown_variable_like_ours_is_named_with_what_was_meant() {
        let error = "the environment variable REGISTRAR_MOED means nothing: did you mean REGISTRAR_MODE?";
        assert_eq!(read("REGISTRAR_MOED", "enforce"), Err(error.to_owned()));
        let error = read("REGISTRAR_COLOUR", "").unwrap_err();
        assert!(error.contains("means nothing: there are REGISTRAR_MODE, REGISTRAR_SCOPE, "), "{error}");
        // Names of the template's parameters, and the like.
        for name in ["HEALTH_TIMEOUT", "NETWORK_DRAIN", "HOOK_PREFIX", "QUEUE", "ORPHANS", "DLQ_URL", "STACK_NAME"] {
            let name = format!("REGISTRAR_{name}");
            let error = read(&name, "x").unwrap_err().replace(&name, "");
            assert!(NAMES.iter().any(|known| error.contains(known)), "{error}");
        }
        assert_eq!(read("ELB_REGISTRAR_MODE", "enforce"), Ok(Config::default()), "the variable of another");
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_is_allowed() {
        let error = "the environment variable REGISTRAR_MODE is `dry-run`, and has to be `enforce` or `observe`";
        assert_eq!(read(MODE, "dry-run"), Err(error.to_owned()));
        for wrong in ["-1", "5m", "172801"] {
            assert!(read(HEALTH_TIMEOUT, wrong).is_err_and(|e| e.contains("from 0 to 172800")), "{wrong}");
        }
        assert!(read(SCOPE, "ALL").is_err_and(|e| e.contains("`all` or `tagged`")));
        assert!(read(PRUNE_ORPHANS, "yes").is_err_and(|e| e.contains("`false` or `true`")));
        for wrong in ["a,,b", "a b", ",", "ä"] {
            assert!(read(OTHER_HOOK_PREFIXES, wrong).is_err_and(|e| e.contains("with a comma between")), "{wrong}");
        }
        assert!(read(QUEUE_URL, "my-queue").is_err_and(|e| e.contains("URL of a queue")));
    }
}
