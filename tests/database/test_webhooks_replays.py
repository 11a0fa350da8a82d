"""Replays against the real database: what is sent again, page by page, by any number of workers."""

from collections.abc import Iterator

import pytest

from cardwright.kernel.errors import ConflictError, InvalidFieldsError, NotFoundError
from cardwright.webhooks.rules import DeliveryStatus, ReplayStatus, SubscriptionStatus
from cardwright.webhooks.service import ReplayRequest
from cardwright.webhooks.store import deliveries
from cardwright.webhooks.store import replays as store
from tests.fakes.at_once import at_once
from tests.fakes.replay_world import DAY, ReplayWorld
from tests.fakes.webhook_world import answer


@pytest.fixture
def world(fresh_database: str) -> Iterator[ReplayWorld]:
    """A world of one test."""
    made = ReplayWorld(fresh_database)
    yield made
    made.close()


def test_one_event_is_sent_again_under_its_id(world: ReplayWorld) -> None:
    event, other = world.events(2)
    asked = world.ask(ReplayRequest(event_id=event.event_id))
    assert (asked.status, asked.done, asked.total) == (ReplayStatus.QUEUED, 0, None)
    world.retry()
    told = world.state(asked)
    assert (told.status, told.done, told.total, told.finished_at) == (ReplayStatus.DONE, 1, 1, world.clock.now())
    assert sorted(world.told()[:2]) == [event.event_id, other.event_id]
    assert world.told()[2:] == [event.event_id]
    first = world.told().index(event.event_id)
    assert world.sender.events()[2].body == world.sender.events()[first].body
    shown = world.subscriptions.get_delivery(world.user, world.subscription.subscription_id, event.event_id)
    assert [attempt.number for attempt in shown.attempts] == [1, 2]


def test_an_event_outside_the_filter_is_sent_when_it_is_named(world: ReplayWorld) -> None:
    frozen = world.happen(world.user, "card.frozen")
    world.consume(frozen)
    assert world.told() == []
    world.ask(ReplayRequest(event_id=frozen.event_id))
    world.retry()
    assert world.told() == [frozen.event_id]


def test_what_was_delivered_stays_so_when_only_missed_events_are_asked_for(world: ReplayWorld) -> None:
    (event,) = world.events(1)
    world.ask(ReplayRequest(event_id=event.event_id, only_missed=True))
    world.ask_day(only_missed=True)
    world.retry()
    assert world.told() == [event.event_id]


def test_an_event_one_may_not_hear_of_is_not_there(world: ReplayWorld) -> None:
    second, _ = world.subscribe(world.user)
    strangers = world.happen(world.add_user())
    internal = world.verification_of(world.subscription)
    of_the_other = world.subscriptions.send_test(world.user, second.subscription_id, world.ids.new())
    for event_id in (strangers.event_id, internal.event_id, of_the_other.event_id, world.ids.new()):
        with pytest.raises(NotFoundError) as refusal:
            world.ask(ReplayRequest(event_id=event_id))
        assert refusal.value.code == "event_not_found"
    world.ask(ReplayRequest(event_id=of_the_other.event_id), of=second)
    staff = world.add_user("admin")
    everybodys, _ = world.subscribe(staff)
    world.ask(ReplayRequest(event_id=strangers.event_id), actor=staff, of=everybodys)


def test_a_range_goes_page_by_page_through_what_matches(world: ReplayWorld) -> None:
    before = world.events(2)
    since = world.clock.now()
    inside = world.events(5)
    world.happen(world.user, "card.frozen")
    world.happen(world.add_user())
    world.subscriptions.send_test(world.user, world.subscription.subscription_id, world.ids.new())
    until = world.clock.now()
    after = world.events(1)
    world.sender.posts.clear()
    asked = world.ask(ReplayRequest(since=since, until=until))
    steps = []
    while world.state(asked).finished_at is None:
        moved = world.replays.step(limit=2)
        now = world.state(asked)
        steps.append((moved, now.status.value, now.done, now.total))
    assert steps == [(2, "RUNNING", 2, 5), (2, "RUNNING", 4, 5), (1, "DONE", 5, 5)]
    world.retry()
    assert sorted(world.told()) == [event.event_id for event in inside]
    assert not {event.event_id for event in (*before, *after)} & set(world.told())
    assert world.replays.step() is None


def test_a_range_brings_what_no_row_was_made_of_and_what_failed(world: ReplayWorld) -> None:
    (delivered,) = world.events(1)
    (lost,) = world.events(1, deliver=False)
    world.sender.script = answer(500)
    (failed,) = world.events(1)
    for _ in range(5):
        world.advance(hours=7)
        world.retry()
    assert world.delivery(failed)["status"] == "FAILED"
    world.sender.script = answer(500)
    world.sender.posts.clear()
    asked = world.ask(ReplayRequest(since=world.clock.now() - 3 * DAY, only_missed=True))
    world.drain()
    assert world.state(asked).done == 3
    assert world.rounds() == {
        delivered.event_id: (0, "DELIVERED"),
        lost.event_id: (0, "PENDING"),
        failed.event_id: (6, "PENDING"),
    }
    world.retry()
    for _ in range(5):
        world.advance(hours=7)
        world.retry()
    assert sorted(world.told()) == sorted([lost.event_id] * 6 + [failed.event_id] * 6)
    shown = world.subscriptions.get_delivery(world.user, world.subscription.subscription_id, failed.event_id)
    assert (shown.attempted, [attempt.number for attempt in shown.attempts]) == (12, list(range(1, 13)))


@pytest.mark.parametrize(
    ("since_days", "until_days", "errors"),
    [
        (-400, -370, [("from", "range_too_old")]),
        (-365, None, [("from", "range_too_long"), ("from", "range_too_old")]),
        (-2, -3, [("from", "range_empty")]),
        (-1, 1, [("to", "range_in_future")]),
        (None, None, [("from", "required")]),
        (None, -1, [("from", "required")]),
    ],
)
def test_a_range_that_cannot_be_replayed_is_refused(
    world: ReplayWorld, since_days: int | None, until_days: int | None, errors: list[tuple[str, str]]
) -> None:
    since, until = (None if days is None else world.clock.now() + days * DAY for days in (since_days, until_days))
    with pytest.raises(InvalidFieldsError) as refusal:
        world.ask(ReplayRequest(since=since, until=until))
    assert [(error.field, error.code) for error in refusal.value.errors] == errors


def test_an_event_and_a_range_are_not_asked_for_together(world: ReplayWorld) -> None:
    (event,) = world.events(1)
    with pytest.raises(InvalidFieldsError) as refusal:
        world.ask(ReplayRequest(event_id=event.event_id, since=world.clock.now() - DAY))
    assert [error.code for error in refusal.value.errors] == ["event_or_range"]


def test_replays_belong_to_their_owner_and_are_listed_newest_first(world: ReplayWorld) -> None:
    target = world.subscription.subscription_id
    first = world.subscriptions.list_replays(world.user, target, 5)
    made = []
    for _ in range(3):
        world.advance(seconds=1)
        made.append(world.ask_day().replay_id)
    page = world.subscriptions.list_replays(world.user, target, 2)
    rest = world.subscriptions.list_replays(world.user, target, 5, page[-1].replay_id)
    assert [one.replay_id for one in (*page, *rest)] == [*made[::-1], *(one.replay_id for one in first)]
    stranger = world.add_user()
    for ask in (
        lambda: world.ask(ReplayRequest(since=world.clock.now() - DAY), actor=stranger),
        lambda: world.subscriptions.list_replays(stranger, target, 5),
        lambda: world.subscriptions.get_replay(stranger, target, made[0]),
    ):
        with pytest.raises(NotFoundError) as refusal:
            ask()
        assert refusal.value.code == "subscription_not_found"
    with pytest.raises(NotFoundError) as refusal:
        world.subscriptions.get_replay(world.user, target, world.ids.new())
    assert refusal.value.code == "replay_not_found"


def test_the_same_operation_at_once_is_one_replay(world: ReplayWorld) -> None:
    world.events(3)
    operation, wanted = world.ids.new(), ReplayRequest(since=world.clock.now() - DAY)
    answers = at_once(world.close, *[lambda: world.ask(wanted, operation=operation).replay_id] * 4)
    assert answers == [operation] * 4
    world.retry()
    assert len(world.told()) == 6


def test_at_most_five_replays_of_a_subscription_are_open_however_many_ask_at_once(world: ReplayWorld) -> None:
    answers = at_once(world.close, *[lambda: world.ask_day().status] * 8)
    assert sorted(map(str, answers)) == ["QUEUED"] * 5 + ["too_many_replays"] * 3
    world.drain()
    world.ask_day()


def test_only_an_active_subscription_replays(world: ReplayWorld) -> None:
    (event,) = world.events(1)
    world.subscriptions.pause(world.user, world.subscription.subscription_id, world.ids.new())
    for wanted in (ReplayRequest(event_id=event.event_id), ReplayRequest(since=world.clock.now() - DAY)):
        with pytest.raises(ConflictError) as refusal:
            world.ask(wanted)
        assert refusal.value.code == "subscription_not_active"


def test_who_dies_between_pages_skips_and_repeats_nothing(world: ReplayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    happened = world.events(5)
    asked = world.ask_day()
    assert world.replays.step(limit=2) == 2
    kept, add = world.rounds(), deliveries.add

    def dies(*arguments: object, **named: object) -> int:
        add(*arguments, **named)  # type: ignore[arg-type]  # handed on
        raise KeyboardInterrupt

    monkeypatch.setattr(deliveries, "add", dies)
    with pytest.raises(KeyboardInterrupt):
        world.replays.step(limit=2)
    monkeypatch.undo()
    assert (world.rounds(), world.state(asked).done) == (kept, 2)
    world.drain(limit=2)
    assert world.rounds() == {event.event_id: (1, "PENDING") for event in happened}
    assert world.state(asked).done == 5
    world.retry()
    assert sorted(world.told()) == sorted([event.event_id for event in happened] * 2)


def test_workers_at_once_move_each_replay_on_by_one_of_them(world: ReplayWorld) -> None:
    happened = world.events(30)
    # What was over their owner's share of the threads.
    world.retry()
    asked = [world.ask_day(), world.ask_day(only_missed=True)]

    def work() -> int:
        moved = 0
        while any(world.state(one).finished_at is None for one in asked):
            moved += world.replays.step(limit=3) or 0
        return moved

    assert sum(int(str(moved)) for moved in at_once(world.close, work, work, work)) == 60
    assert [(world.state(one).done, world.state(one).total) for one in asked] == [(30, 30), (30, 30)]
    # The second one may have come before or after the first one made a round of what was delivered.
    assert world.rounds() == {event.event_id: (1, "PENDING") for event in happened}


def test_replays_take_turns(world: ReplayWorld) -> None:
    world.events(6)
    long, short = world.ask_day(), world.ask_day()
    moved = []
    for _ in range(4):
        world.advance(seconds=1)
        world.replays.step(limit=2)
        moved.append((world.state(long).done, world.state(short).done))
    assert sorted(map(sorted, moved)) == [[0, 2], [2, 2], [2, 4], [4, 4]]


def test_a_replay_waits_while_its_subscription_is_paused(world: ReplayWorld) -> None:
    world.events(4)
    asked = world.ask_day()
    world.replays.step(limit=2)
    world.subscriptions.pause(world.user, world.subscription.subscription_id, world.ids.new())
    assert world.replays.step() is None
    assert world.state(asked).status is ReplayStatus.RUNNING
    world.advance(seconds=1)
    world.subscriptions.reactivate(world.user, world.subscription.subscription_id, world.ids.new())
    world.retry()
    assert world.state(asked).status is ReplayStatus.DONE
    assert len(world.told()) == 8


def test_a_replay_waits_while_much_is_to_be_sent(world: ReplayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "WAITING_MAX", 3)
    world.events(6)
    asked = world.ask_day()
    assert [world.replays.step(limit=2) for _ in range(3)] == [2, 2, None]
    world.sql("UPDATE webhook_deliveries SET status = 'DELIVERED', next_attempt_at = NULL, finished_at = created_at")
    assert world.replays.step(limit=2) == 2
    assert world.state(asked).done == 6


def test_everybodys_events_are_replayed_only_to_who_is_staff_now(world: ReplayWorld) -> None:
    staff = world.add_user("support")
    everybodys, _ = world.subscribe(staff)
    world.drain()
    world.events(2)
    world.sender.posts.clear()
    asked = world.ask(ReplayRequest(since=world.clock.now() - DAY), actor=staff, of=everybodys)
    world.sql("UPDATE users SET role = 'cardholder' WHERE user_id = %s", staff.user_id)
    assert world.replays.step() is None
    world.sql("UPDATE users SET role = 'support' WHERE user_id = %s", staff.user_id)
    assert world.replays.step() == 2
    assert world.subscriptions.get_replay(staff, everybodys.subscription_id, asked.replay_id).status is ReplayStatus.DONE


def test_the_end_of_a_subscription_ends_its_replays(world: ReplayWorld) -> None:
    world.events(4)
    asked = world.ask_day()
    world.replays.step(limit=2)
    world.subscriptions.delete_subscription(world.user, world.subscription.subscription_id, world.ids.new())
    assert world.replays.step() is None
    (row,) = world.sql("SELECT status, finished_at FROM webhook_replays WHERE replay_id = %s", asked.replay_id)
    assert row == {"status": "FAILED", "finished_at": world.clock.now()}
    assert {status for _, status in world.rounds().values()} == {"CANCELLED", "DELIVERED"}


def test_a_deletion_during_a_replay_leaves_nothing_to_be_sent(world: ReplayWorld) -> None:
    world.events(20)
    world.ask_day()

    def work() -> None:
        for _ in range(12):
            world.replays.step(limit=2)

    at_once(
        world.close,
        work,
        work,
        lambda: world.subscriptions.delete_subscription(world.user, world.subscription.subscription_id, world.ids.new()),
    )
    assert "PENDING" not in {status for _, status in world.rounds().values()}
    assert world.sql("SELECT 1 FROM webhook_replays WHERE finished_at IS NULL") == []


def test_a_replay_that_cannot_go_on_ends_and_holds_up_no_other(world: ReplayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    (event,) = world.events(1)
    broken = world.ask_day()
    add = deliveries.add

    def fails(*_arguments: object) -> int:
        raise ValueError("damaged")

    monkeypatch.setattr(deliveries, "add", fails)
    assert world.replays.step() == 0
    monkeypatch.setattr(deliveries, "add", add)
    assert world.state(broken).status is ReplayStatus.FAILED
    assert world.rounds() == {event.event_id: (0, "DELIVERED")}
    good = world.ask_day()
    world.drain()
    assert world.state(good).status is ReplayStatus.DONE


def test_what_a_replay_sends_in_vain_counts_as_failures_like_any_other(world: ReplayWorld) -> None:
    world.events(5)
    world.sender.script = answer(500)
    world.ask_day()
    world.retry()
    for _ in range(6):
        world.advance(hours=7)
        world.retry()
    found = world.subscriptions.get_subscription(world.user, world.subscription.subscription_id)
    assert found.status is SubscriptionStatus.DISABLED
    assert {status for _, status in world.rounds().values()} <= {"FAILED", "CANCELLED"}


def test_deliveries_are_found_by_status_type_and_event(world: ReplayWorld) -> None:
    target = world.subscription.subscription_id
    first, second = world.events(2)
    world.sender.script = answer(500)
    (failing,) = world.events(1)
    ask = world.subscriptions.list_deliveries
    assert [one.event_id for one in ask(world.user, target, 10)] == [failing.event_id, second.event_id, first.event_id]
    pending = [one.event_id for one in ask(world.user, target, 10, status=DeliveryStatus.PENDING)]
    assert pending == [failing.event_id]
    assert ask(world.user, target, 10, event_type="card.frozen") == []
    assert len(ask(world.user, target, 10, event_type="card.created")) == 3
    with pytest.raises(NotFoundError) as refusal:
        world.subscriptions.get_delivery(world.user, target, world.ids.new())
    assert refusal.value.code == "delivery_not_found"


def test_staff_sees_all_deliveries_newest_first_and_others_their_own(world: ReplayWorld) -> None:
    other = world.add_user()
    world.subscribe(other)
    world.events(2)
    world.sender.script = answer(500)
    world.events(1)
    world.consume(world.happen(other))
    staff, ask = world.add_user("support"), world.subscriptions.list_all_deliveries
    shown = ask(staff, 10)
    assert [one.event_id for one in shown] == sorted((one.event_id for one in shown), reverse=True)
    assert (len(shown), len(ask(world.user, 10)), len(ask(other, 10))) == (4, 3, 1)
    first = ask(staff, 2)
    rest = ask(staff, 10, (first[-1].event_id, first[-1].subscription_id))
    assert [*first, *rest] == shown
    assert [one.user_id for one in ask(staff, 10, status=DeliveryStatus.PENDING)] == [other.user_id, world.user.user_id]
    assert ask(staff, 10, status=DeliveryStatus.FAILED) == []
