"""Ansible's modules for instances, Classic load balancers and targets (amazon.aws, community.aws).

Three are left out, because they need what the sandbox does not have. `ec2_instance` launches in the default VPC or with a security group,
`elb_application_lb` describes security groups, and `autoscaling_group` describes launch templates.
"""

import pytest

from clients import eventually

LISTENER = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstanceProtocol": "HTTP", "InstancePort": 8080}


def targets(boto, group):
    """The id, the port and the state of each target."""
    answer = boto.elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    return sorted((t["Target"]["Id"], t["Target"]["Port"], t["TargetHealth"]["State"]) for t in answer)


def ports(result):
    """The target group's kind, the ports and the states, as elb_target_info has them."""
    return [
        (group["target_group_type"], sorted((t["target_port"], t["target_health"]["state"]) for t in group["targets"]))
        for group in result["instance_target_groups"]
    ]


@pytest.fixture
def front(boto, network):
    """Makes an Application Load Balancer with a target group `web` behind it."""

    def make(*instances):
        wishes = {"Protocol": "HTTP", "Port": 80, "VpcId": network.vpc}
        group = boto.elbv2.create_target_group(Name="web", **wishes)["TargetGroups"][0]["TargetGroupArn"]
        delay = {"Key": "deregistration_delay.timeout_seconds", "Value": "60"}
        boto.elbv2.modify_target_group_attributes(TargetGroupArn=group, Attributes=[delay])
        balancer = boto.elbv2.create_load_balancer(Name="front", Subnets=[network.a, network.b])["LoadBalancers"][0]
        actions = [{"Type": "forward", "TargetGroupArn": group}]
        arn = balancer["LoadBalancerArn"]
        boto.elbv2.create_listener(LoadBalancerArn=arn, Protocol="HTTP", Port=80, DefaultActions=actions)
        wanted = [{"Id": instance, "Port": 8080} for instance in instances]
        if wanted:
            boto.elbv2.register_targets(TargetGroupArn=group, Targets=wanted)
        return group

    return make


def test_instances_are_found_by_tag_stopped_and_started(boto, ansible, network):
    web, other = network.instances(2)
    boto.ec2.create_tags(Resources=[web], Tags=[{"Key": "role", "Value": "web"}])
    done = ansible.play("instances.yml")
    assert [one["instance_id"] for one in done["Running instances of the role"]["instances"]] == [web]
    [stopped] = done["Look at them"]["instances"]
    assert (stopped["state"]["name"], stopped["tags"]["maintenance"]) == ("stopped", "yes")
    changed = ["Mark them", "Stop them", "Start them by their tag", "Take the mark away"]
    assert [done[task]["changed"] for task in changed] == [True] * 4
    assert done["Their tags"]["tags"] == {"role": "web", "window": "tonight"}
    [running] = done["They run"]["instances"]
    assert running["private_ip_address"] == stopped["private_ip_address"]
    network.wait("running", web, other)


def test_a_classic_load_balancer_is_created_changed_and_deleted(ansible, network):
    instances = network.instances(2)
    done = ansible.play("classic.yml", subnet=network.a, instances=instances)
    assert (done["Create it"]["changed"], done["Create it again"]["changed"]) == (True, False)
    [info] = done["It is in service"]["elbs"]
    assert sorted(info["instances_inservice"]) == instances
    assert info["health_check"]["target"] == "HTTP:8080/health"
    assert info["attributes"]["connection_draining"] == {"enabled": True, "timeout": 60}
    assert info["tags"] == {"team": "shop"}
    [info] = done["It is as changed"]["elbs"]
    assert [one["listener"]["instance_port"] for one in info["listener_descriptions"]] == [9000]
    assert [one["instance_id"] for one in info["instances"]] == [instances[0]]
    assert (info["attributes"]["connection_settings"]["idle_timeout"], info["tags"]) == (90, {"team": "other"})
    assert done["Delete it"]["changed"] and done["It is gone"]["elbs"] == []


def test_a_rolling_update_takes_an_instance_out_and_back(boto, ansible, network, front):
    one, other = network.instances(2)
    group = front(one, other)
    boto.elb.create_load_balancer(LoadBalancerName="shop", Listeners=[LISTENER], Subnets=[network.a])
    members = [{"InstanceId": instance} for instance in (one, other)]
    boto.elb.register_instances_with_load_balancer(LoadBalancerName="shop", Instances=members)
    eventually(lambda: targets(boto, group), [(one, 8080, "healthy"), (other, 8080, "healthy")])

    done = ansible.play("rolling.yml", instance=one)
    assert done["Out of the Classic load balancers"]["updated_elbs"] == ["shop"]
    assert ports(done["Before"]) == [("instance", [(8080, "healthy")])]
    assert ports(done["While it is out"]) == []
    assert ports(done["After"]) == [("instance", [(8080, "healthy")])]
    health = boto.elb.describe_instance_health(LoadBalancerName="shop")["InstanceStates"]
    assert {state["InstanceId"]: state["State"] for state in health} == dict.fromkeys([one, other], "InService")


def test_target_groups_are_created_changed_and_described(boto, ansible, network, front):
    instance, other = network.instances(2)
    [reservation] = boto.ec2.describe_instances(InstanceIds=[other])["Reservations"]
    address, group = reservation["Instances"][0]["PrivateIpAddress"], front()
    done = ansible.play("target_groups.yml", vpc=network.vpc, instance=instance, other=other, address=address)
    eventually(lambda: targets(boto, group), [(other, 8081, "healthy")])
    told = {
        one["target_group_name"]: one for one in done["The groups and the health of their targets"]["target_groups"]
    }
    web, edge = told["web"], told["edge"]
    assert (web["health_check_path"], web["stickiness_lb_cookie_duration_seconds"]) == ("/healthy", "3600")
    assert (web["deregistration_delay_timeout_seconds"], web["tags"]) == ("60", {"team": "other"})
    zones = {one["target"]["id"]: one["target"]["availability_zone"] for one in edge["targets_health_description"]}
    assert zones == {address: "us-east-1a", "10.9.0.1": "all"}
    kinds = [kind for kind, _ in ports(done["Where the instance is"])]
    assert sorted(kinds) == ["instance", "ip"]
    [balancer] = done["What is in front of them"]["load_balancers"]
    [listener] = balancer["listeners"]
    assert [rule["is_default"] for rule in listener["rules"]] == [True]
    left = boto.elbv2.describe_target_groups()["TargetGroups"]
    assert [one["TargetGroupName"] for one in left] == ["web"]


def test_a_stopped_instance_is_refused_as_a_target(boto, ansible, network, front):
    instance = network.instance()
    group = front()
    boto.ec2.stop_instances(InstanceIds=[instance])
    network.wait("stopped", instance)
    _, results = ansible.attempt("out_of_order.yml", instance=instance)
    assert "InvalidTarget" in results["Register it"]["msg"]
    assert targets(boto, group) == []
