"""The outbox and its relay against the real database."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest
from psycopg import errors

from cardwright.kernel.errors import UnavailableError
from cardwright.outbox import service as outbox
from cardwright.outbox.ports import QueueRoute
from cardwright.outbox.rules import (
    VERIFICATION_REQUESTED,
    WEBHOOK_DISABLED,
    WEBHOOK_TEST,
    Event,
    for_partners,
    for_people,
)
from cardwright.outbox.service import OutboxRelay
from tests.fakes.relayed import FakeQueue, append, relay
from tests.fakes.webhook_world import NOW, WebhookWorld


@pytest.fixture
def world(fresh_database: str) -> Iterator[WebhookWorld]:
    """A world of one test."""
    made = WebhookWorld(fresh_database)
    yield made
    made.close()


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


def test_the_app_cannot_unsay_an_event(world: WebhookWorld) -> None:
    user = world.add_user()
    for statement in (
        "UPDATE outbox SET data = '{}'",
        "UPDATE outbox SET published_at = created_at",
        "UPDATE outbox SET waits_for = NULL, left_at = NULL",
        "DELETE FROM outbox",
    ):
        with pytest.raises(errors.InsufficientPrivilege), world.app.transaction(user) as tx:
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


def test_a_queue_that_stays_away_neither_holds_up_nor_floods_the_other(
    world: WebhookWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "TAKE", 20)
    events = append(world, 90)
    up, away = FakeQueue(), FakeQueue(fail_after=0)

    def look() -> OutboxRelay:
        """Look once with a relay that knows nothing of those before it."""
        world.advance(seconds=1)
        new = relay(world, up, away)
        with pytest.raises(UnavailableError):
            new.relay_once()
        return new

    for _ in range(7):
        look()
    assert sorted(up.ids()) == sorted(event.event_id for event in events)
    events += append(world, 1)
    look()
    assert up.ids()[-1] == events[-1].event_id
    assert dict(outbox.gauges(world.worker_database, world.clock))["cardwright_outbox_waiting"] == 91.0
    assert world.sql("SELECT DISTINCT waits_for FROM outbox") == [{"waits_for": ["notifications"]}]
    away.fail_after = None
    running = relay(world, up, away)
    while running.relay_once():
        world.advance(seconds=1)
    assert sorted(away.ids()) == sorted(up.ids()) == sorted(event.event_id for event in events)
    assert world.sql("SELECT 1 AS one FROM outbox WHERE published_at IS NULL OR waits_for IS NOT NULL") == []
    assert dict(outbox.gauges(world.worker_database, world.clock))["cardwright_outbox_waiting"] == 0.0


def test_what_only_the_queue_that_is_away_wants_does_not_hide_what_is_behind_it(
    world: WebhookWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "TAKE", 10)
    append(world, 25, WEBHOOK_DISABLED)
    world.advance(seconds=1)
    good = append(world, 3, WEBHOOK_TEST)
    partners, people = FakeQueue(), FakeQueue(fail_after=0)
    routes = [QueueRoute("events", partners, for_partners), QueueRoute("notifications", people, for_people)]
    running = OutboxRelay(world.worker_database, [], routes, world.clock, monotonic=lambda: 0.0)
    with pytest.raises(UnavailableError):
        running.relay_once()
    # It rests now: nobody fails, and nothing of it is asked for.
    for _ in range(3):
        running.relay_once()
    assert sorted(partners.ids()) == sorted(event.event_id for event in good)
    # Nor does it hide what the queue that answers has refused before.
    partners.refused = WEBHOOK_TEST
    world.advance(seconds=1)
    good += append(world, 1, WEBHOOK_TEST)
    assert running.relay_once() == 0
    partners.refused = ""
    assert running.relay_once() == 1
    assert partners.ids()[3:] == [good[3].event_id]
    people.fail_after = None
    back = OutboxRelay(world.worker_database, [], routes, world.clock)
    while back.relay_once():
        pass
    assert len(people.taken) == 25
    assert world.sql("SELECT 1 AS one FROM outbox WHERE published_at IS NULL") == []
    world.sql("DELETE FROM outbox")


def test_what_a_queue_refuses_again_and_again_hides_nothing(world: WebhookWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "TAKE", 10)
    append(world, 25, "card.frozen")
    world.advance(seconds=1)
    good = append(world, 3)
    queue = FakeQueue(refused="card.frozen", fail_after=0)
    # All of them are left by a queue that is away.
    for _ in range(3):
        with pytest.raises(UnavailableError):
            relay(world, queue).relay_once()
    queue.fail_after = None
    running = relay(world, queue)
    for _ in range(4):
        world.advance(seconds=1)
        running.relay_once()
    assert sorted(queue.ids()) == sorted(event.event_id for event in good)
    good += append(world, 1)
    assert running.relay_once() == 1
    assert queue.ids()[3:] == [good[3].event_id]


def test_a_queue_is_left_alone_for_as_long_as_its_failure_took(world: WebhookWorld) -> None:
    append(world, 2)
    passed, tries = [0.0], list[float]()

    class Hanging(FakeQueue):
        def send_batch(self, bodies: Sequence[str]) -> list[bool]:
            tries.append(passed[0])
            passed[0] += 7.0
            raise UnavailableError("queue away", code="queue_unavailable")

    up = FakeQueue()
    running = relay(world, up, Hanging(), monotonic=lambda: passed[0])
    for _ in range(20):
        with suppress(UnavailableError):
            running.relay_once()
        passed[0] += 1.0
    assert len(up.taken) == 2
    assert tries[0] == 0.0
    assert {later - before for before, later in itertools.pairwise(tries)} == {14.0}


def test_each_queue_gets_what_it_wants_and_what_nobody_wants_is_done(world: WebhookWorld) -> None:
    partners, people = FakeQueue(), FakeQueue()
    routes = [QueueRoute("events", partners, for_partners), QueueRoute("notifications", people, for_people)]
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


def test_another_users_events_are_not_seen(world: WebhookWorld) -> None:
    append(world, 1)
    with world.app.transaction(world.add_user()) as tx:
        assert tx.fetch_all("SELECT 1 AS one FROM outbox") == []
