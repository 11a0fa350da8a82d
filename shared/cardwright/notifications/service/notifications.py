"""The telling of people: what events mean to them, sent at once or when it is due."""

import time
from collections.abc import Callable, Sequence
from functools import cached_property

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.notifications.ports import Contacts, DerivedKeys
from cardwright.notifications.service.carriers import Carriers
from cardwright.notifications.service.planning import LEASE, WORKER, Planner
from cardwright.notifications.service.sending import START_RESERVE_S, MessageSender
from cardwright.notifications.store import messages as store
from cardwright.notifications.store.messages import Lease
from cardwright.outbox.rules import Event
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database

# Messages one look takes: few enough that they are sent long before their leases end.
CLAIM = 32


def gauges(database: Database, clock: Clock) -> list[tuple[str, float]]:
    """Messages that are due and not sent: their number, and for how many seconds the oldest is. Raises UnavailableError."""
    now = clock.now()
    with database.transaction(WORKER) as tx:
        count, oldest = store.waiting(tx, now)
    age = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    return [("cardwright_notifications_waiting", float(count)), ("cardwright_notifications_oldest_age_seconds", age)]


class NotificationService:
    """Tells people of events, under role worker. `contacts` and `carriers` are asked for when the first message is sent."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: IdSource,
        keys: DerivedKeys,
        contacts: Callable[[], Contacts],
        carriers: Callable[[], Carriers],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._keys = keys
        self._contacts = contacts
        self._carriers = carriers
        self._sleep = sleep
        self._planner = Planner(database, clock, ids)

    @cached_property
    def _sender(self) -> MessageSender:
        return MessageSender(self._database, self._clock, self._contacts(), self._keys, self._carriers())

    def process(self, event: Event) -> list[Lease]:
        """Write down whom an event is told to; return the messages to be sent now. The event again means nothing more.

        Raises ValueError for an event that tells too little, UnavailableError.
        """
        return self._planner.plan(event)

    def send(self, leases: Sequence[Lease], time_left: Callable[[], float]) -> int:
        """Send messages and record what became of each; return of how many a provider was asked. `time_left` is in seconds."""
        return self._sender.send(leases, time_left)

    def send_due(self, time_left: Callable[[], float], poll_s: float = 1.0) -> int:
        """Send what is due, and what becomes due, until too little time is left; return of how many a provider was asked.

        Goes on after a database that did not answer. Raises UnavailableError when it did not answer at the last look either.
        """
        sent = 0
        failure: UnavailableError | None = None
        while time_left() > START_RESERVE_S:
            found: list[Lease] = []
            try:
                found = self._claim()
                failure = None
            except UnavailableError as error:
                failure = error
            sent += self.send(found, time_left) if found else 0
            # Little found means little is due: look again later.
            if len(found) < CLAIM:
                self._sleep(max(0.0, min(poll_s, time_left() - START_RESERVE_S)))
        if failure is not None:
            raise failure
        return sent

    def _claim(self) -> list[Lease]:
        now = self._clock.now()
        with self._database.transaction(WORKER) as tx:
            return store.claim_due(tx, now=now, token=self._ids.new(), lease_until=now + LEASE, limit=CLAIM)
