"""What an event means to somebody, written down: a notification, and a message for each way it takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.notifications import rules
from cardwright.notifications.rules import Channel, MessageStatus, Plan, Way
from cardwright.notifications.store import devices, preferences
from cardwright.notifications.store import messages as store
from cardwright.notifications.store import notifications as inbox
from cardwright.notifications.store.messages import Lease, NewMessage
from cardwright.outbox.rules import Event
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor, Database, Transaction

WORKER = Actor(None, "system")
# Longer than all providers of a channel take together: while it runs nobody else may try.
LEASE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans messages, under role worker; of one person one event at a time, so that caps and repeats are counted right."""

    database: Database
    clock: Clock
    ids: IdSource

    def plan(self, event: Event) -> list[Lease]:
        """Write down what the event means; return the messages to be sent now, leased. The event again means nothing more.

        Raises ValueError for an event that tells too little, UnavailableError.
        """
        wanted = rules.plan(event)
        if wanted is None:
            return []
        now = self.clock.now()
        with self.database.transaction(WORKER) as tx:
            return self._write(tx, wanted, event, now)

    def _write(self, tx: Transaction, wanted: Plan, event: Event, now: datetime) -> list[Lease]:
        user_id = wanted.user_id
        wishes = preferences.touch(tx, user_id, now)
        same = wanted.collapse_key and inbox.alike(tx, user_id, wanted.collapse_key, now - rules.COLLAPSE_WINDOW)
        new = inbox.NewNotification(
            user_id=user_id,
            notification_id=self.ids.new(),
            event_id=event.event_id,
            template=wanted.template,
            category=wanted.category,
            params=wanted.params,
            collapse_key=wanted.collapse_key,
            collapsed_into=same or None,
            event_created_at=event.created_at,
            created_at=now,
        )
        if not inbox.insert(tx, new):
            return []
        if same:
            inbox.count_repeat(tx, user_id, same)
            return []
        security = wanted.category is rules.Category.SECURITY
        caps = {channel: rules.cap_of(wanted.category, channel) for channel in rules.OUTGOING}
        counts = store.counts(tx, user_id, caps, now, security=security)
        token, until = self.ids.new(), now + LEASE
        messages: list[NewMessage] = []
        reached = devices.reached(tx, user_id)
        behind = store.held_back(tx, user_id, now) if wishes.quiet_hours and not security else frozenset[rules.Channel]()
        for way in rules.ways(wishes, wanted.category, counts, now, event.created_at):
            messages += self._messages(tx, user_id, way, reached, now, waits=way.channel in behind)
        return store.insert(tx, user_id, new.notification_id, wanted.category, messages, now, token=token, lease_until=until)

    def _messages(
        self, tx: Transaction, user_id: UUID, way: Way, reached: Sequence[devices.Reached], now: datetime, *, waits: bool
    ) -> list[NewMessage]:
        """A message by mail; by push and SMS one for each device."""
        if way.status is MessageStatus.DIGESTED:
            digest_id = self._digest(tx, user_id, way.at, now)
            return [NewMessage(self.ids.new(), way.channel, None, way.status, outcome="digested", digest_id=digest_id)]
        due = way.at if way.status is MessageStatus.PENDING else None
        if way.channel is Channel.EMAIL:
            return [NewMessage(self.ids.new(), way.channel, None, way.status, due, way.outcome, waits=waits)]
        return [
            NewMessage(self.ids.new(), way.channel, device.device_id, way.status, due, way.outcome, waits=waits)
            for device in reached
            if device.channel is way.channel
        ]

    def _digest(self, tx: Transaction, user_id: UUID, at: datetime, now: datetime) -> UUID:
        """The digest that goes to the user next; a new one, due at a time, when there is none."""
        held = store.open_digest(tx, user_id, now)
        if held is not None:
            return held
        new = NewMessage(self.ids.new(), Channel.EMAIL, None, MessageStatus.PENDING, at)
        store.insert(tx, user_id, None, rules.Category.TRANSACTIONS, [new], now, token=self.ids.new(), lease_until=now + LEASE)
        return new.message_id
