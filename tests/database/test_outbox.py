"""The outbox and its relay against the real database."""

import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import errors

from cardwright.kernel.clock import rfc3339
from cardwright.kernel.errors import UnavailableError
from cardwright.outbox import service as outbox
from cardwright.outbox.ports import QueueRoute
from cardwright.outbox.rules import (
    EVENT_TYPES,
    VERIFICATION_REQUESTED,
    WEBHOOK_DISABLED,
    WEBHOOK_TEST,
    Event,
    FeedFilter,
    for_partners,
    for_people,
    from_message,
)
from cardwright.outbox.service import OutboxRelay
from cardwright.platform.postgres import Actor
from cardwright.transactions.rules.events import EventMerchant
from cardwright.transactions.service import TransactionEvents
from tests.fakes.card_world import CardWorld
from tests.fakes.webhook_world import NOW, WebhookWorld

SYSTEM = Actor(None, "system")
MERCHANT = EventMerchant(id="m_1", name="Corner Shop", category_code="5411", city="Lyon", country="FR").document()


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


def everything(_event_type: str) -> bool:
    """A queue that wants all events."""
    return True


def relay(world: WebhookWorld, *queues: FakeQueue, **options: Any) -> OutboxRelay:
    """A relay of the world's outbox and transactions to queues that want everything."""
    routes = [QueueRoute(queue, everything) for queue in queues]
    return OutboxRelay(world.worker_database, [TransactionEvents()], routes, world.clock, **options)


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

    class Dying(FakeQueue):
        def send_batch(self, bodies: Sequence[str]) -> list[bool]:
            super().send_batch(bodies)
            raise Killed

    dying, queue = Dying(), FakeQueue()
    with pytest.raises(Killed):
        relay(world, dying).relay_once()
    assert relay(world, queue).relay_once() == 2
    assert sorted(dying.ids()) == sorted(queue.ids()) == sorted(event.event_id for event in events)


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

    running = relay(world, queue, sleep=sleep)
    assert running.run(lambda: next(left), poll_s=0.5) == 2
    assert pauses[0] == 0.5
    assert len(queue.taken) == 2


def test_a_run_goes_on_after_a_queue_that_was_away_and_tells_when_it_stayed_away(world: WebhookWorld) -> None:
    append(world, 1)
    queue = FakeQueue(fail_after=0)

    def back(_seconds: float) -> None:
        queue.fail_after = None

    left = iter([20.0, 20.0, 1.0])
    # Its clock moves on by more than a queue that failed is left alone.
    ticks = itertools.count(step=10.0)
    running = relay(world, queue, sleep=back, monotonic=lambda: next(ticks))
    assert running.run(lambda: next(left)) == 1
    append(world, 1)
    away = relay(world, FakeQueue(fail_after=0), sleep=lambda _: None)
    with pytest.raises(UnavailableError):
        away.run(lambda: 1.0)


def test_a_slow_queue_does_not_keep_a_transaction_open(world: WebhookWorld) -> None:
    append(world, 30)
    queue = FakeQueue()
    # Six seconds a batch.
    running = relay(world, queue, monotonic=lambda: 6.0 * len(queue.batches))
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


def test_a_queue_that_is_away_neither_holds_up_nor_floods_the_other(world: WebhookWorld) -> None:
    events = append(world, 230)
    up, away = FakeQueue(), FakeQueue(fail_after=0)
    passed = [0.0]
    running = relay(world, up, away, monotonic=lambda: passed[0])
    for _ in range(6):
        # Longer than a queue that failed is left alone.
        passed[0] += 10.0
        with pytest.raises(UnavailableError):
            running.relay_once()
    assert sorted(up.ids()) == sorted(event.event_id for event in events)
    assert dict(outbox.gauges(world.worker_database, world.clock))["cardwright_outbox_waiting"] == 230.0
    away.fail_after = None
    passed[0] += 10.0
    while running.relay_once():
        pass
    assert sorted(away.ids()) == sorted(up.ids()) == sorted(event.event_id for event in events)
    assert {row["published_at"] for row in world.sql("SELECT published_at FROM outbox")} == {NOW}


def test_what_every_queue_refuses_does_not_hide_what_is_behind_it(world: WebhookWorld) -> None:
    append(world, 110, "card.frozen")
    world.advance(seconds=1)
    good = append(world, 3)
    queue = FakeQueue(refused="card.frozen")
    running = relay(world, queue)
    # The second pass of a look goes past what the first left; what it left too is gone past at the next.
    running.relay_once()
    running.relay_once()
    assert sorted(queue.ids()) == sorted(event.event_id for event in good)


def test_each_queue_gets_what_it_wants_and_what_nobody_wants_is_done(world: WebhookWorld) -> None:
    partners, people = FakeQueue(), FakeQueue()
    routes = [QueueRoute(partners, for_partners), QueueRoute(people, for_people)]
    user = world.add_user()
    told = ["card.created", VERIFICATION_REQUESTED, WEBHOOK_DISABLED, WEBHOOK_TEST, "something.else"]
    with world.app.transaction(user) as tx:
        for event_type in told:
            outbox.append(tx, Event(world.ids.new(), event_type, NOW, {}, user.user_id))
    running = OutboxRelay(world.worker_database, [], routes, world.clock)
    assert running.relay_once() == 4
    assert {event.type for event in partners.taken} == {"card.created", VERIFICATION_REQUESTED, WEBHOOK_TEST}
    assert {event.type for event in people.taken} == {"card.created", WEBHOOK_DISABLED}
    assert world.sql("SELECT 1 AS one FROM outbox WHERE published_at IS NULL") == []
    world.sql("DELETE FROM outbox")


def wanted(**changes: Any) -> FeedFilter:
    """A filter that everything of the hour matches, but for the changes."""
    whole = FeedFilter(
        user_id=None,
        types=EVENT_TYPES,
        card_ids=None,
        organization_id=None,
        since=NOW - timedelta(minutes=30),
        until=NOW + timedelta(minutes=30),
    )
    return replace(whole, **changes)


def test_the_feed_is_read_in_pages_in_the_order_events_were_made(world: WebhookWorld) -> None:
    events = []
    for _ in range(7):
        world.advance(milliseconds=1)
        events += append(world, 1)
    with world.worker_database.transaction(SYSTEM) as tx:
        first = outbox.feed_page(tx, wanted(), None, 3)
        second = outbox.feed_page(tx, wanted(), first[-1].event_id, 3)
        third = outbox.feed_page(tx, wanted(), second[-1].event_id, 3)
        assert [*first, *second, *third] == events
        assert outbox.count_feed(tx, wanted(), 100) == 7
        assert outbox.count_feed(tx, wanted(), 5) == 5
        assert outbox.find_event(tx, events[3].event_id) == events[3]
        assert outbox.find_event(tx, world.ids.new()) is None


def test_the_feed_is_filtered_by_person_card_organization_type_and_time(world: WebhookWorld) -> None:
    organization = world.ids.new()
    inside, outside = world.add_user(), world.add_user()
    world.sql("UPDATE users SET organization_id = %s WHERE user_id = %s", organization, inside.user_id)
    events = {}
    for name, actor, event_type in (
        ("in", inside, "card.created"),
        ("out", outside, "card.frozen"),
        ("test", inside, WEBHOOK_TEST),
    ):
        world.advance(minutes=1)
        events[name] = world.event(actor, event_type)
        with world.app.transaction(actor) as tx:
            outbox.append(tx, events[name])

    def found(**changes: Any) -> set[str]:
        with world.worker_database.transaction(SYSTEM) as tx:
            page = outbox.feed_page(tx, wanted(**changes), None, 10)
            assert outbox.count_feed(tx, wanted(**changes), 10) == len(page)
        return {name for name, event in events.items() if event in page}

    assert found() == {"in", "out"}
    assert found(user_id=inside.user_id) == {"in"}
    assert found(organization_id=organization) == {"in"}
    assert found(organization_id=world.ids.new()) == set()
    assert found(types=frozenset(("card.frozen", WEBHOOK_TEST))) == {"out"}
    card_id = events["out"].card_id
    assert card_id is not None
    assert found(card_ids=(card_id,)) == {"out"}
    assert found(since=events["out"].created_at) == {"out"}
    assert found(until=events["out"].created_at) == {"in"}


def test_an_owner_finds_no_event_of_somebody_else(world: WebhookWorld) -> None:
    (event,) = append(world, 1)
    with world.app.transaction(world.add_user()) as tx:
        assert outbox.find_event(tx, event.event_id) is None
    with world.app.transaction(world.add_user("admin")) as tx:
        assert outbox.find_event(tx, event.event_id) == event


def test_another_users_events_are_not_seen(world: WebhookWorld) -> None:
    append(world, 1)
    with world.app.transaction(world.add_user()) as tx:
        assert tx.fetch_all("SELECT 1 AS one FROM outbox") == []


def decide(world: WebhookWorld, cards: CardWorld, count: int = 1) -> tuple[UUID, list[UUID]]:
    """Store decisions of one card, half of them declined; return the card and the transactions, oldest first."""
    user = cards.add_user()
    card = cards.issue(user)
    made = []
    for number in range(count):
        world.advance(milliseconds=1)
        transaction_id = world.ids.new()
        made.append(transaction_id)
        approved = number % 2 == 0
        world.sql(
            "INSERT INTO card_transactions (card_id, transaction_id, user_id, authorization_id, type, status, reason, amount, "
            "approved_amount, currency, merchant_category, detail, risk_score, request_digest, config_version, day_start, "
            "month_start, decided_at, chain_seq, chain_hash) VALUES (%s, %s, %s, %s, 'authorization', %s, %s, 42.1, %s, 'USD', "
            "'5411', %s, 7, '', 1, %s, %s, %s, 1, '')",
            card.card_id,
            transaction_id,
            user.user_id,
            f"auth_{transaction_id}",
            "AUTHORIZED" if approved else "DECLINED",
            "approved" if approved else "daily_limit_exceeded",
            42 if approved else 0,
            json.dumps({"merchant": MERCHANT, "channel": "chip"}),
            world.clock.now(),
            NOW,
            NOW,
        )
    return card.card_id, made


def test_a_decision_is_its_own_event_and_copied_into_the_feed_once(fresh_database: str) -> None:
    cards = CardWorld(fresh_database)
    world = WebhookWorld(fresh_database)
    card_id, made = decide(world, cards, 2)
    # The status may move on before the event is sent.
    world.sql("UPDATE card_transactions SET status = 'REVERSED' WHERE reason = 'approved'")
    world.sql("DELETE FROM outbox")
    queue = FakeQueue()
    running = relay(world, queue)
    assert running.relay_once() == 2
    assert running.relay_once() == 0
    for event, transaction_id in zip(queue.taken, made, strict=True):
        approved = transaction_id == made[0]
        assert event.event_id == transaction_id
        assert event.type == ("transaction.authorized" if approved else "transaction.declined")
        assert event.card_id == card_id
        assert event.data == {
            "id": str(transaction_id),
            "authorization_id": f"auth_{transaction_id}",
            "card_id": str(card_id),
            "type": "authorization",
            "status": "AUTHORIZED" if approved else "DECLINED",
            "amount": "42.10",
            "currency": "USD",
            "merchant": MERCHANT,
            "channel": "chip",
            "reason": "approved" if approved else "daily_limit_exceeded",
            "risk_score": 7,
            "created_at": rfc3339(event.created_at),
        }
        with world.worker_database.transaction(SYSTEM) as tx:
            assert outbox.find_event(tx, transaction_id) == event
    assert world.sql("SELECT count(*) AS n FROM transaction_search") == [{"n": 2}]
    cards.close()
    world.close()


def test_collecting_goes_on_until_nothing_is_left_and_two_relays_copy_each_decision_once(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "COLLECT", 10)
    cards = CardWorld(fresh_database)
    world = WebhookWorld(fresh_database)
    _, made = decide(world, cards, 34)
    copied: list[int] = []

    def work() -> None:
        copied.append(relay(world).collect())
        world.worker_database.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    copied.append(relay(world).collect())
    assert sum(copied) == 34
    found = world.sql("SELECT event_id FROM outbox WHERE type LIKE 'transaction.%%' ORDER BY event_id")
    assert [row["event_id"] for row in found] == made
    assert world.sql("SELECT 1 AS one FROM card_transactions WHERE published_at IS NULL") == []
    cards.close()
    world.close()


def test_one_cards_decisions_are_collected_by_themselves_and_again_by_nobody(fresh_database: str) -> None:
    cards = CardWorld(fresh_database)
    world = WebhookWorld(fresh_database)
    (card_id, mine), (_, others) = decide(world, cards, 2), decide(world, cards, 1)
    with world.worker_database.transaction(SYSTEM) as tx:
        outbox.collect_card(tx, [TransactionEvents()], card_id, world.clock.now())
        outbox.collect_card(tx, [TransactionEvents()], card_id, world.clock.now())
        assert [outbox.find_event(tx, transaction_id) is not None for transaction_id in (*mine, *others)] == [True, True, False]
    assert relay(world).collect() == 1
    cards.close()
    world.close()
