//! The permissions, the wiring and the settings of `template.yaml`: the sandbox deploys it, so that a fault in it fails here.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use end_to_end::{Setting, Stage, state_change};
use registrar::config::NAMES;
use sandbox::{
    ACCOUNT, Options, REGION, Reply, Sandbox,
    auto_scaling::{self, GroupSpec, HookSpec, LifecycleState, PoolState, WarmPool},
    deployment::{
        DEAD_LETTERS, DEAD_ORDERS, DeployError, FAILED_SWEEPS, INSTANCE_STATE, LIFECYCLE, LIFECYCLE_DEAD_LETTERS,
        LIFECYCLE_QUEUE, LIFECYCLE_UNDELIVERED, ORDERS, QUEUE, RECONCILE, Resource, Stack, Template, UNDELIVERED,
    },
    ec2::{self, Launch},
    elb, elbv2,
    events::{self, Delivery},
    iam::{Access, Permission, role_arn},
    lambda, sqs,
};
use serde_json::{Value, json};

use crate::left_alone::create_group;

/// The balancers of the tour: one of each kind, and one whose target is in another network.
const BALANCERS: [&str; 4] = ["clb:shop", "tg:web", "tg:edge", "tg:far"];

/// Its table of settings has the variables in the first column.
const INSTALL: &str = include_str!("../../../docs/install.md");

/// How long each part of the tour may take: an address drains for five minutes before it can be registered again.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// A function and the role that the template gives it.
const ROLES: [(&str, &str); 3] = [
    (INSTANCE_STATE, "elb-registrar-InstanceStateRole"),
    (LIFECYCLE, "elb-registrar-LifecycleRole"),
    (RECONCILE, "elb-registrar-ReconcileRole"),
];

/// Returns a stage for the tour: a member of an Auto Scaling group in every kind of balancer, and an instance in another network.
async fn scene(settings: &[Setting]) -> Stage {
    let stage = Stage::with_settings(settings);
    let far_subnet = stage.world(|world| {
        let vpc = ec2::create_vpc(world, "10.9.0.0/24");
        ec2::create_subnet(world, &vpc, "us-east-1a", "10.9.0.0/24")
    });
    stage.classic("shop").instances_group("web").addresses_group("edge").addresses_group("far");
    stage.instances_group("attached").classic("classic").instance("web-1").launch("far-1", Launch::new(&far_subnet));
    stage.registered_at("web-1", &["clb:shop", "tg:web", "tg:edge:443=eth0"]);
    stage.registered("far-1", "tg:far:443=eth0@us-east-1a");
    let attached = stage.world(|world| elbv2::arn_of(world, "attached")).expect("a group");
    create_group(&stage, &attached).await;
    let id = stage.id("web-1");
    stage.world(|world| auto_scaling::add_member(world, "fleet", &id, LifecycleState::InService)).expect("a member");
    stage
}

/// Makes one function use all of its permissions. Both instances are stopped and started again, the function gets a message that
/// it cannot understand, and all of its work is waited for. Ends at the first denial.
async fn tour(stage: &Stage, function: &str) -> Result<(), String> {
    if function == LIFECYCLE {
        return tour_of_hooks(stage).await;
    }
    if function == RECONCILE {
        stage.world(|world| world.events.set_delivery(|_| Delivery::Lost));
        // With so little time every sweep leaves a rest in its queue.
        stage.time_limit(RECONCILE, Duration::from_secs(120));
    }
    let is_out = |stage: &Stage| BALANCERS.iter().all(|balancer| stage.members(balancer).is_empty());
    let is_back = |stage: &Stage| BALANCERS.iter().all(|balancer| stage.members(balancer).len() == 1);
    let is_forgotten = |stage: &Stage| ["web-1", "far-1"].iter().all(|name| stage.held(name).is_empty());
    stage.stop("web-1");
    if function == INSTANCE_STATE {
        // If they stopped together, a sweep would deregister them.
        stage.sandbox.advance(Duration::from_secs(30)).await;
    }
    stage.stop("far-1");
    until(stage, function, "taken out", is_out).await?;
    until(stage, function, "stopped", |stage| {
        let is_stopped = |found: &ec2::Instance| found.state == ec2::InstanceState::Stopped;
        stage.world(|world| world.ec2.instances.values().all(|history| is_stopped(history.current())))
    })
    .await?;
    stage.start("web-1").start("far-1");
    until(stage, function, "given back and forgotten", |stage| is_back(stage) && is_forgotten(stage)).await?;
    if function == INSTANCE_STATE {
        stage.stop("web-1").stop("far-1");
        until(stage, function, "taken out together", is_out).await?;
    }
    let dead_letters = match function {
        RECONCILE => {
            // One message that no function understands, one that is older than EC2's answer, and one of an instance with many registrations.
            let (id, now) = (stage.id("web-1"), stage.world(|world| world.now()));
            let stopped = json!({ "instance": id, "state": "stopped", "time": now });
            send_order(stage, "not JSON");
            send_order(stage, &json!({ "look_at": [stopped] }).to_string());
            let arn = stage.world(|world| elbv2::arn_of(world, "web")).expect("a group");
            let group = arn.split(":targetgroup/").nth(1).expect("an ARN").to_owned();
            let key = format!("elb-registrar:held.{}.0000beef", now.format("%Y-%m-%dT%H:%M:%SZ"));
            stage.tagged("far-1", &key, &format!("tg:{group}:8000-8029 tg:{group}:8030-8059"));
            // EC2 may show a tag that late.
            stage.sandbox.advance(Duration::from_secs(20)).await;
            send_order(stage, &json!({ "look_at": [{ "instance": stage.id("far-1") }] }).to_string());
            let are_served = |stage: &Stage| [ORDERS, QUEUE].iter().all(|queue| count(stage, queue) == 0);
            let is_told = |stage: &Stage| count(stage, DEAD_LETTERS) == 1 && are_served(stage);
            until(stage, function, "ordered", is_told).await?;
            let other = json!({ "detail-type": "Something else", "source": "com.example" });
            stage.world(|world| lambda::invoke_async(world, RECONCILE, other)).expect("a function");
            FAILED_SWEEPS
        }
        _ => {
            send_nonsense(stage, QUEUE);
            DEAD_LETTERS
        }
    };
    until(stage, function, "buried", |stage| count(stage, dead_letters) == 1 && count(stage, QUEUE) == 0).await
}

/// The same for hooks. A member goes into its group, to the warm pool and into the group again, without a stop. A member in
/// another network goes in and out. No other function hears of them.
async fn tour_of_hooks(stage: &Stage) -> Result<(), String> {
    stage.world(|world| {
        world.events.set_delivery(|event| match event.source.as_str() {
            "aws.ec2" => Delivery::Lost,
            _ => Delivery::Normal,
        });
    });
    let far_subnet = stage.world(|world| {
        let far = world.ec2.subnets.values().find(|subnet| subnet.vpc_id != stage.vpc);
        far.expect("a subnet far away").id.clone()
    });
    stage.drains("web", 30).drains("edge", 30).drains("far", 30);
    stage.world(|world| elb::drain_for(world, "shop", Some(Duration::from_secs(30)))).expect("a load balancer");
    let hooked = |name: &str, subnet: &str, declared: &str| {
        let spec = GroupSpec::new(name, subnet).tag("elb-registrar:register", declared).desired(1);
        spec.hook(HookSpec::launching("elb-registrar-in")).hook(HookSpec::terminating("elb-registrar-out"))
    };
    stage.fleet(hooked("near", &stage.subnet, "clb:shop tg:web tg:edge"));
    stage.fleet(hooked("away", &far_subnet, "tg:far:443=eth0@us-east-1a"));
    let is_in = |stage: &Stage, group: &str| {
        let states = stage.member_states(group);
        states.len() == 1 && states.iter().all(|(_, state)| *state == LifecycleState::InService)
    };
    until(stage, LIFECYCLE, "in service", |stage| is_in(stage, "near") && is_in(stage, "away")).await?;
    let pool = WarmPool { state: PoolState::Running, reuse_on_scale_in: true, ..WarmPool::default() };
    let pool = WarmPool { max_group_prepared_capacity: Some(1), ..pool };
    stage.world(|world| auto_scaling::put_warm_pool(world, "near", pool)).expect("a pool");
    stage.wants("near", 0).wants("away", 0);
    let is_warm = |stage: &Stage| stage.member_states("near").iter().all(|(_, s)| *s == LifecycleState::WarmedRunning);
    until(stage, LIFECYCLE, "out", |stage| is_warm(stage) && stage.member_states("away").is_empty()).await?;
    // A tag can be forgotten only two minutes after it was written.
    stage.sandbox.advance(Duration::from_secs(150)).await;
    stage.wants("near", 1);
    until(stage, LIFECYCLE, "in service again", |stage| is_in(stage, "near")).await?;
    let id = stage.member_states("near").remove(0).0;
    assert_eq!(stage.held_by(&id), Vec::<String>::new());
    send_nonsense(stage, LIFECYCLE_QUEUE);
    let is_buried = |stage: &Stage| count(stage, LIFECYCLE_DEAD_LETTERS) == 1 && count(stage, LIFECYCLE_QUEUE) == 0;
    until(stage, LIFECYCLE, "buried", is_buried).await
}

fn send_order(stage: &Stage, body: &str) {
    let (group, deduplication_id) = (Some("stop".to_owned()), Some(body.len().to_string()));
    let draft = sqs::Draft { body: body.to_owned(), group, deduplication_id, ..Default::default() };
    stage.world(|world| sqs::send(world, ORDERS, draft)).expect("a message");
}

fn send_nonsense(stage: &Stage, queue: &str) {
    let draft = sqs::Draft { body: "not JSON".to_owned(), ..Default::default() };
    stage.world(|world| sqs::send(world, queue, draft)).expect("a message");
}

/// Lets time pass until something is true. If the tour is the sweep's, a sweep comes every half minute.
async fn until(stage: &Stage, function: &str, what: &str, is_true: impl Fn(&Stage) -> bool) -> Result<(), String> {
    for second in 0..PATIENCE.as_secs() {
        if let Some(denial) = stage.world(|world| world.iam.denied.first().cloned()) {
            return Err(format!("denied: {} on {}", denial.action, denial.resource));
        }
        if is_true(stage) {
            return Ok(());
        }
        if function == RECONCILE && second % 30 == 0 {
            // If it fails, the denial shows it.
            let _ = stage.sweep().await;
        }
        stage.sandbox.advance(Duration::from_secs(1)).await;
    }
    Err(format!("never {what}\n{}", stage.describe()))
}

fn count(stage: &Stage, queue: &str) -> usize {
    stage.world(|world| world.sqs.queue(queue).map_or(0, |queue| queue.messages().count()))
}

fn permissions_of(stage: &Stage, role: &str) -> Vec<Permission> {
    stage.world(|world| world.iam.permissions()).into_iter().filter(|found| found.holder == role).collect()
}

#[tokio::test(start_paused = true)]
async fn without_any_one_permission_its_function_is_denied_what_it_needs() {
    for (function, role) in ROLES {
        let permissions = permissions_of(&Stage::new(), role);
        assert!(permissions.len() > 10, "{permissions:?}");
        for permission in permissions {
            let stage = scene(&[]).await;
            assert!(stage.world(|world| world.iam.revoke(&permission)), "{permission:?}");
            let why = tour(&stage, function).await.expect_err(&format!("{permission:?} is not needed"));
            assert!(why.starts_with(&format!("denied: {} ", permission.action)), "{permission:?}: {why}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_permission_is_unused() {
    let mut unused: Option<BTreeSet<Permission>> = None;
    for (function, _) in ROLES {
        let stage = scene(&[("Tracing", "Active")]).await;
        tour(&stage, function).await.unwrap_or_else(|why| panic!("{function}: {why}"));
        let not_here = stage.world(|world| {
            let all = world.iam.permissions().into_iter();
            all.filter(|permission| !world.iam.used.contains(permission)).collect::<BTreeSet<_>>()
        });
        unused = Some(match unused {
            None => not_here,
            Some(before) => before.intersection(&not_here).cloned().collect(),
        });
    }
    assert_eq!(unused, Some(BTreeSet::new()));
}

#[tokio::test(start_paused = true)]
async fn in_observe_mode_no_function_may_change_a_balancer_or_an_instance() {
    let stage = Stage::with_settings(&[("Mode", "observe")]);
    let actions = stage.world(|world| world.iam.permissions()).into_iter().map(|permission| permission.action);
    let writing: BTreeSet<String> = actions.filter(|action| !action.contains(":Describe")).collect();
    let allowed = [
        // A rehearsal never delays a fleet.
        "autoscaling:CompleteLifecycleAction",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
    ];
    assert_eq!(writing.into_iter().collect::<Vec<_>>(), allowed);
}

/// Makes a call with the key of the function `instance-state`, and returns its status and its body.
async fn call(stage: &Stage, service: &str, form: &str) -> (u16, String) {
    let credential =
        format!("AWS4-HMAC-SHA256 Credential=AKIAINSTANCESTATE9999/20260105/us-east-1/{service}/aws4_request");
    let mut request = http::Request::post("https://any.example/").header("authorization", credential);
    if service == "sqs" {
        request = request.header("x-amz-target", "AmazonSQS.ReceiveMessage");
    }
    let request = request.body(form.to_owned().into_bytes().into()).expect("a request");
    match stage.sandbox.call(request).await {
        Reply::Answered(answer) => (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn only_tags_that_hold_can_be_written_and_only_on_instances() {
    let stage = Stage::new();
    stage.instance("web-1");
    let (id, subnet) = (stage.id("web-1"), stage.subnet.clone());
    let held = "Tag.1.Key=elb-registrar%3Aheld.x&Tag.1.Value=clb%3Ashop";
    for (action, resource, tags, is_allowed) in [
        ("CreateTags", &id, held, true),
        ("CreateTags", &id, "Tag.1.Key=elb-registrar%3Aheld&Tag.1.Value=x", true),
        ("CreateTags", &id, "Tag.1.Key=Name&Tag.1.Value=x", false),
        ("CreateTags", &id, "Tag.1.Key=elb-registrar%3Aheld.y&Tag.1.Value=x&Tag.2.Key=Name&Tag.2.Value=x", false),
        ("CreateTags", &id, "Tag.1.Key=elb-registrar%3Aregister&Tag.1.Value=x", false),
        ("CreateTags", &id, "Tag.1.Key=elb-registrar%3Aignore&Tag.1.Value=x", false),
        ("CreateTags", &subnet, held, false),
        ("DeleteTags", &id, held, true),
        ("DeleteTags", &id, "Tag.1.Key=elb-registrar%3Aignore", false),
        ("DeleteTags", &id, "", false),
        ("DeleteTags", &subnet, held, false),
    ] {
        let form = format!("Action={action}&Version=2016-11-15&ResourceId.1={resource}&{tags}");
        let (status, body) = call(&stage, "ec2", &form).await;
        match is_allowed {
            true => assert_eq!(status, 200, "{form}: {body}"),
            false => {
                assert_eq!(status, 403, "{form}: {body}");
                assert!(body.contains("<Code>UnauthorizedOperation</Code>"), "{body}");
                assert!(body.contains(&format!("is not authorized to perform: ec2:{action} on resource: ")), "{body}");
            }
        }
    }
    assert_eq!(stage.tags("web-1").keys().collect::<Vec<_>>(), ["Name", "elb-registrar:held"]);
}

#[tokio::test(start_paused = true)]
async fn denials_have_the_form_of_each_service() {
    let stage = Stage::new();
    stage.world(|world| world.iam.roles.values_mut().for_each(|role| role.policies.clear()));
    let user = "User: arn:aws:sts::123456789012:assumed-role/elb-registrar-InstanceStateRole/instance-state";
    for (service, form, code, sentence) in [
        (
            "ec2",
            "Action=DescribeInstances&Version=2016-11-15".to_owned(),
            "<Code>UnauthorizedOperation</Code>",
            "ec2:DescribeInstances because",
        ),
        (
            "elasticloadbalancing",
            "Action=DescribeTargetGroups&Version=2015-12-01".to_owned(),
            "<Code>AccessDenied</Code>",
            "elasticloadbalancing:DescribeTargetGroups because",
        ),
        (
            "elasticloadbalancing",
            "Action=RegisterTargets&Version=2015-12-01&TargetGroupArn=arn%3Aa".to_owned(),
            "<Code>AccessDenied</Code>",
            "elasticloadbalancing:RegisterTargets on resource: arn:a because",
        ),
        (
            "autoscaling",
            "Action=DescribeAutoScalingGroups&Version=2011-01-01".to_owned(),
            "<Code>AccessDenied</Code>",
            "autoscaling:DescribeAutoScalingGroups because",
        ),
        (
            "sqs",
            json!({ "QueueUrl": "https://sqs/123456789012/q" }).to_string(),
            "#AccessDenied\"",
            "sqs:receivemessage on resource: arn:aws:sqs:us-east-1:123456789012:q because",
        ),
    ] {
        let (status, body) = call(&stage, service, &form).await;
        assert!(status == 403 && body.contains(code), "{status} {body}");
        assert!(body.contains(&format!("{user} is not authorized to perform: {sentence}")), "{body}");
    }
    let last = stage.calls().pop().expect("a call");
    assert_eq!(last.outcome, Some(Err("AccessDenied".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn an_operator_may_do_what_a_function_may_not() {
    let stage = Stage::new();
    stage.world(|world| world.iam.roles.clear());
    stage.classic("shop").instance("web-1");
    let request = http::Request::post("https://any.example/")
        .header("authorization", "AWS4-HMAC-SHA256 Credential=AKIAOPERATOR/20260105/us-east-1/ec2/aws4_request")
        .body("Action=DescribeInstances&Version=2016-11-15".into())
        .expect("a request");
    assert!(matches!(stage.sandbox.call(request).await, Reply::Answered(answer) if answer.status() == 200));
}

#[tokio::test(start_paused = true)]
async fn an_event_is_kept_until_a_missing_permission_is_there() {
    let stage = Stage::new();
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop");
    let roles = stage.world(|world| world.iam.roles.clone());
    let is_create_tags = |permission: &&Permission| permission.action == "ec2:CreateTags";
    let permission = permissions_of(&stage, ROLES[0].1).iter().find(is_create_tags).cloned().expect("a permission");
    stage.world(|world| world.iam.revoke(&permission));
    stage.stop("web-1");
    stage.sandbox.advance(Duration::from_secs(300)).await;
    assert_eq!(
        (stage.places("web-1"), count(&stage, QUEUE), count(&stage, DEAD_LETTERS)),
        (vec!["clb:shop".into()], 2, 0)
    );
    let error = stage.invoke(state_change(&stage, "web-1", "stopped")).await.expect_err("an error");
    let message = error["errorMessage"].as_str().unwrap_or_default();
    assert!(message.contains("is not authorized to perform: ec2:CreateTags on resource: arn:aws:ec2:"), "{message}");
    stage.world(|world| world.iam.roles = roles);
    stage.rest().await;
    assert_eq!(
        (stage.places("web-1").len(), stage.held("web-1"), count(&stage, QUEUE)),
        (0, vec!["clb:shop".into()], 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_refuses_events_leaves_them_in_the_rules_dead_letters() {
    let mut template = Template::of_project();
    template.document["Resources"].as_object_mut().expect("resources").remove("InstanceStateQueuePolicy");
    let stage = Stage::of_template(&template, Options::default(), &[]);
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop").stop_and_rest("web-1").await;
    assert_eq!((stage.places("web-1").len(), count(&stage, UNDELIVERED)), (1, 2), "stopping and stopped");
    let denied = stage.world(|world| world.iam.denied[0].clone());
    assert_eq!((denied.caller.as_str(), denied.action.as_str()), ("events.amazonaws.com", "sqs:SendMessage"));
}

#[tokio::test(start_paused = true)]
async fn the_schedule_starts_a_sweep_that_needs_no_event() {
    let stage = Stage::with_settings(&[("ReconcileSchedule", "rate(15 minutes)")]);
    stage.world(|world| world.events.set_delivery(|_| Delivery::Lost));
    stage.classic("shop").instance("web-1").registered("web-1", "clb:shop").stop_and_rest("web-1").await;
    assert_eq!(stage.places("web-1"), ["clb:shop"]);
    stage.sandbox.advance(Duration::from_secs(16 * 60)).await;
    assert_eq!((stage.places("web-1").len(), stage.held("web-1")), (0, vec!["clb:shop".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_fails_is_tried_once_more_and_then_told() {
    let stage = Stage::new();
    stage.world(|world| lambda::invoke_async(world, RECONCILE, json!({ "detail-type": "x" }))).expect("a function");
    stage.sandbox.advance(Duration::from_secs(120)).await;
    let attempts = stage.world(|world| world.lambda.log.len());
    assert_eq!((attempts, count(&stage, FAILED_SWEEPS)), (2, 1));
}

/// Returns the refusal of the template after one change.
fn refusal(pointer: &str, value: Value) -> String {
    let mut template = Template::of_project();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    template.document.pointer_mut(parent).unwrap_or_else(|| panic!("{parent}"))[name] = value;
    deploy(&template, &[]).expect_err(pointer).0
}

fn deploy(template: &Template, parameters: &[Setting]) -> Result<Stack, DeployError> {
    Sandbox::in_virtual_time().with(|world| template.deploy(world, parameters))
}

#[tokio::test(start_paused = true)]
async fn wrong_parameters_are_refused_as_cloudformation_refuses_them() {
    for (name, value, words) in [
        ("Mode", "dry-run", "Parameter 'Mode' must be one of AllowedValues"),
        ("LogRetentionDays", "31", "Parameter 'LogRetentionDays' must be one of AllowedValues"),
        ("LogRetentionDays", "a month", "Parameter 'LogRetentionDays' must be a number."),
        (
            "ReconcileSchedule",
            "hourly",
            "Parameter ReconcileSchedule failed to satisfy constraint: has to be an EventBridge",
        ),
        ("ReconcileSchedule", "rate(1 minutes)", "Parameter ScheduleExpression is not valid"),
        ("HealthTimeout", "0.5", "has to be a whole number of seconds from 0 to 172800"),
        ("HealthTimeout", "172801", "has to be a whole number of seconds from 0 to 172800"),
        ("NetworkDrainTime", "1e2", "has to be a whole number of seconds from 0 to 3600"),
        ("NetworkDrainTime", "3601", "has to be a whole number of seconds from 0 to 3600"),
        ("OtherHookPrefixes", "elb-registrar-a, elb-registrar-b", "with commas between them, and no spaces"),
        ("SweepAlarmPeriod", "900", "Parameter 'SweepAlarmPeriod' must be one of AllowedValues"),
        ("LogClass", "DELIVERY", "Parameter 'LogClass' must be one of AllowedValues"),
        ("PermissionsBoundaryArn", "arn:aws:iam::123456789012:role/x", "the ARN of a managed policy"),
        ("RolePath", "platform", "has to begin and end with a slash"),
        ("KmsKeyArn", "arn:aws:kms:us-east-1:123456789012:alias/queues", "the ARN of a key (not of an alias)"),
        ("SubnetIds", "subnet-0123456789abcdef0", "SecurityGroupIds of VpcConfig"),
        (
            "AlarmTopicArn",
            "arn:aws:sqs:us-east-1:123456789012:q",
            "Parameter AlarmTopicArn failed to satisfy constraint",
        ),
        ("Modus", "observe", "Parameters: [Modus] do not exist in the template"),
    ] {
        let why = deploy(&Template::of_project(), &[(name, value)]).expect_err(value).0;
        assert!(why.contains(words), "{name} {value}: {why}");
    }
    let missing = refusal("/Parameters/Mode", json!({ "Type": "String" }));
    assert_eq!(missing, "Parameters: [Mode] must have values");
}

#[tokio::test(start_paused = true)]
async fn a_template_that_aws_or_the_sandbox_refuses_is_not_deployed() {
    let queue = "/Resources/InstanceStateQueue";
    let role = "/Resources/InstanceStateRole/Properties";
    let mapping = "/Resources/InstanceStateEventSource/Properties";
    for (pointer, value, words) in [
        (format!("{queue}/Type"), json!("AWS::SNS::Topic"), "resources of the type AWS::SNS::Topic"),
        (format!("{queue}/Properties/FifoQueue"), json!(true), "must be same type of queue as the source"),
        (
            format!("{queue}/Properties/VisibilityTimeout"),
            json!(60),
            "Queue visibility timeout: 60 seconds is less than",
        ),
        (format!("{queue}/DependsOn"), json!("InstanceStateFunction"), "Circular dependency between resources: ["),
        (format!("{queue}/Condition"), json!("Traces"), "Unresolved resource dependencies [InstanceStateQueue]"),
        (
            format!("{mapping}/EventSourceArn"),
            json!({ "Ref": "Nothing" }),
            "Unresolved resource dependencies [Nothing]",
        ),
        (
            format!("{mapping}/FunctionName"),
            json!({ "Fn::GetAtt": ["ReadingPolicy", "Name"] }),
            "does not support attribute Name",
        ),
        (format!("{mapping}/BatchSize"), json!(20_000), "BatchSize must be from 1 to 10000"),
        (format!("{mapping}/FilterCriteria"), json!({}), "FilterCriteria of InstanceStateEventSource"),
        (format!("{role}/Policies"), json!([]), "does not have permissions to call ReceiveMessage on SQS"),
        (
            format!("{role}/AssumeRolePolicyDocument/Statement/0/Principal/Service"),
            json!("ec2.amazonaws.com"),
            "Lambda can assume",
        ),
        (
            format!("{role}/AssumeRolePolicyDocument/Statement/0/Condition/StringEquals"),
            json!({ "aws:SourceAccount": "210987654321" }),
            "Lambda can assume",
        ),
        (
            format!("{queue}/Properties/RedrivePolicy/deadLetterTargetArn"),
            json!({ "Fn::GetAtt": ["LifecycleRuleDeadLetterQueue", "Arn"] }),
            "does not allow this source queue",
        ),
        (
            format!("{role}/Policies/0/PolicyDocument/Statement/0/Condition"),
            json!({ "DateLessThan": { "aws:CurrentTime": "x" } }),
            "operator DateLessThan",
        ),
        (
            "/Resources/InstanceStateFunction/Properties/VpcConfig".to_owned(),
            json!({ "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"] }),
            "does not have permissions to call CreateNetworkInterface on EC2",
        ),
        (
            "/Resources/InstanceStateRule/Properties/EventPattern/source".to_owned(),
            json!("aws.ec2"),
            "must be an object or an array",
        ),
    ] {
        let why = refusal(&pointer, value);
        assert!(why.contains(words), "{pointer}: {why}");
    }
    for (text, words) in
        [("Hooks: {}", "section Hooks"), ("Resources: !Import x", "tag !Import"), ("a: 1\na: 2", "duplicate")]
    {
        let why = Template::parse(text).expect_err(text).0;
        assert!(why.contains(words), "{text}: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn template_and_page_have_the_variables_that_the_functions_read() {
    let known: BTreeSet<String> = NAMES.map(str::to_owned).into();
    let stage = Stage::new();
    let set: BTreeMap<&str, BTreeSet<String>> = ROLES
        .into_iter()
        .map(|(function, _)| {
            let spec = stage.world(|world| world.lambda.function(function).cloned()).expect("a function");
            (function, spec.environment.into_keys().collect())
        })
        .collect();
    let all: BTreeSet<String> = set.into_values().flatten().collect();
    assert_eq!(all, known);
    let names = INSTALL.lines().filter_map(|line| line.strip_prefix("| `REGISTRAR_")?.split_once('`'));
    let listed: BTreeSet<String> = names.map(|(name, _)| format!("REGISTRAR_{name}")).collect();
    assert_eq!(listed, known, "the table of settings in docs/install.md");
}

#[tokio::test(start_paused = true)]
async fn each_function_has_its_role_and_log_group_from_the_template() {
    let stage = Stage::with_settings(&[("LogLevel", "DEBUG")]);
    for (function, role) in ROLES {
        let spec = stage.world(|world| world.lambda.function(function).cloned()).expect("a function");
        assert_eq!(spec.role.as_deref(), Some(role));
        assert!(spec.log.group.starts_with("elb-registrar-") && spec.log.level.as_deref() == Some("DEBUG"), "{spec:?}");
        assert!(
            stage.stack.of_kind("AWS::IAM::Role").any(|(_, found)| found.identity.attributes["Arn"] == role_arn(role))
        );
    }
}

/// Every limit of the parameters with numbers is allowed.
#[tokio::test(start_paused = true)]
async fn whole_numbers_of_seconds_are_allowed_up_to_their_limits() {
    for (name, values) in [
        ("HealthTimeout", &["0", "99999", "100000", "169999", "171999", "172000", "172799", "172800"][..]),
        ("NetworkDrainTime", &["0", "120", "2999", "3599", "3600"][..]),
    ] {
        for value in values {
            assert_eq!(Template::of_project().check(name, value), Ok(()), "{name} {value}");
        }
    }
}

/// Other accounts and Regions can forward their events to a bus:
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html>.
#[tokio::test(start_paused = true)]
async fn the_rules_leave_out_events_of_other_accounts_and_regions() {
    let stage = Stage::new();
    stage.instance("web-1");
    let stopped = state_change(&stage, "web-1", "stopped");
    let launch = json!({
        "source": "aws.autoscaling", "detail-type": "EC2 Instance-launch Lifecycle Action", "account": ACCOUNT, "region": REGION,
        "detail": { "LifecycleHookName": "elb-registrar-in" },
    });
    for (rule, event) in [("InstanceStateRule", stopped), ("LifecycleRule", launch)] {
        let pattern = stage.stack.resource(rule).properties["EventPattern"].to_string();
        let pattern = events::Pattern::parse(&pattern).expect("a pattern");
        assert!(pattern.matches(&event), "{event}");
        for (field, other) in [("account", "210987654321"), ("region", "eu-west-1")] {
            let mut forwarded = event.clone();
            forwarded[field] = json!(other);
            assert!(!pattern.matches(&forwarded), "{forwarded}");
        }
    }
}

const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef";

#[tokio::test(start_paused = true)]
async fn with_a_key_of_ones_own_no_permission_for_it_is_unused() {
    for (function, role) in ROLES {
        let stage = scene(&[("KmsKeyArn", KEY)]).await;
        let encrypted =
            stage.stack.of_kind("AWS::SQS::Queue").filter(|(_, queue)| queue.properties["KmsMasterKeyId"] == KEY);
        assert_eq!(encrypted.count(), 10);
        tour(&stage, function).await.unwrap_or_else(|why| panic!("{function}: {why}"));
        let of_key = |permission: &Permission| permission.holder == role && permission.action.starts_with("kms:");
        let used: BTreeSet<Permission> =
            stage.world(|world| world.iam.used.iter().filter(|p| of_key(p)).cloned().collect());
        let given: BTreeSet<Permission> = permissions_of(&stage, role).into_iter().filter(of_key).collect();
        assert_eq!((used, given.len()), (given.clone(), 2), "{function}");
        for permission in given {
            let stage = scene(&[("KmsKeyArn", KEY)]).await;
            assert!(stage.world(|world| world.iam.revoke(&permission)), "{permission:?}");
            let why = tour(&stage, function).await.expect_err("a queue without its key");
            assert!(why.starts_with("denied: kms:"), "{permission:?}: {why}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_subnets_lambda_makes_interfaces_and_no_code_does() {
    let stage = scene(&[("SubnetIds", "subnet-1,subnet-2"), ("SecurityGroupIds", "sg-1")]).await;
    for (function, role) in ROLES {
        let resource =
            stage.stack.of_kind("AWS::Serverless::Function").find(|(_, found)| found.identity.name == function);
        let config = resource.expect("a function").1.properties["VpcConfig"].clone();
        assert_eq!(config, json!({ "SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"] }));
        let made = permissions_of(&stage, role).into_iter().find(|found| found.action == "ec2:CreateNetworkInterface");
        assert!(stage.world(|world| world.iam.used.contains(&made.expect("a permission"))));
    }
    let own = lambda::arn(INSTANCE_STATE);
    let by_code = Access::new("ec2:CreateNetworkInterface", "*").knowing("lambda:SourceFunctionArn", [own]);
    let by_lambda = Access::new("ec2:CreateNetworkInterface", "*");
    let may = |access: &Access| stage.world(|world| world.iam.roles[ROLES[0].1].allows(access));
    assert_eq!((may(&by_code), may(&by_lambda)), (false, true));
    tour(&stage, INSTANCE_STATE).await.expect("the same work");
}

#[tokio::test(start_paused = true)]
async fn roles_have_the_boundary_and_the_path_that_are_asked_for() {
    let boundary = "arn:aws:iam::123456789012:policy/platform/boundary";
    let stage = scene(&[("PermissionsBoundaryArn", boundary), ("RolePath", "/platform/")]).await;
    let mut arns = BTreeSet::new();
    for (_, role) in stage.stack.of_kind("AWS::IAM::Role") {
        assert_eq!(role.properties["PermissionsBoundary"], boundary);
        arns.insert(role.identity.attributes["Arn"].clone());
    }
    arns.extend(stage.stack.of_kind("AWS::IAM::ManagedPolicy").map(|(_, policy)| policy.identity.reference.clone()));
    assert_eq!(arns.len(), 5);
    assert!(arns.iter().all(|arn| arn.contains("/platform/elb-registrar-")), "{arns:?}");
    tour(&stage, INSTANCE_STATE).await.expect("the same work");
    let plain = Stage::new();
    let has_none = |(_, role): (&String, &Resource)| role.properties["PermissionsBoundary"].is_null();
    assert!(plain.stack.of_kind("AWS::IAM::Role").all(has_none));
}

/// Returns the metric that an alarm looks at, with the metric's period, and whether the 0 of periods without data is filled in.
fn watched_by(alarm: &Value) -> (Value, Value, bool) {
    let Some(queries) = alarm["Metrics"].as_array() else { return (alarm.clone(), alarm["Period"].clone(), false) };
    let written = queries.iter().find(|query| query["Id"] == "written").expect("a metric");
    let filled = queries.iter().any(|query| query["Expression"] == "FILL(written, 0)");
    (written["MetricStat"]["Metric"].clone(), written["MetricStat"]["Period"].clone(), filled)
}

/// An alarm takes older points for those that are missing: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>.
#[tokio::test(start_paused = true)]
async fn alarms_over_several_periods_fill_in_what_is_not_written() {
    let stage = Stage::with_settings(&[("SweepAlarmPeriod", "7200")]);
    let mut of_sweeps = 0;
    for (id, alarm) in stage.stack.of_kind("AWS::CloudWatch::Alarm") {
        let alarm = &alarm.properties;
        let (metric, period, is_filled) = watched_by(alarm);
        // SQS writes its figures every minute, and those alarms look at a few minutes.
        let is_written_always = metric["Namespace"] == "AWS/SQS";
        assert!(alarm["EvaluationPeriods"] == 1 || is_written_always || is_filled, "{id}");
        let dimensions = metric["Dimensions"].as_array().expect("a list").clone();
        if metric["Namespace"] == "elb-registrar" && dimensions.iter().any(|dimension| dimension["Value"] == RECONCILE)
        {
            assert_eq!(period, json!("7200"), "{id}");
            of_sweeps += 1;
        }
    }
    assert_eq!(of_sweeps, 6);
    let missing = &stage.stack.resource("ReconcileMissingAlarm").properties;
    let when = ["ComparisonOperator", "TreatMissingData"].map(|name| missing[name].clone());
    assert_eq!((when, &missing["Threshold"]), ([json!("LessThanThreshold"), json!("ignore")], &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn the_dashboard_has_every_alarm_and_every_metric_of_an_alarm() {
    for class in ["STANDARD", "INFREQUENT_ACCESS"] {
        let stage = Stage::with_settings(&[("LogClass", class)]);
        let body = stage.stack.resource("Dashboard").properties["DashboardBody"].as_str().expect("a text");
        let body: Value = serde_json::from_str(body).expect("JSON");
        let widgets = body["widgets"].as_array().expect("a list");
        let listed = widgets[0]["properties"]["alarms"].as_array().expect("a list");
        let listed: BTreeSet<&str> = listed.iter().filter_map(Value::as_str).collect();
        let alarms = || stage.stack.of_kind("AWS::CloudWatch::Alarm");
        let there: BTreeSet<&str> = alarms().map(|(_, alarm)| alarm.identity.attributes["Arn"].as_str()).collect();
        assert_eq!(listed, there);
        let drawn = Value::from(widgets.clone()).to_string();
        for (id, alarm) in alarms() {
            let (metric, ..) = watched_by(&alarm.properties);
            assert!(drawn.contains(metric["MetricName"].as_str().expect("a name")), "{id}");
            // A log of the other class becomes no metrics: an alarm on one would never ring.
            assert!(class == "STANDARD" || metric["Namespace"] != "elb-registrar", "{id}");
        }
        assert_eq!(there.len(), if class == "STANDARD" { 27 } else { 14 });
    }
}

#[tokio::test(start_paused = true)]
async fn the_dashboards_widget_asks_reconcile_and_only_when_asked() {
    let stage = Stage::new();
    let body = stage.stack.resource("Dashboard").properties["DashboardBody"].as_str().expect("a text");
    let body: Value = serde_json::from_str(body).expect("JSON");
    let custom =
        body["widgets"].as_array().expect("a list").iter().find(|widget| widget["type"] == "custom").expect("one");
    let never = json!({ "refresh": false, "resize": false, "timeRange": false });
    let reconcile = stage.stack.resource("ReconcileFunction").identity.attributes["Arn"].clone();
    assert_eq!(custom["properties"]["updateOn"], never);
    assert_eq!(custom["properties"]["endpoint"].as_str(), Some(reconcile.as_str()));
    // No widget covers another one.
    let mut places = std::collections::BTreeSet::new();
    for widget in body["widgets"].as_array().expect("a list") {
        let of = |name: &str| widget[name].as_u64().expect("a number");
        for (x, y) in (0..of("width")).flat_map(|x| (0..of("height")).map(move |y| (x, y))) {
            assert!(places.insert((of("x") + x, of("y") + y)), "{widget}");
        }
    }
}

/// The words that the functions write into their log, as they stand in the sources.
const WORDS: [&str; 6] = [
    include_str!("../../../functions/registrar/src/report/journal.rs"),
    include_str!("../../../functions/registrar/src/report/mod.rs"),
    include_str!("../../../functions/registrar/src/handler/mod.rs"),
    include_str!("../../../functions/registrar/src/handler/batch.rs"),
    include_str!("../../../functions/registrar/src/handler/orders.rs"),
    include_str!("../../../functions/registrar/src/logging.rs"),
];

#[tokio::test(start_paused = true)]
async fn saved_queries_ask_for_words_that_the_log_has() {
    let stage = Stage::new();
    let written: String = WORDS.concat();
    let mut queries = 0;
    for (id, query) in stage.stack.of_kind("AWS::Logs::QueryDefinition") {
        let text = query.properties["QueryString"].as_str().expect("a text");
        let asked = text.split('\'').skip(1).step_by(2);
        let asked = asked.filter(|word| !word.starts_with("i-") && *word != "platform.report");
        for word in asked.chain(text.contains("/^would be /").then_some("would be {}")) {
            assert!(written.contains(&format!("\"{word}\"")), "{id}: no function writes {word}");
        }
        let groups = query.properties["LogGroupNames"].as_array().expect("a list");
        let is_there =
            |name: &&Value| stage.stack.of_kind("AWS::Logs::LogGroup").any(|(_, group)| group.identity.name == **name);
        assert!(!groups.is_empty() && groups.iter().filter(is_there).count() == groups.len(), "{id}");
        queries += 1;
    }
    assert_eq!(queries, 9);
}

#[tokio::test(start_paused = true)]
async fn the_dashboards_address_is_that_of_the_stacks_partition() {
    let url = Stage::new().stack.outputs["DashboardUrl"].clone();
    let start = "https://console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/elb-registrar-";
    assert!(url.starts_with(start), "{url}");
    let arn = "arn:aws:";
    let text = serde_json::to_string(&Template::of_project().document["Resources"]).expect("JSON");
    assert!(!text.contains(arn), "{arn} is not the partition of every account");
}

#[tokio::test(start_paused = true)]
async fn every_queue_of_dead_letters_is_looked_at_by_an_alarm() {
    let stage = Stage::new();
    let watched: BTreeSet<&str> = stage
        .stack
        .of_kind("AWS::CloudWatch::Alarm")
        .flat_map(|(_, alarm)| alarm.properties["Dimensions"].as_array().into_iter().flatten())
        .filter_map(|dimension| dimension["Value"].as_str())
        .collect();
    let of_lifecycle = [LIFECYCLE_QUEUE, LIFECYCLE_DEAD_LETTERS, LIFECYCLE_UNDELIVERED];
    for queue in [QUEUE, DEAD_LETTERS, UNDELIVERED, FAILED_SWEEPS, DEAD_ORDERS].into_iter().chain(of_lifecycle) {
        assert!(watched.contains(queue), "{queue}: {watched:?}");
        assert!(stage.world(|world| world.sqs.queue(queue).is_some()), "{queue}");
    }
}
