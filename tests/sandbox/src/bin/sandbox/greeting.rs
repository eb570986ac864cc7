//! What is printed at the start: where the simulated AWS is, who is in it, and commands that make something happen.

use sandbox::{
    Sandbox,
    fleet::{self, Fleet, Place, RENEWED},
    server::Server,
};

use crate::arguments::Arguments;

pub(crate) fn greet(server: &Server, arguments: &Arguments) {
    println!(
        "A simulated AWS listens at {}, {} times as fast as the real one.",
        server.endpoint_url(),
        arguments.speed
    );
    println!("In another terminal:\n");
    // Version 1 of the AWS CLI and boto3 read the one variable, version 2 and the other SDKs the other.
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

/// Prints the fleet's ids, and commands that make something happen to it.
pub(crate) fn introduce(sandbox: &Sandbox, fleet: &Fleet) {
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
}
