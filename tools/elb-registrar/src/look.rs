//! `status` and `plan`: a sweep that observes, with clients that refuse every call that does not only describe.

use std::{process::ExitCode, sync::Arc};

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
    about::About,
    arguments::{Common, Plan, Status},
    filter,
    page::{self, Shown},
    session,
};

/// What was seen.
pub(crate) struct Seen {
    pub(crate) report: Report,
    pub(crate) about: About,
}

/// Shows how everything is.
///
/// # Errors
/// A sentence, if nothing could be looked at.
pub(crate) async fn status(asked: &Status) -> Result<ExitCode, String> {
    let Seen { mut report, about } = look(&asked.common).await?;
    filter::apply(&mut report, &asked.filter)?;
    end(Subject::Status, &report, &about, &asked.common)
}

/// Shows what `enforce` would do.
///
/// # Errors
/// A sentence, if nothing could be looked at.
pub(crate) async fn plan(asked: &Plan) -> Result<ExitCode, String> {
    let Seen { report, about } = look(&asked.common).await?;
    end(Subject::Plan, &report, &about, &asked.common)
}

fn end(subject: Subject, report: &Report, about: &About, common: &Common) -> Result<ExitCode, String> {
    page::show(&Shown { subject, report, about }, &common.form)?;
    let summary = Summary::of(report);
    Ok(match summary.unread > 0 {
        true => NOT_READ.into(),
        false => if summary.is_bad() { WRONG } else { FINE }.into(),
    })
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
