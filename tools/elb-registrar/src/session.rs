//! Who asks, and where: Region, credentials and endpoints, from the places where the AWS CLI looks, too.
//!
//! Credentials come from the environment, a profile (`AWS_PROFILE`) with keys, a role, IAM Identity Center or a process, or a
//! machine's own role. `aws login` is left out: `aws-config` needs one more SDK and a second cryptography for it, and the AWS CLI
//! hands its credentials over by `aws configure export-credentials`.

use std::{env, error::Error};

use aws_config::{BehaviorVersion, SdkConfig, profile};
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use aws_types::os_shim_internal::{Env, Fs};
use protocol::call_error::chain;
use registrar::aws::clients;

/// The variable that chooses a profile.
const PROFILE: &str = "AWS_PROFILE";

/// Returns the configuration of the SDK.
///
/// # Errors
/// A sentence with what is missing, and how to mend it.
pub(crate) async fn begin() -> Result<SdkConfig, String> {
    clients::check_endpoints().map_err(|error| error.to_string())?;
    check_profile().await?;
    let sdk = aws_config::defaults(BehaviorVersion::latest()).http_client(clients::http_client());
    let sdk = sdk.timeout_config(clients::timeouts()).retry_config(clients::retries()).load().await;
    if sdk.region().is_none() {
        return Err("no Region is set: set the environment variable AWS_REGION, or choose a profile that has one by AWS_PROFILE".to_owned());
    }
    check_credentials(&sdk).await?;
    Ok(sdk)
}

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
        "no credentials are found{tried}: choose a profile that has some by {PROFILE}, or set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; `aws sso login` renews those of IAM Identity Center, and `eval \"$(aws configure export-credentials --format env)\"` sets those that only the AWS CLI can get"
    ))
}

/// Returns an error with its causes, some of which have lines of their own.
pub(crate) fn in_one_line(error: &dyn Error) -> String {
    chain(error).split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}
