"""The outbox and its relay against the real database."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from uuid import UUID

import pytest
from psycopg import errors

from cardwright.kernel.errors import UnavailableError
from cardwright.outbox import service as outbox
from cardwright.outbox.rules import Event, from_message
from cardwright.outbox.service import OutboxEvents, OutboxRelay
from cardwright.platform.postgres import Actor
from cardwright.transactions.service import TransactionEvents
from tests.fakes.card_world import CardWorld
from tests.fakes.webhook_world import NOW, WebhookWorld

SYSTEM = Actor(None, "system")


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


@pytest.fixture
def world(fresh_database: str) -> Iterator[WebhookWorld]:
    """A world of one test."""
    made = WebhookWorld(fresh_database)
    yield made
    made.close()


def relay(world: WebhookWorld, queue: FakeQueue) -> OutboxRelay:
    """A relay of the world's outbox and transactions."""
    return OutboxRelay(world.worker_database, [OutboxEvents(), TransactionEvents()], queue, world.clock)


def append(world: WebhookWorld, count: int, event_type: str = "card.created") -> list[Event]:
    """Commit events of a user."""
    user = world.add_user()
    events = [world.event(user, event_type) for _ in range(count)]
    with world.app.transaction(user) as tx:
        for event in events:
            outbox.append(tx, event)
    return events


def test_what_committed_is_sent_once_as_it_was_and_what_did_not_never(world: WebhookWorld) -> None:
    events = append(world, 3)
    user = world.add_user()

    def change_mind() -> None:
        with world.app.transaction(user) as tx:
            outbox.append(tx, world.event(user))
            raise RuntimeError("changed its mind")

    with pytest.raises(RuntimeError, match="changed"):
        change_mind()
    queue = FakeQueue()
    assert relay(world, queue).relay_once() == 3
    assert sorted(queue.taken, key=lambda event: event.event_id) == sorted(events, key=lambda event: event.event_id)
    assert relay(world, queue).relay_once() == 0
    assert {row["published_at"] for row in world.sql("SELECT published_at FROM outbox")} == {NOW}


def test_events_go_in_tens(world: WebhookWorld) -> None:
    append(world, 23)
    queue = FakeQueue()
    assert relay(world, queue).relay_once() == 23
    assert queue.batches == [10, 10, 3]


def test_what_the_queue_refused_stays_and_does_not_hold_up_the_rest(world: WebhookWorld) -> None:
    append(world, 2, "card.frozen")
    good = append(world, 3)
    queue = FakeQueue(refused="card.frozen")
    assert relay(world, queue).relay_once() == 3
    assert set(queue.ids()) == {event.event_id for event in good}
    queue.refused = ""
    assert relay(world, queue).relay_once() == 2


def test_a_queue_that_fails_midway_leaves_only_what_it_did_not_take(world: WebhookWorld) -> None:
    events = append(world, 25)
    queue = FakeQueue(fail_after=1)
    with pytest.raises(UnavailableError):
        relay(world, queue).relay_once()
    queue.fail_after = None
    assert relay(world, queue).relay_once() == 15
    assert sorted(queue.ids()) == sorted(event.event_id for event in events)


def test_a_relay_killed_before_its_commit_leaves_the_events_to_the_next(world: WebhookWorld) -> None:
    events = append(world, 2)

    class Killed(BaseException):
        pass

    class Deadly(OutboxEvents):
        def mark(self, tx: object, events: object, at: object) -> None:
            raise Killed

    queue = FakeQueue()
    with pytest.raises(Killed):
        OutboxRelay(world.worker_database, [Deadly()], queue, world.clock).relay_once()
    assert relay(world, queue).relay_once() == 2
    assert sorted(queue.ids()) == sorted([event.event_id for event in events] * 2)


def test_relays_at_once_share_the_work(world: WebhookWorld) -> None:
    events = append(world, 120)
    queue = FakeQueue(pause_s=0.01)

    def work() -> None:
        running = relay(world, queue)
        while running.relay_once():
            pass
        world.worker_database.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = relay(world, queue).relay_once()
    assert left == 0
    assert sorted(queue.ids()) == sorted(event.event_id for event in events)


def test_a_run_polls_until_its_time_is_up(world: WebhookWorld) -> None:
    queue, pauses = FakeQueue(), list[float]()
    left = iter([20.0, 15.0, 8.2, 8.0])

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        append(world, 1)

    running = OutboxRelay(world.worker_database, [OutboxEvents()], queue, world.clock, sleep=sleep)
    assert running.run(lambda: next(left), poll_s=0.5) == 2
    assert pauses[0] == 0.5
    assert len(queue.taken) == 2


def test_a_run_goes_on_after_a_queue_that_was_away_and_tells_when_it_stayed_away(world: WebhookWorld) -> None:
    append(world, 1)
    queue = FakeQueue(fail_after=0)

    def back(_seconds: float) -> None:
        queue.fail_after = None

    left = iter([20.0, 20.0, 1.0])
    running = OutboxRelay(world.worker_database, [OutboxEvents()], queue, world.clock, sleep=back)
    assert running.run(lambda: next(left)) == 1
    append(world, 1)
    away = OutboxRelay(world.worker_database, [OutboxEvents()], FakeQueue(fail_after=0), world.clock, sleep=lambda _: None)
    with pytest.raises(UnavailableError):
        away.run(lambda: 1.0)


def test_a_slow_queue_does_not_keep_a_transaction_open(world: WebhookWorld) -> None:
    append(world, 30)
    ticks = iter([0.0, 6.0, 12.0])
    queue = FakeQueue()
    running = OutboxRelay(world.worker_database, [OutboxEvents()], queue, world.clock, monotonic=lambda: next(ticks))
    assert running.relay_once() == 20
    assert relay(world, queue).relay_once() == 10


@pytest.mark.parametrize(
    "statement", ["UPDATE outbox SET data = '{}'", "UPDATE outbox SET published_at = created_at", "DELETE FROM outbox"]
)
def test_the_app_cannot_unsay_an_event(world: WebhookWorld, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege), world.app.transaction(world.add_user()) as tx:
        tx.execute(statement)


def test_what_waits_can_be_measured(world: WebhookWorld) -> None:
    assert dict(outbox.gauges(world.worker_database, world.clock)) == {
        "cardwright_outbox_waiting": 0.0,
        "cardwright_outbox_oldest_age_seconds": 0.0,
    }
    append(world, 2)
    world.advance(seconds=90)
    assert dict(outbox.gauges(world.worker_database, world.clock)) == {
        "cardwright_outbox_waiting": 2.0,
        "cardwright_outbox_oldest_age_seconds": 90.0,
    }


def test_another_users_events_are_not_seen(world: WebhookWorld) -> None:
    append(world, 1)
    with world.app.transaction(world.add_user()) as tx:
        assert tx.fetch_all("SELECT 1 AS one FROM outbox") == []


def test_a_decision_is_its_own_event(fresh_database: str) -> None:
    cards = CardWorld(fresh_database)
    world = WebhookWorld(fresh_database)
    user = cards.add_user()
    card = cards.issue(user)
    stored = {}
    for reason, transaction_status in (("approved", "AUTHORIZED"), ("daily_limit_exceeded", "DECLINED")):
        transaction_id = world.ids.new()
        stored[transaction_id] = (reason, transaction_status)
        world.sql(
            "INSERT INTO card_transactions (card_id, transaction_id, user_id, authorization_id, type, status, reason, amount, "
            "approved_amount, currency, merchant_category, detail, risk_score, request_digest, config_version, day_start, "
            "month_start, decided_at, chain_seq, chain_hash) VALUES (%s, %s, %s, %s, 'authorization', %s, %s, 42.1, %s, 'USD', "
            """'5411', '{"merchant": {"id": "m_1", "country": "FR"}, "channel": "chip"}', 7, '', 1, %s, %s, %s, 1, '')""",
            card.card_id,
            transaction_id,
            user.user_id,
            f"auth_{transaction_id}",
            transaction_status,
            reason,
            42 if reason == "approved" else 0,
            NOW,
            NOW,
            NOW,
        )
    # The status may move on before the event is sent.
    world.sql("UPDATE card_transactions SET status = 'REVERSED' WHERE reason = 'approved'")
    queue = FakeQueue()
    running = OutboxRelay(world.worker_database, [TransactionEvents()], queue, world.clock)
    assert running.relay_once() == 2
    assert running.relay_once() == 0
    for event in queue.taken:
        reason, transaction_status = stored.pop(event.event_id)
        assert event.type == ("transaction.authorized" if reason == "approved" else "transaction.declined")
        assert (event.user_id, event.card_id, event.created_at) == (user.user_id, card.card_id, NOW)
        assert event.data == {
            "id": str(event.event_id),
            "authorization_id": f"auth_{event.event_id}",
            "card_id": str(card.card_id),
            "type": "authorization",
            "status": transaction_status,
            "amount": "42.10",
            "currency": "USD",
            "merchant": {"id": "m_1", "country": "FR"},
            "channel": "chip",
            "reason": reason,
            "risk_score": 7,
            "created_at": "2026-11-21T12:00:00.000Z",
        }
    assert stored == {}
    cards.close()
    world.close()
