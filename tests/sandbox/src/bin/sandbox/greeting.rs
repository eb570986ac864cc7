//! The text at the start: the address of the simulated AWS, the things in it, and commands that make something happen.

use std::collections::BTreeMap;

use sandbox::{
    Sandbox,
    fleet::{self, Fleet, GROUP, Place, RENEWED},
    server::Server,
};

use crate::arguments::{Arguments, MODE};

/// Commands that put lifecycle hooks on the fleet's Auto Scaling group. docs/lifecycle-hooks.md has the same.
const HOOKS: &str = r#"aws autoscaling put-lifecycle-hook --auto-scaling-group-name my-asg \
  --lifecycle-hook-name elb-registrar-launch \
  --lifecycle-transition autoscaling:EC2_INSTANCE_LAUNCHING \
  --heartbeat-timeout 900 --default-result ABANDON \
  --notification-metadata '{"register": ["tg:edge:443=eth0"]}'
aws autoscaling put-lifecycle-hook --auto-scaling-group-name my-asg \
  --lifecycle-hook-name elb-registrar-terminate \
  --lifecycle-transition autoscaling:EC2_INSTANCE_TERMINATING \
  --heartbeat-timeout 900 --default-result CONTINUE
"#;

pub(crate) fn greet(server: &Server, arguments: &Arguments) {
    println!(
        "A simulated AWS listens at {}, {} times as fast as the real one.",
        server.endpoint_url(),
        arguments.speed
    );
    println!("In another terminal:\n");
    // Version 1 of the AWS CLI and boto3 read one variable, version 2 and the other SDKs the other.
    println!(
        "  export AWS_REGION={0} AWS_DEFAULT_REGION={0} AWS_ENDPOINT_URL={1}",
        sandbox::REGION,
        server.endpoint_url()
    );
    println!("  export AWS_ACCESS_KEY_ID=AKIAEXAMPLE AWS_SECRET_ACCESS_KEY=sandbox");
    match arguments.has_fleet {
        true => println!(),
        // Version 1 of the CLI goes to the real SQS, whatever the environment says (awscli, overridesslcommonname.py).
        false => println!(
            "  aws ec2 describe-instances\n  aws sqs create-queue --queue-name events --endpoint-url $AWS_ENDPOINT_URL\n"
        ),
    }
}

/// Prints the fleet's ids, and commands that make something happen to it. Those for the Auto Scaling group need functions: without them,
/// its instances wait at the hooks until these time out.
pub(crate) fn introduce(sandbox: &Sandbox, fleet: &Fleet, has_functions: bool) {
    println!("The fleet is registered in shop-classic (a Classic load balancer), in the target group web on the ports");
    println!("80 and 8080, and in the target group edge (of addresses) on port 443:\n");
    for member in &fleet.members {
        let address = sandbox.with(|world| fleet::primary_address(world, &member.id));
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        let remark = if member.name == RENEWED { "  (another address at each restart, as in EC2-Classic)" } else { "" };
        println!("  {}  {}  {address}{remark}", member.name, member.id);
    }
    println!();
    if let Some(member) = fleet.member(RENEWED) {
        for verb in ["stop", "start"] {
            println!("  aws ec2 {verb}-instances --instance-ids {}", member.id);
        }
        println!("  aws ec2 describe-tags --filters Name=resource-id,Values={}", member.id);
    }
    println!("  aws elb describe-instance-health --load-balancer-name shop-classic");
    let mut arns: Vec<&str> = fleet.places.iter().filter_map(Place::target_group_arn).collect();
    arns.dedup();
    for arn in arns {
        println!("  aws elbv2 describe-target-health --target-group-arn {arn}");
    }
    println!();
    if has_functions {
        introduce_group();
    }
}

/// Prints commands that let the Auto Scaling group grow by an instance.
fn introduce_group() {
    println!(
        "{GROUP} is an Auto Scaling group without an instance. With these lifecycle hooks, its instances are registered in edge"
    );
    println!("before they count as in service, and drained before they end:\n");
    HOOKS.lines().for_each(|line| println!("  {line}"));
    println!("  aws autoscaling set-desired-capacity --auto-scaling-group-name {GROUP} --desired-capacity 1");
    println!("  aws autoscaling describe-auto-scaling-instances\n");
}

/// Prints the parameters with which the functions were deployed, and what the mode means.
pub(crate) fn tell_settings(parameters: &BTreeMap<String, String>) {
    let mode = parameters.get(MODE).map_or("", String::as_str);
    let meaning = match mode {
        "observe" => "they say what they would do, and change nothing",
        _ => "they write tags, deregister and register",
    };
    println!("The functions run in the mode {mode}: {meaning}.");
    let others = parameters.iter().filter(|(name, _)| *name != MODE).map(|(name, value)| format!("{name}={value}"));
    let others = others.collect::<Vec<_>>().join(" ");
    if !others.is_empty() {
        println!("Their other settings from the environment: {others}.");
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_for_the_hooks_are_those_of_the_page() {
        let page = include_str!("../../../../../docs/lifecycle-hooks.md");
        assert!(
            page.contains(&format!("```sh\n{HOOKS}```")),
            "docs/lifecycle-hooks.md has no block of these commands:\n{HOOKS}"
        );
        assert!(HOOKS.contains(&format!(" {GROUP} ")));
    }
}
