//! A custom widget of a CloudWatch dashboard, answered with a page in HTML: how everything is at present.
//!
//! The console invokes the function with the permissions of the person who looks, each time that the widget is shown or refreshed
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_about.html>). So a look must not
//! converge anything, whatever the mode is, and must not cost much:
//!
//! - its clients refuse every call that does not only describe, and its engine observes;
//! - it begins nothing more after [`LOOKS_FOR`], and says what it has not read. In an account with thousands of target groups that is
//!   most of them, and `elb-registrar status` reads all;
//! - for [`SHOWN_FOR`] the same process answers with what it has seen;
//! - it counts as no sweep in metrics, and writes one line into the log.
//!
//! Beside a sweep it runs in an environment of its own, as a second sweep would: the function reserves no concurrency. If the account
//! has none left, Lambda throttles the look, and the console says so.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_types::SdkConfig;
use chrono::SecondsFormat;
use futures::FutureExt;
use protocol::{plain::Plain, timing::SWEEP_RESERVE};
use serde_json::Value;
use tokio::time::{Instant as MonotonicTime, timeout};
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use crate::{
    aws::{call_watch::Counted, clients::Clients},
    config::{Config, Mode},
    engine::Engine,
    report::{
        html::{Most, content},
        page::{Page, Subject},
    },
    workflow::{Detail, Order, Swept},
};

/// How long a look begins to read further balancers: at AWS's older limits, some 200 target groups.
///
/// Too small: a page of a large account has little on it. Too large: a person waits, and the console gives up.
const LOOKS_FOR: Duration = Duration::from_secs(20);

/// When a look is given up, with whatever it has begun.
///
/// Too small: a throttled call has no time for another attempt. Too large: the console has given up, and nothing is shown.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(50);

/// How long what was seen is shown again, if the same process is asked.
///
/// Too small: several people who look cost as many sweeps. Too large: a person acts, refreshes, and sees the old state.
const SHOWN_FOR: Duration = Duration::from_secs(15);

/// How much of a page is in an answer. Lambda allows 6 MB. These bounds hold it below a third of that, if each character of each text
/// has to be escaped.
const MOST: Most = Most { rows: 60, lines: 12, characters: 250 };

/// What a person reads who adds the widget to a dashboard: the console asks with `{"describe": true}`
/// (`describe` in the samples of <https://github.com/aws-samples/cloudwatch-custom-widgets-samples>).
const DOCUMENTATION: &str = "\
## elb-registrar
What elb-registrar sees at present: figures, what is wrong, what is held, what waits, and addresses without an owner.
It changes nothing, in no mode, and takes no parameters.

### Widget parameters
None.
";

/// What a console asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A word on the widget, in Markdown.
    Describe,
    /// The widget.
    Show(Theme),
}

/// How the console looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    Light,
    Dark,
}

impl Asked {
    /// Reads a payload; `None` if it is not a console's.
    pub(super) fn of(payload: &Value) -> Option<Self> {
        if payload.get("describe") == Some(&Value::Bool(true)) {
            return Some(Self::Describe);
        }
        let context = payload.get("widgetContext")?;
        let is_dark = context.get("theme").and_then(Value::as_str) == Some("dark");
        Some(Self::Show(if is_dark { Theme::Dark } else { Theme::Light }))
    }
}

/// What looks for widgets. It is made with the first of them: a sweep needs none of it.
pub(super) struct Widgets {
    sdk: SdkConfig,
    config: Config,
    observer: Mutex<Option<Arc<Observer>>>,
}

struct Observer {
    clients: Arc<Clients>,
    engine: Engine,
    last: Mutex<Option<(MonotonicTime, Arc<Page>)>>,
}

impl Widgets {
    pub(super) fn new(sdk: &SdkConfig, config: &Config) -> Self {
        Self { sdk: sdk.clone(), config: config.clone(), observer: Mutex::default() }
    }

    /// Returns the answer for a console, and what the look cost. A failure is an answer, too: the console shows it.
    pub(super) async fn answer(&self, asked: Asked) -> (Value, Counted) {
        let Asked::Show(theme) = asked else { return (DOCUMENTATION.into(), Counted::default()) };
        let observer = self.observer();
        let page = match observer.last() {
            Some(page) => Ok(page),
            None => observer.look(&self.config).await,
        };
        let content = match page {
            Ok(page) => content(&page, MOST),
            Err(why) => format!("<p>Nothing could be read: {}</p>", Plain::of(why).html()),
        };
        (framed(&content, theme).into(), observer.clients.counts.take())
    }

    fn observer(&self) -> Arc<Observer> {
        let mut observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner);
        let made = observer.get_or_insert_with(|| {
            let clients = Arc::new(Clients::that_only_read(&self.sdk));
            let engine = Engine::of(&self.config, clients.clone(), Mode::Observe);
            Arc::new(Observer { clients, engine, last: Mutex::default() })
        });
        made.clone()
    }
}

impl Observer {
    /// Returns what was seen, if that is not long ago.
    fn last(&self) -> Option<Arc<Page>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| at.elapsed() < SHOWN_FOR).map(|(_, page)| page.clone())
    }

    /// Looks at everything, as far as the time suffices. What it finds is on the page, and not in the log, where a sweep's findings
    /// are.
    async fn look(&self, config: &Config) -> Result<Arc<Page>, String> {
        let deadline = MonotonicTime::now() + LOOKS_FOR + SWEEP_RESERVE;
        self.clients.budget.begin(Some(deadline));
        let order = Order { detail: Detail::Glance, deadline: Some(deadline), resume: None };
        // Boxed, or the future is too deep for the compiler's default limits.
        let sweep = self.engine.sweep(&order).with_subscriber(NoSubscriber::new()).boxed();
        let swept = match timeout(GIVEN_UP_AFTER, sweep).await {
            Ok(swept) => swept.map_err(|error| error.to_sentence()),
            Err(_) => {
                Err(format!("it took more than {} s; `elb-registrar status` has no limit", GIVEN_UP_AFTER.as_secs()))
            }
        };
        let Swept { report, .. } = swept.inspect_err(|why| tracing::warn!(why, "looked for a widget"))?;
        let page = Arc::new(Page::of(Subject::Status, &report, self.facts(config)));
        let (instances, wrong, unread) = (page.summary.instances, page.summary.wrong, page.summary.unread);
        tracing::info!(instances, wrong, unread, "looked for a widget");
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((MonotonicTime::now(), page.clone()));
        Ok(page)
    }

    #[expect(clippy::disallowed_methods, reason = "people compare it with their own clock")]
    fn facts(&self, config: &Config) -> Vec<(&'static str, Plain)> {
        let at = chrono::Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        vec![
            ("account", Plain::of(self.clients.account().unwrap_or("unknown: no answer named it"))),
            ("Region", Plain::of(&self.clients.region)),
            ("mode", Plain::of(config.in_words())),
            ("seen at", Plain::of(at)),
        ]
    }
}

/// The style of a widget, whose table and text follow the console's. Each rule begins with a class of ours, since the whole
/// dashboard is one document.
const STYLE: &str = include_str!("widget.css");

fn framed(content: &str, theme: Theme) -> String {
    let class = match theme {
        Theme::Light => "elb-registrar",
        Theme::Dark => "elb-registrar elb-registrar-dark",
    };
    format!("<style>{STYLE}</style><div class=\"{class}\">{content}</div>")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_console_asks_for_a_widget() {
        for (payload, asked) in [
            (json!({ "describe": true }), Some(Asked::Describe)),
            (json!({ "widgetContext": { "theme": "dark" } }), Some(Asked::Show(Theme::Dark))),
            (json!({ "widgetContext": {}, "any": "parameter" }), Some(Asked::Show(Theme::Light))),
            (json!({ "describe": "true" }), None),
            (json!({}), None),
            (json!("describe"), None),
            (Value::Null, None),
        ] {
            assert_eq!(Asked::of(&payload), asked, "{payload}");
        }
    }

    #[test]
    fn no_rule_of_the_style_leaves_the_widget() {
        for rule in STYLE.lines().filter(|line| *line != "}" && !line.starts_with("@container")) {
            let selectors = rule.split('{').next().unwrap_or_default();
            assert!(selectors.split(',').all(|selector| selector.trim().starts_with(".elb-registrar")), "{selectors}");
        }
    }
}
