"""EC2: networks, instances and their interfaces, tags."""

import pytest

from clients import eventually, refused


def described(aws, instance):
    return aws.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]


def tags_of(aws, resource):
    tags = aws.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [resource]}])["Tags"]
    return {tag["Key"]: tag["Value"] for tag in tags}


def test_an_instance_has_what_it_was_launched_with(aws):
    vpc = aws.ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    block = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("/56", "/64")
    place = {"VpcId": vpc["VpcId"], "AvailabilityZone": "us-east-1a"}
    front = aws.ec2.create_subnet(CidrBlock="10.0.1.0/24", Ipv6CidrBlock=block, **place)["Subnet"]["SubnetId"]
    back = aws.ec2.create_subnet(CidrBlock="10.0.2.0/24", **place)["Subnet"]["SubnetId"]
    in_vpc = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    assert {subnet["SubnetId"] for subnet in aws.ec2.describe_subnets(Filters=in_vpc)["Subnets"]} == {front, back}

    eth0 = {"DeviceIndex": 0, "SubnetId": front, "PrivateIpAddress": "10.0.1.7", "SecondaryPrivateIpAddressCount": 1}
    eth0 |= {"Ipv6AddressCount": 1, "PrimaryIpv6": True}
    eth1 = {"DeviceIndex": 1, "SubnetId": back, "Description": "to the database"}
    named = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "wéb <1> & co"}]}]
    launch = {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1, "NetworkInterfaces": [eth1, eth0]}
    launched = aws.ec2.run_instances(TagSpecifications=named, **launch)["Instances"][0]
    assert launched["State"] == {"Code": 0, "Name": "pending"}

    instance = described(aws, launched["InstanceId"])
    assert instance["Tags"] == named[0]["Tags"]
    assert instance["PrivateIpAddress"] == "10.0.1.7"
    one, other = sorted(instance["NetworkInterfaces"], key=lambda interface: interface["Attachment"]["DeviceIndex"])
    assert {a["Primary"]: a["PrivateIpAddress"] for a in one["PrivateIpAddresses"]}[True] == "10.0.1.7"
    assert len(one["PrivateIpAddresses"]) == 2
    assert one["Ipv6Addresses"] == [{"Ipv6Address": instance["Ipv6Address"], "IsPrimaryIpv6": True}]
    assert (other["SubnetId"], other["Description"], other["Ipv6Addresses"]) == (back, "to the database", [])


def test_a_restarted_instance_has_its_old_address_and_a_new_launch_time(aws, network):
    instance = network.instance()
    before = described(aws, instance)
    assert "Tags" not in before, "not even an empty list"
    change = aws.ec2.stop_instances(InstanceIds=[instance])["StoppingInstances"][0]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "stopping")
    network.wait("stopped", instance)
    stopped = described(aws, instance)
    assert stopped["StateTransitionReason"].startswith("User initiated")
    assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    aws.ec2.start_instances(InstanceIds=[instance])
    network.wait("running", instance)
    after = described(aws, instance)
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert after["LaunchTime"] > before["LaunchTime"]


def test_a_terminated_instance_has_no_addresses_and_its_tags_are_gone(aws, network):
    instance = network.instance()
    aws.ec2.create_tags(Resources=[instance], Tags=[{"Key": "role", "Value": "web"}])
    aws.ec2.terminate_instances(InstanceIds=[instance])
    network.wait("terminated", instance)
    gone = described(aws, instance)
    assert (gone.get("PrivateIpAddress"), gone["NetworkInterfaces"]) == (None, [])
    eventually(lambda: described(aws, instance).get("Tags"), None)


def test_a_second_interface_moves_to_another_instance_with_its_addresses(boto, network):
    one, other = network.instances(2)
    eni = boto.ec2.create_network_interface(SubnetId=network.a)["NetworkInterface"]["NetworkInterfaceId"]
    boto.ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=["10.0.1.99"])
    for owner in one, other:
        attached = boto.ec2.attach_network_interface(NetworkInterfaceId=eni, InstanceId=owner, DeviceIndex=1)
        having = [{"Name": "addresses.private-ip-address", "Values": ["10.0.1.99"]}]
        [interface] = boto.ec2.describe_network_interfaces(Filters=having)["NetworkInterfaces"]
        assert interface["Attachment"]["InstanceId"] == owner
        boto.ec2.detach_network_interface(AttachmentId=attached["AttachmentId"])


def test_every_instance_is_on_one_page(aws, network):
    ids = network.instances(7)
    reservations = aws.pages("ec2", "describe_instances", MaxResults=5)["Reservations"]
    seen = [instance["InstanceId"] for reservation in reservations for instance in reservation["Instances"]]
    assert sorted(seen) == ids
    first = aws.ec2.describe_instances(MaxResults=5)
    assert sum(len(reservation["Instances"]) for reservation in first["Reservations"]) == 5
    assert first["NextToken"]


def test_a_spot_instance_is_found_by_its_request(aws, network):
    spot = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"}}
    launch = {"ImageId": "ami-1", "MinCount": 6, "MaxCount": 6, "SubnetId": network.a}
    launched = aws.ec2.run_instances(InstanceMarketOptions=spot, **launch)["Instances"]
    assert {instance["InstanceLifecycle"] for instance in launched} == {"spot"}
    one = launched[0]
    named = [{"Name": "instance-id", "Values": [one["InstanceId"]]}]
    [request] = aws.ec2.describe_spot_instance_requests(Filters=named)["SpotInstanceRequests"]
    assert request["SpotInstanceRequestId"] == one["SpotInstanceRequestId"]
    assert (request["State"], request["Status"]["Code"]) == ("active", "fulfilled")
    assert (request["Type"], request["InstanceInterruptionBehavior"]) == ("persistent", "stop")
    pages = aws.pages("ec2", "describe_spot_instance_requests", MaxResults=5)["SpotInstanceRequests"]
    assert len(pages) == 6
    network.wait("running", one["InstanceId"])
    aws.ec2.stop_instances(InstanceIds=[one["InstanceId"]])
    network.wait("stopped", one["InstanceId"])
    [request] = aws.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[one["SpotInstanceRequestId"]])["SpotInstanceRequests"]
    assert (request["State"], request["Status"]["Code"]) == ("disabled", "instance-stopped-by-user")
    with refused("InvalidSpotInstanceRequestID.NotFound"):
        aws.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=["sir-0000ffff"])


def test_a_reboot_does_not_change_the_status_of_instances(aws, network):
    one, other = network.instances(2)
    aws.ec2.reboot_instances(InstanceIds=[one])
    [status] = aws.ec2.describe_instance_status(InstanceIds=[one])["InstanceStatuses"]
    assert (status["InstanceState"]["Name"], status["InstanceStatus"]["Status"]) == ("running", "ok")
    assert status["SystemStatus"]["Details"] == [{"Name": "reachability", "Status": "passed"}]
    assert "Events" not in status
    aws.ec2.stop_instances(InstanceIds=[other])
    assert aws.ec2.describe_instance_status(InstanceIds=[other])["InstanceStatuses"] == []
    everything = aws.pages("ec2", "describe_instance_status", IncludeAllInstances=True, MaxResults=5)["InstanceStatuses"]
    assert sorted(status["InstanceId"] for status in everything) == [one, other]
    with refused("InvalidParameterCombination"):
        aws.ec2.describe_instance_status(InstanceIds=[one], MaxResults=5)
    due = [{"Name": "event.code", "Values": ["instance-stop", "instance-retirement"]}]
    assert aws.ec2.describe_instance_status(Filters=due)["InstanceStatuses"] == []


def test_a_tag_is_deleted_only_where_its_value_still_matches(aws, network):
    instance = network.instance()
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}, {"Key": "c", "Value": ""}]
    aws.ec2.create_tags(Resources=[instance], Tags=tags)
    aws.ec2.delete_tags(Resources=[instance], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "changed"}])
    assert tags_of(aws, instance) == {"b": "2", "c": ""}
    aws.ec2.delete_tags(Resources=[instance], Tags=[{"Key": "b"}])
    assert tags_of(aws, instance) == {"c": ""}


def test_an_unknown_id_fails_a_call_by_ids_but_not_by_filter(aws, network):
    ids = [network.instance(), "i-00000000000000fff"]
    with refused("InvalidInstanceID.NotFound"):
        aws.ec2.describe_instances(InstanceIds=ids)
    with refused("InvalidInstanceID.NotFound"):
        aws.ec2.create_tags(Resources=ids, Tags=[{"Key": "a", "Value": "1"}])
    by_filter = aws.ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": ids}])
    assert len(by_filter["Reservations"]) == 1
    assert tags_of(aws, ids[0]) == {}


@pytest.mark.parametrize("parameter", ["KernelId", "KeyName"])
def test_a_parameter_that_is_not_modelled_is_refused_and_not_ignored(boto, network, parameter):
    with refused("NotModelledBySandbox"):
        boto.ec2.run_instances(ImageId="ami-1", SubnetId=network.a, MinCount=1, MaxCount=1, **{parameter: "x"})


def test_a_network_is_made_with_what_a_group_launches_from_and_removed(aws):
    zones = {zone["ZoneName"] for zone in aws.ec2.describe_availability_zones()["AvailabilityZones"]}
    named = [{"Name": "instance-type", "Values": ["t4g.nano"]}]
    offers = aws.ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=named)["InstanceTypeOfferings"]
    assert {offer["Location"] for offer in offers} == zones
    vpc = aws.ec2.create_vpc(CidrBlock="10.0.0.0/24")["Vpc"]["VpcId"]
    zone = sorted(zones)[0]
    subnet = aws.ec2.create_subnet(VpcId=vpc, AvailabilityZone=zone, CidrBlock="10.0.0.0/26")["Subnet"]["SubnetId"]
    tags = [{"Key": "run", "Value": "1"}]

    def tagged(kind):
        return [{"ResourceType": kind, "Tags": tags}]

    group = aws.ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc, TagSpecifications=tagged("security-group"))["GroupId"]
    permission = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 81, "IpRanges": [{"CidrIp": "10.0.0.0/24"}]}
    [rule] = aws.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])["SecurityGroupRules"]
    assert (rule["FromPort"], rule["ToPort"], rule["CidrIpv4"]) == (80, 81, "10.0.0.0/24")
    [told] = aws.ec2.describe_security_groups(Filters=[{"Name": "tag:run", "Values": ["1"]}])["SecurityGroups"]
    assert (told["GroupId"], told["IpPermissions"][0]["IpRanges"], told["Tags"]) == (group, [{"CidrIp": "10.0.0.0/24"}], tags)

    data = {"ImageId": "resolve:ssm:/aws/image", "InstanceType": "t4g.nano", "SecurityGroupIds": [group]}
    template = aws.ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=data)["LaunchTemplate"]["LaunchTemplateId"]
    [told] = aws.ec2.describe_launch_templates(LaunchTemplateIds=[template])["LaunchTemplates"]
    assert (told["LaunchTemplateName"], told["LatestVersionNumber"]) == ("web", 1)
    launch = {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1, "SubnetId": subnet, "SecurityGroupIds": [group]}
    instance = aws.ec2.run_instances(**launch)["Instances"][0]
    assert instance["SecurityGroups"] == instance["NetworkInterfaces"][0]["Groups"] == [{"GroupId": group, "GroupName": "web"}]

    with refused("DependencyViolation"):
        aws.ec2.delete_subnet(SubnetId=subnet)
    aws.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    eventually(lambda: described(aws, instance["InstanceId"])["State"]["Name"], "terminated")
    aws.ec2.delete_launch_template(LaunchTemplateId=template)
    aws.ec2.delete_security_group(GroupId=group)
    aws.ec2.delete_subnet(SubnetId=subnet)
    aws.ec2.delete_vpc(VpcId=vpc)
    with refused("InvalidVpcID.NotFound"):
        aws.ec2.describe_vpcs(VpcIds=[vpc])
