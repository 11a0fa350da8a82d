"""The queue contract, continued: delays, waiting receivers, batches, dead letters, and what only the twin does."""

import concurrent.futures
import json
import os
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.local.programs import aws_client, program
from tests.local.queue_host import Host, fresh_name

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
    name = fresh_name("bad")
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


def test_the_twin_refuses_what_it_does_not_play(twin: Host) -> None:
    unsupported = "AWS.SimpleQueueService.UnsupportedOperation"
    assert twin.refusal("create_queue", QueueName="ordered.fifo", Attributes={"FifoQueue": "true"}) == unsupported
    url = twin.queue()
    assert twin.refusal("send_message", QueueUrl=url, MessageBody="x", MessageGroupId="g") == unsupported
    assert twin.refusal("get_queue_attributes", QueueUrl=url, AttributeNames=["Colour"]) == "InvalidAttributeName"


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("aws.reserved", {"DataType": "String", "StringValue": "x"}),
        ("bad name", {"DataType": "String", "StringValue": "x"}),
        ("a", {"DataType": "Colour", "StringValue": "x"}),
        ("a", {"DataType": "Number", "StringValue": "many"}),
        ("a", {"DataType": "String", "StringValue": ""}),
    ],
)
@pytest.mark.parametrize("served", ["twin"], indirect=True)  # moto takes some of these
def test_a_bad_message_attribute_is_refused(host: Host, name: str, attribute: dict[str, str]) -> None:
    code = host.refusal("send_message", QueueUrl=host.queue(), MessageBody="x", MessageAttributes={name: attribute})
    assert code == "InvalidParameterValue"


def test_dead_letters_are_given_back_at_the_rate_asked_for_until_cancelled(twin: Host) -> None:
    url, dead = _with_dead_letters(twin, most=1)
    twin.send(url, *"abcd")
    for _ in range(8):
        twin.receive(url)
    other = twin.queue()
    source = twin.arn(dead)
    move = {"SourceArn": source, "DestinationArn": twin.arn(other), "MaxNumberOfMessagesPerSecond": 1}
    handle = twin.sqs.start_message_move_task(**move)["TaskHandle"]
    assert twin.receive(other, WaitTimeSeconds=2, MaxNumberOfMessages=1) != []
    assert twin.refusal("start_message_move_task", SourceArn=source).endswith("UnsupportedOperation")
    assert twin.sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"] >= 1
    assert twin.refusal("cancel_message_move_task", TaskHandle=handle) == "ResourceNotFoundException"
    time.sleep(1.2)
    (told,) = twin.sqs.list_message_move_tasks(SourceArn=source)["Results"]
    assert told["Status"] == "CANCELLED"
    assert twin.counts(dead)[0] >= 1


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


def test_a_waiting_receiver_costs_the_twin_no_work(twin: Host) -> None:
    url = twin.queue()
    twin.send(url, "hidden")
    twin.receive(url)
    before_s = _cpu_s(twin.running.process.pid)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: twin.receive(url, WaitTimeSeconds=2), range(8)))
    assert _cpu_s(twin.running.process.pid) - before_s < 0.4


def _cpu_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        pytest.skip("CPU time is read from /proc")
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_receiver_that_dies_while_it_waits_takes_no_message_with_it(twin: Host) -> None:
    url = twin.queue(VisibilityTimeout="600")
    address = urlsplit(url)
    body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode()
    head = (
        f"POST / HTTP/1.1\r\nHost: {address.netloc}\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=5) as receiver:
        receiver.sendall(head.encode() + body)
        time.sleep(0.5)
    time.sleep(0.5)
    twin.sqs.send_message(QueueUrl=url, MessageBody="still here")
    time.sleep(0.5)
    received = twin.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)
    assert [message["Body"] for message in received["Messages"]] == ["still here"]
