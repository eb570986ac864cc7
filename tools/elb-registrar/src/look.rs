//! `status` and `plan`: a sweep that observes, with clients that refuse every call that does not only describe.

use std::{process::ExitCode, sync::Arc};

use aws_config::SdkConfig;
use chrono::SecondsFormat;
use protocol::plain::Plain;
use registrar::{
    aws::clients::Clients,
    config::{Config, Mode, Scope},
    engine::Engine,
    report::{Report, page::Subject, page::Summary},
    workflow::{Detail, Order, Swept},
};

use crate::{
    FINE, NOT_READ, WRONG,
    arguments::{Common, Plan, Status},
    deployed::{self, Deployment},
    filter,
    page::{self, Shown},
    session,
};

/// What was seen.
pub(crate) struct Seen {
    pub(crate) report: Report,
    pub(crate) about: About,
}

/// Where was looked, and what is deployed there.
pub(crate) struct About {
    pub(crate) account: Option<Plain>,
    pub(crate) region: Plain,
    pub(crate) deployed: Result<Vec<Deployment>, String>,
    pub(crate) at: String,
}

impl About {
    /// Reads what is deployed.
    #[expect(clippy::disallowed_methods, reason = "people compare it with their own clock")]
    pub(crate) async fn read(sdk: &SdkConfig) -> Self {
        let region = Plain::of(sdk.region().map(ToString::to_string).unwrap_or_default());
        let at = chrono::Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        Self { account: None, region, deployed: deployed::read(sdk).await, at }
    }

    /// Returns the facts for the head of a page.
    pub(crate) fn facts(&self) -> Vec<(&'static str, Plain)> {
        let account = self.account.clone().unwrap_or_else(|| "unknown: no answer named it".into());
        vec![
            ("account", account),
            ("Region", self.region.clone()),
            ("functions", self.functions()),
            ("seen at", Plain::of(&self.at)),
        ]
    }

    fn functions(&self) -> Plain {
        match &self.deployed {
            Err(why) => Plain::of(format_args!("unknown: {why}")),
            Ok(none) if none.is_empty() => "none are deployed here".into(),
            Ok(deployments) => {
                let of = |deployment: &Deployment| {
                    let mode = if deployment.mode == Mode::Enforce { "enforce" } else { "observe" };
                    let scope = if deployment.config.scope == Scope::Tagged { ", tagged instances only" } else { "" };
                    format!("{}: {mode}{scope}", deployment.stack)
                };
                Plain::of(deployments.iter().map(of).collect::<Vec<_>>().join("; "))
            }
        }
    }

    /// Returns the settings that count: those of the stack that was named, or of the only one.
    ///
    /// # Errors
    /// If there are several, and it is not said which one counts.
    pub(crate) fn settings(&self, stack: Option<&str>) -> Result<Option<&Deployment>, String> {
        let deployments = match (&self.deployed, stack) {
            (Ok(deployments), _) => deployments,
            (Err(why), Some(stack)) => return Err(format!("the settings of the stack {stack} are unknown: {why}")),
            (Err(_), None) => return Ok(None),
        };
        let names = || deployments.iter().map(|it| it.stack.as_str()).collect::<Vec<_>>().join(", ");
        match (stack, deployments.as_slice()) {
            (Some(stack), of_stacks) => match of_stacks.iter().find(|it| it.config.stack == stack) {
                Some(deployment) => Ok(Some(deployment)),
                None => Err(format!("no functions have the settings of a stack {stack}: there are {}", names())),
            },
            (None, [] | [_]) => Ok(deployments.first()),
            (None, _) => Err(format!("there are several stacks: say by --stack which one counts: {}", names())),
        }
    }
}

/// Shows how everything is.
///
/// # Errors
/// A sentence, if nothing could be looked at.
pub(crate) async fn status(asked: &Status) -> Result<ExitCode, String> {
    let Seen { mut report, about } = look(&asked.common).await?;
    filter::apply(&mut report, asked);
    Ok(end(Subject::Status, &report, &about, &asked.common))
}

/// Shows what `enforce` would do.
///
/// # Errors
/// A sentence, if nothing could be looked at.
pub(crate) async fn plan(asked: &Plan) -> Result<ExitCode, String> {
    let Seen { report, about } = look(&asked.common).await?;
    Ok(end(Subject::Plan, &report, &about, &asked.common))
}

fn end(subject: Subject, report: &Report, about: &About, common: &Common) -> ExitCode {
    page::show(&Shown { subject, report, about }, &common.form);
    let summary = Summary::of(report);
    match summary.unread > 0 {
        true => NOT_READ.into(),
        false => if summary.is_bad() { WRONG } else { FINE }.into(),
    }
}

/// Sweeps without a limit of time, as an observer.
async fn look(common: &Common) -> Result<Seen, String> {
    let sdk = session::begin().await?;
    let mut about = About::read(&sdk).await;
    let deployment = about.settings(common.stack.as_deref())?;
    // If it is not known what the functions do, each cause is possible.
    let unknown = Config { mode: Mode::Enforce, ..Config::default() };
    let mut config = deployment.map_or(unknown, |deployment| deployment.config.clone());
    if common.tagged {
        config.scope = Scope::Tagged;
    }
    let clients = Arc::new(Clients::that_only_read(&sdk));
    let engine = Engine::of(&config, clients.clone(), Mode::Observe);
    let order = Order { detail: Detail::All, ..Order::default() };
    let Swept { report, .. } = engine.sweep(&order).await.map_err(|error| error.to_sentence())?;
    about.account = clients.account().map(Plain::of);
    Ok(Seen { report, about })
}
