"""The retry schedule to the second: deployed handlers, told the time by the stack's clock file, post to a receiver that fails.

The numbers are the contract's (CONTRACT, events out), written down here again: at once, then after 1 min, 5 min, 15 min, 1 h
and 6 h, each up to a tenth later.
"""

import json
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cardwright.outbox.rules import message
from cardwright.platform.clock import OffsetClock
from cardwright.platform.egress import Egress
from cardwright.platform.ids import IdSource
from cardwright.transactions.service import TransactionEvents
from cardwright.webhooks.service import WebhookService, WebhookSubscriptions, WebhookWorker
from functions.webhooks import process_event_queue, retry_webhook_deliveries
from functions.webhooks.routes import PROCESS_EVENT_QUEUE, RETRY_WEBHOOK_DELIVERIES
from local.clock import ClockFile
from local.lambda_context import LambdaContext
from local.workers.schedules import schedule_event
from tests.fakes.receiver import RawReceiver
from tests.fakes.webhook_world import WebhookWorld

MINUTE, HOUR = 60, 3600
WAITS_S = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR)
MOST_LATER = 1.1
FAILED_EVENTS = 5


def refuse(connection: socket.socket, request: bytes) -> None:
    """Answer the challenge, and 500 to everything else."""
    document = json.loads(request.partition(b"\r\n\r\n")[2])
    status, body = "500 No", b""
    if document["type"] == "webhook.verification":
        status, body = "200 OK", json.dumps({"challenge": document["challenge"]}).encode()
    connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


class OneLook:
    """A context with time for one look at what is due, and to finish what that began."""

    def __init__(self) -> None:
        self._left = iter((100_000, 100_000))

    def get_remaining_time_in_millis(self) -> int:
        """Less than a post needs, from the third question on."""
        return next(self._left, 10_000)


class Deployed(WebhookWorld):
    """The handlers over a database, a clock file and a receiver of this test."""

    def __init__(self, url: str, clock_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(url)
        self.ahead = ClockFile.create(clock_file)
        time, sealer, egress = OffsetClock(clock_file), self.secrets.sealer(), Egress(loopback=True)
        self.ids = IdSource(time)
        self.subscriptions = WebhookSubscriptions(self.app, time, self.ids, sealer, local=True)
        self.deliveries = WebhookService(
            self.worker_database, time, self.ids, sealer, lambda: egress, sources=[TransactionEvents()]
        )
        self.worker = WebhookWorker(self.deliveries)
        parts = SimpleNamespace(webhook_worker=self.worker, webhooks=self.deliveries)
        for module in (process_event_queue, retry_webhook_deliveries):
            monkeypatch.setattr(module, "_workers", lambda: parts)

    def now(self) -> datetime:
        """The stack's time."""
        return self.ahead.now()

    def move_to(self, moment: datetime) -> None:
        """Move the stack's clock, if it is not there yet."""
        self.ahead.advance(max(timedelta(0), moment - self.now()))

    def take(self, *events: Any) -> None:
        """Hand events over as the queue does."""
        records = [
            {"messageId": str(event.event_id), "body": json.dumps(message(event)), "eventSource": "aws:sqs"} for event in events
        ]
        context = cast(Any, LambdaContext(PROCESS_EVENT_QUEUE, "req_1"))
        assert process_event_queue.handler({"Records": records}, context) == {"batchItemFailures": []}

    def look(self) -> None:
        """Start the schedule's handler for one look."""
        retry_webhook_deliveries.handler(cast(Any, schedule_event(RETRY_WEBHOOK_DELIVERIES, self.now())), cast(Any, OneLook()))

    def started(self, event: Any) -> list[datetime]:
        """When each attempt of an event began."""
        sql = "SELECT number, started_at FROM webhook_attempts WHERE event_id = %s ORDER BY number"
        rows = self.sql(sql, event.event_id)
        assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
        return [row["started_at"] for row in rows]


@pytest.fixture(autouse=True)
def silent(capfd: pytest.CaptureFixture[str]) -> None:
    """Keep the workers' metrics to this test."""


@pytest.fixture
def world(fresh_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """Handlers over a database of this test."""
    world = Deployed(fresh_database, tmp_path / "clock", monkeypatch)
    yield world
    world.close()
    world.ahead.close()


@pytest.fixture
def receiver() -> Iterator[RawReceiver]:
    """A receiver that fails."""
    with RawReceiver(refuse) as receiver:
        yield receiver


def test_an_event_is_tried_six_times_each_at_its_second(world: Deployed, receiver: RawReceiver) -> None:
    user = world.add_user()
    subscription, _ = world.subscribe(user, url=f"http://127.0.0.1:{receiver.port}/hook")
    event = world.event(user)
    before = world.now()
    world.take(event)
    for made, wait_s in enumerate(WAITS_S, 1):
        started = world.started(event)
        assert len(started) == made
        due = world.delivery(event)["next_attempt_at"]
        # From when the answer was noted, which is at most now.
        assert started[-1] + timedelta(seconds=wait_s) <= due <= world.now() + timedelta(seconds=wait_s * MOST_LATER)
        world.move_to(due - timedelta(seconds=1))
        world.look()
        # The second may be over by now, on a slow machine; before it nothing goes.
        assert world.started(event)[made:] == [] or world.started(event)[made] >= due
        world.move_to(due)
        world.look()
        assert world.started(event)[made] >= due
    assert world.started(event)[0] - before < timedelta(seconds=MINUTE)
    delivery = world.delivery(event)
    assert (delivery["status"], delivery["next_attempt_at"], len(world.started(event))) == ("FAILED", None, 6)
    world.ahead.advance(timedelta(days=2))
    world.look()
    assert len(world.started(event)) == 6
    assert world.subscriptions.get_subscription(user, subscription.subscription_id).status == "ACTIVE"


def test_the_fifth_event_in_a_row_that_failed_ends_it(world: Deployed, receiver: RawReceiver) -> None:
    user = world.add_user()
    subscription, _ = world.subscribe(user, url=f"http://127.0.0.1:{receiver.port}/hook")
    events = [world.event(user) for _ in range(FAILED_EVENTS)]
    world.take(*events)
    world.look()
    ended = []
    while due := dues(world):
        world.move_to(due[0])
        world.look()
        ended.append((failed(world), world.subscriptions.get_subscription(user, subscription.subscription_id).status.value))
    assert [len(world.started(event)) for event in events] == [6] * FAILED_EVENTS
    assert sorted(set(ended)) == [(number, "ACTIVE") for number in range(FAILED_EVENTS)] + [(FAILED_EVENTS, "DISABLED")]
    (told,) = world.sql("SELECT user_id, data FROM outbox WHERE type = 'webhook.disabled'")
    assert (told["user_id"], told["data"]["subscription_id"]) == (user.user_id, str(subscription.subscription_id))
    posts = len(receiver.requests)
    world.take(world.event(user))
    assert len(receiver.requests) == posts


def dues(world: Deployed) -> list[datetime]:
    """When attempts are due, the next first."""
    sql = "SELECT next_attempt_at FROM webhook_deliveries WHERE status = 'PENDING' ORDER BY next_attempt_at"
    return [row["next_attempt_at"] for row in world.sql(sql)]


def failed(world: Deployed) -> int:
    """Deliveries given up."""
    return len(world.sql("SELECT event_id FROM webhook_deliveries WHERE status = 'FAILED'"))
