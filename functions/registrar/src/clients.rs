//! How AWS is called: time limits, retries, one HTTP stack. The SDK sets no time limit by itself.

use std::{sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use tokio::time::timeout;

use crate::{
    budget::{Budget, Service},
    call_watch::{CallCounts, CallWatch},
    ec2::{self, Ec2},
};

/// Opening a connection. Within a Region that takes milliseconds; a black hole should not cost the whole attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// One attempt. The slowest calls here (a page of 400 target groups) take a second or two.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// One call with all its attempts: part of what [`crate::decide::SETTLE`] is made of.
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// Attempts of one call. Enough to wait for a token bucket that refills 4 times a second; more would only keep other
/// events waiting, and the queue brings this one back anyway.
const ATTEMPTS_MAX: u32 = 6;

/// How long a start may wait for its first connections. They take some ten milliseconds; shorter, and a name server that has to ask
/// first makes the first event pay for them; longer, and a network that lets nothing through eats up the 10 s that a start has.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

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
    pub auto_scaling: aws_sdk_autoscaling::Client,
    /// Queues.
    pub sqs: aws_sdk_sqs::Client,
    /// Where they are, such as `us-east-1`.
    pub region: String,
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

    fn watched(sdk: &SdkConfig, watch: impl Fn(&Arc<CallCounts>) -> CallWatch) -> Self {
        let counts = Arc::default();
        let budget: Arc<Budget> = Arc::default();
        // One watch a client: each service has a clock of its own.
        let watch = || watch(&counts);
        let of = |service| watch().slowing(service, &budget);
        let of_ec2 = of(Service::Ec2);
        Self {
            ec2: Ec2::new(watched!(aws_sdk_ec2, sdk, of_ec2.clone()), of_ec2, budget.clone()),
            classic: watched!(aws_sdk_elasticloadbalancing, sdk, of(Service::Classic)),
            target_groups: watched!(aws_sdk_elasticloadbalancingv2, sdk, of(Service::ElasticLoadBalancingV2)),
            auto_scaling: watched!(aws_sdk_autoscaling, sdk, watch()),
            sqs: watched!(aws_sdk_sqs, sdk, watch()),
            region: sdk.region().map(ToString::to_string).unwrap_or_default(),
            counts,
            budget,
        }
    }
}

/// Time limits of every client.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

/// Retries of every client: the standard mode, with exponential back-off and a quota that stops a storm of retries.
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX)
}

/// Reads Region, credentials and endpoint from the environment, as the SDK does everywhere.
pub async fn from_env() -> SdkConfig {
    let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
    loader.timeout_config(timeouts()).retry_config(retries()).load().await
}

/// The SDK's own HTTP stack, once for all clients.
///
/// By itself each client has one of its own, and makes another only to see that it can: the root certificates are parsed ten times
/// by five clients (`HyperClient::validate_base_client_config` of aws-smithy-http-client 1.5). And Classic load balancers and
/// target groups share a host, so that sharing the pool spares their connections, too.
fn http_client() -> SharedHttpClient {
    let connector = Connector::builder()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .connector_settings(HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build())
        // As the SDK's default client does it.
        .proxy_config(ProxyConfig::from_env())
        .build();
    let connector = SharedHttpConnector::new(connector);
    // Nobody else sets other timeouts of connections, which would need a connector of their own.
    http_client_fn(move |_settings, _components| connector.clone())
}
