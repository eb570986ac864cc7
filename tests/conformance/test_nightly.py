"""The whole story: other tools stop and start an instance, the functions take it out and give it back, and Ansible's modules judge
that."""

import pytest

from clients import eventually
from test_custodian import hours

pytestmark = pytest.mark.deployed

# The fleet registers each instance in `web` on two ports, and its address in `edge`; and in a Classic load balancer.
GROUPS = 2
EVERYWHERE = [("instance", 80), ("instance", 8080), ("ip", 443)]


@pytest.fixture
def instance(boto):
    """Finds an instance of the fleet by its name, and describes it."""

    def find(name):
        named = [{"Name": "tag:Name", "Values": [name]}]
        [reservation] = boto.ec2.describe_instances(Filters=named)["Reservations"]
        return reservation["Instances"][0]

    return find


def places(looked):
    """The kinds of target groups, and the ports, of the targets that Ansible has found."""
    found = looked["Target groups"]["instance_target_groups"]
    return sorted((group["target_group_type"], one["target_port"]) for group in found for one in group["targets"])


def ours(described):
    return [tag["Key"] for tag in described["Tags"] if tag["Key"].startswith("elb-registrar:")]


def test_an_instance_with_off_hours_gets_no_traffic_at_night(boto, ansible, custodian, instance):
    web, neighbour = instance("web-1")["InstanceId"], instance("web-3")["InstanceId"]
    assert places(ansible.play("look.yml", instance=web, expected=GROUPS)) == EVERYWHERE

    def schedule(text):
        boto.ec2.create_tags(Resources=[web], Tags=[{"Key": "custodian_downtime", "Value": text}])
        return [one["InstanceId"] for found in custodian.run("off_hours.yml").values() for one in found]

    assert schedule(hours("off", "on")) == [web]
    assert places(ansible.play("look.yml", instance=web, expected=0)) == []
    eventually(lambda: instance("web-1")["State"]["Name"], "stopped")
    assert len(ours(instance("web-1"))) == 1, "what it was taken from is held in a tag of its own"
    assert places(ansible.play("look.yml", instance=neighbour, expected=GROUPS)) == EVERYWHERE

    assert schedule(hours("on", "off")) == [web]
    assert places(ansible.play("look.yml", instance=web, expected=GROUPS)) == EVERYWHERE
    eventually(lambda: ours(instance("web-1")), [])


def test_a_playbook_that_restarts_an_instance_registers_nothing_itself(ansible, instance):
    before = instance("web-2")
    web = before["InstanceId"]
    restart = {"instance": web, "address": before["PrivateIpAddress"]}
    done = ansible.play("restart.yml", state="stopped", **restart)
    left = [len(group["targets_health_description"]) for group in done["Targets that are left"]["target_groups"]]
    assert sorted(left) == [2, 4], "the two others stay, on every port"
    ansible.play("restart.yml", state="running", **restart)
    looked = ansible.play("look.yml", instance=web, expected=GROUPS)
    assert places(looked) == EVERYWHERE
    after = instance("web-2")
    assert after["PrivateIpAddress"] != before["PrivateIpAddress"], "this one gets another address at each restart"
    [addresses] = [g for g in looked["Target groups"]["instance_target_groups"] if g["target_group_type"] == "ip"]
    assert [target["target_id"] for target in addresses["targets"]] == [after["PrivateIpAddress"]]
