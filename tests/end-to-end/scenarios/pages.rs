//! Checks the words of docs/lifecycle-hooks.md against the fleet that it tells the reader to play with.

use std::collections::BTreeMap;

use end_to_end::Stage;
use sandbox::{
    auto_scaling::{self, ActionResult, Ending, HookSpec, LifecycleState, Transition},
    deployment::Template,
    ec2,
    elbv2::Standing,
    fleet::{Fleet, GROUP},
};

const PAGE: &str = include_str!("../../../docs/lifecycle-hooks.md");

/// The AWS CLI's and CloudFormation's names for the same.
const NAMES: [(&str, &str); 6] = [
    ("auto-scaling-group-name", "AutoScalingGroupName"),
    ("lifecycle-hook-name", "LifecycleHookName"),
    ("lifecycle-transition", "LifecycleTransition"),
    ("heartbeat-timeout", "HeartbeatTimeout"),
    ("default-result", "DefaultResult"),
    ("notification-metadata", "NotificationMetadata"),
];

/// Returns the only block of a language in docs/lifecycle-hooks.md that has a text.
#[track_caller]
fn block(language: &str, text: &str) -> &'static str {
    let opened = format!("```{language}\n");
    let blocks = PAGE.split(&opened).skip(1).filter_map(|rest| rest.split("```").next());
    let found: Vec<&str> = blocks.filter(|block| block.contains(text)).collect();
    assert_eq!(found.len(), 1, "blocks with {text}");
    found[0]
}

/// Returns the options of each `put-lifecycle-hook` command, by their names in CloudFormation.
fn commands() -> Vec<BTreeMap<String, String>> {
    let script = block("sh", "put-lifecycle-hook").replace("\\\n", " ");
    let options = |line: &str| {
        let (command, options) = line.split_once(" --").expect("a command with options");
        assert_eq!(command, "aws autoscaling put-lifecycle-hook");
        let option = |option: &str| {
            let (name, value) = option.trim().split_once(' ').expect("an option with a value");
            let (_, name) = NAMES.iter().find(|(cli, _)| *cli == name).unwrap_or_else(|| panic!("--{name}"));
            ((*name).to_owned(), value.trim().trim_matches('\'').to_owned())
        };
        options.split(" --").map(option).collect()
    };
    script.lines().map(options).collect()
}

fn hook_of(options: &BTreeMap<String, String>) -> HookSpec {
    let name = options["LifecycleHookName"].clone();
    let transition = match options["LifecycleTransition"].as_str() {
        "autoscaling:EC2_INSTANCE_LAUNCHING" => Transition::Launching,
        "autoscaling:EC2_INSTANCE_TERMINATING" => Transition::Terminating,
        other => panic!("{other} is no transition"),
    };
    HookSpec {
        name,
        transition: Some(transition),
        heartbeat_timeout: Some(options["HeartbeatTimeout"].parse().expect("a number")),
        default_result: ActionResult::of_name(&options["DefaultResult"]),
        notification_metadata: options.get("NotificationMetadata").cloned(),
    }
}

#[test]
fn the_yaml_of_the_hooks_says_the_same_as_the_commands() {
    let yaml = block("yaml", "AWS::AutoScaling::LifecycleHook");
    let template = Template::parse(&format!("Resources:\n{yaml}")).expect("resources of a template");
    let resources = template.document["Resources"].as_object().expect("resources").values();
    let declared: Vec<BTreeMap<String, String>> = resources
        .map(|resource| {
            let properties = resource["Properties"].as_object().expect("properties").iter();
            let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let group = |name: &str| name != "AutoScalingGroupName";
            properties.filter(|(name, _)| group(name)).map(|(name, value)| (name.clone(), text(value))).collect()
        })
        .collect();
    let mut commands = commands();
    let groups: Vec<_> = commands.iter_mut().filter_map(|options| options.remove("AutoScalingGroupName")).collect();
    assert_eq!(groups, [GROUP, GROUP]);
    assert_eq!(declared, commands);
}

#[tokio::test(start_paused = true)]
async fn the_hooks_of_the_page_work_for_the_group_of_the_fleet() {
    let stage = Stage::new();
    let fleet = stage.world(Fleet::seed).expect("a fleet");
    for options in commands() {
        stage.world(|world| auto_scaling::put_hook(world, GROUP, hook_of(&options))).expect("a hook");
    }
    stage.wants(GROUP, 1).rest().await;
    let [(id, state)] = stage.member_states(GROUP).try_into().expect("one member");
    assert_eq!(state, LifecycleState::InService, "{}", stage.describe());
    let address =
        stage.world(|world| world.ec2.instance(&id).and_then(ec2::Instance::primary_ipv4)).expect("an address");
    let is_in_edge = |stage: &Stage| {
        let edge = fleet.places.iter().find(|place| place.label() == "edge:443").expect("the target group");
        let targets = stage.world(|world| sandbox::elbv2::targets(world, edge.target_group_arn().expect("an ARN")));
        targets.iter().any(|target| target.id == address.to_string() && target.state == Standing::Registered)
    };
    assert!(is_in_edge(&stage), "{}", stage.describe());
    stage.wants(GROUP, 0).rest().await;
    assert_eq!(stage.member_states(GROUP), []);
    assert!(!is_in_edge(&stage), "{}", stage.describe());
    let endings: Vec<Ending> = stage.ended_actions().iter().map(|ended| ended.ending).collect();
    assert_eq!(endings, [Ending::Completed(ActionResult::Continue); 2]);
}
