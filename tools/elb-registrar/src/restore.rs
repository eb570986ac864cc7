//! `restore`: everything that is held is given back, for leaving or in an emergency.

use std::{
    collections::BTreeSet,
    io::{IsTerminal, Write, stdin},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use aws_config::SdkConfig;
use registrar::{
    aws::clients::Clients,
    config::{Mode, Scope},
    engine::Engine,
    report::{
        Action, Report,
        page::{Page, Subject},
    },
    workflow::{Given, Restored},
};
use tokio::time::Instant;

use crate::{FINE, NOT_READ, WRONG, about::About, arguments::Restore, session, terminal};

/// Gives everything back.
///
/// # Errors
/// A sentence, if it was refused, or could not begin.
pub(crate) async fn run(asked: &Restore) -> Result<ExitCode, String> {
    let sdk = session::begin().await?;
    let mut about = About::read(&sdk).await;
    if !asked.dry_run && !asked.force {
        refuse_beside_functions(&about)?;
    }
    let clients = Arc::new(Clients::that_only_read(&sdk));
    let observer = Engine::new(clients.clone(), Mode::Observe, Scope::All);
    let planned = observer.restore(&Given::default()).await.map_err(|error| error.to_sentence())?;
    about.account = clients.account().map(protocol::plain::Plain::of);
    show(&planned.report, about.facts());
    if asked.dry_run {
        return Ok(code(&planned.report, planned.has_failed));
    }
    if planned.report.instances.is_empty() {
        return Ok(FINE.into());
    }
    if !asked.yes {
        confirm(&planned.report, &about)?;
    }
    act(&sdk, Duration::from_secs(asked.wait)).await
}

/// Refuses to work where functions do the same, and would at once take out again what stops.
fn refuse_beside_functions(about: &About) -> Result<(), String> {
    match &about.deployed {
        Err(why) => Err(format!(
            "it is not known whether functions enforce, which give back by themselves: {why}; --force restores nevertheless"
        )),
        Ok(deployments) => match deployments.iter().find(|deployment| deployment.config.mode == Mode::Enforce) {
            Some(deployment) => Err(format!(
                "the functions of the stack {} enforce: they give back what runs, and hold what stops; deploy Mode=observe first, or \
                 --force restores nevertheless",
                deployment.stack
            )),
            None => Ok(()),
        },
    }
}

/// Asks the person at the terminal.
fn confirm(planned: &Report, about: &About) -> Result<(), String> {
    if !stdin().is_terminal() {
        return Err("nothing is given back without --yes, since no terminal can be asked".to_owned());
    }
    let account = about.account.clone().unwrap_or_default();
    let count = registered(planned, |part| &part.would_do);
    anstream::print!("\nGive back {count} registration(s) in account {account}, {}? [y/N] ", about.region);
    let mut answer = String::new();
    std::io::stdout().flush().and_then(|()| stdin().read_line(&mut answer)).map_err(|error| error.to_string())?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err("nothing was given back".to_owned()),
    }
}

/// Runs until nothing is left that time brings, or until the operator's time is up.
async fn act(sdk: &SdkConfig, longest: Duration) -> Result<ExitCode, String> {
    let engine = Engine::new(Clients::new(sdk).into(), Mode::Enforce, Scope::All);
    let (begun, mut given, mut all) = (Instant::now(), Given::default(), 0);
    loop {
        let Restored { report, given: now_given, again, has_failed } =
            engine.restore(&given).await.map_err(|error| error.to_sentence())?;
        all += registered(&report, |part| &part.done);
        show(&report, Vec::new());
        given = now_given;
        match again.filter(|wait| begun.elapsed() + *wait <= longest) {
            Some(wait) => {
                anstream::println!("\nThe next look is in {} s.", wait.as_secs());
                tokio::time::sleep(wait).await;
            }
            None => {
                let left = again.map(|_| ", and the time of --wait is up: run it again").unwrap_or_default();
                anstream::println!("\n{all} registration(s) were given back{left}.");
                return Ok(code(&report, has_failed));
            }
        }
    }
}

fn show(report: &Report, facts: Vec<(&'static str, protocol::plain::Plain)>) {
    anstream::print!("{}", terminal::of(&Page::of(Subject::Restore, report, facts), terminal::width()));
}

/// Counts registrations among some deeds.
fn registered(
    report: &Report,
    deeds: fn(&registrar::report::InstanceReport) -> &Vec<registrar::report::Deed>,
) -> usize {
    let deeds = report.instances.values().flat_map(deeds);
    deeds.filter(|deed| deed.action == Action::Register).count()
}

/// Returns what the last look says: whether anything is still held, or failed.
fn code(report: &Report, has_failed: bool) -> ExitCode {
    let is_held = |part: &registrar::report::InstanceReport| {
        let gone = part.done.iter().filter(|deed| deed.action == Action::Forget).map(|deed| &deed.registration);
        let gone: BTreeSet<_> = gone.collect();
        part.held.iter().any(|held| !gone.contains(held))
    };
    match (has_failed, report.instances.values().any(is_held)) {
        (true, _) => NOT_READ.into(),
        (false, true) => WRONG.into(),
        (false, false) => FINE.into(),
    }
}
