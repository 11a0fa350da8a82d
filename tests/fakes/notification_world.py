"""A world to tell people in: the real database and cache, providers that keep what they were given."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from cardwright.kernel.clock import FixedClock
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import ChannelProvider, Kind, Rendered
from cardwright.notifications.rules import (
    Channel,
    Device,
    DigestMode,
    NewDevice,
    NewPreferences,
    Platform,
    Preferences,
    QuietHours,
)
from cardwright.notifications.service import (
    Carriers,
    NotificationBounces,
    NotificationDevices,
    NotificationService,
    NotificationWorker,
    UserNotifications,
)
from cardwright.outbox.rules import Event, message
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.platform.keys import open_with, seal_with
from cardwright.platform.postgres import Actor
from tests import builders
from tests.fakes.card_world import as_role
from tests.fakes.sealer import HeldSecrets

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message a provider took."""

    to: str
    subject: str | None
    body: str
    data: Mapping[str, str]
    message_id: UUID


class FakeProvider:
    """Takes messages, or does what `script` does: it may raise. Each is kept in `taken`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.taken: list[Delivered] = []
        self.asked = 0
        self.script: Callable[[Delivered], None] = lambda _message: None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def send(self, to: Secret[str], message: Rendered, message_id: UUID) -> str | None:
        """Take a message."""
        told = Delivered(to.reveal(), message.subject, message.body, message.data, message_id)
        with self._lock:
            self.asked += 1
        self.script(told)
        with self._lock:
            self.taken.append(told)
        return f"{self._name}-{len(self.taken)}"


class FakePeople:
    """Addresses of people, each under a key of the person's own."""

    def __init__(self) -> None:
        self.emails: dict[UUID, str] = {}

    def email(self, user_id: UUID) -> Secret[str] | None:
        """The address."""
        email = self.emails.get(user_id)
        return None if email is None else Secret(email)

    def open(self, user_id: UUID, field: str, sealed: bytes) -> Secret[str] | None:
        """A sealed value."""
        if user_id not in self.emails:
            return None
        return Secret(open_with(_key(user_id), sealed, field).decode())

    def seal(self, _actor: Actor, user_id: UUID, field: str, text: Secret[str]) -> bytes:
        """Seal a value."""
        return seal_with(_key(user_id), text.reveal().encode(), field)

    def exists(self, _actor: Actor, user_id: UUID) -> bool:
        """Who has an address has an account."""
        return user_id in self.emails


def _key(user_id: UUID) -> Secret[bytes]:
    return Secret(user_id.bytes * 2)


class NotificationWorld:
    """Doors under role app and workers under role worker, as two processes would be."""

    def __init__(self, url: str, cache_url: str) -> None:
        self.url = url
        self.clock = FixedClock(NOW)
        self.ids = IdSource(self.clock)
        self.cache = Cache(cache_url, budget_s=2.0)
        self.people = FakePeople()
        self.mail, self.spare_mail = FakeProvider("mail"), FakeProvider("spare-mail")
        self.push, self.sms = FakeProvider("push"), FakeProvider("sms")
        self.app, self.worker_database = as_role(url, "app"), as_role(url, "worker")
        self.sealer = HeldSecrets().sealer()
        self.providers: dict[Kind, Sequence[ChannelProvider]] = {
            "email": (self.mail, self.spare_mail),
            "push": (self.push,),
            "sms": (self.sms,),
        }
        # Breakers of tests that ran before are not this one's.
        for kind, listed in self.providers.items():
            keys = [f"breaker:{{messages-{kind}-{one.name}}}:{what}" for one in listed for what in ("state", "failures")]
            self.cache.exchange([("DEL", key) for key in keys])
        carriers = Carriers(self.providers, self.cache, self.clock)
        self.users = UserNotifications(self.app, self.clock, self.ids, self.people)
        self.devices = NotificationDevices(self.app, self.clock, self.ids, self.people, self.sealer, carriers)
        self.bounces = NotificationBounces(self.worker_database, self.clock, self.sealer)
        self.service = self.another_worker()

    def another_worker(self) -> NotificationService:
        """A worker's service; several work beside each other."""
        return NotificationService(
            self.worker_database,
            self.clock,
            self.ids,
            self.sealer,
            contacts=lambda: self.people,
            carriers=lambda: Carriers(self.providers, self.cache, self.clock),
            sleep=lambda _seconds: None,
        )

    def close(self) -> None:
        """Close this thread's connections."""
        self.app.close()
        self.worker_database.close()
        self.cache.close()

    def sql(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run a statement as superuser."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def add_user(self, role: str = "cardholder") -> Actor:
        """Add a user with an address, and return it as the one who acts."""
        user_id = builders.add_user(self.url, role)
        self.people.emails[user_id] = f"{user_id.hex}@example.com"
        return Actor(user_id, role, "req_1")

    def add_phone(self, actor: Actor, token: str | None = None) -> Device:
        """Register a push token of the user's."""
        wanted = NewDevice(Channel.PUSH, Platform.ANDROID, token=Secret(token or f"token-{self.ids.new().hex}"))
        return self.devices.register_device(actor, wanted, self.ids.new())

    def add_number(self, actor: Actor, number: str = "+15550100123") -> Device:
        """Register a number of the user's and confirm it by the code that is texted."""
        device = self.devices.register_device(actor, NewDevice(Channel.SMS, phone_number=Secret(number)), self.ids.new())
        return self.devices.confirm_device(actor, device.device_id, Secret(self.sms.taken[-1].data["code"]))

    def wish(self, actor: Actor, **changes: Any) -> Preferences:
        """Change the user's preferences; what is not named is as the defaults are."""
        wanted: dict[str, Any] = {
            "locale": "en",
            "time_zone": "UTC",
            "quiet_hours": None,
            "digest": DigestMode.OFF,
            "digest_hour": 8,
            "channels": {},
        }
        return self.users.put_preferences(actor, NewPreferences(**{**wanted, **changes}), self.ids.new())

    def be_quiet(self, actor: Actor, time_zone: str, start: str, until: str) -> Preferences:
        """Let the user have quiet hours."""
        quiet = QuietHours(time.fromisoformat(start), time.fromisoformat(until))
        return self.wish(actor, time_zone=time_zone, quiet_hours=quiet)

    def purchase(self, actor: Actor, event_type: str = "transaction.authorized", **changes: Any) -> Event:
        """An event of a purchase, each of its own card unless `card_id` is told."""
        card_id = changes.pop("card_id", None) or self.ids.new()
        data: dict[str, object] = {
            "id": str(self.ids.new()),
            "card_id": str(card_id),
            "amount": "12.30",
            "currency": "EUR",
            "merchant": {"name": "BLUE BOTTLE COFFEE", "category_code": "5814"},
            "reason": "approved" if event_type == "transaction.authorized" else "daily_limit_exceeded",
            **changes,
        }
        return Event(self.ids.new(), event_type, self.clock.now(), data, actor.user_id, card_id)

    def alert(self, actor: Actor) -> Event:
        """A warning."""
        return Event(self.ids.new(), "security.alert", self.clock.now(), {"kind": "account_locked"}, actor.user_id)

    def card_event(self, actor: Actor, event_type: str = "card.frozen") -> Event:
        """An event of a card's."""
        card_id = self.ids.new()
        data = {"id": str(card_id), "last_four": "4242", "reason_code": "lost"}
        return Event(self.ids.new(), event_type, self.clock.now(), data, actor.user_id, card_id)

    def consume(self, *events: Event, time_left: float = 100.0) -> list[str]:
        """Hand events to the queue's consumer in one batch; return the ids of messages that must come again."""
        records = [
            {"messageId": f"m{position}", "body": json.dumps(message(event)), "eventSource": "aws:sqs"}
            for position, event in enumerate(events)
        ]
        worker = NotificationWorker(self.service)
        failed = worker.process_notification_queue({"Records": records}, lambda: time_left)
        return [failure["itemIdentifier"] for failure in failed["batchItemFailures"]]

    def run_schedule(self) -> int:
        """Let the schedule look once and send what is due; return of how many messages a provider was asked."""
        looks = iter([100.0, 100.0])
        return self.service.send_due(lambda: next(looks, 0.0) or 0.0)

    def advance(self, **delta: float) -> None:
        """Move the clock."""
        self.clock.at += timedelta(**delta)

    def messages(self, channel: str | None = None) -> list[dict[str, Any]]:
        """Messages as they stand, in the order they were made."""
        rows = self.sql("SELECT * FROM notification_messages ORDER BY created_at, message_id")
        return [row for row in rows if channel in (None, row["channel"])]
