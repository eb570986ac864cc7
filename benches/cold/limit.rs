//! What a first event takes at the least: the calls of `instance-state`, in its order, by hyper and rustls alone.
//!
//! The requests are unsigned text, which the sandbox takes. Of an answer, only what a later request needs is cut out of its text. Nothing is
//! decided, retried, limited or logged. `cold compare` starts it, and fails if its calls are not those of `instance-state`.

use std::{env, error::Error};

use futures::{
    StreamExt, TryStreamExt,
    future::{try_join, try_join3},
    stream,
};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Uri, body::Bytes};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio_rustls::rustls::crypto::aws_lc_rs;

/// Calls that read, under way at once: as many as the functions have.
const CALLS_IN_FLIGHT_MAX: usize = 8;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let limit = Limit::from_env()?;
    try_join(
        limit.ec2("DescribeInstances&Filter.1.Name=instance-id&Filter.1.Value.1=i-00000000000000000".into()),
        limit.classic("DescribeLoadBalancers&PageSize=1".into()),
    )
    .await?;
    while limit.serve_one().await? {}
    Ok(())
}

/// The client, and where to call.
struct Limit {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: String,
    ec2: Uri,
    balancers: Uri,
    queues: Uri,
    queue: String,
}

/// A request's method, its address, its headers, and its body.
type Sent<'s> = (Method, Uri, &'s [(&'static str, &'s str)], String);

impl Limit {
    fn from_env() -> Result<Self, Failure> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(aws_lc_rs::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let url = |service| env::var(format!("AWS_ENDPOINT_URL_{service}"));
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            runtime: format!("http://{}/2018-06-01/runtime/invocation", env::var("AWS_LAMBDA_RUNTIME_API")?),
            ec2: url("EC2")?.parse()?,
            balancers: url("ELASTIC_LOAD_BALANCING")?.parse()?,
            queues: url("SQS")?.parse()?,
            queue: env::var("REGISTRAR_QUEUE_URL")?,
        })
    }

    /// Asks for an event, and answers it. Returns whether there was one: at its end the benchmark closes the Runtime API.
    async fn serve_one(&self) -> Result<bool, Failure> {
        let next = Request::get(format!("{}/next", self.runtime)).body(Full::default())?;
        let Ok(next) = self.client.request(next).await else { return Ok(false) };
        let id = next.headers().get("lambda-runtime-aws-request-id").ok_or("no request id")?.to_str()?.to_owned();
        let batch = text(next.into_body()).await?;
        let instance = field(&batch, "instance-id")?;
        let answer = match field(&batch, "state")? {
            "running" => {
                self.give_back(instance, field(&batch, "account")?).await?;
                let receipt = field(&batch, "receiptHandle")?;
                let entry = format!(r#"{{"Id":"0","ReceiptHandle":"{receipt}","VisibilityTimeout":120}}"#);
                let look = format!(r#"{{"QueueUrl":"{}","Entries":[{entry}]}}"#, self.queue);
                self.sqs("AmazonSQS.ChangeMessageVisibilityBatch", look).await?;
                let message = field(&batch, "messageId")?;
                format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"{message}"}}]}}"#)
            }
            _ => {
                self.take_out(instance).await?;
                r#"{"batchItemFailures":[]}"#.to_owned()
            }
        };
        let answered = format!("{}/{id}/response", self.runtime).parse()?;
        self.send((Method::POST, answered, &[], answer)).await.map(|_| true)
    }

    async fn take_out(&self, instance: &str) -> Result<(), Failure> {
        let described = self.describe(instance).await?;
        let address = between(&described, "<privateIpAddress>").next().ok_or("no address")?;
        let others = "Filter.1.Name=instance-state-name&Filter.1.Value.1=stopping&Filter.1.Value.2=shutting-down";
        self.ec2(format!("DescribeInstances&{others}&MaxResults=1000")).await?;
        let (groups, classic) =
            try_join(self.target_groups("DescribeTargetGroups".into()), self.classic("DescribeLoadBalancers".into()))
                .await?;
        let name = between(&classic, "<LoadBalancerName>").next().ok_or("no Classic load balancer")?;
        let ask = async |arn: &str| {
            let members = self.target_groups(format!("DescribeTargetHealth&TargetGroupArn={arn}")).await?;
            let target = [instance, address].into_iter().find(|id| members.contains(&format!("<Id>{id}</Id>")));
            let port = between(&members, "<Port>").next().map(str::to_owned);
            Ok::<_, Failure>(target.zip(port).map(|(target, port)| (arn.to_owned(), target, port)))
        };
        let asked = stream::iter(between(&groups, "<TargetGroupArn>").map(ask)).buffer_unordered(CALLS_IN_FLIGHT_MAX);
        let all: Vec<Option<(String, &str, String)>> = asked.try_collect().await?;
        let [(one, target, port), (other, other_target, other_port)] =
            <[_; 2]>::try_from(all.into_iter().flatten().collect::<Vec<_>>()).map_err(|_| "not two target groups")?;
        try_join(self.tags_of_classic(name), self.tags_of_groups(&[&one, &other], &groups)).await?;
        let held = [(&one, target, &port), (&other, other_target, &other_port)].map(|(arn, target, port)| {
            let eth0 = if target == address { "=eth0" } else { "" };
            format!("tg:{}:{port}{eth0}", arn.split_once(":targetgroup/").unwrap_or_default().1)
        });
        let key = "elb-registrar:held.2026-01-01T00:00:00Z.00000000";
        let tag = format!("Tag.1.Key={key}&Tag.1.Value=clb:{name}+{}+{}", held[0], held[1]);
        self.ec2(format!("CreateTags&ResourceId.1={instance}&{tag}")).await?;
        try_join3(
            self.classic(format!("DeregisterInstancesFromLoadBalancer&{}", member(name, instance))),
            self.target_groups(format!("DeregisterTargets&{}", target_of(&one, target, &port))),
            self.target_groups(format!("DeregisterTargets&{}", target_of(&other, other_target, &other_port))),
        )
        .await?;
        self.describe(instance).await.map(drop)
    }

    async fn give_back(&self, instance: &str, account: &str) -> Result<(), Failure> {
        let described = self.describe(instance).await?;
        let address = between(&described, "<privateIpAddress>").next().ok_or("no address")?;
        let held = between(&described, "<value>").find(|value| value.starts_with("clb:")).ok_or("nothing is held")?;
        let [name, one, other] =
            <[&str; 3]>::try_from(held.split(' ').collect::<Vec<_>>()).map_err(|_| "not three registrations")?;
        let name = name.trim_start_matches("clb:");
        let target = |text: &str| {
            let (group, port) = text.trim_start_matches("tg:").rsplit_once(':').ok_or("no port")?;
            let arn = format!("arn:aws:elasticloadbalancing:us-east-1:{account}:targetgroup/{group}");
            Ok::<_, Failure>(match port.strip_suffix("=eth0") {
                Some(port) => (arn, address, port.to_owned()),
                None => (arn, instance, port.to_owned()),
            })
        };
        let (one, other) = (target(one)?, target(other)?);
        let of_groups = async {
            let members = |arn: &str| self.target_groups(format!("DescribeTargetHealth&TargetGroupArn={arn}"));
            try_join(members(&one.0), members(&other.0)).await?;
            let arns = format!("TargetGroupArns.member.1={}&TargetGroupArns.member.2={}", one.0, other.0);
            let groups = self.target_groups(format!("DescribeTargetGroups&{arns}")).await?;
            self.tags_of_groups(&[&one.0, &other.0], &groups).await
        };
        let of_classic = async {
            self.classic(format!("DescribeLoadBalancers&LoadBalancerNames.member.1={name}")).await?;
            self.tags_of_classic(name).await
        };
        try_join(of_groups, of_classic).await?;
        try_join3(
            self.classic(format!("RegisterInstancesWithLoadBalancer&{}", member(name, instance))),
            self.target_groups(format!("RegisterTargets&{}", target_of(&one.0, one.1, &one.2))),
            self.target_groups(format!("RegisterTargets&{}", target_of(&other.0, other.1, &other.2))),
        )
        .await?;
        self.describe(instance).await.map(drop)
    }

    async fn describe(&self, instance: &str) -> Result<String, Failure> {
        let by_id = format!("Filter.1.Name=instance-id&Filter.1.Value.1={instance}&MaxResults=1000");
        self.ec2(format!("DescribeInstances&{by_id}")).await
    }

    async fn tags_of_classic(&self, name: &str) -> Result<(), Failure> {
        self.classic(format!("DescribeTags&LoadBalancerNames.member.1={name}")).await.map(drop)
    }

    /// Asks for the tags of target groups, and of the load balancers in front of them.
    async fn tags_of_groups(&self, groups: &[&str], listing: &str) -> Result<(), Failure> {
        let balancers = between(listing, "<LoadBalancerArns><member>");
        let mut arns: Vec<&str> = groups.iter().copied().chain(balancers).collect();
        arns.sort_unstable();
        arns.dedup();
        let members = arns.iter().zip(1..).map(|(arn, at)| format!("&ResourceArns.member.{at}={arn}"));
        self.target_groups(format!("DescribeTags{}", members.collect::<String>())).await.map(drop)
    }

    async fn ec2(&self, call: String) -> Result<String, Failure> {
        self.query(&self.ec2, "2016-11-15", call).await
    }

    async fn classic(&self, call: String) -> Result<String, Failure> {
        self.query(&self.balancers, "2012-06-01", call).await
    }

    async fn target_groups(&self, call: String) -> Result<String, Failure> {
        self.query(&self.balancers, "2015-12-01", call).await
    }

    async fn query(&self, endpoint: &Uri, version: &str, call: String) -> Result<String, Failure> {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        self.send((Method::POST, endpoint.clone(), &form, format!("Version={version}&Action={call}"))).await
    }

    async fn sqs(&self, action: &str, call: String) -> Result<String, Failure> {
        let json = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", action)];
        self.send((Method::POST, self.queues.clone(), &json, call)).await
    }

    async fn send(&self, (method, to, headers, body): Sent<'_>) -> Result<String, Failure> {
        let mut request = Request::builder().method(method).uri(to);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.client.request(request.body(body.into())?).await?;
        let status = answer.status();
        let answer = text(answer.into_body()).await?;
        if status.is_success() { Ok(answer) } else { Err(format!("{status}: {answer}").into()) }
    }
}

async fn text(body: hyper::body::Incoming) -> Result<String, Failure> {
    Ok(String::from_utf8(body.collect().await?.to_bytes().into())?)
}

fn member(classic: &str, instance: &str) -> String {
    format!("LoadBalancerName={classic}&Instances.member.1.InstanceId={instance}")
}

fn target_of(arn: &str, id: &str, port: &str) -> String {
    format!("TargetGroupArn={arn}&Targets.member.1.Id={id}&Targets.member.1.Port={port}")
}

/// Returns what follows each occurrence of an element's beginning in XML, up to the next element.
fn between<'t>(xml: &'t str, beginning: &str) -> impl Iterator<Item = &'t str> {
    xml.split(beginning).skip(1).filter_map(|rest| rest.split('<').next())
}

/// Returns the first value of a field in JSON, which may be JSON in a string of JSON.
fn field<'t>(json: &'t str, name: &str) -> Result<&'t str, Failure> {
    let found = json.split_once(&format!("{name}\"")).or_else(|| json.split_once(&format!("{name}\\\"")));
    let (_, rest) = found.ok_or_else(|| format!("no {name} in {json}"))?;
    rest.trim_start_matches([':', ' ', '\\', '"']).split(['\\', '"']).next().ok_or_else(|| "no value".into())
}
