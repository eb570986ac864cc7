//! Tests of Auto Scaling over the wire.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    Reply, Sandbox,
    auto_scaling::{LifecycleState, add_member, set_lifecycle_state},
    ec2::{self, Launch, create_subnet, create_vpc, launch_running},
};

const TARGET_GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/00000000000000a1";

/// A VPC, a subnet, and an empty group named `web` of at most three.
struct Fixture {
    sandbox: Sandbox,
    subnet: String,
}

impl Fixture {
    async fn new() -> Self {
        let sandbox = Sandbox::in_virtual_time();
        let subnet = sandbox.with(|world| {
            let vpc = create_vpc(world, "10.0.0.0/16");
            create_subnet(world, &vpc, "us-east-1a", "10.0.0.0/22")
        });
        let aws = Self { sandbox, subnet };
        aws.create("web", "").await;
        aws
    }

    async fn create(&self, name: &str, rest: &str) {
        let subnet = &self.subnet;
        self.ok(&format!(
            "CreateAutoScalingGroup&AutoScalingGroupName={name}&MinSize=0&MaxSize=3&VPCZoneIdentifier={subnet}\
             &LaunchTemplate.LaunchTemplateName=web&LaunchTemplate.Version=1{rest}"
        ))
        .await;
    }

    fn running(&self) -> String {
        self.sandbox.with(|world| launch_running(world, Launch::new(&self.subnet)).unwrap())
    }

    async fn ask(&self, query: &str) -> (u16, String) {
        let body = format!("Action={query}&Version=2011-01-01");
        let request = http::Request::post("/").body(Bytes::from(body)).unwrap();
        match self.sandbox.call(request).await {
            Reply::Answered(response) => {
                (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
            }
            reply => panic!("no answer: {reply:?}"),
        }
    }

    async fn ok(&self, query: &str) -> String {
        let (status, body) = self.ask(query).await;
        assert_eq!(status, 200, "{query}: {body}");
        body
    }

    async fn code(&self, query: &str) -> String {
        let (status, body) = self.ask(query).await;
        assert_ne!(status, 200, "{query}: {body}");
        all(&body, "Code").remove(0)
    }

    async fn states(&self) -> Vec<String> {
        all(&self.ok("DescribeAutoScalingInstances").await, "LifecycleState")
    }

    async fn desired(&self) -> String {
        all(&self.ok("DescribeAutoScalingGroups&AutoScalingGroupNames.member.1=web").await, "DesiredCapacity").remove(0)
    }
}

fn all(body: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    body.split(&open).skip(1).map(|part| part.split(&close).next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_attached_instance_is_a_member_and_bears_the_groups_tag() {
    let aws = Fixture::new().await;
    let id = aws.running();
    let attach = format!("AttachInstances&AutoScalingGroupName=web&InstanceIds.member.1={id}");
    aws.ok(&attach).await;
    assert_eq!((aws.states().await, aws.desired().await), (vec!["InService".to_owned()], "1".to_owned()));
    let tag = aws.sandbox.with(|world| world.ec2.instance(&id).unwrap().tags["aws:autoscaling:groupName"].clone());
    assert_eq!(tag, "web");
    assert_eq!(aws.code(&attach).await, "ValidationError");
    let detach =
        format!("DetachInstances&AutoScalingGroupName=web&InstanceIds.member.1={id}&ShouldDecrementDesiredCapacity");
    aws.ok(&format!("{detach}=true")).await;
    assert_eq!((aws.states().await, aws.desired().await), (vec!["Detaching".to_owned()], "0".to_owned()));
    aws.sandbox.advance(Duration::from_secs(10)).await;
    assert_eq!(aws.states().await.len(), 0);
    assert!(aws.sandbox.with(|world| world.ec2.instance(&id).unwrap().tags.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_or_surplus_instance_cannot_be_attached() {
    let aws = Fixture::new().await;
    let ids: Vec<_> = (0..4).map(|_| aws.running()).collect();
    let list: String = ids.iter().enumerate().map(|(n, id)| format!("&InstanceIds.member.{}={id}", n + 1)).collect();
    assert_eq!(aws.code(&format!("AttachInstances&AutoScalingGroupName=web{list}")).await, "ValidationError");
    aws.sandbox.with(|world| ec2::stop(world, &ids[0]).unwrap());
    let stopping = format!("AttachInstances&AutoScalingGroupName=web&InstanceIds.member.1={}", ids[0]);
    assert_eq!(aws.code(&stopping).await, "ValidationError");
    assert_eq!(aws.states().await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn standby_lowers_the_desired_capacity_and_leaving_it_raises_it() {
    let aws = Fixture::new().await;
    let id = aws.running();
    let member = format!("&AutoScalingGroupName=web&InstanceIds.member.1={id}");
    aws.ok(&format!("AttachInstances{member}")).await;
    let body = aws.ok(&format!("EnterStandby{member}&ShouldDecrementDesiredCapacity=true")).await;
    assert_eq!(all(&body, "StatusCode"), ["InProgress"]);
    assert_eq!((aws.states().await, aws.desired().await), (vec!["Standby".to_owned()], "0".to_owned()));
    assert_eq!(aws.code(&format!("EnterStandby{member}&ShouldDecrementDesiredCapacity=true")).await, "ValidationError");
    aws.ok(&format!("ExitStandby{member}")).await;
    assert_eq!((aws.states().await, aws.desired().await), (vec!["InService".to_owned()], "1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn unknown_instances_are_left_out_silently_and_fifty_one_refused() {
    let aws = Fixture::new().await;
    let id = aws.running();
    aws.sandbox.with(|world| add_member(world, "web", &id, LifecycleState::WarmedStopped).unwrap());
    let body = aws
        .ok(&format!("DescribeAutoScalingInstances&InstanceIds.member.1={id}&InstanceIds.member.2=i-0000000000000ffff"))
        .await;
    assert_eq!(all(&body, "LifecycleState"), ["Warmed:Stopped"]);
    assert_eq!(all(&body, "AutoScalingGroupName"), ["web"]);
    let many: String = (1..=51).map(|n| format!("&InstanceIds.member.{n}=i-{n:017x}")).collect();
    assert_eq!(aws.code(&format!("DescribeAutoScalingInstances{many}")).await, "ValidationError");
    aws.sandbox.with(|world| set_lifecycle_state(world, &id, LifecycleState::TerminatingWait));
    assert_eq!(aws.states().await, ["Terminating:Wait"]);
}

#[tokio::test(start_paused = true)]
async fn traffic_sources_are_shown_by_the_operation_that_attached_them() {
    let aws = Fixture::new().await;
    aws.ok("AttachLoadBalancers&AutoScalingGroupName=web&LoadBalancerNames.member.1=classic").await;
    let source = format!("&AutoScalingGroupName=web&TrafficSources.member.1.Identifier={TARGET_GROUP}");
    aws.ok(&format!("AttachTrafficSources{source}")).await;
    let body = aws.ok("DescribeTrafficSources&AutoScalingGroupName=web").await;
    assert_eq!(all(&body, "Identifier"), [TARGET_GROUP, "classic"]);
    assert_eq!(all(&body, "Type"), ["elbv2", "elb"]);
    assert_eq!(all(&aws.ok("DescribeLoadBalancers&AutoScalingGroupName=web").await, "LoadBalancerName"), ["classic"]);
    let body = aws.ok("DescribeLoadBalancerTargetGroups&AutoScalingGroupName=web").await;
    assert_eq!(all(&body, "LoadBalancerTargetGroupARN").len(), 0);
    let older =
        format!("DetachLoadBalancerTargetGroups&AutoScalingGroupName=web&TargetGroupARNs.member.1={TARGET_GROUP}");
    assert_eq!(aws.code(&older).await, "ValidationError");
    aws.ok(&format!("DetachTrafficSources{source}")).await;
    let body = aws.ok("DescribeAutoScalingGroups").await;
    assert_eq!(all(&body, "Identifier"), ["classic"]);
}

#[tokio::test(start_paused = true)]
async fn groups_are_created_empty_paged_and_deleted() {
    let aws = Fixture::new().await;
    let rest = format!("&TargetGroupARNs.member.1={TARGET_GROUP}&Tags.member.1.Key=team&Tags.member.1.Value=a");
    aws.create("api", &rest).await;
    let first = aws.ok("DescribeAutoScalingGroups&MaxRecords=1").await;
    assert!(first.contains(TARGET_GROUP) && first.contains("<PropagateAtLaunch>true"), "{first}");
    let token = all(&first, "NextToken").remove(0);
    let second = aws.ok(&format!("DescribeAutoScalingGroups&MaxRecords=1&NextToken={token}")).await;
    assert_eq!(
        (all(&second, "AutoScalingGroupName").remove(0), all(&second, "NextToken").len()),
        ("web".to_owned(), 0)
    );
    // It would launch in the default VPC.
    let full = "CreateAutoScalingGroup&AutoScalingGroupName=full&MinSize=1&MaxSize=1&LaunchConfigurationName=lc\
                &AvailabilityZones.member.1=us-east-1a";
    assert_eq!(aws.code(full).await, "NotModelledBySandbox");
    let again = "CreateAutoScalingGroup&AutoScalingGroupName=api&MinSize=0&MaxSize=1&LaunchConfigurationName=lc";
    assert_eq!(aws.code(again).await, "AlreadyExists");
    let id = aws.running();
    aws.ok(&format!("AttachInstances&AutoScalingGroupName=web&InstanceIds.member.1={id}")).await;
    assert_eq!(aws.code("DeleteAutoScalingGroup&AutoScalingGroupName=web").await, "ResourceInUse");
    aws.ok("DeleteAutoScalingGroup&AutoScalingGroupName=web&ForceDelete=true").await;
    aws.ok("DeleteAutoScalingGroup&AutoScalingGroupName=api").await;
    assert_eq!(aws.code("DeleteAutoScalingGroup&AutoScalingGroupName=api").await, "ValidationError");
    let state = aws.sandbox.with(|world| world.ec2.instance(&id).unwrap().state);
    assert_eq!(state, ec2::InstanceState::ShuttingDown);
}

/// The group lets its hook run for an instance that is gone already, and then has another one in its place.
#[tokio::test(start_paused = true)]
async fn a_terminated_instance_is_replaced() {
    let aws = Fixture::new().await;
    let id = aws.running();
    aws.ok(&format!("AttachInstances&AutoScalingGroupName=web&InstanceIds.member.1={id}")).await;
    aws.sandbox.with(|world| ec2::terminate(world, &id).unwrap());
    aws.sandbox.advance(std::time::Duration::from_secs(240)).await;
    let body = aws.ok("DescribeAutoScalingInstances").await;
    assert_eq!(all(&body, "LifecycleState"), ["InService"]);
    assert_ne!(all(&body, "InstanceId"), [id]);
}

/// Words of AWS, which callers match on.
const NO_ACTION: &str = "No active Lifecycle Action found with";

#[tokio::test(start_paused = true)]
async fn hooks_are_put_changed_described_and_deleted() {
    let aws = Fixture::new().await;
    let hook = "&AutoScalingGroupName=web&LifecycleHookName=wait";
    assert_eq!(aws.code(&format!("PutLifecycleHook{hook}")).await, "ValidationError");
    let put = format!("PutLifecycleHook{hook}&LifecycleTransition=autoscaling:EC2_INSTANCE_LAUNCHING");
    assert_eq!(aws.code(&format!("{put}&HeartbeatTimeout=29")).await, "ValidationError");
    let queue = "arn:aws:sqs:us-east-1:123456789012:hooks";
    assert_eq!(aws.code(&format!("{put}&NotificationTargetARN={queue}")).await, "NotModelledBySandbox");
    aws.ok(&format!("{put}&NotificationMetadata=blue")).await;
    aws.ok(&format!("PutLifecycleHook{hook}&HeartbeatTimeout=7200")).await;
    let body = aws.ok("DescribeLifecycleHooks&AutoScalingGroupName=web").await;
    let told = |name| all(&body, name).remove(0);
    assert_eq!((told("HeartbeatTimeout"), told("GlobalTimeout")), ("7200".to_owned(), "172800".to_owned()));
    assert_eq!((told("DefaultResult"), told("NotificationMetadata")), ("ABANDON".to_owned(), "blue".to_owned()));
    aws.ok(&format!("DeleteLifecycleHook{hook}")).await;
    assert_eq!(aws.code(&format!("DeleteLifecycleHook{hook}")).await, "ValidationError");
}

#[tokio::test(start_paused = true)]
async fn an_action_is_completed_once_by_its_token_or_its_instance() {
    let aws = Fixture::new().await;
    let hook = "&AutoScalingGroupName=web&LifecycleHookName=wait";
    aws.ok(&format!("PutLifecycleHook{hook}&LifecycleTransition=autoscaling:EC2_INSTANCE_LAUNCHING")).await;
    aws.ok("SetDesiredCapacity&AutoScalingGroupName=web&DesiredCapacity=2&HonorCooldown=false").await;
    aws.sandbox.advance(std::time::Duration::from_secs(60)).await;
    assert_eq!(aws.states().await, ["Pending:Wait", "Pending:Wait"]);
    let (token, id) = aws.sandbox.with(|world| {
        let [by_token, by_instance] = world.auto_scaling.actions.as_slice() else { panic!("two wait") };
        (by_token.token.clone(), by_instance.instance_id.clone())
    });
    for key in [format!("LifecycleActionToken={token}"), format!("InstanceId={id}")] {
        aws.ok(&format!("RecordLifecycleActionHeartbeat{hook}&{key}")).await;
        let complete = format!("CompleteLifecycleAction{hook}&{key}&LifecycleActionResult=CONTINUE");
        aws.ok(&complete).await;
        let (status, body) = aws.ask(&complete).await;
        assert_eq!(status, 400, "{body}");
        assert!(all(&body, "Message")[0].starts_with(NO_ACTION), "{body}");
    }
    aws.sandbox.advance(std::time::Duration::from_secs(60)).await;
    assert_eq!(aws.states().await, ["InService", "InService"]);
}

#[tokio::test(start_paused = true)]
async fn processes_are_suspended_and_resumed_by_name_or_all_at_once() {
    let aws = Fixture::new().await;
    aws.ok("SuspendProcesses&AutoScalingGroupName=web&ScalingProcesses.member.1=Launch").await;
    let body = aws.ok("DescribeAutoScalingGroups").await;
    assert_eq!(all(&body, "ProcessName"), ["Launch"]);
    let unknown = "SuspendProcesses&AutoScalingGroupName=web&ScalingProcesses.member.1=Nap";
    assert_eq!(aws.code(unknown).await, "ValidationError");
    aws.ok("UpdateAutoScalingGroup&AutoScalingGroupName=web&DesiredCapacity=1&MaxSize=1").await;
    aws.sandbox.advance(std::time::Duration::from_secs(120)).await;
    assert_eq!(aws.states().await.len(), 0);
    aws.ok("ResumeProcesses&AutoScalingGroupName=web").await;
    aws.sandbox.advance(std::time::Duration::from_secs(120)).await;
    assert_eq!(aws.states().await, ["InService"]);
    assert_eq!(aws.code("SetDesiredCapacity&AutoScalingGroupName=web&DesiredCapacity=2").await, "ValidationError");
}

#[tokio::test(start_paused = true)]
async fn tags_of_groups_are_written_over_filtered_and_deleted() {
    let aws = Fixture::new().await;
    aws.create("api", "").await;
    let tag = |group: &str, key: &str, value: &str| {
        format!(
            "Tags.member.1.ResourceId={group}&Tags.member.1.ResourceType=auto-scaling-group&Tags.member.1.Key={key}\
             &Tags.member.1.Value={value}&Tags.member.1.PropagateAtLaunch=false"
        )
    };
    for (group, key, value) in [("web", "team", "red"), ("web", "team", "blue"), ("api", "team", "red")] {
        aws.ok(&format!("CreateOrUpdateTags&{}", tag(group, key, value))).await;
    }
    let body = aws.ok("DescribeTags").await;
    assert_eq!(
        (all(&body, "ResourceId"), all(&body, "Value")),
        (vec!["api".into(), "web".into()], vec!["red".into(), "blue".into()])
    );
    let filter = "DescribeTags&Filters.member.1.Name=auto-scaling-group&Filters.member.1.Values.member.1=web";
    assert_eq!(all(&aws.ok(filter).await, "Value"), ["blue"]);
    aws.ok(&format!("DeleteTags&{}", tag("web", "team", "blue"))).await;
    assert_eq!(all(&aws.ok("DescribeTags").await, "ResourceId"), ["api"]);
    assert_eq!(aws.code(&format!("CreateOrUpdateTags&{}", tag("gone", "team", "red"))).await, "ValidationError");
    assert_eq!(aws.code(&format!("CreateOrUpdateTags&{}", tag("web", "aws:team", "red"))).await, "ValidationError");
    assert_eq!(aws.code("DescribeTags&Filters.member.1.Name=colour").await, "ValidationError");
    for n in 0..50 {
        let key = n.to_string();
        aws.ok(&format!("CreateOrUpdateTags&{}", tag("web", key.as_str(), ""))).await;
    }
    assert_eq!(aws.code(&format!("CreateOrUpdateTags&{}", tag("web", "50", ""))).await, "LimitExceeded");
    aws.ok(&format!("CreateOrUpdateTags&{}", tag("web", "49", "again"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_warm_pool_is_shown_where_aws_shows_it() {
    let aws = Fixture::new().await;
    aws.ok("PutWarmPool&AutoScalingGroupName=web&MinSize=1&MaxGroupPreparedCapacity=0&PoolState=Stopped").await;
    aws.sandbox.advance(std::time::Duration::from_secs(240)).await;
    let pool = aws.ok("DescribeWarmPool&AutoScalingGroupName=web").await;
    assert_eq!(all(&pool, "LifecycleState"), ["Warmed:Stopped"]);
    assert_eq!((all(&pool, "PoolState"), all(&pool, "MinSize")), (vec!["Stopped".to_owned()], vec!["1".to_owned()]));
    assert_eq!(aws.states().await, ["Warmed:Stopped"], "DescribeAutoScalingInstances has it");
    let group = aws.ok("DescribeAutoScalingGroups").await;
    assert_eq!((all(&group, "WarmPoolSize"), all(&group, "InstanceId").len()), (vec!["1".to_owned()], 0));
    aws.ok("DeleteWarmPool&AutoScalingGroupName=web&ForceDelete=true").await;
    let pool = aws.ok("DescribeWarmPool&AutoScalingGroupName=web").await;
    assert_eq!((all(&pool, "PoolState").len(), all(&pool, "LifecycleState").len()), (0, 0));
    assert_eq!(aws.code("DeleteWarmPool&AutoScalingGroupName=web").await, "ValidationError");
}
