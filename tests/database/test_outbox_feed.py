"""The feed of all events against the real database: read in pages, and decisions copied into it."""

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from cardwright.kernel.clock import rfc3339
from cardwright.kernel.errors import UnavailableError
from cardwright.outbox import service as outbox
from cardwright.outbox.ports import QueueRoute
from cardwright.outbox.rules import (
    EVENT_TYPES,
    WEBHOOK_TEST,
    Event,
    FeedFilter,
)
from cardwright.outbox.service import OutboxRelay
from cardwright.platform.postgres import Actor, Transaction
from cardwright.transactions.rules.events import EventMerchant
from cardwright.transactions.service import TransactionEvents
from tests.fakes.card_world import CardWorld
from tests.fakes.relayed import FakeQueue, append, everything, relay
from tests.fakes.webhook_world import NOW, WebhookWorld

SYSTEM = Actor(None, "system")
MERCHANT = EventMerchant(id="m_1", name="Corner Shop", category_code="5411", city="Lyon", country="FR").document()


@pytest.fixture
def world(fresh_database: str) -> Iterator[WebhookWorld]:
    """A world of one test."""
    made = WebhookWorld(fresh_database)
    yield made
    made.close()


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


class BrokenSource:
    """A source that fails while it is told to, after `takes_s` of a clock of its own."""

    def __init__(self, failure: Exception) -> None:
        self.failure: Exception | None = failure
        self.asked = 0
        self.passed = 0.0
        self.takes_s = 0.0

    def take(self, _tx: Transaction, _limit: int) -> list[Event]:
        """Fail, or have nothing."""
        self.asked += 1
        if self.failure is not None:
            self.passed += self.takes_s
            raise self.failure
        return []

    def take_of_card(self, _tx: Transaction, _card_id: UUID) -> list[Event]:
        """Have nothing."""
        return []

    def mark(self, _tx: Transaction, _events: Sequence[Event], _at: datetime) -> None:
        """Do nothing."""


def broken_relay(world: WebhookWorld, source: BrokenSource, queue: FakeQueue) -> OutboxRelay:
    """A relay that collects from a source that fails."""
    routes = [QueueRoute("events", queue, everything)]
    return OutboxRelay(
        world.worker_database, [source], routes, world.clock, sleep=lambda _: None, monotonic=lambda: source.passed
    )


@pytest.mark.parametrize(
    "failure",
    [ValueError("a row nobody can read"), UnavailableError("too slow", code="database_unavailable")],
    ids=["a bug", "a time-out"],
)
def test_a_source_that_fails_does_not_stop_what_is_in_the_feed_and_is_told_of(world: WebhookWorld, failure: Exception) -> None:
    events = append(world, 3)
    source, queue = BrokenSource(failure), FakeQueue()
    running = broken_relay(world, source, queue)
    left = iter([20.0, 20.0, 1.0])
    with pytest.raises(type(failure)):
        running.run(lambda: next(left))
    assert sorted(queue.ids()) == sorted(event.event_id for event in events)
    source.failure = None
    source.passed += 10.0
    assert running.run(lambda: 1.0) == 0


def test_a_source_that_fails_slowly_leaves_half_of_the_time_to_sending(world: WebhookWorld) -> None:
    source, queue = BrokenSource(UnavailableError("too slow", code="database_unavailable")), FakeQueue()
    source.takes_s = 30.0
    running = broken_relay(world, source, queue)
    for _ in range(60):
        with pytest.raises(UnavailableError):
            running.relay_once()
        source.passed += 1.0
    # Each time it takes 30 s and is left alone for as long.
    assert source.asked == 2
