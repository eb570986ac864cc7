//! What is deployed: the functions of the account and Region with settings of elb-registrar, and in which mode they are.
//!
//! One call of Lambda's API (`lambda:ListFunctions`) tells it for every way of deploying, without a stack's name, and with the
//! settings that the functions really have. CloudFormation's parameters would say nothing of Terraform, nor of a setting that was
//! changed by hand.
//!
//! The call is signed here, with AWS's own `aws-sigv4`. The crate `aws-sdk-lambda` asks for the feature `event-stream` of the
//! runtime below all SDKs. So the functions would be built with it, too.

use std::{collections::BTreeMap, error::Error, time::Duration};

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_sqs::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use protocol::plain::Plain;
use registrar::{
    aws::clients,
    config::{Config, Mode},
};
use serde::{Deserialize, Serialize, Serializer};

use crate::session::in_one_line;

/// Attempts of a call, and the wait between two of them.
const ATTEMPTS: u32 = 3;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

/// The most pages that are read: 10,000 functions, 50 on each
/// (<https://docs.aws.amazon.com/lambda/latest/api/API_ListFunctions.html>).
const PAGES_MAX: u32 = 200;

/// Functions with the settings of one stack.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Deployment {
    /// The name by which their metrics tell them from others.
    pub(crate) stack: Plain,
    /// Their settings. If any of them acts, the mode says so.
    #[serde(rename = "mode", serialize_with = "mode_of")]
    pub(crate) config: Config,
    /// Their names.
    pub(crate) functions: Vec<Plain>,
}

fn mode_of<S: Serializer>(config: &Config, serializer: S) -> Result<S::Ok, S::Error> {
    config.mode.serialize(serializer)
}

/// Reads what is deployed.
///
/// # Errors
/// A sentence that says why it is unknown.
pub(crate) async fn read(sdk: &SdkConfig) -> Result<Vec<Deployment>, String> {
    let listed = list(sdk).await?;
    let hidden = listed.iter().filter(|function| function.is_hidden()).count();
    let mut by_stack: BTreeMap<String, Deployment> = BTreeMap::new();
    for function in listed {
        let Some(variables) = function.variables() else { continue };
        let name = Plain::of(&function.function_name);
        let config =
            Config::of(&variables).map_err(|error| format!("{name} has settings that mean nothing: {error}"))?;
        let mode = config.mode;
        let deployment = by_stack.entry(config.stack.clone()).or_insert_with(|| Deployment {
            stack: Plain::of(&config.stack),
            config,
            functions: Vec::new(),
        });
        // While a deployment is under way, its functions may differ. Then it counts that one of them acts.
        if mode == Mode::Enforce {
            deployment.config.mode = mode;
        }
        deployment.functions.push(name);
    }
    match (by_stack.is_empty(), hidden) {
        (true, hidden) if hidden > 0 => {
            Err(format!("the settings of {hidden} function(s) cannot be read, since their KMS key may not be used"))
        }
        _ => Ok(by_stack.into_values().collect()),
    }
}

/// A page of functions, as Lambda lists them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    functions: Vec<Function>,
    next_marker: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Function {
    function_name: String,
    environment: Option<Environment>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Environment {
    variables: Option<BTreeMap<String, String>>,
    error: Option<serde_json::Value>,
}

impl Function {
    /// Returns the function's settings, if they are elb-registrar's.
    fn variables(&self) -> Option<BTreeMap<String, String>> {
        let variables = self.environment.as_ref()?.variables.as_ref()?;
        variables.contains_key(registrar::config::MODE).then(|| variables.clone())
    }

    /// Returns whether Lambda could not decrypt the settings for the caller.
    fn is_hidden(&self) -> bool {
        self.environment.as_ref().is_some_and(|environment| environment.error.is_some())
    }
}

async fn list(sdk: &SdkConfig) -> Result<Vec<Function>, String> {
    let (connector, endpoint) = (clients::connector(), endpoint(sdk).await?);
    let (mut functions, mut marker) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let page = list_page(sdk, &connector, &endpoint, marker.as_deref()).await?;
        functions.extend(page.functions);
        marker = page.next_marker.filter(|marker| !marker.is_empty());
        if marker.is_none() {
            return Ok(functions);
        }
    }
    Err(format!("there are more than {} functions", PAGES_MAX * 50))
}

async fn list_page(
    sdk: &SdkConfig,
    connector: &SharedHttpConnector,
    endpoint: &str,
    marker: Option<&str>,
) -> Result<Listed, String> {
    let next: String = marker.map(|marker| format!("&Marker={}", encoded(marker))).unwrap_or_default();
    let url = format!("{endpoint}/2015-03-31/functions?MaxItems=50{next}");
    let mut why = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
        let request = signed(sdk, &url).await.map_err(|error| failed(&in_one_line(&*error)))?;
        match answer(connector, request).await {
            Ok((200, body)) => {
                return serde_json::from_slice(&body).map_err(|error| failed(&in_one_line(&error)));
            }
            Ok((status, body)) => {
                why = refusal(status, &body);
                if status != 429 && status < 500 {
                    break;
                }
            }
            Err(error) => why = failed(&in_one_line(&*error)),
        }
    }
    Err(why)
}

async fn answer(
    connector: &SharedHttpConnector,
    request: HttpRequest,
) -> Result<(u16, Vec<u8>), Box<dyn Error + Send + Sync>> {
    let mut response: HttpResponse = connector.call(request).await?;
    let status = response.status().as_u16();
    let body = std::mem::replace(response.body_mut(), SdkBody::taken());
    Ok((status, ByteStream::new(body).collect().await?.to_vec()))
}

fn failed(why: &str) -> String {
    format!("lambda:ListFunctions failed: {}", Plain::of(why))
}

fn refusal(status: u16, body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let said = ["Message", "message"].iter().find_map(|name| body[*name].as_str()).unwrap_or_default();
    format!("lambda:ListFunctions was refused ({status}): {}", Plain::of(said))
}

#[expect(clippy::disallowed_methods, reason = "a signature has our own clock's time")]
async fn signed(sdk: &SdkConfig, url: &str) -> Result<HttpRequest, Box<dyn Error + Send + Sync>> {
    let provider = sdk.credentials_provider().ok_or("no credentials")?;
    let identity = provider.provide_credentials().await?.into();
    let region = sdk.region().map(ToString::to_string).unwrap_or_default();
    let params = v4::SigningParams::builder().identity(&identity).region(&region).name("lambda");
    let params = params.time(std::time::SystemTime::now()).settings(SigningSettings::default()).build()?.into();
    let mut request = http::Request::builder().uri(url).body(SdkBody::empty())?;
    let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let signable =
        SignableRequest::new("GET", url, std::iter::once(("host", host.as_str())), SignableBody::Bytes(&[]))?;
    let (instructions, _) = sign(signable, &params)?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(HttpRequest::try_from(request)?)
}

/// Returns where Lambda is: what a variable or profile says, or the host of SQS with another first label. Both services name their
/// hosts in the same way, and the SDK knows how a host ends in each partition.
async fn endpoint(sdk: &SdkConfig) -> Result<String, String> {
    let region = sdk.region().map(ToString::to_string).unwrap_or_default();
    let key = aws_types::service_config::ServiceConfigKey::builder().service_id("Lambda").env("AWS_ENDPOINT_URL");
    let set = sdk.service_config().and_then(|config| {
        let key = key.profile("endpoint_url").build().ok()?;
        config.load_config(key)
    });
    if let Some(url) = set.or_else(|| sdk.endpoint_url().map(str::to_owned)) {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let params = Params::builder().region(&region);
    let params = params.use_dual_stack(sdk.use_dual_stack().unwrap_or_default()).build();
    let unknown = |error: &dyn Error| format!("Lambda's host is not known: {}", in_one_line(error));
    let params = params.map_err(|error| unknown(&error))?;
    let of_sqs = DefaultResolver::new().resolve_endpoint(&params).await.map_err(|error| unknown(&*error))?;
    let label = if sdk.use_fips().unwrap_or_default() { "https://lambda-fips." } else { "https://lambda." };
    Ok(of_sqs.url().replacen("https://sqs.", label, 1))
}

fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use aws_types::region::Region;

    use super::*;

    #[tokio::test]
    async fn lambda_is_where_its_partition_is() {
        for (region, is_fips, is_dual, url) in [
            ("us-east-1", false, false, "https://lambda.us-east-1.amazonaws.com"),
            ("us-gov-west-1", true, false, "https://lambda-fips.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", false, false, "https://lambda.cn-north-1.amazonaws.com.cn"),
            ("eu-west-1", false, true, "https://lambda.eu-west-1.api.aws"),
        ] {
            let sdk =
                SdkConfig::builder().region(Region::new(region)).use_fips(is_fips).use_dual_stack(is_dual).build();
            assert_eq!(endpoint(&sdk).await.as_deref(), Ok(url));
        }
    }

    #[test]
    fn a_marker_is_encoded() {
        assert_eq!(encoded("a+/=~"), "a%2B%2F%3D~");
    }
}
