"""One life of events: what happens to somebody's cards, the process that sends it out, and the reader that judges afterwards."""

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol, cast
from uuid import UUID

import psycopg

from bench.proofs.callers import NoCache
from bench.proofs.events_points import PointedDatabase, PointedSealer, PointedSender, Points
from bench.proofs.events_queues import Message, MessageQueue
from bench.proofs.events_receiver import Receiver
from bench.proofs.grounds import Ground, ProofCard, add_cards
from cardwright.authorizations.rules import AuthorizationRequest, Merchant
from cardwright.authorizations.service import AuthorizationService
from cardwright.kernel.secret import Secret
from cardwright.outbox import service as outbox
from cardwright.outbox.ports import QueueRoute
from cardwright.outbox.rules import EVENT_TYPES, Event, for_partners, for_people
from cardwright.outbox.service import OutboxRelay
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.platform.keys import Sealer
from cardwright.platform.postgres import Actor, Database
from cardwright.platform.secrets import SecretStore
from cardwright.transactions.service import TransactionEvents
from cardwright.webhooks.ports import Sender
from cardwright.webhooks.rules import schemas
from cardwright.webhooks.service import NewSubscription, WebhookService, WebhookSubscriptions, WebhookWorker

# Longer than any lease: what a dead process held is free.
LEASES_OVER = timedelta(seconds=61)
_ROUNDS_MAX = 300
_NEXT_DUE = """
SELECT least(
    (SELECT min(r.created_at) FROM webhook_replays r JOIN webhook_subscriptions s USING (user_id, subscription_id)
     WHERE r.status IN ('QUEUED', 'RUNNING') AND s.status = 'ACTIVE'),
    (SELECT min(verification_due_at) FROM webhook_subscriptions WHERE deleted_at IS NULL),
    (SELECT min(greatest(d.next_attempt_at, d.lease_until)) FROM webhook_deliveries d
     JOIN webhook_subscriptions s USING (user_id, subscription_id) WHERE d.status = 'PENDING' AND s.status = 'ACTIVE'))
"""


class MovableClock(Protocol):
    """A clock that can be moved ahead."""

    def now(self) -> datetime:
        """The time."""
        ...

    def advance(self, by: timedelta) -> datetime:
        """Move it."""
        ...


@dataclass(slots=True)
class HandClock:
    """Stands until it is moved."""

    at: datetime

    def now(self) -> datetime:
        """The time it was moved to."""
        return self.at

    def advance(self, by: timedelta) -> datetime:
        """Move it ahead."""
        self.at += by
        return self.at


@dataclass(frozen=True, slots=True)
class Means:
    """What processes share: they outlive each of them."""

    ground: Ground
    clock: MovableClock
    queue: MessageQueue
    # Where people's notifications are made from; it is only looked into afterwards.
    people: MessageQueue
    sender: Sender
    sealing_key: str = field(default_factory=lambda: base64.b64encode(os.urandom(32)).decode(), repr=False)

    _databases: dict[str, Database] = field(default_factory=dict, repr=False)

    def database(self, role: str, part: str = "") -> Database:
        """The database under a role; each part has a connection of its own, kept until `close`."""
        if role + part not in self._databases:
            self._databases[role + part] = self.ground.as_role(role)
        return self._databases[role + part]

    def close(self) -> None:
        """Close the connections."""
        for database in self._databases.values():
            database.close()

    def sealer(self) -> Sealer:
        """A sealer under the shared key."""
        return Sealer(cast(SecretStore, _OneSecret({"active": "k1", "keys": {"k1": self.sealing_key}})), "sealing")


class _OneSecret:
    def __init__(self, value: Mapping[str, object]) -> None:
        self._value = value

    def get(self, _name: str) -> Secret[Mapping[str, object]]:
        return Secret(self._value)


class _PointedQueue:
    """The relay's way to a queue."""

    def __init__(self, inner: MessageQueue, points: Points, name: str) -> None:
        self._inner, self._points, self._name = inner, points, name

    def send_batch(self, bodies: Sequence[str]) -> list[bool]:
        """Send messages."""
        return self._points.around(f"{self._name}.send", lambda: self._inner.send_batch(bodies))


class Process:
    """The relay, the queue's consumer and the schedule as one process that lives until nothing is left to do, or is killed."""

    def __init__(self, means: Means, points: Points) -> None:
        self._means, self._points = means, points
        clock, ids = means.clock, IdSource(means.clock)
        relaying, working = (PointedDatabase(means.database("worker", part), points, part) for part in ("relay", "worker"))
        sender = PointedSender(means.sender, points)
        routes = [
            QueueRoute("events", _PointedQueue(means.queue, points, "queue"), for_partners),
            QueueRoute("notifications", _PointedQueue(means.people, points, "people"), for_people),
        ]
        sealer, sources = PointedSealer(means.sealer(), points), [TransactionEvents()]
        self._relay = OutboxRelay(relaying, sources, routes, clock)
        self._service = WebhookService(working, clock, ids, sealer, lambda: sender, sources=sources)
        self._worker = WebhookWorker(self._service)

    def run(self, reader: "Reader") -> None:
        """Relay, consume and attempt until nothing is left; the clock is moved to what is due next. Raises Killed."""
        for _ in range(_ROUNDS_MAX):
            if self._relay.relay_once() + self._consume() + self._attempt(reader) or self._means.queue.count():
                continue
            due = reader.next_due()
            if due is None:
                return
            self._means.clock.advance(max(timedelta(0), due - self._means.clock.now()))
        raise RuntimeError("the events do not come to rest")

    def _consume(self) -> int:
        queue = self._means.queue
        messages = self._points.around("queue.receive", queue.receive)
        if messages:
            answer = self._worker.process_event_queue(_batch(messages), lambda: 100.0)
            failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
            done = [message for message in messages if message.message_id not in failed]
            if done:
                self._points.around("queue.delete", lambda: queue.delete(done))
        return len(messages)

    def _attempt(self, reader: "Reader") -> int:
        due = reader.next_due()
        if due is None or due > self._means.clock.now():
            return 0
        looks = iter((100.0, 100.0))
        return self._service.retry_failed(lambda: next(looks, 10.0), poll_s=0.0)


def _batch(messages: Sequence[Message]) -> dict[str, Any]:
    return {"Records": [{"messageId": one.message_id, "body": one.body, "eventSource": "aws:sqs"} for one in messages]}


class Reader:
    """Reads the database as its superuser."""

    def __init__(self, ground: Ground) -> None:
        self._connection = psycopg.connect(ground.url, autocommit=True)

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows of a statement."""
        return self._connection.execute(sql.encode(), parameters).fetchall()

    def next_due(self) -> datetime | None:
        """When something is due to be sent to anybody; None when nothing is."""
        ((due,),) = self.rows(_NEXT_DUE)
        return cast("datetime | None", due)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Told:
    """A person, what happened to them, and where their subscribers listen."""

    actor: Actor
    paths: tuple[str, ...]
    subscriptions: Mapping[str, UUID]
    card: ProofCard


def subscribe(means: Means, receiver: Receiver, base_url: str, *kinds: str) -> Told:
    """A new person with one subscription to everything for each kind of subscriber; none is verified yet."""
    (card,) = add_cards(means.ground, 1, name="events")
    actor = Actor(card.user_id, "cardholder", "req_proof")
    service = WebhookSubscriptions(means.database("app"), means.clock, IdSource(means.clock), means.sealer(), local=True)
    made: dict[str, UUID] = {}
    for kind in kinds:
        path, operation_id = f"/{kind}/{card.card_id}", IdSource(means.clock).new()
        wanted = NewSubscription(base_url + path, sorted(EVENT_TYPES), None)
        subscription, secret = service.create_subscription(actor, wanted, operation_id)
        receiver.trust(path, secret)
        made[path] = subscription.subscription_id
    return Told(actor, tuple(made), made, card)


def card_event(event_id: UUID, at: datetime, told: Told) -> Event:
    """An event as its schema's example shows it, of a person's card."""
    example = schemas.schema("card.created")["examples"][0]["data"]
    data = {name: str(told.card.card_id) if name in {"id", "card_id"} else value for name, value in example.items()}
    return Event(event_id, "card.created", at, data, told.actor.user_id, told.card.card_id)


class _Undone(Exception):
    pass


def happen(means: Means, told: Told, count: int, decisions: int = 1) -> tuple[set[str], set[str]]:
    """Commit so many events and card decisions, and roll as many events back; the ids that are to be heard of, and the others."""
    ids, app = IdSource(means.clock), means.database("app")
    committed, undone = set[str](), set[str]()
    for number in range(2 * count):
        event = card_event(ids.new(), means.clock.now(), told)
        with suppress(_Undone), app.transaction(told.actor) as tx:
            outbox.append(tx, event)
            if number % 2:
                raise _Undone
        (undone if number % 2 else committed).add(str(event.event_id))
    engine = AuthorizationService(app, cast(Cache, NoCache()), means.clock, ids, secrets=lambda: [Secret("a proof's")])
    for number in range(decisions):
        asked = AuthorizationRequest(
            authorization_id=f"auth_{number}_{ids.new()}", card_token=told.card.token, type="authorization",
            amount=Decimal("3.00"), currency="USD", merchant=Merchant("5411"), channel="chip",
        )  # fmt: skip
        committed.add(str(engine.evaluate(asked).transaction_id))
    return committed, undone


def judge(reader: Reader, receiver: Receiver, told: Told, committed: set[str]) -> list[str]:
    """What was lost, sent without having happened, changed on the way or written down wrongly."""
    found = [f"a request to {path} bears no signature of ours" for path in receiver.forged]
    for path in told.paths:
        if path.startswith("/gone"):
            continue
        taken = set(receiver.taken(path))
        found += [f"{path}: {event_id} was lost" for event_id in sorted(committed - taken)]
        found += [f"{path}: {event_id} never happened" for event_id in sorted(taken - committed)]
    bodies: dict[tuple[str, str], set[bytes]] = {}
    for receipt in receiver.receipts:
        bodies.setdefault((receipt.path, receipt.event_id), set()).add(receipt.body)
        if json.loads(receipt.body)["id"] != receipt.event_id:
            found.append(f"{receipt.event_id} says it is another event")
    found += [f"{event_id} came to {path} in two ways" for (path, event_id), ways in bodies.items() if len(ways) > 1]
    return found + _rows(reader, told)


def unsent(queue: MessageQueue, committed: set[str]) -> list[str]:
    """What the other queue lacks; it is emptied."""
    sent = set[str]()
    while messages := queue.receive():
        sent.update(json.loads(message.body)["event"]["id"] for message in messages)
        queue.delete(messages)
    return [f"{event_id} did not get to the people's queue" for event_id in sorted(committed - sent)]


def _rows(reader: Reader, told: Told) -> list[str]:
    """What of the rows is not as it has to be when nothing is left to do."""
    wanted = {path: "DISABLED" if path.startswith("/gone") else "ACTIVE" for path in told.paths}
    states: dict[UUID, str] = dict(
        reader.rows("SELECT subscription_id, status FROM webhook_subscriptions WHERE user_id = %s", told.actor.user_id)
    )
    found = [
        f"{path} is {states[told.subscriptions[path]]}"
        for path, status in wanted.items()
        if states[told.subscriptions[path]] != status
    ]
    open_rows = reader.rows(
        "SELECT d.event_id, d.status FROM webhook_deliveries d JOIN webhook_subscriptions s USING (user_id, subscription_id) "
        "WHERE d.user_id = %s AND s.status = 'ACTIVE' AND d.status <> 'DELIVERED'",
        told.actor.user_id,
    )
    found += [f"the delivery of {event_id} is {status}" for event_id, status in open_rows]
    gaps = reader.rows(
        "SELECT d.event_id FROM webhook_deliveries d LEFT JOIN webhook_attempts a USING (user_id, subscription_id, event_id) "
        "WHERE d.user_id = %s GROUP BY d.user_id, d.subscription_id, d.event_id HAVING count(a.number) <> max(d.attempts) "
        "OR coalesce(max(a.number), 0) <> max(d.attempts)",
        told.actor.user_id,
    )
    found += [f"attempts of {event_id} are missing or stand twice" for (event_id,) in gaps]
    for path, subscription_id in told.subscriptions.items():
        ((ended,),) = reader.rows(
            "SELECT count(*) FROM audit_log WHERE subject_id = %s AND action = 'webhook.disabled'", subscription_id
        )
        if ended != (1 if path.startswith("/gone") else 0):
            found.append(f"{path} was disabled {ended} times")
    return found


@contextmanager
def reading(ground: Ground) -> Iterator[Reader]:
    """A reader, closed afterwards."""
    with closing(Reader(ground)) as reader:
        yield reader
