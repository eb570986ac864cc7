//! How AWS is called: time limits, retries, and one HTTP client for every service.

use std::{collections::BTreeMap, sync::Arc};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    behavior_version::BehaviorVersion,
    http::{HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn},
};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::{
    SdkConfig,
    region::Region,
    service_config::{LoadServiceConfig, ServiceConfigKey},
};
use protocol::timing::{ATTEMPT_TIMEOUT, CONNECT_TIMEOUT, CONNECT_WITHIN, OPERATION_TIMEOUT};
use tokio::time::timeout;

use crate::aws::{
    account::Account,
    auto_scaling::AutoScaling,
    budget::{Budget, Service},
    call_watch::{CallCounts, CallWatch},
    ec2::{self, Ec2},
    legible::Legible,
};

/// Attempts of one call. Enough to wait for a token bucket that refills 4 times a second; more would only keep other
/// events waiting, and the queue brings this one back anyway.
const ATTEMPTS_MAX: u32 = 6;

/// An instance that there is not: EC2 draws its ids, and never drew this one.
const NO_INSTANCE: &str = "i-00000000000000000";

/// One client for each service, built once and kept for the life of the process.
pub struct Clients {
    /// EC2.
    pub ec2: Ec2,
    /// Classic load balancers.
    pub classic: aws_sdk_elasticloadbalancing::Client,
    /// Target groups.
    pub target_groups: aws_sdk_elasticloadbalancingv2::Client,
    /// Auto Scaling groups.
    pub auto_scaling: AutoScaling,
    /// Queues.
    pub sqs: aws_sdk_sqs::Client,
    /// Where they are, such as `us-east-1`.
    pub region: String,
    /// The account that they work in.
    pub(crate) account: Account,
    /// What they did.
    pub counts: Arc<CallCounts>,
    /// How fast they may go on.
    pub budget: Arc<Budget>,
}

/// A client of a service whose calls are watched, with a quota of retries of its own.
///
/// The SDK's default is one quota for all clients of a service and Region in the process, kept in a static. A function has one
/// such client, so that is the same; but a simulation runs thousands of functions in a process, and one must not feel
/// the faults of another.
macro_rules! watched {
    ($service:ident, $sdk:expr, $watch:expr) => {
        $service::Client::from_conf(
            $service::config::Builder::from($sdk)
                .retry_partition($service::config::retry::RetryPartition::custom("elb-registrar").build())
                .interceptor($watch)
                .interceptor(Legible)
                .build(),
        )
    };
}

impl Clients {
    /// Clients for an SDK configuration.
    pub fn new(sdk: &SdkConfig) -> Self {
        Self::watched(sdk, CallWatch::counting_in)
    }

    /// Clients that refuse every call that is not one to describe something, before it leaves the process.
    pub fn that_only_read(sdk: &SdkConfig) -> Self {
        Self::watched(sdk, |counts| CallWatch::counting_in(counts).refusing_writes())
    }

    /// Opens the connections that every event needs, so that the first one finds them.
    ///
    /// Costs one call each of ec2:DescribeInstances, for an instance that there is not, and of DescribeLoadBalancers for a
    /// page of one Classic load balancer, both at once and never repeated. Not a bare connection: a call goes to the endpoint that the
    /// SDK finds for itself, and has its code in memory afterwards. Classic load balancers and target groups are one
    /// host; of the two, the former have the quieter bucket of calls. Not Auto Scaling and SQS, which many an event never asks.
    ///
    /// Whatever goes wrong is the first event's to find out, and to report: here it is neither waited for, nor counted.
    pub async fn connect(&self) {
        let once = || RetryConfig::disabled();
        let instances =
            self.ec2.client.describe_instances().filters(ec2::filter("instance-id", vec![NO_INSTANCE.into()]));
        let instances = instances.customize().config_override(aws_sdk_ec2::Config::builder().retry_config(once()));
        let balancers = self.classic.describe_load_balancers().page_size(1).customize();
        let balancers = balancers.config_override(aws_sdk_elasticloadbalancing::Config::builder().retry_config(once()));
        let calls = async { tokio::join!(instances.send(), balancers.send()) };
        match timeout(CONNECT_WITHIN, calls).await {
            Ok((instances, balancers)) => {
                tracing::debug!(ec2 = instances.is_ok(), balancers = balancers.is_ok(), "connected");
            }
            Err(_) => tracing::debug!("no connection yet"),
        }
        self.counts.take();
    }

    /// Returns the id of the account, if an answer has named it so far.
    pub fn account(&self) -> Option<&str> {
        Some(self.account.id()).filter(|id| !id.is_empty())
    }

    fn watched(sdk: &SdkConfig, watch: impl Fn(&Arc<CallCounts>) -> CallWatch) -> Self {
        let counts = Arc::default();
        let budget: Arc<Budget> = Arc::default();
        let account = Account::default();
        // One watch a client: each service has a clock of its own.
        let watch = || watch(&counts);
        let of = |service| watch().slowing(service, &budget);
        let of_ec2 = of(Service::Ec2);
        Self {
            ec2: Ec2::new(watched!(aws_sdk_ec2, sdk, of_ec2.clone()), of_ec2, budget.clone(), account.clone()),
            classic: watched!(aws_sdk_elasticloadbalancing, sdk, of(Service::Classic)),
            target_groups: watched!(aws_sdk_elasticloadbalancingv2, sdk, of(Service::ElasticLoadBalancingV2)),
            auto_scaling: AutoScaling::new(watched!(aws_sdk_autoscaling, sdk, watch()), budget.clone()),
            sqs: watched!(aws_sdk_sqs, sdk, watch()),
            region: sdk.region().map(ToString::to_string).unwrap_or_default(),
            account,
            counts,
            budget,
        }
    }
}

/// Returns the SDK's HTTP client, built once for all services.
///
/// Classic load balancers and target groups are one host, and share its connections. The SDK's own default is a connector for each
/// service, and each of them parses the root certificates twice (`validate_base_client_config` of aws-smithy-http-client 1.5.2).
/// The connector here is the same for every service. So a service's own limit for connections has no effect: it is [`CONNECT_TIMEOUT`].
///
/// Trusts the operating system's root certificates. Heeds `HTTPS_PROXY` and `NO_PROXY`; `HTTP_PROXY` is for endpoints without TLS, which AWS
/// has none of.
pub fn http_client() -> SharedHttpClient {
    let connector = connector();
    http_client_fn(move |_settings, _components| connector.clone())
}

/// Returns what makes the connections of [`http_client`].
pub fn connector() -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let connector = Connector::builder()
        .connector_settings(settings)
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    SharedHttpConnector::new(connector.build())
}

/// Time limits of every client. That of a connection is the HTTP client's.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).operation_timeout(OPERATION_TIMEOUT).build()
}

/// Retries of every client: the standard mode, with exponential back-off and a quota that stops a storm of retries.
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX)
}

/// Why there are no clients.
#[derive(Debug, thiserror::Error)]
pub enum BadEnvironment {
    /// A variable of the credentials is not there, or empty.
    #[error(
        "the environment variable {0} is missing: Lambda sets it for a function that has a role; by hand, `eval \"$(aws configure export-credentials --format env)\"` does (a function reads no AWS_PROFILE)"
    )]
    NoCredentials(&'static str),
    /// The variable of the Region is not there, or empty.
    #[error(
        "the environment variable AWS_REGION is missing: Lambda sets it; by hand, `export AWS_REGION=us-east-1` does, with your Region"
    )]
    NoRegion,
    /// A variable that says where AWS is has another value than a URL.
    #[error("the environment variable {name} is `{value}`, and has to be a URL that begins with https:// or http://")]
    NoUrl {
        /// Which one.
        name: String,
        /// Its value.
        value: String,
    },
}

/// Reads credentials, Region and endpoints from the environment, where
/// [Lambda puts them](https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime).
///
/// Not with aws-config, which looks in files, too, and asks STS and the machine for credentials: a megabyte in a binary that has no use
/// for it.
///
/// # Errors
///
/// Names the variable that is missing, or that is no URL.
pub fn from_env() -> Result<SdkConfig, BadEnvironment> {
    from_variables(&variables_of_aws())
}

/// Checks the variables that say where AWS is. The SDK shows a whole request in its `Debug` form if one of them is no URL.
///
/// # Errors
/// Names the variable.
pub fn check_endpoints() -> Result<(), BadEnvironment> {
    endpoints(&variables_of_aws()).map(drop)
}

/// Returns the variables of the process that are AWS's, without those that are empty.
fn variables_of_aws() -> BTreeMap<String, String> {
    let variables =
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    variables.filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty()).collect()
}

fn from_variables(variables: &BTreeMap<String, String>) -> Result<SdkConfig, BadEnvironment> {
    let needed = |name| variables.get(name).cloned().ok_or(BadEnvironment::NoCredentials(name));
    let credentials = Credentials::new(
        needed("AWS_ACCESS_KEY_ID")?,
        needed("AWS_SECRET_ACCESS_KEY")?,
        variables.get("AWS_SESSION_TOKEN").cloned(),
        None,
        "environment",
    );
    let is_true = |name| variables.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .region(Region::new(variables.get("AWS_REGION").cloned().ok_or(BadEnvironment::NoRegion)?))
        .use_fips(is_true("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT"))
        .service_config(endpoints(variables)?)
        .http_client(http_client())
        .timeout_config(timeouts())
        .retry_config(retries());
    Ok(sdk.build())
}

/// The variable that says where all services are; with a service's id behind it, where that one is
/// ([service-specific endpoints](https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html)).
const ENDPOINT: &str = "AWS_ENDPOINT_URL";

fn endpoints(variables: &BTreeMap<String, String>) -> Result<Endpoints, BadEnvironment> {
    let is_url = |value: &str| value.starts_with("https://") || value.starts_with("http://");
    let of_endpoints = variables.iter().filter(|(name, _)| name.starts_with(ENDPOINT));
    let checked = of_endpoints.map(|(name, value)| match is_url(value) {
        true => Ok((name.clone(), value.clone())),
        false => Err(BadEnvironment::NoUrl { name: name.clone(), value: value.clone() }),
    });
    checked.collect::<Result<_, _>>().map(Endpoints)
}

/// URLs by the names of their variables.
#[derive(Debug)]
struct Endpoints(BTreeMap<String, String>);

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let of_service = format!("{}_{}", key.env(), key.service_id().to_uppercase().replace(' ', "_"));
        self.0.get(&of_service).or_else(|| self.0.get(key.env())).cloned()
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::SdkError;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::mpsc,
        time::{Instant, sleep},
    };

    use super::*;

    fn variables(set: &[(&str, &str)]) -> BTreeMap<String, String> {
        let lambdas =
            [("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "eu-west-1")];
        lambdas.iter().chain(set).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn endpoints_are_those_of_the_environment() {
        let sdk = from_variables(&variables(&[
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
            ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", "http://127.0.0.1:4567"),
            ("AWS_USE_FIPS_ENDPOINT", "true"),
        ]))
        .unwrap();
        let of = |service| {
            let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url");
            sdk.service_config().unwrap().load_config(key.build().unwrap()).unwrap()
        };
        assert_eq!([of("EC2"), of("Elastic Load Balancing v2")], ["http://127.0.0.1:4566", "http://127.0.0.1:4567"]);
        assert_eq!((sdk.use_fips(), sdk.use_dual_stack()), (Some(true), Some(false)));
        assert_eq!(sdk.region().unwrap().as_ref(), "eu-west-1");
    }

    #[test]
    fn a_variable_that_is_missing_is_named_with_what_to_do() {
        for (name, remedy) in [
            ("AWS_REGION", "`export AWS_REGION=us-east-1`"),
            ("AWS_ACCESS_KEY_ID", "aws configure export-credentials"),
            ("AWS_SECRET_ACCESS_KEY", "a function reads no AWS_PROFILE"),
        ] {
            let mut variables = variables(&[]);
            variables.remove(name);
            let sentence = from_variables(&variables).unwrap_err().to_string();
            let start = format!("the environment variable {name} is missing: ");
            assert!(sentence.starts_with(&start) && sentence.contains(remedy), "{sentence}");
        }
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_named() {
        let sentence =
            from_variables(&variables(&[("AWS_ENDPOINT_URL_EC2", "127.0.0.1:4566")])).unwrap_err().to_string();
        assert!(
            sentence.starts_with("the environment variable AWS_ENDPOINT_URL_EC2 is `127.0.0.1:4566`"),
            "{sentence}"
        );
    }

    /// What both kinds of load balancers answer that have none.
    const NO_BALANCERS: &str =
        "<DescribeLoadBalancersResponse><DescribeLoadBalancersResult/></DescribeLoadBalancersResponse>";

    /// Returns clients of an endpoint that make a call once.
    fn clients_of(url: &str) -> Clients {
        let sdk = from_variables(&variables(&[("AWS_ENDPOINT_URL", url)])).unwrap();
        Clients::new(&sdk.into_builder().retry_config(RetryConfig::disabled()).build())
    }

    /// Listens on a port. Tells of each connection, and answers its requests unless it is among the first so many.
    async fn listen(lost: usize) -> (String, mpsc::UnboundedReceiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (opened, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for number in 0.. {
                let (mut connection, _) = listener.accept().await.unwrap();
                opened.send(()).unwrap();
                tokio::spawn(async move {
                    let mut read = [0; 4096];
                    while connection.read(&mut read).await.is_ok_and(|length| length > 0 && number >= lost) {
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", NO_BALANCERS.len());
                        connection.write_all((head + NO_BALANCERS).as_bytes()).await.unwrap();
                    }
                });
            }
        });
        (url, told)
    }

    #[tokio::test]
    async fn services_of_one_host_share_a_connection() {
        let (url, mut opened) = listen(0).await;
        let clients = clients_of(&url);
        clients.classic.describe_load_balancers().send().await.unwrap();
        // A connection is free again a moment after its answer.
        sleep(std::time::Duration::from_millis(100)).await;
        clients.target_groups.describe_load_balancers().send().await.unwrap();
        opened.recv().await.unwrap();
        assert!(opened.try_recv().is_err(), "a second connection");
    }

    #[tokio::test]
    async fn a_call_whose_answer_is_lost_is_made_again() {
        let (url, _opened) = listen(1).await;
        let once = clients_of(&url).classic.describe_load_balancers();
        let retries = retries().with_initial_backoff(std::time::Duration::from_millis(1));
        let again = aws_sdk_elasticloadbalancing::Config::builder().retry_config(retries);
        once.customize().config_override(again).send().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_come_about_is_given_up() {
        // The system takes the connection, and no program its handshake.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clients = clients_of(&format!("https://{}", listener.local_addr().unwrap()));
        let begun = Instant::now();
        let error = clients.classic.describe_load_balancers().send().await.unwrap_err();
        assert!(matches!(&error, SdkError::DispatchFailure(why) if why.is_timeout()), "{error:?}");
        assert_eq!(begun.elapsed().as_secs(), CONNECT_TIMEOUT.as_secs());
    }
}
