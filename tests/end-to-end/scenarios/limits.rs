//! One more than each limit: lists are cut where AWS's calls end, and what comes after the cut is served like the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use end_to_end::Stage;
use sandbox::{
    Call,
    auto_scaling::{self, GroupSpec, HookSpec, LifecycleState},
    ec2::{self, Launch},
    elbv2::{self, Target, TargetGroupSpec},
};
use serde_json::Value;

/// A list that a call of the functions takes.
struct List {
    action: &'static str,
    /// The name of its fields, with N for numbers.
    fields: &'static str,
    most: Most,
}

/// How many elements a list has at most.
#[derive(Clone, Copy)]
enum Most {
    /// So many by the limit of AWS, which the test below goes beyond.
    Cut(usize),
    /// So many by the limit of AWS, which the functions never come near.
    Short(usize),
    /// So many, by which the functions cut it: AWS documents no limit.
    Own(usize),
}

const fn list(action: &'static str, fields: &'static str, most: Most) -> List {
    List { action, fields, most }
}

/// Every list of every call. One that is missing fails the test below.
///
/// Sources: the API references of [CreateTags](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTags.html),
/// [EC2's filters](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html),
/// [DescribeTags](https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html),
/// [DescribeAutoScalingGroups](https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeAutoScalingGroups.html),
/// [DescribeAutoScalingInstances](https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeAutoScalingInstances.html) and
/// [SendMessageBatch](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html). The limit of DescribeTargetGroups is known
/// from its refusal (<https://github.com/ansible-collections/amazon.aws/pull/1593>).
const LISTS: &[List] = &[
    list("CreateTags", "ResourceId.N", Most::Cut(1_000)),
    list("CreateTags", "Tag.N", Most::Short(50)),
    // Cut like that of CreateTags; when what is settled together depends on when EC2 has started it.
    list("DeleteTags", "ResourceId.N", Most::Short(1_000)),
    list("DeleteTags", "Tag.N", Most::Short(50)),
    list("DescribeInstances", "Filter.N", Most::Short(200)),
    list("DescribeInstances", "Filter.N.Value.N", Most::Cut(200)),
    list("DescribeNetworkInterfaces", "Filter.N", Most::Short(200)),
    list("DescribeNetworkInterfaces", "Filter.N.Value.N", Most::Cut(200)),
    list("DescribeSubnets", "Filter.N", Most::Short(200)),
    list("DescribeSubnets", "Filter.N.Value.N", Most::Cut(200)),
    list("DescribeAutoScalingGroups", "AutoScalingGroupNames.member.N", Most::Cut(50)),
    list("DescribeAutoScalingInstances", "InstanceIds.member.N", Most::Cut(50)),
    list("DescribeLifecycleHooks", "LifecycleHookNames.member.N", Most::Short(50)),
    list("DescribeLoadBalancers", "LoadBalancerNames.member.N", Most::Own(20)),
    list("DescribeTags", "LoadBalancerNames.member.N", Most::Cut(20)),
    list("DescribeTags", "ResourceArns.member.N", Most::Cut(20)),
    list("DescribeTargetGroups", "TargetGroupArns.member.N", Most::Cut(20)),
    list("DescribeTargetGroups", "Names.member.N", Most::Short(20)),
    // What a Classic load balancer can have at all.
    list("DescribeInstanceHealth", "Instances.member.N", Most::Short(1_000)),
    list("RegisterInstancesWithLoadBalancer", "Instances.member.N", Most::Own(200)),
    list("DeregisterInstancesFromLoadBalancer", "Instances.member.N", Most::Own(200)),
    list("RegisterTargets", "Targets.member.N", Most::Own(200)),
    list("DeregisterTargets", "Targets.member.N", Most::Own(200)),
    list("SendMessageBatch", "Entries", Most::Cut(10)),
    // A batch has ten messages, which are parked together.
    list("ChangeMessageVisibilityBatch", "Entries", Most::Short(10)),
];

/// The lists of a call, each with how many elements it has. `Filter.1.Value.7` is the seventh of `Filter.N.Value.N`.
fn lists_of(call: &Call) -> BTreeMap<String, usize> {
    let mut elements: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let mut lists = BTreeMap::new();
    for (name, value) in &call.parameters {
        if let Some(Value::Object(fields)) = serde_json::from_str(value).ok().filter(|_| name == "json") {
            let of_json = fields.iter().filter_map(|(name, value)| Some((name.clone(), value.as_array()?.len())));
            lists.extend(of_json);
            continue;
        }
        let parts: Vec<&str> = name.split('.').collect();
        let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
        for (place, number) in parts.iter().enumerate().filter(|(_, part)| is_number(part)) {
            let numbered = |part: &&str| if is_number(part) { "N".to_owned() } else { (*part).to_owned() };
            let fields: Vec<String> = parts[..=place].iter().map(numbered).collect();
            elements.entry((fields.join("."), parts[..place].join("."))).or_default().insert((*number).to_owned());
        }
    }
    for ((fields, _), numbers) in elements {
        let longest: &mut usize = lists.entry(fields).or_default();
        *longest = numbers.len().max(*longest);
    }
    lists
}

/// Fifty-one members of as many Auto Scaling groups, of which the first is in 21 balancers of each kind, and the others in one.
fn members(stage: &Stage) -> Vec<String> {
    let balancers: Vec<String> = (0..21).map(|number| format!("shop-{number}")).collect();
    for name in &balancers {
        stage.classic(name).instances_group(name);
    }
    let names: Vec<String> = (0..51).map(|number| format!("member-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        stage.instance(name).fleet(GroupSpec::new(name, &stage.subnet));
        let id = stage.id(name);
        stage.world(|world| auto_scaling::add_member(world, name, &id, LifecycleState::InService)).expect("a member");
        for balancer in &balancers[..if number == 0 { 21 } else { 1 }] {
            stage.registered_at(name, &[&format!("clb:{balancer}"), &format!("tg:{balancer}")]);
        }
    }
    names
}

/// More than a thousand instances of one target group. Some of them are looked at before the others.
fn many(stage: &Stage) -> Vec<String> {
    let subnet = stage.world(|world| ec2::create_subnet(world, &stage.vpc, "us-east-1b", "10.0.8.0/21"));
    // A quota that AWS has raised.
    stage.world(|world| world.elbv2.targets_per_group = 2_000);
    stage.instances_group("web");
    let names: Vec<String> = (0..1_050).map(|number| format!("web-{number}")).collect();
    for name in &names {
        stage.launch(name, Launch::new(&subnet)).registered(name, "tg:web");
    }
    names
}

/// Addresses without interfaces in as many networks, each listed by a group there.
fn orphans(stage: &Stage, count: usize) {
    for number in 0..count {
        let vpc = stage.world(|world| {
            let vpc = ec2::create_vpc(world, "10.9.0.0/24");
            ec2::create_subnet(world, &vpc, "us-east-1a", "10.9.0.0/24");
            vpc
        });
        stage.group(TargetGroupSpec::addresses(&format!("orphan-{number}"), &vpc, 443));
        let address = format!("10.9.0.{}", 10 + number % 200);
        stage.world(|world| {
            let arn = elbv2::arn_of(world, &format!("orphan-{number}")).expect("a group");
            elbv2::register(world, &arn, Target::new(&address)).expect("an address of the network");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn one_more_than_each_limit_is_served_like_the_rest() {
    let stage = Stage::new();
    let (members, many) = (members(&stage), many(&stage));
    orphans(&stage, 201);
    let hook = HookSpec::terminating("elb-registrar-terminate").heartbeat(300);
    stage
        .fleet(GroupSpec::new("fleet", &stage.subnet).tag("elb-registrar:register", "tg:shop-0").hook(hook).desired(1));
    stage.rest().await;
    stage.world(|world| auto_scaling::set_desired(world, "fleet", 0)).expect("a group");
    let all = || members.iter().chain(&many);
    let registered = |name: &String| stage.places(name).len();
    let before: Vec<usize> = all().map(registered).collect();
    for name in all() {
        stage.stop(name);
    }
    stage.rest().await;
    let still_in: Vec<&String> = all().filter(|name| registered(name) > 0).collect();
    assert!(still_in.is_empty(), "{still_in:?} are stopped and registered");
    stage.sandbox.advance(Duration::from_secs(3_600)).await;
    for name in &many {
        stage.start(name);
    }
    stage.rest().await;
    // What no event tells of the others, a sweep finds.
    stage.deliver_only(&[]);
    for name in &members {
        stage.start(name);
    }
    stage.rest().await;
    let swept = stage.sweep().await.expect("a report");
    assert_eq!(swept["orphans"].as_array().map(Vec::len), Some(201), "each is found");
    stage.rest().await;
    let back = all().map(registered).collect::<Vec<_>>();
    assert_eq!(back, before, "all are back where they were");
    check(&stage);
}

/// Holds the lists of all calls against the table.
fn check(stage: &Stage) {
    let mut longest: BTreeMap<(String, String), usize> = BTreeMap::new();
    for call in stage.all_calls() {
        let is_refused = matches!(&call.outcome, Some(Err(code)) if !code.contains("Throttl"));
        assert!(!is_refused, "{} was refused: {:?}", call.action, call.outcome);
        for (fields, elements) in lists_of(&call) {
            let seen = longest.entry((call.action.clone(), fields)).or_default();
            *seen = elements.max(*seen);
        }
    }
    for List { action, fields, most } in LISTS {
        let seen = longest.remove(&((*action).to_owned(), (*fields).to_owned())).unwrap_or_default();
        match *most {
            Most::Cut(limit) => assert_eq!(seen, limit, "{action}, {fields}: it should be cut there"),
            Most::Short(limit) | Most::Own(limit) => assert!((1..=limit).contains(&seen), "{action}, {fields}: {seen}"),
        }
    }
    assert_eq!(longest, BTreeMap::new(), "lists that the table does not have");
}
