"""SQS and EventBridge. boto3 checks the MD5 sums of messages by itself."""

import json

import pytest

from clients import eventually, refused


@pytest.fixture
def queue(boto):
    # EventBridge is denied without a policy that lets it send.
    statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    statement["Resource"] = "arn:aws:sqs:us-east-1:123456789012:work"
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    # An hour is 36 real seconds: a received message must not come back while a test looks elsewhere.
    attributes = {"VisibilityTimeout": "3600", "Policy": policy}
    return boto.sqs.create_queue(QueueName="work", Attributes=attributes)["QueueUrl"]


def receive(aws, queue, **wishes):
    return aws.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, **wishes).get("Messages", [])


def counts(aws, queue):
    """How many messages wait, and how many were received."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = aws.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return [int(attributes[name]) for name in names]


def test_a_released_message_comes_again_and_a_deleted_one_does_not(aws, queue):
    color = {"color": {"DataType": "String", "StringValue": "blue"}}
    sent = aws.sqs.send_message(QueueUrl=queue, MessageBody="grüße & <b>", MessageAttributes=color)
    wishes = {"MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"]}
    [message] = receive(aws, queue, **wishes)
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "grüße & <b>")
    assert message["MessageAttributes"] == color
    assert counts(aws, queue) == [0, 1]
    given_back = {"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"]}
    aws.sqs.change_message_visibility(VisibilityTimeout=0, **given_back)
    [again] = receive(aws, queue, **wishes)
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=again["ReceiptHandle"])
    assert counts(aws, queue) == [0, 0]


def test_the_entries_of_a_batch_succeed_and_fail_alone(aws, queue):
    entries = [{"Id": f"m{n}", "MessageBody": str(n)} for n in range(3)]
    sent = aws.sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert [entry["Id"] for entry in sent["Successful"]] == ["m0", "m1", "m2"]
    received = {message["Body"]: message["ReceiptHandle"] for message in receive(aws, queue)}
    back = [{"Id": body, "ReceiptHandle": handle, "VisibilityTimeout": 0} for body, handle in received.items()]
    aws.sqs.change_message_visibility_batch(QueueUrl=queue, Entries=back)
    assert counts(aws, queue) == [3, 0]
    one, *_ = receive(aws, queue)
    entries = [{"Id": "known", "ReceiptHandle": one["ReceiptHandle"]}, {"Id": "made-up", "ReceiptHandle": "x"}]
    deleted = aws.sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
    assert [entry["Id"] for entry in deleted["Successful"]] == ["known"]
    assert [(entry["Id"], entry["SenderFault"]) for entry in deleted["Failed"]] == [("made-up", True)]


def test_a_message_that_no_receiver_finishes_ends_in_the_dead_letter_queue(boto, queue):
    dead = boto.sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = boto.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    boto.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})
    boto.sqs.send_message(QueueUrl=queue, MessageBody="poison")
    assert [len(receive(boto, queue)) for _ in range(2)] == [1, 0]
    [message] = receive(boto, dead)
    assert message["Body"] == "poison"


def test_state_changes_of_an_instance_reach_the_queue_of_a_rule(aws, network, queue):
    pattern = {"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"]}
    aws.events.put_rule(Name="changes", EventPattern=json.dumps(pattern))
    arn = "arn:aws:sqs:us-east-1:123456789012:work"
    assert aws.events.put_targets(Rule="changes", Targets=[{"Id": "q", "Arn": arn}])["FailedEntryCount"] == 0
    assert aws.events.list_targets_by_rule(Rule="changes")["Targets"] == [{"Id": "q", "Arn": arn}]
    instance, seen = network.instance(), []

    def states():
        for message in receive(aws, queue):
            event = json.loads(message["Body"])
            assert event["resources"] == [f"arn:aws:ec2:us-east-1:123456789012:instance/{instance}"]
            seen.append(event["detail"])
        # AWS promises no order.
        return sorted(detail["state"] for detail in seen if detail["instance-id"] == instance)

    eventually(states, ["pending", "running"])
    aws.ec2.stop_instances(InstanceIds=[instance])
    eventually(states, ["pending", "running", "stopped", "stopping"])


def test_an_event_of_ones_own_reaches_only_the_rules_that_want_it(aws, boto, queue):
    for name, wanted in ("mine", "drill"), ("other", "war"):
        boto.events.put_rule(Name=name, EventPattern=json.dumps({"detail": {"kind": [wanted]}}), State="ENABLED")
        target = {"Id": name, "Arn": "arn:aws:sqs:us-east-1:123456789012:work", "Input": json.dumps({"from": name})}
        boto.events.put_targets(Rule=name, Targets=[target])
    good = {"Source": "me", "DetailType": "t", "Detail": json.dumps({"kind": "drill"})}
    answer = aws.events.put_events(Entries=[good, {"Source": "me", "DetailType": "t", "Detail": "no JSON"}])
    assert (answer["FailedEntryCount"], answer["Entries"][1]["ErrorCode"]) == (1, "MalformedDetail")
    eventually(lambda: counts(aws, queue), [1, 0])
    assert [json.loads(message["Body"]) for message in receive(aws, queue)] == [{"from": "mine"}]
    aws.events.remove_targets(Rule="mine", Ids=["mine"])
    aws.events.delete_rule(Name="mine")
    assert [rule["Name"] for rule in aws.events.list_rules()["Rules"]] == ["other"]
    with refused("ResourceNotFoundException"):
        aws.events.describe_rule(Name="mine")


@pytest.fixture
def orders(boto):
    """A FIFO queue that knows a second copy by its text."""
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "3600"}
    return boto.sqs.create_queue(QueueName="orders.fifo", Attributes=attributes)["QueueUrl"]


def test_a_fifo_queue_keeps_order_and_delivers_no_second_copy(aws, orders):
    # In one call, since the five minutes of deduplication are over soon on a clock that runs fast.
    bodies = ["one", "one", "0", "1"]
    entries = [{"Id": f"m{n}", "MessageBody": body, "MessageGroupId": "g"} for n, body in enumerate(bodies)]
    first, again, *others = aws.sqs.send_message_batch(QueueUrl=orders, Entries=entries)["Successful"]
    assert (again["MessageId"], again["SequenceNumber"]) == (first["MessageId"], first["SequenceNumber"])
    numbers = [first["SequenceNumber"]] + [entry["SequenceNumber"] for entry in others]
    assert numbers == sorted(numbers)
    messages = receive(aws, orders, MessageSystemAttributeNames=["All"])
    assert [message["Body"] for message in messages] == ["one", "0", "1"]
    assert [message["Attributes"]["SequenceNumber"] for message in messages] == numbers
    assert {message["Attributes"]["MessageGroupId"] for message in messages} == {"g"}


def test_a_message_in_flight_blocks_its_group_until_it_is_deleted(aws, orders):
    for group, body in ("a", "a1"), ("a", "a2"), ("b", "b1"):
        aws.sqs.send_message(QueueUrl=orders, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=body)
    first = {"QueueUrl": orders, "MaxNumberOfMessages": 1}
    handles = {}
    while "a1" not in handles:
        [message] = aws.sqs.receive_message(**first)["Messages"]
        handles[message["Body"]] = message["ReceiptHandle"]
    assert [message["Body"] for message in receive(aws, orders)] == ([] if "b1" in handles else ["b1"])
    aws.sqs.delete_message(QueueUrl=orders, ReceiptHandle=handles["a1"])
    assert [message["Body"] for message in receive(aws, orders)] == ["a2"]


def test_what_is_for_the_other_kind_of_queue_is_refused(aws, orders, queue):
    with refused("MissingParameter"):
        aws.sqs.send_message(QueueUrl=orders, MessageBody="x")
    with refused("InvalidParameterValue"):
        aws.sqs.send_message(QueueUrl=orders, MessageBody="x", MessageGroupId="g", DelaySeconds=5)
    with refused("InvalidParameterValue"):
        aws.sqs.send_message(QueueUrl=queue, MessageBody="x", MessageDeduplicationId="d")
    with refused("InvalidParameterValue"):
        aws.sqs.create_queue(QueueName="orders", Attributes={"FifoQueue": "true"})


def test_a_changed_tag_of_an_instance_comes_to_the_queue(aws, boto, network, queue):
    keys = {"changed-tag-keys": [{"prefix": "app:"}], "service": ["ec2"], "resource-type": ["instance"]}
    pattern = json.dumps({"source": ["aws.tag"], "detail-type": ["Tag Change on Resource"], "detail": keys})
    aws.events.put_rule(Name="tags", EventPattern=pattern)
    aws.events.put_targets(Rule="tags", Targets=[{"Id": "work", "Arn": "arn:aws:sqs:us-east-1:123456789012:work"}])
    instance = network.instance()
    aws.ec2.create_tags(Resources=[instance], Tags=[{"Key": "Name", "Value": "web"}])
    aws.ec2.create_tags(Resources=[instance], Tags=[{"Key": "app:drain", "Value": "1"}])
    eventually(lambda: counts(boto, queue)[0], 1)
    [message] = receive(aws, queue)
    event = json.loads(message["Body"])
    assert event["detail"]["changed-tag-keys"] == ["app:drain"]
    assert event["detail"]["tags"] == {"Name": "web", "app:drain": "1"}
    assert event["resources"] == [f"arn:aws:ec2:us-east-1:123456789012:instance/{instance}"]
