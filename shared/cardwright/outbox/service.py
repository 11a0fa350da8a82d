"""Append events in the caller's transaction; keep the feed of all events; hand them to the queues, each at least once."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.outbox import store
from cardwright.outbox.ports import EventSource, QueueRoute
from cardwright.outbox.rules import Event, FeedFilter, message
from cardwright.platform.postgres import Actor, Database, Transaction

BATCH = 10
# Rows copied into the feed in one transaction.
COLLECT = 200
# Collecting gives way to sending after this long, and while there is enough to send waits for so long.
COLLECT_S = 5.0
COLLECT_AGAIN_S = 1.0
# Rows one transaction holds; with SEND_S it keeps the transaction far from the role's idle time-out.
TAKE = 100
SEND_S = 10.0
# The loop ends while this much is left, enough for a transaction that has just begun.
RESERVE_S = 8.0
# A queue that failed is left alone for this long, so that the others do not wait for its time-outs.
REST_S = 2.0
# Events of which is remembered that some queues have taken them and others have not.
REMEMBERED = 20_000
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


def feed_page(tx: Transaction, wanted: FeedFilter, after: UUID | None, limit: int) -> list[Event]:
    """Matching events of the feed in the order of their ids, those after `after`."""
    return store.page(tx, wanted, after, limit)


def count_feed(tx: Transaction, wanted: FeedFilter, ceiling: int) -> int:
    """How many events of the feed match; no further than `ceiling` is counted."""
    return store.count(tx, wanted, ceiling)


def find_event(tx: Transaction, event_id: UUID) -> Event | None:
    """One event of the feed, if the one who asks may see it."""
    return store.find(tx, event_id)


def collect_card(tx: Transaction, sources: Sequence[EventSource], card_id: UUID, at: datetime) -> None:
    """Copy what the sources keep of a card into the feed, so that none of its events before this moment is missing there."""
    for source in sources:
        _copy(tx, source, source.take_of_card(tx, card_id), at)


def _copy(tx: Transaction, source: EventSource, events: Sequence[Event], at: datetime) -> None:
    if events:
        store.copy(tx, events)
        source.mark(tx, events, at)


@dataclass(slots=True)
class _Pass:
    """What one look at unpublished events came to: how many a queue took, how many stay, whether there may be more."""

    moved: int = 0
    left: int = 0
    full: bool = False


class OutboxRelay:
    """Moves committed events to the queues that want them. Any number may run at once: each row is taken by one.

    First it copies what `sources` keep into the feed. A crash between sending and commit sends again, with the same event id.
    An event is published when every queue that wants it has it. What some queues have is remembered here, so that one that is
    away neither holds up nor floods the others; another relay would send to all of them again.
    """

    def __init__(
        self,
        database: Database,
        sources: Sequence[EventSource],
        routes: Sequence[QueueRoute],
        clock: Clock,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._sources = sources
        self._routes = tuple(routes)
        self._clock = clock
        self._sleep = sleep
        self._monotonic = monotonic
        # For each event that was left unpublished: the positions of the queues that have it.
        self._taken: dict[UUID, frozenset[int]] = {}
        self._resting: dict[int, float] = {}
        # When a look came with less than it may take, or the time is over, the sources are asked again.
        self._collect_at = monotonic()

    def run(self, deadline: Callable[[], float], poll_s: float = 0.5) -> int:
        """Relay until `deadline()`, the seconds left, is under RESERVE_S; return how many events a queue took.

        Goes on after a database or queue that did not answer. Raises UnavailableError when the last pass ended so.
        """
        moved = 0
        while True:
            found, failure = self._turn()
            moved += found
            left = deadline() - RESERVE_S
            if left <= 0:
                if failure is not None:
                    raise failure
                return moved
            if not found:
                self._sleep(min(poll_s, left))

    def relay_once(self) -> int:
        """Collect, and send what is unpublished now, up to TAKE events; return how many a queue took.

        Raises UnavailableError after noting what was sent before a queue or the database failed.
        """
        moved, failure = self._turn()
        if failure is not None:
            raise failure
        return moved

    def collect(self) -> int:
        """Copy what the sources keep into the feed until there is nothing more; return how many. Raises UnavailableError."""
        copied, until = 0, self._monotonic() + COLLECT_S
        for source in self._sources:
            while True:
                with self._database.transaction(_RELAY) as tx:
                    events = source.take(tx, COLLECT)
                    _copy(tx, source, events, self._clock.now())
                copied += len(events)
                if len(events) < COLLECT or self._monotonic() > until:
                    break
        return copied

    def _turn(self) -> tuple[int, UnavailableError | None]:
        moved = 0
        failures: list[UnavailableError] = []
        try:
            if self._monotonic() >= self._collect_at:
                self.collect()
                self._collect_at = self._monotonic() + COLLECT_AGAIN_S
            first = self._send((), failures)
            if not first.full:
                self._collect_at = self._monotonic()
            moved = first.moved
            if first.full and first.left:
                # What stays must not hide what is behind it.
                moved += self._send(tuple(self._taken), failures).moved
        except UnavailableError as error:
            failures.append(error)
        return moved, failures[0] if failures else None

    def _send(self, but: Sequence[UUID], failures: list[UnavailableError]) -> _Pass:
        with self._database.transaction(_RELAY) as tx:
            events = store.take_unpublished(tx, TAKE, but)
            until = self._monotonic() + SEND_S
            seen: dict[UUID, frozenset[int]] = {}
            moved = 0
            for start in range(0, len(events), BATCH):
                batch = {event.event_id: event for event in events[start : start + BATCH]}
                before = {event_id: self._taken.get(event_id, frozenset()) for event_id in batch}
                after = self._offer(batch, before, failures)
                moved += sum(1 for event_id in batch if after[event_id] != before[event_id])
                seen |= after
                if self._monotonic() > until:
                    break
            done = [event.event_id for event in events if event.event_id in seen and self._wanting(event) <= seen[event.event_id]]
            if done:
                store.mark_published(tx, done, self._clock.now())
        left = {event_id: taken for event_id, taken in seen.items() if event_id not in set(done)}
        self._remember(left, done, everything=not but and len(seen) == len(events) < TAKE)
        return _Pass(moved, len(left), len(events) == TAKE)

    def _offer(
        self, batch: Mapping[UUID, Event], before: Mapping[UUID, frozenset[int]], failures: list[UnavailableError]
    ) -> dict[UUID, frozenset[int]]:
        """Send a batch to each queue that wants of it and has not; return which queues have which event now."""
        after = dict(before)
        for position, route in enumerate(self._routes):
            events = [event for event in batch.values() if route.wants(event.type) and position not in before[event.event_id]]
            if not events or self._monotonic() < self._resting.get(position, 0.0):
                continue
            try:
                taken = route.queue.send_batch([_body(event) for event in events])
            except UnavailableError as error:
                failures.append(error)
                self._resting[position] = self._monotonic() + REST_S
                continue
            for event, ok in zip(events, taken, strict=True):
                if ok:
                    after[event.event_id] |= {position}
        return after

    def _wanting(self, event: Event) -> frozenset[int]:
        return frozenset(position for position, route in enumerate(self._routes) if route.wants(event.type))

    def _remember(self, left: Mapping[UUID, frozenset[int]], done: Sequence[UUID], *, everything: bool) -> None:
        if everything:
            self._taken = dict(left)
            return
        for event_id in done:
            self._taken.pop(event_id, None)
        self._taken |= left
        if len(self._taken) > REMEMBERED:
            self._taken = dict(left)


def _body(event: Event) -> str:
    # Escaped to ASCII: SQS refuses characters that JSON and PostgreSQL take; one merchant's name must not stop the queue.
    return json.dumps(message(event), separators=(",", ":"))
