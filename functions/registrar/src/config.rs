//! Settings: read once, at the start, from the environment that the template sets.

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

/// What the operator has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Whether anything is changed.
    pub mode: Mode,
    /// Which instances are converged.
    pub scope: Scope,
    /// What a sweep does about addresses that nobody has.
    pub orphans: Orphans,
    /// The name by which metrics tell this deployment from others; set by the template.
    pub stack: String,
    /// The queue from which the events come, for parking. Without it an event that has to wait comes back when the queue's
    /// own visibility timeout is over.
    pub queue_url: Option<String>,
    /// Where an event goes that nobody can understand. Without it such an event is retried by its queue until that gives up.
    pub dead_letter_queue_url: Option<String>,
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
        Ok(Self {
            mode: one_of(MODE, variable(MODE), &[("enforce", Mode::Enforce), ("observe", Mode::Observe)])?,
            scope: one_of(SCOPE, variable(SCOPE), &[("all", Scope::All), ("tagged", Scope::Tagged)])?,
            orphans: one_of(
                PRUNE_ORPHANS,
                variable(PRUNE_ORPHANS),
                &[("false", Orphans::Report), ("true", Orphans::Prune)],
            )?,
            stack: variable(STACK).unwrap_or_default(),
            queue_url: url(QUEUE_URL, variable(QUEUE_URL))?,
            dead_letter_queue_url: url(DEAD_LETTER_QUEUE_URL, variable(DEAD_LETTER_QUEUE_URL))?,
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
        assert!(read(SCOPE, "ALL").is_err_and(|e| e.contains("`all` or `tagged`")));
        assert!(read(PRUNE_ORPHANS, "yes").is_err_and(|e| e.contains("`false` or `true`")));
        assert!(read(QUEUE_URL, "my-queue").is_err_and(|e| e.contains("URL of a queue")));
    }
}
