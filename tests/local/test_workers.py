"""Queue and schedule workers: what reaches the handler, what is deleted, what comes again, what is due when."""

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from cardwright.kernel.rows import Queue, Schedule
from local.gateway.invoker import Handler, Handlers
from local.workers.queues import BatchAnswerError, QueueWorker, failed_ids
from local.workers.schedules import ScheduleWorker

ROW = Queue(name="consume", domain="tests", queue="events", timeout_s=1)
URL = "http://127.0.0.1:1/123456789012/cardwright-events"


class FakeQueue:
    """As much of the SQS client as the worker uses; messages stay until deleted."""

    def __init__(self, bodies: Sequence[str]) -> None:
        self.waiting = [
            {"MessageId": f"m{number}", "ReceiptHandle": f"r{number}", "Body": body, "MD5OfBody": "0" * 32,
             "Attributes": {"ApproximateReceiveCount": "1"}}
            for number, body in enumerate(bodies)
        ]  # fmt: skip
        self.deleted: list[str] = []

    def receive_message(self, **arguments: Any) -> dict[str, Any]:
        """Hand out everything at once, as an empty answer has no Messages."""
        assert arguments["QueueUrl"] == URL
        assert arguments["MaxNumberOfMessages"] == 10
        return {"Messages": self.waiting} if self.waiting else {}

    def delete_message_batch(self, **arguments: Any) -> None:
        """Take note of what is deleted."""
        self.deleted += [entry["ReceiptHandle"] for entry in arguments["Entries"]]


def worker(queue: FakeQueue, handler: Handler) -> QueueWorker:
    """A worker on the fake queue."""
    handlers = Handlers({ROW.module: handler})
    return QueueWorker(ROW, cast(Any, queue), URL, handlers=handlers, stop=threading.Event())


def test_event_is_what_an_event_source_mapping_sends() -> None:
    seen: list[dict[str, Any]] = []
    queue = FakeQueue(["{}"])
    assert worker(queue, lambda event, context: seen.append(event)).poll_once() == 1
    (record,) = seen[0]["Records"]
    assert record["body"] == "{}"
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"] == "arn:aws:sqs:us-east-1:123456789012:cardwright-events"
    assert record["attributes"] == {"ApproximateReceiveCount": "1"}
    assert queue.deleted == ["r0"]


def test_only_successes_are_deleted() -> None:
    queue = FakeQueue(["a", "b", "c"])
    worker(queue, lambda event, context: {"batchItemFailures": [{"itemIdentifier": "m1"}]}).poll_once()
    assert queue.deleted == ["r0", "r2"]


def test_nothing_is_deleted_when_the_handler_raises_or_answers_nonsense(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(event: dict[str, Any], context: Any) -> None:
        raise RuntimeError("secret")

    for handler in (fail, lambda event, context: {"batchItemFailures": [{"itemIdentifier": "unknown"}]}):
        queue = FakeQueue(["a"])
        worker(queue, cast(Handler, handler)).poll_once()
        assert queue.deleted == []
    log = capfd.readouterr().err
    assert "consume failed: RuntimeError" in log
    assert "secret" not in log


def test_nothing_is_deleted_when_the_handler_overruns_its_timeout() -> None:
    queue = FakeQueue(["a"])
    worker(queue, lambda event, context: time.sleep(1.05)).poll_once()
    assert queue.deleted == []


def test_empty_queue_is_no_event() -> None:
    def never(event: dict[str, Any], context: Any) -> None:
        raise AssertionError("called without messages")

    assert worker(FakeQueue([]), never).poll_once() == 0


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, {"a"}),
    ],
)
def test_failed_ids(answer: object, failed: set[str]) -> None:
    assert failed_ids(answer, ["a", "b"]) == failed


@pytest.mark.parametrize(
    "answer",
    ["ok", {"batchItemFailures": "a"}, {"batchItemFailures": [{"itemIdentifier": ""}]}, {"batchItemFailures": [None]}],
)
def test_answers_lambda_would_refuse_fail_the_batch(answer: object) -> None:
    with pytest.raises(BatchAnswerError):
        failed_ids(answer, ["a"])


class HandClock:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """The time it was set to."""
        return self.at


def wait_for(true: Any, timeout_s: float = 3.0) -> bool:
    """Poll a condition."""
    deadline = time.monotonic() + timeout_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(true())


def test_schedule_runs_at_once_then_by_the_clock_and_not_twice_for_a_long_advance() -> None:
    row = Schedule(name="sweep", domain="tests", every_s=60)
    runs: list[str] = []
    clock, stop = HandClock(), threading.Event()
    handlers = Handlers({row.module: lambda event, context: runs.append(str(event["time"]))})
    ScheduleWorker(row, clock.now, handlers, stop).start()
    try:
        assert wait_for(lambda: len(runs) == 1)
        clock.at += timedelta(seconds=59)
        time.sleep(0.3)
        assert len(runs) == 1
        clock.at += timedelta(hours=6)
        assert wait_for(lambda: len(runs) == 2)
        time.sleep(0.3)
        assert runs == ["2026-01-01T00:00:00.000Z", "2026-01-01T06:00:59.000Z"]
    finally:
        stop.set()


def test_overrunning_run_does_not_hold_the_next_and_a_stop_ends_polling_handlers() -> None:
    row = Schedule(name="relay", domain="tests", every_s=60, timeout_s=30)
    started, ended = threading.Semaphore(0), threading.Semaphore(0)

    def poll(event: dict[str, Any], context: Any) -> None:
        started.release()
        while context.get_remaining_time_in_millis() > 8000:
            time.sleep(0.01)
        ended.release()

    clock, stop = HandClock(), threading.Event()
    ScheduleWorker(row, clock.now, Handlers({row.module: poll}), stop).start()
    try:
        assert started.acquire(timeout=3)
        clock.at += timedelta(seconds=60)
        assert started.acquire(timeout=3)
    finally:
        stop.set()
    assert ended.acquire(timeout=3)
    assert ended.acquire(timeout=3)


def test_failing_run_is_told_and_the_next_comes(capfd: pytest.CaptureFixture[str]) -> None:
    row = Schedule(name="sweep", domain="tests", every_s=60)
    runs: list[int] = []
    told: list[str] = []

    def fail(event: dict[str, Any], context: Any) -> None:
        runs.append(1)
        raise LookupError("hidden")

    def is_told() -> bool:
        told.append(capfd.readouterr().err)
        return "sweep failed: LookupError" in "".join(told)

    clock, stop = HandClock(), threading.Event()
    ScheduleWorker(row, clock.now, Handlers({row.module: fail}), stop).start()
    try:
        assert wait_for(lambda: len(runs) == 1)
        clock.at += timedelta(seconds=61)
        assert wait_for(lambda: len(runs) == 2)
        assert wait_for(is_told)
    finally:
        stop.set()
