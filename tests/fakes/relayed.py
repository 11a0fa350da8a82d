"""Queues a relay sends to, and events for it to send."""

import json
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from cardwright.kernel.errors import UnavailableError
from cardwright.outbox import service as outbox
from cardwright.outbox.ports import QueueRoute
from cardwright.outbox.rules import (
    Event,
    from_message,
)
from cardwright.outbox.service import OutboxRelay
from cardwright.transactions.service import TransactionEvents
from tests.fakes.webhook_world import WebhookWorld


class FakeQueue:
    """Takes messages, refuses those of `refused` types, or fails after `fail_after` batches."""

    def __init__(self, *, refused: str = "", fail_after: int | None = None, pause_s: float = 0.0) -> None:
        self.refused = refused
        self.fail_after = fail_after
        self.pause_s = pause_s
        self.taken: list[Event] = []
        self.batches: list[int] = []

    def send_batch(self, bodies: Sequence[str]) -> list[bool]:
        """Take a batch."""
        if self.fail_after is not None and len(self.batches) >= self.fail_after:
            raise UnavailableError("queue away", code="queue_unavailable")
        time.sleep(self.pause_s)
        self.batches.append(len(bodies))
        events = [from_message(json.loads(body)) for body in bodies]
        self.taken += [event for event in events if event.type != self.refused]
        return [event.type != self.refused for event in events]

    def ids(self) -> list[UUID]:
        """Ids of what was taken, in order."""
        return [event.event_id for event in self.taken]


def everything(_event_type: str) -> bool:
    """A queue that wants all events."""
    return True


def relay(world: WebhookWorld, *queues: FakeQueue, **options: Any) -> OutboxRelay:
    """A relay of the world's outbox and transactions to up to two queues that want everything."""
    routes = [QueueRoute(name, queue, everything) for name, queue in zip(("events", "notifications"), queues, strict=False)]
    return OutboxRelay(world.worker_database, [TransactionEvents()], routes, world.clock, **options)


def append(world: WebhookWorld, count: int, event_type: str = "card.created") -> list[Event]:
    """Commit events of a user."""
    user = world.add_user()
    events = [world.event(user, event_type) for _ in range(count)]
    with world.app.transaction(user) as tx:
        for event in events:
            outbox.append(tx, event)
    return events
