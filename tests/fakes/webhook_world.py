"""A world to send webhooks in: the real database, receivers that answer by script."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from cardwright.kernel.clock import FixedClock
from cardwright.kernel.secret import Secret
from cardwright.outbox.rules import VERIFICATION_REQUESTED, Event, message
from cardwright.outbox.service import append
from cardwright.platform.egress import Answer, EgressError
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor
from cardwright.ratelimit.service import WebhookPace
from cardwright.transactions.service import TransactionEvents
from cardwright.webhooks.ports import Sender
from cardwright.webhooks.rules import Subscription
from cardwright.webhooks.service import NewSubscription, WebhookService, WebhookSubscriptions, WebhookWorker
from cardwright.webhooks.service.jobs import WORKER
from tests import builders
from tests.fakes.card_world import as_role
from tests.fakes.events import sample
from tests.fakes.sealer import HeldSecrets

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
Script = Callable[[str, bytes], Answer]


@dataclass(frozen=True, slots=True)
class Post:
    """One request a receiver got."""

    url: str
    headers: Mapping[str, str]
    body: bytes


def answer(status: int, body: bytes = b"", **headers: str) -> Script:
    """A receiver that always answers this."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _url, _body: Answer(status, named, body)


def fails(code: str) -> Script:
    """A receiver that cannot be reached."""

    def post(_url: str, _body: bytes) -> Answer:
        raise EgressError(code)

    return post


class ScriptedSender:
    """Answers challenges; everything else by the script, 200 without one."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.script: Script = answer(200, b"thanks")
        self.verifies = True
        self._lock = threading.Lock()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Take a request."""
        with self._lock:
            self.posts.append(Post(url, dict(headers), body))
        document = json.loads(body)
        if self.verifies and document["type"] == "webhook.verification":
            return Answer(200, {}, json.dumps({"challenge": document["challenge"]}).encode())
        return self.script(url, body)

    def events(self) -> list[Post]:
        """The posts that were not challenges."""
        return [post for post in self.posts if json.loads(post.body)["type"] != "webhook.verification"]


class WebhookWorld:
    """Subscriptions under role app and deliveries under role worker, as two processes would."""

    def __init__(
        self, url: str, sender: Sender | None = None, *, clock: FixedClock | None = None, pace: WebhookPace | None = None
    ) -> None:
        self.url = url
        self.clock = clock or FixedClock(NOW)
        self.ids = IdSource(self.clock)
        self.sender = ScriptedSender()
        self.secrets = HeldSecrets()
        sealer = self.secrets.sealer()
        self.app, self.worker_database = as_role(url, "app"), as_role(url, "worker")
        self.subscriptions = WebhookSubscriptions(self.app, self.clock, self.ids, sealer, local=True)
        used: Sender = sender or self.sender
        self.deliveries = WebhookService(
            self.worker_database, self.clock, self.ids, sealer, lambda: used, sources=[TransactionEvents()], pace=pace
        )
        self.worker = WebhookWorker(self.deliveries)

    def close(self) -> None:
        """Close this thread's connections."""
        self.app.close()
        self.worker_database.close()

    def sql(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run a statement as superuser."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def add_user(self, role: str = "cardholder") -> Actor:
        """Add a user and return it as the one who acts."""
        user_id = builders.add_user(self.url, role)
        return Actor(user_id, role, "req_1")

    def subscribe(
        self,
        actor: Actor,
        *event_types: str,
        url: str = "http://127.0.0.1:9/hook",
        card_ids: list[UUID] | None = None,
        verify: bool = True,
    ) -> tuple[Subscription, Secret[str]]:
        """Make a subscription and let the worker verify it."""
        wanted = NewSubscription(url, event_types or ("card.created",), card_ids)
        subscription, secret = self.subscriptions.create_subscription(actor, wanted, self.ids.new())
        if verify:
            self.consume(self.verification_of(subscription))
            subscription = self.subscriptions.get_subscription(actor, subscription.subscription_id)
        return subscription, secret

    def verification_of(self, subscription: Subscription) -> Event:
        """The newest internal event that asks for a verification, as the outbox holds it."""
        (row,) = self.sql(
            "SELECT * FROM outbox WHERE type = %s AND data->>'subscription_id' = %s ORDER BY event_id DESC LIMIT 1",
            VERIFICATION_REQUESTED,
            str(subscription.subscription_id),
        )
        return Event(row["event_id"], row["type"], row["created_at"], row["data"], row["user_id"], row["card_id"])

    def event(self, user: Actor | None, event_type: str = "card.created", card_id: UUID | None = None) -> Event:
        """An event of a user's card."""
        card = card_id or self.ids.new()
        data = sample(event_type, card)
        return Event(self.ids.new(), event_type, self.clock.now(), data, user.user_id if user else None, card)

    def happen(self, user: Actor | None, event_type: str = "card.created", card_id: UUID | None = None) -> Event:
        """An event of a user's card that the feed holds."""
        event = self.event(user, event_type, card_id)
        with self.worker_database.transaction(WORKER) as tx:
            append(tx, event)
        return event

    def told(self) -> list[UUID]:
        """Ids of the events that were posted, in their order."""
        return [UUID(json.loads(post.body)["id"]) for post in self.sender.events()]

    def consume(self, *events: Event, time_left: float = 100.0) -> list[str]:
        """Hand events to the queue's consumer in one batch; return the ids of messages that must come again."""
        records = [
            {"messageId": f"m{position}", "body": json.dumps(message(event)), "eventSource": "aws:sqs"}
            for position, event in enumerate(events)
        ]
        failed = self.worker.process_event_queue({"Records": records}, lambda: time_left)
        return [failure["itemIdentifier"] for failure in failed["batchItemFailures"]]

    def retry(self, idle_s: float = 0.15) -> int:
        """Let the schedule run until nothing was posted for a while; return how many attempts it began."""
        looks, seen, until = 0, len(self.sender.posts), time.monotonic() + idle_s

        def time_left() -> float:
            nonlocal looks, seen, until
            looks += 1
            if len(self.sender.posts) != seen:
                seen, until = len(self.sender.posts), time.monotonic() + idle_s
            # The first look is made however slow the machine is.
            return 100.0 if looks <= 2 or time.monotonic() < until else 10.0

        return self.deliveries.retry_failed(time_left, poll_s=0.02)

    def advance(self, **delta: float) -> None:
        """Move the clock."""
        self.clock.at += timedelta(**delta)

    def attempts(self) -> list[tuple[int, str]]:
        """Number and outcome of all attempts."""
        rows = self.sql("SELECT number, outcome FROM webhook_attempts ORDER BY started_at, number")
        return [(row["number"], row["outcome"]) for row in rows]

    def delivery(self, event: Event) -> dict[str, Any]:
        """The one delivery of an event."""
        (row,) = self.sql("SELECT * FROM webhook_deliveries WHERE event_id = %s", event.event_id)
        return row
