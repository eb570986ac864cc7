"""Classic Load Balancing."""

import pytest

from clients import eventually, refused

LISTENER = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstanceProtocol": "HTTP", "InstancePort": 8080}


@pytest.fixture
def front(boto, network):
    """The name of a load balancer."""
    boto.elb.create_load_balancer(LoadBalancerName="front", Listeners=[LISTENER], Subnets=[network.a])
    return "front"


def some(*ids):
    return [{"InstanceId": instance} for instance in ids]


def health(aws, name, *ids):
    states = aws.elb.describe_instance_health(LoadBalancerName=name, **({"Instances": some(*ids)} if ids else {}))
    return {s["InstanceId"]: (s["State"], s["Description"]) for s in states["InstanceStates"]}


def test_a_load_balancer_is_described_as_it_was_made(aws, network):
    made = {"LoadBalancerName": "web", "Subnets": [network.a], "Scheme": "internal", "SecurityGroups": ["sg-1"]}
    aws.elb.create_load_balancer(Listeners=[LISTENER], Tags=[{"Key": "team", "Value": "blue"}], **made)
    check = {"Target": "HTTP:8080/", "Interval": 5, "Timeout": 2, "UnhealthyThreshold": 2, "HealthyThreshold": 2}
    assert aws.elb.configure_health_check(LoadBalancerName="web", HealthCheck=check)["HealthCheck"] == check
    aws.elb.add_tags(LoadBalancerNames=["web"], Tags=[{"Key": "kept", "Value": "no"}])
    aws.elb.remove_tags(LoadBalancerNames=["web"], Tags=[{"Key": "kept"}])

    draining = {"ConnectionDraining": {"Enabled": True, "Timeout": 120}}
    aws.elb.modify_load_balancer_attributes(LoadBalancerName="web", LoadBalancerAttributes=draining)
    attributes = aws.elb.describe_load_balancer_attributes(LoadBalancerName="web")["LoadBalancerAttributes"]
    assert attributes["ConnectionDraining"] == draining["ConnectionDraining"]

    [web] = aws.elb.describe_load_balancers(LoadBalancerNames=["web"])["LoadBalancerDescriptions"]
    assert {name: web[name] for name in made} == made
    assert [listener["Listener"] for listener in web["ListenerDescriptions"]] == [LISTENER]
    assert (web["HealthCheck"], web["Instances"], web["VPCId"]) == (check, [], network.vpc)
    [tags] = aws.elb.describe_tags(LoadBalancerNames=["web"])["TagDescriptions"]
    assert tags == {"LoadBalancerName": "web", "Tags": [{"Key": "team", "Value": "blue"}]}


def test_a_load_balancer_listens_where_it_is_told_to(aws, front):
    def ports():
        [balancer] = aws.elb.describe_load_balancers(LoadBalancerNames=[front])["LoadBalancerDescriptions"]
        return [told["Listener"]["LoadBalancerPort"] for told in balancer["ListenerDescriptions"]]

    another = LISTENER | {"LoadBalancerPort": 8000}
    aws.elb.create_load_balancer_listeners(LoadBalancerName=front, Listeners=[another])
    assert ports() == [80, 8000]
    with refused("DuplicateListener"):
        other = another | {"InstancePort": 9}
        aws.elb.create_load_balancer_listeners(LoadBalancerName=front, Listeners=[other])
    aws.elb.delete_load_balancer_listeners(LoadBalancerName=front, LoadBalancerPorts=[80])
    assert ports() == [8000]
    assert aws.elb.describe_load_balancer_policies(LoadBalancerName=front)["PolicyDescriptions"] == []
    with refused("PolicyNotFound"):
        aws.elb.describe_load_balancer_policies(LoadBalancerName=front, PolicyNames=["sticky"])


def test_a_registered_instance_comes_into_service(aws, network, front):
    one, other = network.instances(2)
    answer = aws.elb.register_instances_with_load_balancer(LoadBalancerName=front, Instances=some(one, other))
    assert sorted(i["InstanceId"] for i in answer["Instances"]) == [one, other]
    eventually(lambda: health(aws, front), {one: ("InService", "N/A"), other: ("InService", "N/A")})


def test_a_drained_instance_is_in_service_until_its_time_is_over(aws, boto, network, front):
    def let_drain(seconds):
        draining = {"ConnectionDraining": {"Enabled": True, "Timeout": seconds}}
        boto.elb.modify_load_balancer_attributes(LoadBalancerName=front, LoadBalancerAttributes=draining)

    slow, quick = network.instances(2)
    aws.elb.register_instances_with_load_balancer(LoadBalancerName=front, Instances=some(slow, quick))
    let_drain(3600)
    rest = aws.elb.deregister_instances_from_load_balancer(LoadBalancerName=front, Instances=some(slow))["Instances"]
    assert rest == some(quick)
    assert health(aws, front, slow) == {slow: ("InService", "Instance deregistration currently in progress.")}
    let_drain(60)
    aws.elb.deregister_instances_from_load_balancer(LoadBalancerName=front, Instances=some(quick))
    gone = ("OutOfService", "Instance is not currently registered with the LoadBalancer.")
    eventually(lambda: health(aws, front, quick), {quick: gone})


def test_a_stopped_member_stays_registered(aws, network, front):
    instance = network.instance()
    aws.elb.register_instances_with_load_balancer(LoadBalancerName=front, Instances=some(instance))
    aws.ec2.stop_instances(InstanceIds=[instance])
    network.wait("stopped", instance)
    assert health(aws, front) == {instance: ("OutOfService", "Instance is in stopped state.")}


def test_one_unknown_id_fails_the_whole_registration(aws, network, front):
    with refused("InvalidInstance"):
        instances = some(network.instance(), "i-00000000000000fff")
        aws.elb.register_instances_with_load_balancer(LoadBalancerName=front, Instances=instances)
    assert aws.elb.describe_load_balancers()["LoadBalancerDescriptions"][0]["Instances"] == []


def test_every_load_balancer_is_on_one_page(aws, boto, network):
    names = [f"lb-{n}" for n in range(5)]
    for name in names:
        boto.elb.create_load_balancer(LoadBalancerName=name, Listeners=[LISTENER], Subnets=[network.a])
    found = aws.pages("elb", "describe_load_balancers", PageSize=2)["LoadBalancerDescriptions"]
    assert sorted(lb["LoadBalancerName"] for lb in found) == names
    first = aws.elb.describe_load_balancers(PageSize=2)
    assert (len(first["LoadBalancerDescriptions"]), bool(first["NextMarker"])) == (2, True)
