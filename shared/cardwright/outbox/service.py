"""Append events in the caller's transaction; hand committed ones to the queue, each at least once."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.outbox import store
from cardwright.outbox.ports import EventQueue, EventSource
from cardwright.outbox.rules import Event, message
from cardwright.platform.postgres import Actor, Database, Transaction

BATCH = 10
# Rows one transaction holds; with SEND_S it keeps the transaction far from the role's idle time-out.
TAKE = 50
SEND_S = 10.0
# The loop ends while this much is left, enough for a transaction that has just begun.
RESERVE_S = 8.0
_RELAY = Actor(None, "system")


def append(tx: Transaction, event: Event) -> None:
    """Add an event to the caller's transaction: it is sent when, and only when, that commits."""
    store.append(tx, event)


def gauges(database: Database, clock: Clock) -> list[tuple[str, float]]:
    """Events that wait for the relay: their number, and the age of the oldest in seconds. Raises UnavailableError."""
    with database.transaction(_RELAY) as tx:
        count, oldest = store.waiting(tx)
    age = 0.0 if oldest is None else max(0.0, (clock.now() - oldest).total_seconds())
    return [("cardwright_outbox_waiting", float(count)), ("cardwright_outbox_oldest_age_seconds", age)]


class OutboxEvents:
    """The events of the outbox table."""

    def take(self, tx: Transaction, limit: int) -> list[Event]:
        """Lock and return the oldest unpublished events that no other relay holds."""
        return store.take_unpublished(tx, limit)

    def mark(self, tx: Transaction, events: Sequence[Event], at: datetime) -> None:
        """Note that these events are published."""
        store.mark_published(tx, [event.event_id for event in events], at)


class OutboxRelay:
    """Moves committed events to the queue. Any number may run at once: each row is taken by one.

    A crash between sending and commit sends again, with the same event id.
    """

    def __init__(
        self,
        database: Database,
        sources: Sequence[EventSource],
        queue: EventQueue,
        clock: Clock,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._sources = sources
        self._queue = queue
        self._clock = clock
        self._sleep = sleep
        self._monotonic = monotonic

    def run(self, deadline: Callable[[], float], poll_s: float = 0.5) -> int:
        """Relay until `deadline()`, the seconds left, is under RESERVE_S; return how many events the queue took.

        Goes on after a database or queue that did not answer. Raises UnavailableError when the last pass ended so.
        """
        moved = 0
        while True:
            failure: UnavailableError | None = None
            found = 0
            try:
                found = self.relay_once()
            except UnavailableError as error:
                failure = error
            moved += found
            left = deadline() - RESERVE_S
            if left <= 0:
                if failure is not None:
                    raise failure
                return moved
            if not found:
                self._sleep(min(poll_s, left))

    def relay_once(self) -> int:
        """Send what is unpublished now, up to TAKE events of each source; return how many the queue took.

        Raises UnavailableError after noting what was sent before the queue or database failed.
        """
        return sum(self._relay(source) for source in self._sources)

    def _relay(self, source: EventSource) -> int:
        failure: UnavailableError | None = None
        sent: list[Event] = []
        with self._database.transaction(_RELAY) as tx:
            events = source.take(tx, TAKE)
            until = self._monotonic() + SEND_S
            for start in range(0, len(events), BATCH):
                batch = events[start : start + BATCH]
                try:
                    taken = self._queue.send_batch([_body(event) for event in batch])
                except UnavailableError as error:
                    failure = error
                    break
                sent += [event for event, ok in zip(batch, taken, strict=True) if ok]
                if self._monotonic() > until:
                    break
            if sent:
                source.mark(tx, sent, self._clock.now())
        if failure is not None:
            raise failure
        return len(sent)


def _body(event: Event) -> str:
    # Escaped to ASCII: SQS refuses characters that JSON and PostgreSQL take; one merchant's name must not stop the queue.
    return json.dumps(message(event), separators=(",", ":"))
