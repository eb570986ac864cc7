"""The AWS CLI as people type it: its own short forms, waiters and queries."""


def test_a_session_at_the_command_line(cli, network):
    def aws(line, *more):
        return cli.type(*line.split(), *more)

    launch = f"ec2 run-instances --image-id ami-1 --count 2 --subnet-id {network.a} --query Instances[].InstanceId"
    one, other = aws(launch, "--tag-specifications", "ResourceType=instance,Tags=[{Key=Name,Value=web}]")
    network.wait("running", one, other)
    aws(f"ec2 wait instance-running --instance-ids {one} {other}")
    named = "ec2 describe-instances --filters Name=tag:Name,Values=w?b*"
    found = aws(f"{named} --query Reservations[].Instances[].InstanceId")
    assert sorted(found) == sorted([one, other])
    aws(f"ec2 create-tags --resources {one} {other} --tags Key=a,Value=1 Key=b,Value=")

    listener = "Protocol=HTTP,LoadBalancerPort=80,InstancePort=80"
    aws(f"elb create-load-balancer --load-balancer-name old --listeners {listener} --subnets {network.a}")
    aws(f"elb register-instances-with-load-balancer --load-balancer-name old --instances {one} {other}")
    aws(f"elb deregister-instances-from-load-balancer --load-balancer-name old --instances {one}")
    assert aws("elb describe-load-balancers --query LoadBalancerDescriptions[].Instances[].InstanceId") == [other]

    group = f"elbv2 create-target-group --name new --protocol HTTP --port 80 --vpc-id {network.vpc} --target-type ip"
    arn = aws(f"{group} --query TargetGroups[0].TargetGroupArn")
    targets = "Id=10.0.1.50,Port=8080 Id=10.9.0.1,AvailabilityZone=all"
    aws(f"elbv2 register-targets --target-group-arn {arn} --targets {targets}")
    told = aws(f"elbv2 describe-target-health --target-group-arn {arn} --query TargetHealthDescriptions[].Target")
    assert {(target["Id"], target["Port"]) for target in told} == {("10.0.1.50", 8080), ("10.9.0.1", 80)}

    url = aws("sqs create-queue --queue-name events --query QueueUrl")
    aws(f"sqs send-message --queue-url {url} --message-body hello")
    assert aws(f"sqs receive-message --queue-url {url} --query Messages[].Body") == ["hello"]
    aws("events put-rule --name all --event-pattern {\"source\":[\"aws.ec2\"]}")
    queue = "arn:aws:sqs:us-east-1:123456789012:events"
    aws(f"events put-targets --rule all --targets Id=q,Arn={queue}")
