//! The state of the whole account at a glance, for an operator: a sweep that observes, with the operator's own credentials.
//!
//! Credentials come from the places where the SDK looks: the environment, a profile (`AWS_PROFILE`) with keys or a role, a
//! machine's own role. IAM Identity Center and processes are left out: `aws-config` needs two more SDKs for them, and a feature
//! of the runtime that would have everything compiled again. The AWS CLI has them: `eval "$(aws configure export-credentials
//! --format env)"`.

mod table;

use std::{env, error::Error, process::ExitCode};

use aws_config::{BehaviorVersion, SdkConfig, profile};
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use aws_types::os_shim_internal::{Env, Fs};
use lexopt::prelude::Long;
use protocol::call_error::chain;
use registrar::{
    aws::clients::{self, Clients},
    config::{Mode, Scope},
    engine::Engine,
    report::Report,
    workflow::{Detail, Order, Swept},
};

const HELP: &str = "\
What elb-registrar sees in the account: where every instance is registered, what is held and declared, what is wrong, and
which addresses of target groups belong to no network interface. It changes nothing.

Usage: cargo status [--json] [--tagged]

  --json    the report as JSON
  --tagged  as with Scope=tagged: only instances with the tag elb-registrar:register are converged

Region and credentials are those of the AWS CLI's variables and profiles (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL...).
";

struct Arguments {
    is_json: bool,
    scope: Scope,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match parse(lexopt::Parser::from_env()) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            anstream::print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            anstream::eprintln!("status: {error} (`cargo status --help` has every option)");
            return ExitCode::FAILURE;
        }
    };
    match look(arguments.scope).await {
        Ok(Swept { report, has_failed, .. }) => {
            show(&report, arguments.is_json);
            // The table lacks whatever could not be read: a reader must not take it for "not registered".
            if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(why) => {
            anstream::eprintln!("status: {why}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Arguments>, lexopt::Error> {
    let mut arguments = Arguments { is_json: false, scope: Scope::All };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => arguments.is_json = true,
            Long("tagged") => arguments.scope = Scope::Tagged,
            Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(arguments))
}

/// Sweeps without a limit of time, as an observer whose clients refuse every call that does not only describe.
async fn look(scope: Scope) -> Result<Swept, String> {
    clients::check_endpoints().map_err(|error| error.to_string())?;
    check_profile().await?;
    let sdk = aws_config::defaults(BehaviorVersion::latest()).http_client(clients::http_client());
    let sdk = sdk.timeout_config(clients::timeouts()).retry_config(clients::retries()).load().await;
    if sdk.region().is_none() {
        return Err("no Region is set: set the environment variable AWS_REGION, or choose a profile that has one by AWS_PROFILE".to_owned());
    }
    check_credentials(&sdk).await?;
    let engine = Engine::new(Clients::that_only_read(&sdk).into(), Mode::Observe, scope);
    let order = Order { detail: Detail::All, ..Order::default() };
    engine.sweep(&order).await.map_err(|error| error.to_sentence())
}

/// The variable that chooses a profile.
const PROFILE: &str = "AWS_PROFILE";

/// Refuses a profile that does not exist. The SDK would go on without it, and look at another account if it finds credentials
/// elsewhere.
async fn check_profile() -> Result<(), String> {
    let name = env::var_os(PROFILE).map(|name| name.to_string_lossy().into_owned());
    // To the SDK, `default` is the same as no name, whether there is such a profile or not.
    let Some(name) = name.filter(|name| name != "default") else { return Ok(()) };
    let profiles = profile::load(&Fs::real(), &Env::real(), &Default::default(), None).await;
    let profiles =
        profiles.map_err(|error| format!("the AWS configuration cannot be read: {}", in_one_line(&error)))?;
    profiles.get_profile(&name).map(drop).ok_or_else(|| {
        format!(
            "the environment variable {PROFILE} is `{name}`, and the AWS configuration has no such profile: unset it, or choose one that `aws configure list-profiles` shows"
        )
    })
}

/// Gets credentials before the first call, because that call's error would say less about them.
async fn check_credentials(sdk: &SdkConfig) -> Result<(), String> {
    let tried = match sdk.credentials_provider() {
        Some(provider) => match provider.provide_credentials().await {
            Ok(_) => return Ok(()),
            Err(CredentialsError::CredentialsNotLoaded(_)) => String::new(),
            Err(error) => format!(" ({})", in_one_line(&error)),
        },
        None => String::new(),
    };
    Err(format!(
        "no credentials are found{tried}: choose a profile that has some by {PROFILE}, or set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; `eval \"$(aws configure export-credentials --format env)\"` sets those that only the AWS CLI can get, as from IAM Identity Center"
    ))
}

/// Returns an error with its causes, some of which have lines of their own.
fn in_one_line(error: &dyn Error) -> String {
    chain(error).split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

fn show(report: &Report, is_json: bool) {
    match is_json {
        true => anstream::println!("{}", serde_json::to_string_pretty(report).unwrap_or_default()),
        false => anstream::print!("{}", table::of(report)),
    }
    for (id, failed) in report.failures() {
        let whose = id.map(|id| format!("{id}: ")).unwrap_or_default();
        anstream::eprintln!("failed: {whose}{}", failed.because);
    }
}
