"""The schedule goes on: with a sender that is away, replays that fail, many replays, events that are replayed for ever."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from cardwright.kernel.errors import ConflictError, UnavailableError
from cardwright.outbox import service as outbox
from cardwright.platform.egress import Answer
from cardwright.platform.postgres import Transaction
from cardwright.webhooks import rules
from cardwright.webhooks.rules import ReplayStatus
from cardwright.webhooks.service import ReplayRequest, sweeping
from cardwright.webhooks.store import deliveries, subscriptions
from tests.fakes.replay_world import DAY, ReplayWorld
from tests.fakes.webhook_world import answer


@pytest.fixture
def world(fresh_database: str) -> Iterator[ReplayWorld]:
    """A world of one test."""
    made = ReplayWorld(fresh_database)
    yield made
    made.close()


def away(*_arguments: object, **_named: object) -> Any:
    """What does not answer."""
    raise UnavailableError("away")


def test_a_delivery_no_sender_could_be_had_for_is_tried_again_some_seconds_later_and_no_attempt_is_counted(
    world: ReplayWorld,
) -> None:
    asked: list[str] = []

    def script(url: str, _body: bytes) -> Answer:
        asked.append(url)
        raise UnavailableError("away")

    world.sender.script = script
    (event,) = world.events(1)
    begun = world.clock.now() - timedelta(seconds=1)
    waits = world.delivery(event)["next_attempt_at"] - begun
    assert timedelta(seconds=10) <= waits <= timedelta(seconds=15)
    world.retry(0.3)
    assert len(asked) == 1
    for again in (2, 3):
        world.advance(seconds=16)
        world.retry(0.3)
        assert len(asked) == again
    assert (world.attempts(), world.delivery(event)["attempts"]) == ([], 0)
    world.sender.script = answer(200)
    world.advance(seconds=16)
    assert world.retry() == 1
    assert world.attempts() == [(1, "delivered")]


@pytest.mark.parametrize("failing", ["count_feed", "feed_page"])
def test_a_replay_that_cannot_be_read_holds_up_no_delivery(
    world: ReplayWorld, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    (missed,) = world.events(1, deliver=False)
    asked = world.ask_day()
    due = world.event(world.user)
    world.consume(due, time_left=5.0)
    monkeypatch.setattr(outbox, failing, away)
    world.retry()
    assert world.delivery(due)["status"] == "DELIVERED"
    # Without the number it goes on all the same.
    assert world.state(asked).status is (ReplayStatus.DONE if failing == "count_feed" else ReplayStatus.QUEUED)
    monkeypatch.undo()
    world.drain()
    world.retry()
    assert world.delivery(missed)["status"] == "DELIVERED"


def test_overdue_verifications_that_cannot_be_looked_for_hold_up_no_delivery(
    world: ReplayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = world.event(world.user)
    world.consume(due, time_left=5.0)
    for failure in (away, lambda *_arguments: 1 // 0):
        monkeypatch.setattr(subscriptions, "claim_unverified", failure)
        world.retry(0.05)
    assert world.delivery(due)["status"] == "DELIVERED"


def test_a_replay_that_fails_stands_behind_the_others(world: ReplayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.events(2)
    bad = world.ask_day()
    world.advance(seconds=1)
    good = world.ask_day()
    world.advance(seconds=1)
    page = outbox.feed_page
    monkeypatch.setattr(outbox, "feed_page", away)
    with pytest.raises(UnavailableError):
        world.replays.step()
    monkeypatch.setattr(outbox, "feed_page", page)
    assert world.replays.step() == 2
    assert (world.state(bad).status, world.state(good).status) == (ReplayStatus.QUEUED, ReplayStatus.DONE)


def test_nothing_of_the_subscription_is_locked_while_its_replay_reads(
    world: ReplayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.events(1)
    asked, target, page = world.ask_day(), world.subscription.subscription_id, outbox.feed_page

    def read(*arguments: Any) -> Any:
        monkeypatch.setattr(outbox, "feed_page", page)
        world.subscriptions.pause(world.user, target, world.ids.new())
        return page(*arguments)

    monkeypatch.setattr(outbox, "feed_page", read)
    assert world.replays.step() == 0
    # It was paused meanwhile: what was read is not delivered.
    assert (world.state(asked).status, world.state(asked).done) == (ReplayStatus.QUEUED, 0)
    world.subscriptions.reactivate(world.user, target, world.ids.new())
    world.drain()
    assert world.state(asked).done == 1


def test_many_short_replays_are_worked_off_in_one_look(world: ReplayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    # However slow the machine is.
    monkeypatch.setattr(sweeping, "SPELL_S", 60.0)
    monkeypatch.setattr(rules, "OPEN_REPLAYS_MAX", 12)
    events = world.events(12)
    asked = [world.ask(ReplayRequest(event_id=event.event_id)) for event in events]
    sweeping.Sweep(world.worker_database, world.clock, world.replays).move_replays()
    assert {world.state(one).status for one in asked} == {ReplayStatus.DONE}


def test_where_more_is_to_be_replayed_the_next_look_goes_on_with_it(world: ReplayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(sweeping, "SPELL_S", 0.0)
    sweep = sweeping.Sweep(world.worker_database, world.clock, world.replays, monotonic=lambda: now)
    asked = [world.ask_day() for _ in range(3)]
    done = []
    for _ in range(3):
        sweep.move_replays()
        done.append(sum(world.state(one).status is ReplayStatus.DONE for one in asked))
    assert done == [1, 2, 3]
    sweep.move_replays()
    late = world.ask_day()
    sweep.move_replays()
    assert world.state(late).status is ReplayStatus.QUEUED
    now = sweeping.SWEEP_S
    sweep.move_replays()
    assert world.state(late).status is ReplayStatus.DONE


def test_stopping_and_starting_again_and_again_leaves_one_replay_open_that_goes_through_all_of_it(world: ReplayWorld) -> None:
    target = world.subscription.subscription_id
    missed = []
    first = None
    for _ in range(8):
        world.subscriptions.pause(world.user, target, world.ids.new())
        missed.append(world.happen(world.user))
        world.consume(missed[-1])
        world.advance(minutes=5)
        world.subscriptions.reactivate(world.user, target, world.ids.new())
        (still,) = world.sql("SELECT * FROM webhook_replays WHERE finished_at IS NULL")
        first = first or still
        world.replays.step(limit=1)
    (last,) = world.sql("SELECT * FROM webhook_replays WHERE finished_at IS NULL")
    assert first is not None
    assert (last["replay_id"], last["range_from"]) == (first["replay_id"], first["range_from"])
    assert last["range_until"] == world.clock.now() + timedelta(minutes=1)
    # Hers are counted by themselves.
    for _ in range(5):
        world.ask_day(only_missed=True)
    with pytest.raises(ConflictError) as refusal:
        world.ask_day()
    assert refusal.value.code == "too_many_replays"
    world.drain(limit=3)
    world.retry()
    assert sorted(world.told()) == [event.event_id for event in missed]
    replay = world.subscriptions.get_replay(world.user, target, first["replay_id"])
    assert (replay.done, replay.total) == (8, 8)


def test_everybodys_events_are_looked_through_a_day_at_a_time(world: ReplayWorld) -> None:
    staff = world.add_user("support")
    everybodys, _ = world.subscribe(staff)
    world.drain()
    happened = []
    for _ in range(3):
        happened += world.events(3, deliver=False)
        world.advance(days=2)
    wanted = ReplayRequest(since=world.clock.now() - 7 * DAY)
    asked = world.ask(wanted, actor=staff, of=everybodys)
    steps = []
    while (moved := world.replays.step(limit=2)) is not None:
        steps.append(moved)
    assert sorted(steps) == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    state = world.subscriptions.get_replay(staff, everybodys.subscription_id, asked.replay_id)
    assert (state.status, state.done, state.total) == (ReplayStatus.DONE, 9, 9)
    assert world.rounds() == {event.event_id: (0, "PENDING") for event in happened}


def test_an_event_has_a_hundred_rounds_and_no_more(world: ReplayWorld) -> None:
    once, often = world.events(2)
    world.sql("UPDATE webhook_deliveries SET rounds = 99 WHERE event_id = %s", often.event_id)
    world.ask(ReplayRequest(event_id=often.event_id))
    world.drain()
    assert world.rounds()[often.event_id] == (1, "PENDING")
    world.retry()
    with pytest.raises(ConflictError) as refusal:
        world.ask(ReplayRequest(event_id=often.event_id))
    assert refusal.value.code == "too_many_rounds"
    world.sender.posts.clear()
    asked = world.ask_day()
    world.drain()
    world.retry()
    assert world.state(asked).done == 2
    assert world.told() == [once.event_id]


def test_attempts_are_counted_far_beyond_what_a_small_integer_holds(world: ReplayWorld) -> None:
    (event,) = world.events(1)
    world.sql("UPDATE webhook_deliveries SET attempts = 40000, round_start = 40000 WHERE event_id = %s", event.event_id)
    world.ask(ReplayRequest(event_id=event.event_id))
    world.retry()
    world.drain()
    world.retry()
    assert world.attempts() == [(1, "delivered"), (40001, "delivered")]


def test_one_delivery_that_cannot_be_recorded_does_not_end_the_schedules_run(
    world: ReplayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = world.event(world.user), world.event(world.user)
    world.consume(bad, good, time_left=5.0)
    record = deliveries.record_attempt

    def records(tx: Transaction, lease: deliveries.Lease, *arguments: Any) -> bool:
        if lease.event_id == bad.event_id:
            raise ValueError("out of range")
        return record(tx, lease, *arguments)

    monkeypatch.setattr(deliveries, "record_attempt", records)
    world.retry()
    assert (world.delivery(bad)["status"], world.delivery(good)["status"]) == ("PENDING", "DELIVERED")
    monkeypatch.undo()
    world.advance(seconds=61)
    world.retry()
    assert world.delivery(bad)["status"] == "DELIVERED"


def test_a_replay_that_was_being_read_when_it_was_widened_begins_anew(
    world: ReplayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, page = world.subscription.subscription_id, outbox.feed_page
    world.subscriptions.pause(world.user, target, world.ids.new())
    world.advance(seconds=5)
    world.subscriptions.reactivate(world.user, target, world.ids.new())
    missed = []

    def read(*arguments: Any) -> Any:
        monkeypatch.setattr(outbox, "feed_page", page)
        found = page(*arguments)
        world.subscriptions.pause(world.user, target, world.ids.new())
        missed.append(world.happen(world.user))
        world.consume(missed[-1])
        world.advance(seconds=5)
        world.subscriptions.reactivate(world.user, target, world.ids.new())
        return found

    monkeypatch.setattr(outbox, "feed_page", read)
    assert world.replays.step() == 0
    world.drain()
    assert list(world.rounds()) == [missed[0].event_id]
