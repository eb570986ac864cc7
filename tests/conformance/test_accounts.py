"""What tools ask about an account before their work: who they are, and the tags of resources of any service."""

import pytest

LISTENER = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}


def test_a_caller_learns_its_account(aws):
    identity = aws.sts.get_caller_identity()
    assert (identity["Account"], identity["UserId"]) == ("123456789012", "AKIAEXAMPLE")
    assert identity["Arn"].startswith("arn:aws:iam::123456789012:user/")


def test_tags_are_found_by_the_name_of_their_resource(aws, boto, network):
    tags = [{"Key": "team", "Value": "blue"}]
    for name in "front", "plain":
        boto.elb.create_load_balancer(LoadBalancerName=name, Listeners=[LISTENER], Subnets=[network.a])
    boto.elb.add_tags(LoadBalancerNames=["front"], Tags=tags)
    arns = [f"arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/{n}" for n in ("front", "plain", "gone")]
    found = aws.resourcegroupstaggingapi.get_resources(ResourceARNList=arns)["ResourceTagMappingList"]
    assert found == [{"ResourceARN": arns[0], "Tags": tags}]


@pytest.mark.deployed
def test_functions_are_listed_with_their_settings(aws):
    listed = getattr(aws, "lambda").list_functions(MaxItems=2)
    assert len(listed["Functions"]) == 2 and listed["NextMarker"]
    assert all(function["Environment"]["Variables"]["REGISTRAR_MODE"] == "enforce" for function in listed["Functions"])
