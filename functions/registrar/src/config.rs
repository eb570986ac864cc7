//! Settings: read once, at the start, from the environment that the template sets.

use std::time::Duration;

use protocol::timing::NETWORK_DRAIN_DEFAULT;
use serde::Serialize;
use thiserror::Error;

/// Names of the variables. README.md and template.yaml have the same.
pub const MODE: &str = "REGISTRAR_MODE";
/// See [`Config::scope`].
pub const SCOPE: &str = "REGISTRAR_SCOPE";
/// See [`Config::orphans`].
pub const PRUNE_ORPHANS: &str = "REGISTRAR_PRUNE_ORPHANS";
/// See [`Config::stack`].
pub const STACK: &str = "REGISTRAR_STACK";
/// See [`Config::queue_url`].
pub const QUEUE_URL: &str = "REGISTRAR_QUEUE_URL";
/// See [`Config::dead_letter_queue_url`].
pub const DEAD_LETTER_QUEUE_URL: &str = "REGISTRAR_DEAD_LETTER_QUEUE_URL";
/// See [`Config::lifecycle_hook_prefix`].
pub const LIFECYCLE_HOOK_PREFIX: &str = "REGISTRAR_LIFECYCLE_HOOK_PREFIX";
/// See [`Config::health_timeout`].
pub const HEALTH_TIMEOUT: &str = "REGISTRAR_HEALTH_TIMEOUT_SECONDS";
/// See [`Config::network_drain`].
pub const NETWORK_DRAIN: &str = "REGISTRAR_NETWORK_DRAIN_SECONDS";

/// The longest that a lifecycle action can wait at all, a limit of Auto Scaling.
const TWO_DAYS: u64 = 172_800;

/// What the operator has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether anything is changed.
    pub mode: Mode,
    /// Which instances are converged.
    pub scope: Scope,
    /// What a sweep does about addresses that nobody has.
    pub orphans: Orphans,
    /// The name by which metrics tell this deployment from others; set by the template.
    pub stack: String,
    /// Whether metrics are written to the standard output. No variable sets it: only a simulation does without, where thousands
    /// of functions share one process and nobody reads them.
    pub has_metrics: bool,
    /// The queue from which the events come, for parking. Without it an event that has to wait comes back when the queue's
    /// own visibility timeout is over.
    pub queue_url: Option<String>,
    /// Where an event goes that nobody can understand. Without it such an event is retried by its queue until that gives up.
    pub dead_letter_queue_url: Option<String>,
    /// How the names of the lifecycle hooks begin that are served: those of others must not be completed.
    pub lifecycle_hook_prefix: String,
    /// How long an instance may take at a launch hook until it is healthy. Without it, as long as its hook waits by itself.
    pub health_timeout: Option<Duration>,
    /// How long a Network Load Balancer may go on opening connections to a target that was deregistered: a terminate hook is held
    /// for so long, and for the group's delay, even when nothing is drained any more.
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
            dead_letter_queue_url: None,
            lifecycle_hook_prefix: "elb-registrar".to_owned(),
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
    #[default]
    Enforce,
    /// Decide and report.
    Observe,
}

/// Which instances are converged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of the account and Region.
    #[default]
    All,
    /// Those that bear the tag `elb-registrar:register`, which may be empty.
    Tagged,
}

/// What a sweep does about addresses that nobody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphans {
    /// Tells of them.
    #[default]
    Report,
    /// Takes them out, too; where the mode is `enforce`.
    Prune,
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Where a variable has a value that means nothing. The function must not start with it.
    pub fn from_env() -> Result<Self, BadSetting> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads variables from anywhere. An empty one is as good as none: a template cannot leave one out.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, BadSetting> {
        let variable = |name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let default = Self::default();
        Ok(Self {
            mode: one_of(MODE, variable(MODE), &[("enforce", Mode::Enforce), ("observe", Mode::Observe)])?,
            scope: one_of(SCOPE, variable(SCOPE), &[("all", Scope::All), ("tagged", Scope::Tagged)])?,
            orphans: one_of(
                PRUNE_ORPHANS,
                variable(PRUNE_ORPHANS),
                &[("false", Orphans::Report), ("true", Orphans::Prune)],
            )?,
            stack: variable(STACK).unwrap_or_default(),
            has_metrics: default.has_metrics,
            queue_url: url(QUEUE_URL, variable(QUEUE_URL))?,
            dead_letter_queue_url: url(DEAD_LETTER_QUEUE_URL, variable(DEAD_LETTER_QUEUE_URL))?,
            lifecycle_hook_prefix: variable(LIFECYCLE_HOOK_PREFIX).unwrap_or(default.lifecycle_hook_prefix),
            // A template cannot leave a number out, so nought stands for none.
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
            Err(BadSetting { name, value, allowed: words.join(" or ") })
        }
    }
}

fn seconds(name: &'static str, value: Option<String>) -> Result<Option<Duration>, BadSetting> {
    let Some(value) = value else { return Ok(None) };
    match value.parse() {
        Ok(seconds) if seconds <= TWO_DAYS => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(BadSetting { name, value, allowed: format!("a whole number of seconds from 0 to {TWO_DAYS}") }),
    }
}

fn url(name: &'static str, value: Option<String>) -> Result<Option<String>, BadSetting> {
    match value {
        Some(value) if !value.starts_with("https://") && !value.starts_with("http://") => {
            Err(BadSetting { name, value, allowed: "the URL of a queue, as GetQueueUrl tells it".to_owned() })
        }
        value => Ok(value),
    }
}

/// A variable has a value that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the environment variable {name} is `{value}`, and has to be {allowed}")]
pub struct BadSetting {
    name: &'static str,
    value: String,
    allowed: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Config, String> {
        Config::read(|asked| (asked == name).then(|| value.to_owned())).map_err(|e| e.to_string())
    }

    #[test]
    fn without_settings_everything_is_enforced_on_all_instances() {
        assert_eq!(Config::read(|_| None), Ok(Config::default()));
        assert_eq!(read(MODE, " "), Ok(Config::default()));
    }

    #[test]
    fn settings_are_read_by_their_names() {
        assert_eq!(read(MODE, "observe").map(|c| c.mode), Ok(Mode::Observe));
        assert_eq!(read(SCOPE, "tagged").map(|c| c.scope), Ok(Scope::Tagged));
        assert_eq!(read(HEALTH_TIMEOUT, "900").map(|c| c.health_timeout), Ok(Some(Duration::from_secs(900))));
        assert_eq!(read(HEALTH_TIMEOUT, "0").map(|c| c.health_timeout), Ok(None));
        assert_eq!(read(NETWORK_DRAIN, "0").map(|c| c.network_drain), Ok(Duration::ZERO));
        assert_eq!(read(LIFECYCLE_HOOK_PREFIX, "drain").map(|c| c.lifecycle_hook_prefix), Ok("drain".to_owned()));
        assert_eq!(read(PRUNE_ORPHANS, "true").map(|c| c.orphans), Ok(Orphans::Prune));
        assert_eq!(read(QUEUE_URL, "https://q").map(|c| c.queue_url), Ok(Some("https://q".into())));
        assert_eq!(
            read(DEAD_LETTER_QUEUE_URL, "https://d").map(|c| c.dead_letter_queue_url),
            Ok(Some("https://d".into()))
        );
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
        assert!(read(QUEUE_URL, "my-queue").is_err_and(|e| e.contains("URL of a queue")));
    }
}
