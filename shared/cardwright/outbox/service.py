"""Append events in the caller's transaction; keep the feed of all events; hand them to the queues, each at least once."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, combinations
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.outbox import store
from cardwright.outbox.ports import EventSource, QueueRoute
from cardwright.outbox.rules import Event, FeedFilter, message
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.platform.telemetry import logger

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
# A queue that failed is left alone for this long, and at least for as long as its failure took: the others wait for its
# time-outs half of the time at most. The same goes for sources that cannot be collected from.
REST_S = 2.0
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
class _Offered:
    """An event, the queues it waits for, and what a look came to: whether a queue took it, whether its row says so already."""

    event: Event
    waits_for: frozenset[str]
    noted: bool
    moved: bool = False


class OutboxRelay:
    """Moves committed events to the queues that want them. Any number may run at once: each row is taken by one.

    First it copies what `sources` keep into the feed. A crash between sending and commit sends again, with the same event id.
    An event is published when every queue that wants it has it. One that some of them did not take says in its row which, and
    is looked for only when one of these does not rest: a queue that is away neither holds up nor floods the others.
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
        # By the name of a queue: until when it is left alone.
        self._resting: dict[str, float] = {}
        # When a look came with less than it may take, or the time is over, the sources are asked again.
        self._collect_at = monotonic()
        # Told at the end of each look until collecting works again.
        self._uncollected: Exception | None = None

    def run(self, deadline: Callable[[], float], poll_s: float = 0.5) -> int:
        """Relay until `deadline()`, the seconds left, is under RESERVE_S; return how many events a queue took.

        Goes on after a database or queue that did not answer. Raises UnavailableError when the last pass ended so; whatever
        collecting failed with is raised at the end too, and holds up nothing that is in the feed.
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
        """Collect, and send up to TAKE events not offered yet and as many that were left; return how many a queue took.

        Raises UnavailableError after noting what was sent before a queue or the database failed, or what collecting failed with.
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

    def _turn(self) -> tuple[int, Exception | None]:
        moved = 0
        failures: list[Exception] = []
        if self._monotonic() >= self._collect_at:
            self._collect_or_rest()
        if self._uncollected is not None:
            failures.append(self._uncollected)
        try:
            moved, found = self._send(self._new, failures)
            if found < TAKE and self._uncollected is None:
                self._collect_at = self._monotonic()
            moved += self._send(self._left, failures)[0]
        except UnavailableError as error:
            failures.append(error)
        return moved, failures[0] if failures else None

    def _collect_or_rest(self) -> None:
        began = self._monotonic()
        try:
            self.collect()
        except Exception as error:
            logger.exception("events could not be collected")
            self._uncollected = error
            self._collect_at = self._rested(began)
        else:
            self._uncollected = None
            self._collect_at = self._monotonic() + COLLECT_AGAIN_S

    def _new(self, tx: Transaction) -> list[_Offered]:
        return [_Offered(event, self._wanting(event), noted=False) for event in store.take_unpublished(tx, TAKE)]

    def _left(self, tx: Transaction) -> list[_Offered]:
        awake = self._awake()
        names = [route.name for route in self._routes]
        every = chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1))
        left = store.take_left(tx, [frozenset(some) for some in every if awake & set(some)], TAKE)
        return [_Offered(event, waits_for, noted=True) for event, waits_for in left]

    def _send(self, take: Callable[[Transaction], list[_Offered]], failures: list[Exception]) -> tuple[int, int]:
        """Offer what `take` finds to the queues, note in the rows what came of it; return how many a queue took of how many."""
        if not self._awake():
            return 0, 0
        with self._database.transaction(_RELAY) as tx:
            found = take(tx)
            until = self._monotonic() + SEND_S
            seen: list[_Offered] = []
            for start in range(0, len(found), BATCH):
                batch = found[start : start + BATCH]
                self._offer(batch, failures)
                seen += batch
                if self._monotonic() > until or not self._awake():
                    break
            self._note(tx, seen)
        return sum(one.moved for one in seen), len(found)

    def _offer(self, batch: Sequence[_Offered], failures: list[Exception]) -> None:
        """Send a batch to each queue that events of it wait for."""
        for route in self._routes:
            waiting = [one for one in batch if route.name in one.waits_for]
            if not waiting or self._rests(route):
                continue
            began = self._monotonic()
            try:
                taken = route.queue.send_batch([_body(one.event) for one in waiting])
            except UnavailableError as error:
                failures.append(error)
                self._resting[route.name] = self._rested(began)
                continue
            for one, ok in zip(waiting, taken, strict=True):
                one.noted = False
                if ok:
                    one.moved = True
                    one.waits_for -= {route.name}

    def _note(self, tx: Transaction, seen: Iterable[_Offered]) -> None:
        by_queues: defaultdict[frozenset[str], list[UUID]] = defaultdict(list)
        for one in seen:
            if not one.noted:
                by_queues[one.waits_for].append(one.event.event_id)
        for waits_for, event_ids in by_queues.items():
            if waits_for:
                store.mark_left(tx, event_ids, waits_for, self._clock.now())
            else:
                store.mark_published(tx, event_ids, self._clock.now())

    def _wanting(self, event: Event) -> frozenset[str]:
        return frozenset(route.name for route in self._routes if route.wants(event.type))

    def _awake(self) -> frozenset[str]:
        return frozenset(route.name for route in self._routes if not self._rests(route))

    def _rests(self, route: QueueRoute) -> bool:
        return self._monotonic() < self._resting.get(route.name, 0.0)

    def _rested(self, began: float) -> float:
        """When something that failed, begun then, is tried again."""
        now = self._monotonic()
        return now + max(REST_S, now - began)


def _body(event: Event) -> str:
    # Escaped to ASCII: SQS refuses characters that JSON and PostgreSQL take; one merchant's name must not stop the queue.
    return json.dumps(message(event), separators=(",", ":"))
