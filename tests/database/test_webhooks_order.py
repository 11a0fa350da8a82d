"""A card's events in order for subscriptions that want it, whatever the queue, failures, pauses and replays do."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from uuid import UUID

import pytest

from cardwright.outbox import service as outbox
from cardwright.outbox.rules import Event
from cardwright.platform.egress import Answer
from cardwright.platform.postgres import Actor, Transaction
from cardwright.webhooks.rules import RETRY_DELAYS_S, Subscription
from cardwright.webhooks.service import NewSubscription, ReplayRequest, WebhookService
from cardwright.webhooks.service.jobs import WORKER
from cardwright.webhooks.service.webhooks import LEASE
from cardwright.webhooks.store import deliveries as store
from cardwright.webhooks.store.claiming import claim_due
from tests.fakes.webhook_world import WebhookWorld, answer

TYPES = ("card.created", "card.frozen", "card.unfrozen")


@pytest.fixture
def world(fresh_database: str) -> Iterator[WebhookWorld]:
    """A world of one test."""
    made = WebhookWorld(fresh_database)
    yield made
    made.close()


def ordered(world: WebhookWorld, user: Actor) -> Subscription:
    """A verified subscription that wants the events of a card in order."""
    wanted = NewSubscription("http://127.0.0.1:9/ordered", TYPES, ordered=True)
    made, _ = world.subscriptions.create_subscription(user, wanted, world.ids.new())
    world.consume(world.verification_of(made))
    return world.subscriptions.get_subscription(user, made.subscription_id)


def happen(world: WebhookWorld, user: Actor, card: UUID, count: int, event_type: str = "card.frozen") -> list[Event]:
    """Commit events of a card, one after the other."""
    events = []
    for _ in range(count):
        world.advance(milliseconds=1)
        events.append(world.event(user, event_type, card))
        with world.app.transaction(user) as tx:
            outbox.append(tx, events[-1])
    return events


def sent(world: WebhookWorld) -> list[str]:
    """Ids of the events posted, in the order of their posts."""
    return [json.loads(post.body)["id"] for post in world.sender.events()]


def ids(*events: Event) -> list[str]:
    """Ids of events."""
    return [str(event.event_id) for event in events]


def refuses(*events: Event) -> Callable[[str, bytes], Answer]:
    """A receiver that takes everything but these."""
    refused = set(ids(*events))
    return lambda _url, body: Answer(500 if json.loads(body)["id"] in refused else 200, {}, b"")


def test_messages_in_reverse_arrive_in_order(world: WebhookWorld) -> None:
    user = world.add_user()
    ordered(world, user)
    card = world.ids.new()
    events = happen(world, user, card, 4)
    assert world.consume(*reversed(events)) == []
    assert sent(world) == ids(events[0])
    assert world.retry() == 3
    assert sent(world) == ids(*events)
    assert {world.delivery(event)["status"] for event in events} == {"DELIVERED"}


def test_of_a_card_one_is_on_its_way_at_a_time_and_other_cards_beside_it(world: WebhookWorld) -> None:
    user = world.add_user()
    ordered(world, user)
    cards = [world.ids.new(), world.ids.new()]
    events = {card: happen(world, user, card, 6) for card in cards}
    flying: dict[str, int] = {}
    most: list[tuple[int, int]] = []
    lock = threading.Lock()

    def script(_url: str, body: bytes) -> Answer:
        card = str(json.loads(body)["data"]["card_id"])
        with lock:
            flying[card] = flying.get(card, 0) + 1
            most.append((max(flying.values()), sum(flying.values())))
        time.sleep(0.02)
        with lock:
            flying[card] -= 1
        return Answer(200, {}, b"")

    world.sender.script = script
    world.consume(*events[cards[0]], *events[cards[1]], time_left=5.0)
    assert world.retry() == 12
    for card in cards:
        of_the_card = set(ids(*events[card]))
        assert [one for one in sent(world) if one in of_the_card] == ids(*events[card])
    assert max(of_one for of_one, _ in most) == 1
    assert max(of_all for _, of_all in most) == 2


def test_an_event_that_fails_six_times_holds_up_its_card_until_then_and_no_other_card(world: WebhookWorld) -> None:
    user = world.add_user()
    ordered(world, user)
    first, second = happen(world, user, world.ids.new(), 2)
    (other,) = happen(world, user, world.ids.new(), 1)
    world.sender.script = refuses(first)
    world.consume(first, second, other)
    world.retry()
    assert sorted(sent(world)) == sorted(ids(first, other))
    for delay_s in RETRY_DELAYS_S:
        assert world.delivery(second)["status"] == "PENDING"
        world.advance(seconds=delay_s * 1.1)
        world.retry()
    assert sent(world).count(str(first.event_id)) == 6
    assert world.delivery(first)["status"] == "FAILED"
    assert sent(world)[-1:] == ids(second)
    assert world.delivery(second)["status"] == "DELIVERED"


def test_another_subscription_does_not_wait_with_the_one_whose_receiver_fails(world: WebhookWorld) -> None:
    user, staff = world.add_user(), world.add_user("admin")
    ordered(world, user)
    world.subscribe(staff, *TYPES, url="http://127.0.0.1:9/staff")
    events = happen(world, user, world.ids.new(), 3)
    world.sender.script = lambda url, _body: Answer(200 if url.endswith("staff") else 500, {}, b"")
    world.consume(*events)
    world.retry()
    assert sorted(json.loads(post.body)["id"] for post in world.sender.events() if post.url.endswith("staff")) == ids(*events)
    assert [json.loads(post.body)["id"] for post in world.sender.events() if post.url.endswith("ordered")] == ids(events[0])


class Kept:
    """Events that some table keeps and nobody has copied into the feed yet."""

    def __init__(self, *events: Event) -> None:
        self._events = list(events)

    def take(self, tx: Transaction, limit: int) -> list[Event]:
        return self._events[:limit]

    def take_of_card(self, tx: Transaction, card_id: UUID) -> list[Event]:
        return [event for event in self._events if event.card_id == card_id]

    def mark(self, tx: Transaction, events: Sequence[Event], at: datetime) -> None:
        self._events = [event for event in self._events if event not in events]


def test_what_was_not_in_the_feed_yet_goes_before_what_came_after_it(world: WebhookWorld) -> None:
    user = world.add_user()
    ordered(world, user)
    card = world.ids.new()
    world.advance(milliseconds=1)
    early = world.event(user, "card.frozen", card)
    (late,) = happen(world, user, card, 1, "card.unfrozen")
    sender = world.sender
    service = WebhookService(
        world.worker_database, world.clock, world.ids, world.secrets.sealer(), lambda: sender, sources=[Kept(early)]
    )
    assert service.attempt(service.send_event(late), lambda: 100.0) == []
    assert sent(world) == ids(early)
    assert world.retry() == 1
    assert sent(world) == ids(early, late)
    assert world.consume(early) == []
    assert sent(world) == ids(early, late)


def test_what_it_does_not_want_is_not_made_up_for(world: WebhookWorld) -> None:
    user = world.add_user()
    card, other = world.ids.new(), world.ids.new()
    before = happen(world, user, card, 1)
    world.advance(seconds=1)
    ordered(world, user)
    world.retry()
    unwanted = [*happen(world, user, card, 1, "card.expired"), *happen(world, user, other, 1)]
    (wanted,) = happen(world, user, card, 1)
    world.consume(wanted)
    assert sent(world) == ids(wanted)
    made = world.sql("SELECT event_id FROM webhook_deliveries")
    assert {row["event_id"] for row in made}.isdisjoint(event.event_id for event in (*before, *unwanted))


def test_a_replay_keeps_the_order_and_waits_for_what_is_on_its_way(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription = ordered(world, user)
    card = world.ids.new()
    events = happen(world, user, card, 3)
    world.consume(*events)
    world.retry()
    (new,) = happen(world, user, card, 1)
    (job,) = world.deliveries.send_event(new)
    world.advance(seconds=1)
    wanted = ReplayRequest(since=events[0].created_at, until=new.created_at)
    world.subscriptions.replay(user, subscription.subscription_id, wanted, world.ids.new())
    assert world.retry() == 0
    assert {world.delivery(event)["status"] for event in events} == {"PENDING"}
    posted = job.post()
    assert posted is not None
    job.record(posted)
    assert world.retry() == 3
    assert sent(world) == ids(*events, new, *events)
    assert [(row["attempts"], row["round_start"]) for row in map(world.delivery, events)] == [(2, 1)] * 3


def test_after_a_pause_what_was_missed_goes_before_what_is_new(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription = ordered(world, user)
    world.retry()
    card = world.ids.new()
    world.advance(hours=2)
    world.subscriptions.pause(user, subscription.subscription_id, world.ids.new())
    missed = happen(world, user, card, 2)
    assert world.consume(*missed) == []
    world.advance(hours=2)
    world.subscriptions.reactivate(user, subscription.subscription_id, world.ids.new())
    (new,) = happen(world, user, card, 1)
    world.consume(new)
    world.retry()
    assert sent(world) == ids(*missed, new)
    assert {world.delivery(event)["status"] for event in (*missed, new)} == {"DELIVERED"}


def test_two_workers_that_see_different_firsts_of_a_card_do_not_both_go(world: WebhookWorld) -> None:
    user = world.add_user()
    ordered(world, user)
    world.retry()
    first, second = happen(world, user, world.ids.new(), 2)
    world.consume(first)
    world.consume(second, time_left=5.0)
    now, claimed = world.clock.now(), list[list[store.Lease]]()

    def claim(tx: Transaction) -> list[store.Lease]:
        token = world.ids.new()
        return claim_due(tx, now=now, token=token, lease_until=now + LEASE, limit=9, per_subscription=9, flying={})

    def other_worker() -> None:
        with world.worker_database.transaction(WORKER) as tx:
            claimed.append(claim(tx))
        world.worker_database.close()

    with world.worker_database.transaction(WORKER) as tx:
        assert [lease.event_id for lease in claim(tx)] == [second.event_id]
        world.sql(
            "UPDATE webhook_deliveries SET status = 'PENDING', next_attempt_at = %s, finished_at = NULL WHERE event_id = %s",
            now,
            first.event_id,
        )
        worker = threading.Thread(target=other_worker)
        worker.start()
        waiting = "SELECT 1 AS one FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
        while not world.sql(waiting):
            time.sleep(0.01)
    worker.join()
    assert claimed == [[]]
    assert world.delivery(first)["lease_token"] is None


def test_events_without_a_card_are_not_ordered(world: WebhookWorld) -> None:
    user = world.add_user()
    wanted = NewSubscription("http://127.0.0.1:9/ordered", ("security.alert",), ordered=True)
    made, _ = world.subscriptions.create_subscription(user, wanted, world.ids.new())
    world.consume(world.verification_of(made))
    alerts = [Event(world.ids.new(), "security.alert", world.clock.now(), {}, user.user_id) for _ in range(2)]
    world.sender.script = answer(200)
    world.consume(*alerts)
    assert sorted(sent(world)) == sorted(ids(*alerts))
