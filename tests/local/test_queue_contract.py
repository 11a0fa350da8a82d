"""What both queues must do: moto's SQS and our twin are held to the same documented behaviour, through boto3."""

import concurrent.futures
import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.programs import Running, aws_client, program

# Where moto departs from what AWS documents. Strict: a moto that mends one of these makes its line fail.
MOTO_DIFFERS = {
    "test_attributes_outside_their_range_are_refused": "takes any value, and attributes SQS does not have",
    "test_control_characters_in_a_body_are_refused": "takes characters SQS refuses",
    "test_a_batch_sends_good_entries_and_reports_bad_ones": "takes characters SQS refuses",
    "test_an_empty_body_is_refused": "takes an empty body",
    "test_attributes_count_toward_the_size": "counts the body alone",
    "test_an_outdated_receipt_deletes_nothing": "deletes by any receipt it ever gave for the message",
    "test_visibility_cannot_be_changed_once_it_is_over": "hides the message again",
    "test_a_dead_letter_tells_where_it_came_from": "leaves DeadLetterQueueSourceArn out",
    "test_dead_letters_can_be_given_back_to_where_they_came_from": "has no StartMessageMoveTask",
    "test_only_a_dead_letter_queue_can_be_given_back": "has no StartMessageMoveTask",
}

_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Host:
    """One implementation under test."""

    kind: str
    running: Running
    sqs: Any

    def queue(self, **attributes: str) -> str:
        """The URL of a fresh queue."""
        name = f"contract-{os.getpid()}-{next(_NUMBERS)}"
        return str(self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def arn(self, url: str) -> str:
        """A queue's ARN."""
        return str(self.attributes(url, "QueueArn")["QueueArn"])

    def attributes(self, url: str, *names: str) -> dict[str, str]:
        """Attributes of a queue."""
        found: dict[str, str] = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))["Attributes"]
        return found

    def counts(self, url: str) -> tuple[int, int, int]:
        """Messages waiting, in flight and delayed."""
        prefix = "ApproximateNumberOfMessages"
        found = self.attributes(url, prefix, f"{prefix}NotVisible", f"{prefix}Delayed")
        return int(found[prefix]), int(found[f"{prefix}NotVisible"]), int(found[f"{prefix}Delayed"])

    def send(self, url: str, *bodies: str, **more: Any) -> list[str]:
        """Send messages one by one; their ids."""
        return [self.sqs.send_message(QueueUrl=url, MessageBody=body, **more)["MessageId"] for body in bodies]

    def receive(self, url: str, **more: Any) -> list[dict[str, Any]]:
        """Receive up to ten messages, without waiting unless told to."""
        wanted = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": 0, "AttributeNames": ["All"]} | more
        found: list[dict[str, Any]] = self.sqs.receive_message(QueueUrl=url, **wanted).get("Messages", [])
        return found

    def refusal(self, operation: str, **arguments: Any) -> str:
        """The error code of a call that must be refused."""
        with pytest.raises(ClientError) as refused:
            getattr(self.sqs, operation)(**arguments)
        return str(refused.value.response["Error"]["Code"])


@pytest.fixture(scope="module", params=["moto", "twin"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    data = tmp_path_factory.mktemp(f"aws-{request.param}")
    with program("local.aws", "--data", str(data), "--sqs", request.param) as running:
        yield Host(request.param, running, aws_client("sqs", running.url))


@pytest.fixture
def host(served: Host, request: pytest.FixtureRequest) -> Host:
    reason = MOTO_DIFFERS.get(getattr(request.node, "originalname", ""))
    if served.kind == "moto" and reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    return served


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
    name = f"bad-{os.getpid()}-{next(_NUMBERS)}"
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


# Delay and waiting


def test_a_delayed_message_is_counted_and_comes_when_due(host: Host) -> None:
    url = host.queue()
    host.send(url, "later", DelaySeconds=1)
    assert host.receive(url) == []
    assert host.counts(url) == (0, 0, 1)
    time.sleep(1.1)
    assert [message["Body"] for message in host.receive(url)] == ["later"]


def test_a_queue_delays_by_default_and_a_message_may_differ(host: Host) -> None:
    url = host.queue(DelaySeconds="60")
    host.send(url, "later")
    host.send(url, "now", DelaySeconds=0)
    assert [message["Body"] for message in host.receive(url)] == ["now"]


def test_a_delay_over_fifteen_minutes_is_refused(host: Host) -> None:
    code = host.refusal("send_message", QueueUrl=host.queue(), MessageBody="x", DelaySeconds=901)
    assert code == "InvalidParameterValue"


def test_a_waiting_receiver_gets_a_message_as_it_arrives(host: Host) -> None:
    url = host.queue()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting = pool.submit(host.receive, url, WaitTimeSeconds=10)
        time.sleep(0.5)
        host.send(url, "hello")
        assert [message["Body"] for message in waiting.result(12)] == ["hello"]
    assert time.monotonic() - began < 5


def test_waiting_ends_empty_when_nothing_comes(host: Host) -> None:
    url = host.queue(ReceiveMessageWaitTimeSeconds="1")
    began = time.monotonic()
    assert host.sqs.receive_message(QueueUrl=url).get("Messages", []) == []
    assert 0.9 < time.monotonic() - began < 5


def test_a_wait_of_zero_overrides_the_queue(host: Host) -> None:
    url = host.queue(ReceiveMessageWaitTimeSeconds="10")
    began = time.monotonic()
    assert host.receive(url, WaitTimeSeconds=0) == []
    assert time.monotonic() - began < 5


def test_a_waiting_receiver_gets_a_message_whose_visibility_ends_meanwhile(host: Host) -> None:
    url = host.queue(VisibilityTimeout="1")
    host.send(url, "back")
    host.receive(url)
    assert [message["Body"] for message in host.receive(url, WaitTimeSeconds=5)] == ["back"]


def test_a_message_goes_to_one_of_many_waiting_receivers(host: Host) -> None:
    url = host.queue()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(host.receive, url, WaitTimeSeconds=2) for _ in range(4)]
        time.sleep(0.3)
        host.send(url, "only one")
        received = [message for receiver in waiting for message in receiver.result(10)]
    assert [message["Body"] for message in received] == ["only one"]


# Batches


def test_a_batch_sends_good_entries_and_reports_bad_ones(host: Host) -> None:
    url = host.queue()
    answer = host.sqs.send_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "good", "MessageBody": "fine"},
            {"Id": "late", "MessageBody": "too late", "DelaySeconds": 901},
            {"Id": "bell", "MessageBody": "bell \x07"},
        ],
    )
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert {entry["Id"]: entry["Code"] for entry in answer["Failed"]} == {
        "late": "InvalidParameterValue",
        "bell": "InvalidMessageContents",
    }
    assert all(entry["SenderFault"] for entry in answer["Failed"])
    assert [message["Body"] for message in host.receive(url)] == ["fine"]


def test_a_batch_deletes_good_entries_and_reports_bad_ones(host: Host) -> None:
    url = host.queue()
    host.send(url, "a", "b")
    entries = [{"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(host.receive(url))]
    answer = host.sqs.delete_message_batch(QueueUrl=url, Entries=[*entries, {"Id": "x", "ReceiptHandle": "made-up"}])
    assert {entry["Id"] for entry in answer["Successful"]} == {"0", "1"}
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("x", "ReceiptHandleIsInvalid")]
    assert host.counts(url) == (0, 0, 0)


def test_a_batch_changes_visibility_and_reports_bad_entries(host: Host) -> None:
    url = host.queue(VisibilityTimeout="30")
    host.send(url, "a")
    (message,) = host.receive(url)
    entries = [
        {"Id": "a", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0},
        {"Id": "b", "ReceiptHandle": "made-up", "VisibilityTimeout": 0},
    ]
    answer = host.sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["a"]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("b", "ReceiptHandleIsInvalid")]
    assert len(host.receive(url)) == 1


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([{"Id": str(number), "MessageBody": "x"} for number in range(11)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "same", "MessageBody": "x"}] * 2, "BatchEntryIdsNotDistinct"),
        ([{"Id": "not an id!", "MessageBody": "x"}], "InvalidBatchEntryId"),
        ([{"Id": str(number), "MessageBody": "x" * 600_000} for number in range(2)], "BatchRequestTooLong"),
    ],
    ids=["empty", "eleven", "same-id", "bad-id", "too-long"],
)
def test_a_bad_batch_is_refused_whole(host: Host, entries: list[dict[str, str]], code: str) -> None:
    url = host.queue()
    found = host.refusal("send_message_batch", QueueUrl=url, Entries=entries)
    assert found == f"AWS.SimpleQueueService.{code}"
    assert host.counts(url) == (0, 0, 0)


# Dead letters


def _with_dead_letters(host: Host, most: int = 2) -> tuple[str, str]:
    dead = host.queue()
    policy = json.dumps({"deadLetterTargetArn": host.arn(dead), "maxReceiveCount": most})
    return host.queue(VisibilityTimeout="0", RedrivePolicy=policy), dead


def test_a_message_received_too_often_moves_to_the_dead_letter_queue(host: Host) -> None:
    url, dead = _with_dead_letters(host)
    (sent,) = host.send(url, "poison", MessageAttributes={"a": {"DataType": "String", "StringValue": "kept"}})
    for _ in range(2):
        assert [message["MessageId"] for message in host.receive(url)] == [sent]
    assert host.receive(url) == []
    (message,) = host.receive(dead, MessageAttributeNames=["All"])
    assert (message["MessageId"], message["Body"]) == (sent, "poison")
    assert message["MessageAttributes"]["a"]["StringValue"] == "kept"
    assert host.counts(url) == (0, 0, 0)


def test_a_dead_letter_tells_where_it_came_from(host: Host) -> None:
    url, dead = _with_dead_letters(host, most=1)
    host.send(url, "poison")
    for _ in range(2):
        host.receive(url)
    (message,) = host.receive(dead)
    assert message["Attributes"]["DeadLetterQueueSourceArn"] == host.arn(url)
    assert host.sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]


def test_a_dead_letter_queue_must_exist(host: Host) -> None:
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:nowhere", "maxReceiveCount": 2})
    name = f"bad-{os.getpid()}-{next(_NUMBERS)}"
    code = host.refusal("create_queue", QueueName=name, Attributes={"RedrivePolicy": policy})
    assert code in {"InvalidAttributeValue", "InvalidParameterValue", "AWS.SimpleQueueService.NonExistentQueue"}


def test_dead_letters_can_be_given_back_to_where_they_came_from(host: Host) -> None:
    url, dead = _with_dead_letters(host, most=1)
    host.send(url, "one", "two")
    for _ in range(4):
        host.receive(url)
    task = host.sqs.start_message_move_task(SourceArn=host.arn(dead))
    assert task["TaskHandle"]
    received = {message["Body"]: message for message in host.receive(url, WaitTimeSeconds=3, VisibilityTimeout=30)}
    assert set(received) == {"one", "two"}
    assert received["one"]["Attributes"]["ApproximateReceiveCount"] == "1"
    (told,) = host.sqs.list_message_move_tasks(SourceArn=host.arn(dead))["Results"]
    assert (told["Status"], told["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 2)


def test_only_a_dead_letter_queue_can_be_given_back(host: Host) -> None:
    code = host.refusal("start_message_move_task", SourceArn=host.arn(host.queue()))
    assert code in {"InvalidParameterValue", "AWS.SimpleQueueService.UnsupportedOperation"}


# Only here: what moto cannot be asked for


def test_the_twin_keeps_messages_receipts_and_delays_through_a_kill(tmp_path: Path) -> None:
    with program("local.aws", "--data", str(tmp_path)) as running:
        host = Host("twin", running, aws_client("sqs", running.url))
        url, dead = _with_dead_letters(host)
        host.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "20"})
        host.send(url, *(f"message {number}" for number in range(200)))
        (held,) = host.receive(url, MaxNumberOfMessages=1)
        host.send(url, "later", DelaySeconds=900)
        running.kill_and_restart()
        assert host.counts(url) == (199, 1, 1)
        host.sqs.delete_message(QueueUrl=url, ReceiptHandle=held["ReceiptHandle"])
        received = {message["Body"] for _ in range(25) for message in host.receive(url)}
        assert received == {f"message {number}" for number in range(200)} - {held["Body"]}
        assert host.sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]


def test_a_waiting_receiver_costs_the_twin_no_work(tmp_path: Path) -> None:
    with program("local.aws", "--data", str(tmp_path)) as running:
        host = Host("twin", running, aws_client("sqs", running.url))
        url = host.queue()
        host.send(url, "hidden")
        host.receive(url)
        before_s = _cpu_s(running.process.pid)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: host.receive(url, WaitTimeSeconds=2), range(8)))
        assert _cpu_s(running.process.pid) - before_s < 0.4


def _cpu_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        pytest.skip("CPU time is read from /proc")
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
