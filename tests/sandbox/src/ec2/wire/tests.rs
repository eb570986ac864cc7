//! Tests of EC2 over the wire: hand-made form bodies in, text out.

mod tag_events;
mod warnings;

use std::time::Duration;

use bytes::Bytes;

use crate::{
    Options, Reply, Sandbox, Verdict,
    ec2::{Launch, create_dual_stack_vpc, create_subnet, create_vpc, launch_running, set_tag},
    fault::every,
};

/// A small world: a VPC, a subnet, and a way to make calls.
struct Fixture {
    sandbox: Sandbox,
    vpc: String,
    subnet: String,
}

impl Fixture {
    fn new() -> Self {
        Self::with_options(Options::default())
    }

    fn with_options(options: Options) -> Self {
        let sandbox = Sandbox::new(crate::Clock::virtual_time(), options);
        let (vpc, subnet) = sandbox.with(|world| {
            let vpc = create_vpc(world, "10.0.0.0/16");
            let subnet = create_subnet(world, &vpc, "us-east-1a", "10.0.0.0/24");
            (vpc, subnet)
        });
        Self { sandbox, vpc, subnet }
    }

    fn running(&self) -> String {
        self.sandbox.with(|world| launch_running(world, Launch::new(&self.subnet)).unwrap())
    }

    /// Returns the status and the body of an answer.
    async fn ask(&self, query: &str) -> (u16, String) {
        let body = format!("Action={query}&Version=2016-11-15");
        let request = http::Request::post("/").body(Bytes::from(body)).unwrap();
        match self.sandbox.call(request).await {
            Reply::Answered(response) => {
                (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
            }
            reply => panic!("no answer: {reply:?}"),
        }
    }

    #[track_caller]
    fn is_ok(&self, (status, body): (u16, String)) -> String {
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn ok(&self, query: &str) -> String {
        let answer = self.ask(query).await;
        self.is_ok(answer)
    }

    /// Returns the code of a refusal.
    async fn code(&self, query: &str) -> String {
        let (status, body) = self.ask(query).await;
        assert_ne!(status, 200, "{body}");
        all(&body, "Code").remove(0)
    }

    async fn seconds(&self, seconds: u64) {
        self.sandbox.advance(Duration::from_secs(seconds)).await;
    }

    fn tags(&self, id: &str) -> Vec<(String, String)> {
        self.sandbox.with(|world| super::rules::of(world, id).into_iter().collect())
    }
}

/// Returns the texts of every element of that name, in order.
fn all(body: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = body.split(&open).skip(1);
    parts.map(|part| part.split(&close).next().unwrap_or_default().to_owned()).collect()
}

fn states(body: &str) -> Vec<String> {
    all(body, "instanceState").iter().flat_map(|state| all(state, "name")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_launched_instance_is_pending_and_then_running() {
    let aws = Fixture::new();
    let body = aws
        .ok(&format!(
            "RunInstances&ImageId=ami-1&MinCount=2&MaxCount=2&SubnetId={}&TagSpecification.1.ResourceType=instance\
             &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=web&ClientToken=once",
            aws.subnet
        ))
        .await;
    assert_eq!(states(&body), ["pending", "pending"]);
    assert_eq!(all(&body, "reservationId").len(), 1);
    aws.seconds(30).await;
    let body = aws.ok("DescribeInstances&Filter.1.Name=tag:Name&Filter.1.Value.1=w*").await;
    assert_eq!(states(&body), ["running", "running"]);
    assert_eq!(all(&body, "reason"), ["", ""]);
    let mut addresses = all(&all(&body, "privateIpAddressesSet").concat(), "privateIpAddress");
    addresses.sort();
    assert_eq!(addresses, ["10.0.0.10", "10.0.0.11"]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_client_token_launches_nothing_new() {
    let aws = Fixture::new();
    let run = |image: &str| {
        format!("RunInstances&ImageId={image}&MinCount=1&MaxCount=1&SubnetId={}&ClientToken=once", aws.subnet)
    };
    let first = aws.ok(&run("ami-1")).await;
    let second = aws.ok(&run("ami-1")).await;
    assert_eq!(all(&first, "instanceId"), all(&second, "instanceId"));
    let of_interfaces = all(&first, "networkInterfaceSet").concat();
    assert!(!first.replace(&of_interfaces, "").contains("tagSet"), "an instance without tags has no list of them");
    assert_eq!(aws.code(&run("ami-2")).await, "IdempotentParameterMismatch");
}

#[tokio::test(start_paused = true)]
async fn one_unknown_id_fails_the_whole_description_but_not_the_filter() {
    let aws = Fixture::new();
    let (known, unknown) = (aws.running(), "i-0000000000000ffff");
    let both = format!("DescribeInstances&InstanceId.1={known}&InstanceId.2={unknown}");
    assert_eq!(aws.code(&both).await, "InvalidInstanceID.NotFound");
    assert_eq!(aws.code("DescribeInstances&InstanceId.1=web-1").await, "InvalidInstanceID.Malformed");
    let filter =
        format!("DescribeInstances&Filter.1.Name=instance-id&Filter.1.Value.1={known}&Filter.1.Value.2={unknown}");
    assert_eq!(all(&aws.ok(&filter).await, "instanceId"), [known.as_str()]);
    let values: String = (1..=201).map(|n| format!("&Filter.1.Value.{n}=i-{n:017x}")).collect();
    assert_eq!(aws.code(&format!("DescribeInstances&Filter.1.Name=instance-id{values}")).await, "FilterLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_stop_and_a_start_take_time_and_renew_the_launch_time() {
    let aws = Fixture::new();
    let id = aws.running();
    let launched = all(&aws.ok("DescribeInstances").await, "launchTime");
    let body = aws.ok(&format!("StopInstances&InstanceId.1={id}&Force=true")).await;
    assert_eq!(all(&body, "name"), ["stopping", "running"]);
    assert_eq!(aws.code(&format!("StartInstances&InstanceId.1={id}")).await, "IncorrectInstanceState");
    aws.seconds(60).await;
    let body = aws.ok("DescribeInstances").await;
    assert_eq!(states(&body), ["stopped"]);
    assert!(all(&body, "reason")[0].starts_with("User initiated (2026-01-05 08:00:00 GMT)"), "{body}");
    assert_eq!(all(&aws.ok(&format!("StopInstances&InstanceId.1={id}")).await, "name"), ["stopped", "stopped"]);
    aws.ok(&format!("StartInstances&InstanceId.1={id}")).await;
    aws.seconds(30).await;
    let body = aws.ok("DescribeInstances").await;
    assert_eq!((states(&body), all(&body, "reason")), (vec!["running".to_owned()], vec![String::new()]));
    assert_ne!(all(&body, "launchTime"), launched);
    let eth0 = aws.sandbox.with(|world| world.ec2.instance(&id).unwrap().primary_ipv4());
    assert_eq!(eth0, Some("10.0.0.10".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_never_ran_cannot_be_stopped_but_terminated() {
    let aws = Fixture::new();
    let run = format!("RunInstances&ImageId=ami-1&MinCount=1&MaxCount=1&SubnetId={}", aws.subnet);
    let id = all(&aws.ok(&run).await, "instanceId").remove(0);
    assert_eq!(aws.code(&format!("StopInstances&InstanceId.1={id}")).await, "IncorrectInstanceState");
    aws.ok(&format!("TerminateInstances&InstanceId.1={id}")).await;
    aws.seconds(60).await;
    assert_eq!(states(&aws.ok("DescribeInstances").await), ["terminated"]);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_shuts_itself_down_tells_no_time_of_it() {
    let aws = Fixture::new();
    let id = aws.running();
    aws.sandbox.with(|world| crate::ec2::shut_itself_down(world, &id).unwrap());
    aws.seconds(60).await;
    let body = aws.ok("DescribeInstances").await;
    assert_eq!((states(&body), all(&body, "reason")), (vec!["stopped".to_owned()], vec![String::new()]));
    assert_eq!(all(&all(&body, "stateReason")[0], "code"), ["Client.InstanceInitiatedShutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_released_address_goes_to_the_first_instance_that_asks() {
    let aws = Fixture::new();
    let run = format!(
        "RunInstances&ImageId=ami-1&MinCount=1&MaxCount=1&SubnetId={}&TagSpecification.1.ResourceType=instance\
         &TagSpecification.1.Tag.1.Key=sandbox:address-at-restart&TagSpecification.1.Tag.1.Value=renewed",
        aws.subnet
    );
    let id = all(&aws.ok(&run).await, "instanceId").remove(0);
    aws.seconds(30).await;
    aws.ok(&format!("StopInstances&InstanceId.1={id}")).await;
    assert!(aws.ok("DescribeInstances").await.contains("10.0.0.10"), "kept while it is stopping");
    aws.seconds(60).await;
    let body = aws.ok("DescribeInstances").await;
    assert_eq!((all(&body, "networkInterfaceId").len(), all(&body, "privateIpAddress").len()), (1, 0));
    aws.ok(&format!("StartInstances&InstanceId.1={id}")).await;
    let address =
        |id: &str| aws.sandbox.with(|world| world.ec2.instance(id).unwrap().primary_ipv4().unwrap().to_string());
    assert_eq!(address(&id), "10.0.0.11");
    let other = aws.running();
    assert_eq!(address(&other), "10.0.0.10");
}

#[tokio::test(start_paused = true)]
async fn a_termination_overtakes_a_stop_and_leaves_nothing() {
    let aws = Fixture::new();
    let id = aws.running();
    aws.sandbox.with(|world| set_tag(world, &id, "Name", "web"));
    aws.ok(&format!("StopInstances&InstanceId.1={id}")).await;
    aws.seconds(5).await;
    let body = aws.ok(&format!("TerminateInstances&InstanceId.1={id}")).await;
    assert_eq!(all(&body, "name"), ["shutting-down", "stopping"]);
    aws.seconds(60).await;
    let body = aws.ok(&format!("DescribeInstances&InstanceId.1={id}")).await;
    assert_eq!(states(&body), ["terminated"]);
    assert!(!body.contains("10.0.0.10") && !body.contains("<key>") && !body.contains("eni-"), "{body}");
    assert_eq!(all(&aws.ok("DescribeNetworkInterfaces").await, "networkInterfaceId").len(), 0);
    let tag = format!("CreateTags&ResourceId.1={id}&Tag.1.Key=a&Tag.1.Value=b");
    assert_eq!(aws.code(&tag).await, "InvalidInstanceID.NotFound");
    aws.seconds(3_600).await;
    assert_eq!(aws.code(&format!("DescribeInstances&InstanceId.1={id}")).await, "InvalidInstanceID.NotFound");
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_was_attached_later_outlives_the_instance() {
    let aws = Fixture::new();
    let id = aws.running();
    let body = aws.ok(&format!("CreateNetworkInterface&SubnetId={}&PrivateIpAddress=10.0.0.77", aws.subnet)).await;
    let eni = all(&body, "networkInterfaceId").remove(0);
    let attach = format!("AttachNetworkInterface&NetworkInterfaceId={eni}&InstanceId={id}&DeviceIndex=1");
    let attachment = all(&aws.ok(&attach).await, "attachmentId").remove(0);
    assert_eq!(aws.code(&attach).await, "InvalidNetworkInterface.InUse");
    let eth0 = aws.sandbox.with(|world| world.ec2.instance(&id).unwrap().eth0().unwrap().attachment_id());
    assert_eq!(aws.code(&format!("DetachNetworkInterface&AttachmentId={eth0}")).await, "OperationNotPermitted");
    assert_ne!(eth0, attachment);
    aws.ok(&format!("TerminateInstances&InstanceId.1={id}")).await;
    aws.seconds(60).await;
    let body =
        aws.ok("DescribeNetworkInterfaces&Filter.1.Name=addresses.private-ip-address&Filter.1.Value.1=10.0.0.77").await;
    assert_eq!((all(&body, "networkInterfaceId"), all(&body, "status")), (vec![eni], vec!["available".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_stale_read_shows_old_state_tags_and_interfaces() {
    let aws = Fixture::new();
    let id = aws.running();
    aws.seconds(100).await;
    aws.ok(&format!("StopInstances&InstanceId.1={id}")).await;
    aws.ok(&format!("CreateTags&ResourceId.1={id}&Tag.1.Key=held&Tag.1.Value=x")).await;
    let young = all(&aws.ok(&format!("CreateNetworkInterface&SubnetId={}", aws.subnet)).await, "networkInterfaceId");
    let lag = aws.sandbox.fault(|call: &crate::Call| match call.action.starts_with("Describe") {
        true => Verdict::Stale(Duration::from_secs(10)),
        false => Verdict::Pass,
    });
    let body = aws.ok("DescribeInstances").await;
    assert_eq!((states(&body), all(&body, "key")), (vec!["running".to_owned()], vec![]));
    assert_eq!(all(&aws.ok("DescribeTags").await, "key").len(), 0);
    assert!(!aws.ok("DescribeNetworkInterfaces").await.contains(&young[0]));
    drop(lag);
    let body = aws.ok("DescribeInstances").await;
    assert_eq!((states(&body), all(&body, "key")), (vec!["stopping".to_owned()], vec!["held".to_owned()]));
    assert!(aws.ok("DescribeNetworkInterfaces").await.contains(&young[0]));
}

#[tokio::test(start_paused = true)]
async fn an_instance_too_young_for_a_stale_read_is_unknown_to_it() {
    let aws = Fixture::new();
    let id = aws.running();
    let _lag = aws.sandbox.fault(every("DescribeInstances", Verdict::Stale(Duration::from_secs(5))));
    assert_eq!(aws.code(&format!("DescribeInstances&InstanceId.1={id}")).await, "InvalidInstanceID.NotFound");
}

#[tokio::test(start_paused = true)]
async fn pages_together_show_everything_once() {
    let aws = Fixture::with_options(Options { page_size: Some(3), ..Options::default() });
    let mut expected: Vec<_> = (0..8).map(|_| aws.running()).collect();
    let (mut seen, mut next, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let body = aws.ok(&format!("DescribeInstances{next}")).await;
        seen.extend(all(&body, "instanceId"));
        pages += 1;
        match all(&body, "nextToken").pop() {
            Some(token) => next = format!("&NextToken={token}"),
            None => break,
        }
    }
    seen.sort();
    expected.sort();
    assert_eq!((seen, pages), (expected, 3));
    assert_eq!(aws.code("DescribeInstances&MaxResults=2").await, "InvalidParameterValue");
    let named = format!("DescribeInstances&MaxResults=5&InstanceId.1={}", aws.running());
    assert_eq!(aws.code(&named).await, "InvalidParameterCombination");
}

#[tokio::test(start_paused = true)]
async fn the_primary_address_is_not_always_the_first() {
    let aws = Fixture::new();
    let id = aws.running();
    let eni = aws.sandbox.with(|world| world.ec2.instance(&id).unwrap().eth0().unwrap().id.clone());
    aws.ok(&format!("AssignPrivateIpAddresses&NetworkInterfaceId={eni}&SecondaryPrivateIpAddressCount=2")).await;
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let body = aws.ok("DescribeInstances").await;
        assert_eq!(all(&body, "primary").iter().filter(|primary| *primary == "true").count(), 1);
        firsts.insert(all(&all(&body, "privateIpAddressesSet")[0], "privateIpAddress").remove(0));
    }
    assert_eq!(firsts.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_address_is_moved_only_with_permission() {
    let aws = Fixture::new();
    let (one, two) = (aws.running(), aws.running());
    let eth0 = |id: &str| aws.sandbox.with(|world| world.ec2.instance(id).unwrap().eth0().unwrap().id.clone());
    let assign = |id: &str, rest: &str| {
        format!("AssignPrivateIpAddresses&NetworkInterfaceId={}&PrivateIpAddress.1=10.0.0.50{rest}", eth0(id))
    };
    aws.ok(&assign(&one, "")).await;
    assert_eq!(aws.code(&assign(&two, "")).await, "InvalidParameterValue");
    aws.ok(&assign(&two, "&AllowReassignment=true")).await;
    let owner =
        "DescribeInstances&Filter.1.Name=network-interface.addresses.private-ip-address&Filter.1.Value.1=10.0.0.50";
    assert_eq!(all(&aws.ok(owner).await, "instanceId"), [two.as_str()]);
    let unassign = |address: &str| {
        format!("UnassignPrivateIpAddresses&NetworkInterfaceId={}&PrivateIpAddress.1={address}", eth0(&two))
    };
    assert_eq!(aws.code(&unassign("10.0.0.11")).await, "InvalidParameterValue");
    aws.ok(&unassign("10.0.0.50")).await;
    assert_eq!(all(&aws.ok(owner).await, "instanceId").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_efa_card_has_a_device_zero_without_addresses() {
    let aws = Fixture::new();
    let body = aws
        .ok(&format!(
            "RunInstances&ImageId=ami-1&MinCount=1&MaxCount=1&NetworkInterface.1.DeviceIndex=0\
             &NetworkInterface.1.NetworkCardIndex=1&NetworkInterface.1.InterfaceType=efa-only&NetworkInterface.1.SubnetId={0}\
             &NetworkInterface.2.DeviceIndex=0&NetworkInterface.2.SubnetId={0}&NetworkInterface.2.PrivateIpAddress=10.0.0.42",
            aws.subnet
        ))
        .await;
    assert_eq!(all(&body, "deviceIndex"), ["0", "0"]);
    assert_eq!(all(&all(&body, "privateIpAddressesSet").concat(), "privateIpAddress"), ["10.0.0.42"]);
    let used = format!("CreateNetworkInterface&SubnetId={}&PrivateIpAddress=10.0.0.42", aws.subnet);
    assert_eq!(aws.code(&used).await, "InvalidIPAddress.InUse");
}

#[tokio::test(start_paused = true)]
async fn ipv6_addresses_are_given_and_taken() {
    let aws = Fixture::new();
    let subnet = aws.sandbox.with(|world| {
        let vpc = create_dual_stack_vpc(world, "10.1.0.0/16");
        create_subnet(world, &vpc, "us-east-1a", "10.1.0.0/24")
    });
    let run = format!(
        "RunInstances&ImageId=ami-1&MinCount=1&MaxCount=1&SubnetId={subnet}&Ipv6AddressCount=1&EnablePrimaryIpv6=true"
    );
    let body = aws.ok(&run).await;
    assert_eq!(all(&body, "isPrimaryIpv6"), ["true"]);
    let (eni, primary) = (all(&body, "networkInterfaceId").remove(0), all(&body, "ipv6Address").remove(0));
    let body = aws.ok(&format!("AssignIpv6Addresses&NetworkInterfaceId={eni}&Ipv6AddressCount=1")).await;
    let second = all(&all(&body, "assignedIpv6Addresses")[0], "item").remove(0);
    assert_ne!(second, primary);
    let unassign = format!("UnassignIpv6Addresses&NetworkInterfaceId={eni}&Ipv6Addresses.1=");
    aws.ok(&format!("{unassign}{second}")).await;
    assert_eq!(aws.code(&format!("{unassign}{primary}")).await, "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn tags_are_deleted_only_if_the_value_matches() {
    let aws = Fixture::new();
    let id = aws.running();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    aws.ok(&format!(
        "CreateTags&ResourceId.1={id}&Tag.1.Key=held&Tag.1.Value=new&Tag.2.Key=empty&Tag.2.Value=&Tag.3.Key=other&Tag.3.Value=z"
    ))
    .await;
    let delete = |rest: &str| format!("DeleteTags&ResourceId.1={id}{rest}");
    aws.ok(&delete("&Tag.1.Key=held&Tag.1.Value=old&Tag.2.Key=other&Tag.2.Value=")).await;
    assert_eq!(aws.tags(&id).len(), 3);
    aws.ok(&delete("&Tag.1.Key=empty&Tag.1.Value=&Tag.2.Key=other")).await;
    assert_eq!(aws.tags(&id), [pair("held", "new")]);
    aws.ok(&delete("&Tag.1.Key=held&Tag.1.Value=new")).await;
    assert_eq!(aws.tags(&id), []);
}

#[tokio::test(start_paused = true)]
async fn deleting_without_naming_tags_deletes_all_of_the_user() {
    let aws = Fixture::new();
    let id = aws.running();
    aws.sandbox.with(|world| set_tag(world, &id, "aws:autoscaling:groupName", "group"));
    aws.ok(&format!("CreateTags&ResourceId.1={id}&Tag.1.Key=a&Tag.1.Value=b")).await;
    aws.ok(&format!("DeleteTags&ResourceId.1={id}")).await;
    assert_eq!(aws.tags(&id), [("aws:autoscaling:groupName".to_owned(), "group".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_tagging_writes_nothing_anywhere() {
    let aws = Fixture::new();
    let id = aws.running();
    let unknown = format!("CreateTags&ResourceId.1={id}&ResourceId.2=i-0000000000000ffff&Tag.1.Key=a&Tag.1.Value=b");
    assert_eq!(aws.code(&unknown).await, "InvalidInstanceID.NotFound");
    let create = |key: &str, value: &str| format!("CreateTags&ResourceId.1={id}&Tag.1.Key={key}&Tag.1.Value={value}");
    assert_eq!(aws.code(&create("aws:x", "")).await, "InvalidParameterValue");
    assert_eq!(aws.code(&create(&"k".repeat(128), "")).await, "InvalidParameterValue");
    assert_eq!(aws.code(&create("k", &"v".repeat(257))).await, "InvalidParameterValue");
    assert_eq!(aws.tags(&id), []);
    aws.ok(&create(&"k".repeat(127), &"v".repeat(256))).await;
}

#[tokio::test(start_paused = true)]
async fn the_fifty_first_tag_is_one_too_many_but_overwriting_is_not() {
    let aws = Fixture::new();
    let id = aws.running();
    aws.sandbox.with(|world| {
        set_tag(world, &id, "aws:cloudformation:stack-name", "stack");
        (0..50).for_each(|n| set_tag(world, &id, &format!("tag-{n}"), ""));
    });
    let create = |key: &str| format!("CreateTags&ResourceId.1={id}&Tag.1.Key={key}&Tag.1.Value=x");
    assert_eq!(aws.code(&create("one-more")).await, "TagLimitExceeded");
    aws.ok(&create("tag-7")).await;
    let described = "DescribeTags&Filter.1.Name=resource-id&Filter.1.Value.1=";
    assert_eq!(all(&aws.ok(&format!("{described}{id}")).await, "key").len(), 51);
}

#[tokio::test(start_paused = true)]
async fn networks_are_created_and_found_by_their_tags() {
    let aws = Fixture::new();
    let body = aws
        .ok("CreateVpc&CidrBlock=10.9.0.0/16&AmazonProvidedIpv6CidrBlock=true&TagSpecification.1.ResourceType=vpc\
             &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=nine")
        .await;
    let (vpc, block) = (all(&body, "vpcId").remove(0), all(&body, "ipv6CidrBlock").remove(0));
    let block = block.replace("/56", "/64");
    let body = aws
        .ok(&format!(
            "CreateSubnet&VpcId={vpc}&CidrBlock=10.9.1.0/24&Ipv6CidrBlock={block}&AvailabilityZone=us-east-1b"
        ))
        .await;
    assert_eq!(all(&body, "availableIpAddressCount"), ["251"]);
    assert_eq!(
        all(&aws.ok("DescribeVpcs&Filter.1.Name=tag:Name&Filter.1.Value.1=nine").await, "vpcId"),
        [vpc.as_str()]
    );
    let subnets = aws.ok(&format!("DescribeSubnets&Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}")).await;
    assert_eq!(all(&subnets, "availabilityZone"), ["us-east-1b"]);
    assert_eq!(aws.code("DescribeSubnets&SubnetId.1=subnet-0").await, "InvalidSubnetID.NotFound");
    assert_ne!(vpc, aws.vpc);
}

#[tokio::test(start_paused = true)]
async fn unmodelled_calls_are_refused_loudly() {
    let aws = Fixture::new();
    let id = aws.running();
    for query in [
        "DescribeImages".to_owned(),
        "DescribeInstances&Filter.1.Name=hypervisor&Filter.1.Value.1=xen".to_owned(),
        format!("StopInstances&InstanceId.1={id}&SkipOsShutdown=true"),
        format!("RebootInstances&InstanceId.1={id}&DryRun=true"),
    ] {
        assert_eq!(aws.code(&query).await, "NotModelledBySandbox", "{query}");
    }
    let other = aws.running();
    aws.ok(&format!("RebootInstances&InstanceId.1={other}")).await;
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_fails_half_way_leaves_nothing_behind() {
    let aws = Fixture::new();
    let small = aws.sandbox.with(|world| create_subnet(world, &aws.vpc, "us-east-1a", "10.0.1.0/28"));
    let run = format!("RunInstances&ImageId=ami-1&MinCount=6&MaxCount=6&SubnetId={small}");
    assert_eq!(aws.code(&run).await, "InsufficientFreeAddressesInSubnet");
    assert_eq!(all(&aws.ok("DescribeInstances").await, "instanceId").len(), 0);
    assert_eq!(all(&aws.ok("DescribeNetworkInterfaces").await, "networkInterfaceId").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_root_volume_and_eth0_stay_attached_over_a_restart() {
    let aws = Fixture::new();
    let id = aws.running();
    let body = aws.ok("DescribeInstances").await;
    let (volume, attached, launched) = (all(&body, "volumeId"), all(&body, "attachTime"), all(&body, "launchTime"));
    assert_eq!((all(&body, "deviceName"), volume.len()), (vec!["/dev/xvda".to_owned()], 1));
    // The volume and eth0 are attached by the launch.
    assert_eq!(attached, [launched[0].clone(), launched[0].clone()]);
    for change in ["StopInstances", "StartInstances"] {
        aws.ok(&format!("{change}&InstanceId.1={id}")).await;
        aws.seconds(300).await;
    }
    let body = aws.ok("DescribeInstances").await;
    assert_eq!((all(&body, "volumeId"), all(&body, "attachTime")), (volume, attached));
    assert_ne!(all(&body, "launchTime"), launched);
    aws.ok(&format!("TerminateInstances&InstanceId.1={id}")).await;
    aws.seconds(300).await;
    assert_eq!(all(&aws.ok("DescribeInstances").await, "volumeId").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn there_is_no_default_vpc() {
    let aws = Fixture::new();
    for filter in ["isDefault", "is-default"] {
        let body = aws.ok(&format!("DescribeVpcs&Filter.1.Name={filter}&Filter.1.Value.1=true")).await;
        assert_eq!(all(&body, "vpcId").len(), 0, "{filter}");
        let body = aws.ok(&format!("DescribeVpcs&Filter.1.Name={filter}&Filter.1.Value.1=false")).await;
        assert_eq!(all(&body, "vpcId"), [aws.vpc.as_str()], "{filter}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_is_deleted_only_from_the_inside_out() {
    let fixture = Fixture::new();
    let (vpc, subnet) = (&fixture.vpc, &fixture.subnet);
    let group = fixture.ok(&format!("CreateSecurityGroup&GroupName=web&GroupDescription=web&VpcId={vpc}")).await;
    let group = all(&group, "groupId").remove(0);
    let run = format!("RunInstances&ImageId=ami-1&MinCount=1&MaxCount=1&SubnetId={subnet}&SecurityGroupId.1={group}");
    let instance = all(&fixture.ok(&run).await, "instanceId").remove(0);
    let deletions = [
        format!("DeleteVpc&VpcId={vpc}"),
        format!("DeleteSubnet&SubnetId={subnet}"),
        format!("DeleteSecurityGroup&GroupId={group}"),
    ];
    for deletion in &deletions {
        assert_eq!(fixture.code(deletion).await, "DependencyViolation", "{deletion}");
    }
    fixture.ok(&format!("TerminateInstances&InstanceId.1={instance}")).await;
    fixture.seconds(600).await;
    assert_eq!(fixture.code(&deletions[0]).await, "DependencyViolation");
    for deletion in deletions.iter().rev() {
        fixture.ok(deletion).await;
    }
    assert_eq!(fixture.code(&deletions[0]).await, "InvalidVpcID.NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_balancer_holds_its_subnet_for_a_while() {
    let fixture = Fixture::new();
    let spec = |world: &mut crate::World, subnet: &str, vpc: &str| {
        let mut spec = crate::elb::LoadBalancerSpec::http(world, "front", vpc, &["us-east-1a"]);
        spec.subnets = vec![subnet.to_owned()];
        crate::elb::create_as(world, spec).unwrap();
    };
    fixture.sandbox.with(|world| spec(world, &fixture.subnet, &fixture.vpc));
    let deletion = format!("DeleteSubnet&SubnetId={}", fixture.subnet);
    assert_eq!(fixture.code(&deletion).await, "DependencyViolation");
    fixture.sandbox.with(|world| crate::elb::delete(world, "front"));
    assert_eq!(fixture.code(&deletion).await, "DependencyViolation");
    fixture.seconds(120).await;
    fixture.ok(&deletion).await;
}

#[tokio::test(start_paused = true)]
async fn a_launch_template_says_how_a_group_launches() {
    let fixture = Fixture::new();
    let data = "LaunchTemplateData.ImageId=resolve:ssm:/aws/image&LaunchTemplateData.InstanceType=t4g.nano";
    let create = format!("CreateLaunchTemplate&LaunchTemplateName=web&{data}");
    let id = all(&fixture.ok(&create).await, "launchTemplateId").remove(0);
    assert_eq!(fixture.code(&create).await, "InvalidLaunchTemplateName.AlreadyExistsException");
    let source = crate::auto_scaling::LaunchSource::Template { id: Some(id.clone()), name: None, version: None };
    let spec = crate::auto_scaling::GroupSpec { source, ..crate::auto_scaling::GroupSpec::new("web", &fixture.subnet) };
    fixture.sandbox.with(|world| crate::auto_scaling::create_group(world, spec.desired(1)).unwrap());
    fixture.seconds(120).await;
    let body = fixture.ok("DescribeInstances").await;
    assert_eq!(
        (all(&body, "instanceType"), all(&body, "imageId")),
        (vec!["t4g.nano".into()], vec!["ami-00000000000000002".into()])
    );
    let deletion = format!("DeleteLaunchTemplate&LaunchTemplateId={id}");
    fixture.ok(&deletion).await;
    assert_eq!(fixture.code(&deletion).await, "InvalidLaunchTemplateId.NotFound");
}

#[tokio::test(start_paused = true)]
async fn every_zone_offers_every_type() {
    let fixture = Fixture::new();
    let mut zones = all(&fixture.ok("DescribeAvailabilityZones").await, "zoneName");
    let filter = "Filter.1.Name=instance-type&Filter.1.Value.1=t4g.nano";
    let offers = format!("DescribeInstanceTypeOfferings&LocationType=availability-zone&{filter}");
    let mut offers = all(&fixture.ok(&offers).await, "location");
    zones.sort();
    offers.sort();
    assert_eq!((zones.len(), &zones), (3, &offers));
}
