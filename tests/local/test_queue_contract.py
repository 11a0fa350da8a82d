"""What both queues must do: moto's SQS and our twin are held to the same documented behaviour, through boto3."""

import hashlib
import time
from typing import Any

import pytest

from tests.local.queue_host import Host, fresh_name

# Queues


def test_creating_a_queue_again_gives_the_same_url_reached_under_the_endpoint(host: Host) -> None:
    url = host.queue(VisibilityTimeout="45")
    name = url.rpartition("/")[2]
    again = host.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "45"})["QueueUrl"]
    assert again == url == host.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    assert url.startswith(f"{host.running.url}/")
    assert url in host.sqs.list_queues(QueueNamePrefix=name)["QueueUrls"]


def test_creating_a_queue_again_with_other_attributes_is_refused(host: Host) -> None:
    name = host.queue(VisibilityTimeout="45").rpartition("/")[2]
    code = host.refusal("create_queue", QueueName=name, Attributes={"VisibilityTimeout": "46"})
    assert code in {"QueueAlreadyExists", "QueueNameExists"}


def test_attributes_are_kept_and_can_be_changed(host: Host) -> None:
    url = host.queue(DelaySeconds="3", MessageRetentionPeriod="3600", ReceiveMessageWaitTimeSeconds="2")
    host.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "4"})
    found = host.attributes(url, "All")
    assert (found["DelaySeconds"], found["MessageRetentionPeriod"]) == ("4", "3600")
    assert (found["ReceiveMessageWaitTimeSeconds"], found["VisibilityTimeout"]) == ("2", "30")
    assert found["QueueArn"] == f"arn:aws:sqs:us-east-1:123456789012:{url.rpartition('/')[2]}"


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("VisibilityTimeout", "43201"), ("DelaySeconds", "901"), ("MessageRetentionPeriod", "59"), ("Colour", "red")],
)
def test_attributes_outside_their_range_are_refused(host: Host, attribute: str, value: str) -> None:
    name = fresh_name("bad")
    code = host.refusal("create_queue", QueueName=name, Attributes={attribute: value})
    assert code in {"InvalidAttributeName", "InvalidAttributeValue", "InvalidParameterValue"}


@pytest.mark.parametrize("name", ["two words", "x" * 81, "dot.ted"])
def test_a_bad_queue_name_is_refused(host: Host, name: str) -> None:
    assert host.refusal("create_queue", QueueName=name) == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("send_message", {"MessageBody": "lost"}),
        ("receive_message", {}),
        ("get_queue_attributes", {"AttributeNames": ["All"]}),
        ("delete_message", {"ReceiptHandle": "1:0123456789abcdef01234567"}),
        ("purge_queue", {}),
    ],
)
def test_a_queue_that_does_not_exist_is_said_so(host: Host, operation: str, arguments: dict[str, Any]) -> None:
    url = f"{host.running.url}/123456789012/nowhere"
    assert host.refusal(operation, QueueUrl=url, **arguments) == "AWS.SimpleQueueService.NonExistentQueue"


def test_the_missing_queue_error_is_the_modelled_exception(host: Host) -> None:
    with pytest.raises(host.sqs.exceptions.QueueDoesNotExist):
        host.sqs.get_queue_url(QueueName="nowhere")


def test_a_deleted_queue_is_gone(host: Host) -> None:
    url = host.queue()
    host.sqs.delete_queue(QueueUrl=url)
    assert host.refusal("send_message", QueueUrl=url, MessageBody="late") == "AWS.SimpleQueueService.NonExistentQueue"


def test_purging_removes_waiting_delayed_and_hidden_messages(host: Host) -> None:
    url = host.queue()
    host.send(url, "hidden", "waiting")
    assert len(host.receive(url, MaxNumberOfMessages=1)) == 1
    host.send(url, "delayed", DelaySeconds=1)
    host.sqs.purge_queue(QueueUrl=url)
    assert host.counts(url) == (0, 0, 0)
    time.sleep(1.1)
    assert host.receive(url) == []


def test_purging_twice_within_a_minute_is_refused(host: Host) -> None:
    url = host.queue()
    host.sqs.purge_queue(QueueUrl=url)
    assert host.refusal("purge_queue", QueueUrl=url) == "AWS.SimpleQueueService.PurgeQueueInProgress"


def test_tags_are_kept_changed_and_removed(host: Host) -> None:
    url = host.queue()
    host.sqs.tag_queue(QueueUrl=url, Tags={"stage": "local", "owner": "cards"})
    host.sqs.untag_queue(QueueUrl=url, TagKeys=["owner"])
    assert host.sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"stage": "local"}


def test_queues_are_listed_in_pages(host: Host) -> None:
    prefix = fresh_name("page") + "-"
    made = {host.sqs.create_queue(QueueName=f"{prefix}{number}")["QueueUrl"] for number in range(3)}
    page = host.sqs.list_queues(QueueNamePrefix=prefix, MaxResults=2)
    rest = host.sqs.list_queues(QueueNamePrefix=prefix, MaxResults=2, NextToken=page["NextToken"])
    assert len(page["QueueUrls"]) == 2
    assert {*page["QueueUrls"], *rest["QueueUrls"]} == made
    assert "NextToken" not in rest


# Sending and receiving


def test_a_message_arrives_whole_with_its_digests_and_counters(host: Host) -> None:
    url = host.queue()
    body = 'an "odd" body\n\ttabs, <tags> & é 漢 🂡'
    attributes: dict[str, dict[str, Any]] = {
        "kind": {"DataType": "String", "StringValue": "card.created"},
        "tries": {"DataType": "Number.int", "StringValue": "3"},
        "raw": {"DataType": "Binary", "BinaryValue": bytes(range(256))},
    }
    before_ms = time.time() * 1_000
    sent = host.sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)
    (message,) = host.receive(url, MessageAttributeNames=["All"])
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == body
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"] == hashlib.md5(body.encode()).hexdigest()  # noqa: S324 - SQS's
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"] == _md5_of(attributes)
    assert message["MessageAttributes"] == attributes
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert abs(int(message["Attributes"]["SentTimestamp"]) - before_ms) < 10_000
    assert int(message["Attributes"]["ApproximateFirstReceiveTimestamp"]) >= int(message["Attributes"]["SentTimestamp"])


def _md5_of(attributes: dict[str, dict[str, Any]]) -> str:
    parts = []
    for name, attribute in sorted(attributes.items()):
        binary = "BinaryValue" in attribute
        value = attribute["BinaryValue"] if binary else attribute["StringValue"].encode()
        for part in (name.encode(), attribute["DataType"].encode()):
            parts.append(len(part).to_bytes(4, "big") + part)
        parts.append((b"\x02" if binary else b"\x01") + len(value).to_bytes(4, "big") + value)
    return hashlib.md5(b"".join(parts)).hexdigest()  # noqa: S324 - the digest SQS uses


def test_message_attributes_come_only_when_asked_for(host: Host) -> None:
    url = host.queue(VisibilityTimeout="0")
    both = {name: {"DataType": "String", "StringValue": name} for name in ("trace.id", "trace.parent", "other")}
    host.send(url, "tagged", MessageAttributes=both)
    (plain,) = host.receive(url)
    (some,) = host.receive(url, MessageAttributeNames=["trace.*"])
    assert "MessageAttributes" not in plain
    assert set(some["MessageAttributes"]) == {"trace.id", "trace.parent"}
    assert some["MD5OfMessageAttributes"] == _md5_of({name: both[name] for name in some["MessageAttributes"]})


def test_every_message_is_delivered_whatever_the_order(host: Host) -> None:
    url = host.queue()
    bodies = {f"message {number}" for number in range(25)}
    host.send(url, *bodies)
    received = {message["Body"] for _ in range(5) for message in host.receive(url)}
    assert received == bodies


def test_no_more_than_asked_are_received(host: Host) -> None:
    url = host.queue()
    host.send(url, *"abcd")
    assert len(host.receive(url, MaxNumberOfMessages=3)) == 3
    assert host.counts(url) == (1, 3, 0)


@pytest.mark.parametrize("count", [0, 11])
def test_asking_for_none_or_more_than_ten_is_refused(host: Host, count: int) -> None:
    code = host.refusal("receive_message", QueueUrl=host.queue(), MaxNumberOfMessages=count)
    assert code == "InvalidParameterValue"


def test_a_body_of_one_mebibyte_passes_and_one_byte_more_is_refused(host: Host) -> None:
    url = host.queue()
    body = "x" * 1_048_576
    host.send(url, body)
    (message,) = host.receive(url)
    assert message["Body"] == body
    assert host.refusal("send_message", QueueUrl=url, MessageBody=body + "x") == "InvalidParameterValue"


def test_attributes_count_toward_the_size(host: Host) -> None:
    url = host.queue()
    attribute = {"a": {"DataType": "String", "StringValue": "x" * 20}}
    code = host.refusal("send_message", QueueUrl=url, MessageBody="x" * 1_048_570, MessageAttributes=attribute)
    assert code == "InvalidParameterValue"


def test_a_queue_can_allow_less(host: Host) -> None:
    url = host.queue(MaximumMessageSize="1024")
    host.send(url, "x" * 1_024)
    assert host.refusal("send_message", QueueUrl=url, MessageBody="x" * 1_025) == "InvalidParameterValue"


def test_control_characters_in_a_body_are_refused(host: Host) -> None:
    assert host.refusal("send_message", QueueUrl=host.queue(), MessageBody="bell \x07") == "InvalidMessageContents"


def test_an_empty_body_is_refused(host: Host) -> None:
    assert host.refusal("send_message", QueueUrl=host.queue(), MessageBody="") in {
        "MissingParameter",
        "InvalidParameterValue",
    }


# Visibility


def test_a_received_message_is_hidden_until_its_time_is_over_and_then_comes_again(host: Host) -> None:
    url = host.queue(VisibilityTimeout="1")
    (sent,) = host.send(url, "again")
    (first,) = host.receive(url)
    assert host.receive(url) == []
    assert host.counts(url) == (0, 1, 0)
    time.sleep(1.1)
    (second,) = host.receive(url)
    assert first["MessageId"] == second["MessageId"] == sent
    assert first["ReceiptHandle"] != second["ReceiptHandle"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"


def test_a_receiver_may_ask_for_another_visibility(host: Host) -> None:
    url = host.queue(VisibilityTimeout="30")
    host.send(url, "short")
    assert len(host.receive(url, VisibilityTimeout=1)) == 1
    assert host.receive(url) == []
    time.sleep(1.1)
    assert len(host.receive(url)) == 1


def test_visibility_can_be_ended_and_extended(host: Host) -> None:
    url = host.queue(VisibilityTimeout="30")
    host.send(url, "one")
    (message,) = host.receive(url)
    host.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    (again,) = host.receive(url, VisibilityTimeout=1)
    host.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=again["ReceiptHandle"], VisibilityTimeout=20)
    time.sleep(1.1)
    assert host.receive(url) == []


def test_visibility_cannot_be_changed_once_it_is_over(host: Host) -> None:
    url = host.queue(VisibilityTimeout="1")
    host.send(url, "one")
    (message,) = host.receive(url)
    time.sleep(1.1)
    handle = message["ReceiptHandle"]
    code = host.refusal("change_message_visibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=5)
    assert code in {"AWS.SimpleQueueService.MessageNotInflight", "MessageNotInflight"}


def test_visibility_beyond_twelve_hours_is_refused(host: Host) -> None:
    url = host.queue()
    host.send(url, "one")
    (message,) = host.receive(url)
    handle = message["ReceiptHandle"]
    code = host.refusal("change_message_visibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=43_201)
    assert code == "InvalidParameterValue"


# Deleting


def test_a_deleted_message_does_not_come_back_and_deleting_it_again_succeeds(host: Host) -> None:
    url = host.queue(VisibilityTimeout="1")
    host.send(url, "done")
    (message,) = host.receive(url)
    for _ in range(2):
        host.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    time.sleep(1.1)
    assert host.receive(url) == []
    assert host.counts(url) == (0, 0, 0)


def test_a_receipt_still_deletes_after_its_visibility_is_over_if_nobody_received_since(host: Host) -> None:
    url = host.queue(VisibilityTimeout="1")
    host.send(url, "late")
    (message,) = host.receive(url)
    time.sleep(1.1)
    host.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert host.receive(url) == []


def test_an_outdated_receipt_deletes_nothing(host: Host) -> None:
    url = host.queue(VisibilityTimeout="1")
    host.send(url, "taken over")
    (old,) = host.receive(url)
    time.sleep(1.1)
    (new,) = host.receive(url, VisibilityTimeout=20)
    host.sqs.delete_message(QueueUrl=url, ReceiptHandle=old["ReceiptHandle"])
    assert host.counts(url) == (0, 1, 0)
    host.sqs.delete_message(QueueUrl=url, ReceiptHandle=new["ReceiptHandle"])
    assert host.counts(url) == (0, 0, 0)


def test_a_made_up_receipt_is_refused(host: Host) -> None:
    url = host.queue()
    assert host.refusal("delete_message", QueueUrl=url, ReceiptHandle="made-up") == "ReceiptHandleIsInvalid"
