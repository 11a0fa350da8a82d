"""Batches against the real database: one card for each item, told truly, whatever fails."""

import copy
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from cardwright.cards.rules import BatchStatus, Failure, IssuedCard, ItemState, ProcessorState
from cardwright.cards.service import BatchItem
from cardwright.cards.service.batch_runs import LEASE, RESERVE_S
from cardwright.kernel.errors import (
    ForbiddenError,
    InvalidFieldsError,
    NotFoundError,
    ProviderRefusedError,
    RateLimitedError,
    UnavailableError,
)
from cardwright.platform.postgres import Actor, Database
from tests.fakes.batch_world import BatchWorld
from tests.fakes.card_world import NOW

UNAVAILABLE = UnavailableError("gone", code="processor_unavailable")
REFUSED = ProviderRefusedError("no", code="processor_refused")
REFUSED = ProviderRefusedError("no", code="processor_refused")
UNREAD = BatchItem(failure=Failure("invalid_fields", "Some fields are not valid."))
# What the pauses between six attempts add up to, and more.
LONG = timedelta(hours=1)


@pytest.fixture
def world(fresh_database: str) -> Iterator[BatchWorld]:
    """A world in a database of this test, as workers take whatever is due."""
    world = BatchWorld(fresh_database)
    yield world
    world.close()


@pytest.fixture
def holder(world: BatchWorld) -> Actor:
    """A verified cardholder."""
    return world.add_user()


def cards_of(world: BatchWorld, actor: Actor) -> set[UUID]:
    """Ids of a user's cards."""
    return {row["card_id"] for row in world.sql("SELECT card_id FROM virtual_cards WHERE user_id = %s", actor.user_id)}


def test_a_batch_makes_a_card_for_each_item_in_its_order(world: BatchWorld, holder: Actor) -> None:
    job_id = world.send(holder, world.items(7))
    queued, waiting = world.batch(holder, job_id)
    assert (queued.status, queued.done, queued.total, queued.finished_at) == (BatchStatus.QUEUED, 0, 7, None)
    assert {(outcome.state, outcome.card) for outcome in waiting} == {(ItemState.PENDING, None)}
    world.clock.at = NOW + timedelta(seconds=5)
    assert world.run() == 7
    done, outcomes = world.batch(holder, job_id)
    assert (done.status, done.done, done.finished_at) == (BatchStatus.DONE, 7, world.clock.at)
    assert [outcome.card and outcome.card.label for outcome in outcomes] == [f"Card {number}" for number in range(7)]
    made = [outcome.card for outcome in outcomes if outcome.card is not None]
    assert [card.last_four for card in made] == [world.processor.cards[card.card_id].last_four for card in made]
    assert {card.card_id for card in made} == cards_of(world, holder)


def test_cards_of_a_batch_are_the_users_doing_and_count_in_no_other_quota(world: BatchWorld, holder: Actor) -> None:
    world.send(holder, world.items(6))
    world.run()
    audited = world.sql("SELECT DISTINCT action, actor_id, actor_role, request_id FROM card_audit_log")
    assert audited == [{"action": "card.created", "actor_id": holder.user_id, "actor_role": "cardholder", "request_id": "req_1"}]
    limited = world.serving(creations_per_hour=1)
    assert limited.issue_card(holder, world.wish(), world.ids.new()).user_id == holder.user_id
    with pytest.raises(RateLimitedError):
        limited.issue_card(holder, world.wish(), world.ids.new())


def test_a_batch_is_running_from_its_first_item_on(world: BatchWorld, holder: Actor) -> None:
    job_id = world.send(holder, world.items(3))
    seen: list[tuple[BatchStatus, int]] = []

    def look(card: IssuedCard) -> IssuedCard:
        batch, _ = world.batch(holder, job_id)
        seen.append((batch.status, batch.done))
        world.database.close()
        return card

    world.processor.made = look
    world.run(threads=1)
    assert seen == [(BatchStatus.RUNNING, 0), (BatchStatus.RUNNING, 1), (BatchStatus.RUNNING, 2)]


def test_one_bad_item_does_not_spoil_the_rest(world: BatchWorld, holder: Actor) -> None:
    wrong = world.wish(currency="EUR")
    job_id = world.send(holder, [*world.items(1), UNREAD, BatchItem(wish=wrong), *world.items(1)])
    world.run()
    batch, outcomes = world.batch(holder, job_id)
    assert (batch.status, batch.done) == (BatchStatus.DONE, 4)
    assert world.states(holder, job_id) == ["DONE", "invalid_fields", "program_currency_mismatch", "DONE"]
    assert [outcome.position for outcome in outcomes] == [0, 1, 2, 3]
    assert len(cards_of(world, holder)) == 2


def test_a_batch_fails_only_when_every_item_did(world: BatchWorld, holder: Actor) -> None:
    unread = world.send(holder, [UNREAD, UNREAD])
    batch, _ = world.batch(holder, unread)
    assert (batch.status, batch.done, batch.finished_at) == (BatchStatus.FAILED, 2, NOW)
    refused = world.send(holder, world.items(2))
    world.processor.faults = [REFUSED, REFUSED]
    world.run()
    assert world.batch(holder, refused)[0].status is BatchStatus.FAILED
    assert world.states(holder, refused) == ["processor_refused", "processor_refused"]


def test_the_same_operation_twice_is_one_batch(world: BatchWorld, holder: Actor) -> None:
    job_id = world.ids.new()
    first = world.service.create_batch(holder, world.items(2), job_id)
    world.run()
    again = world.service.create_batch(holder, world.items(2), job_id)
    assert (again.job_id, again.total, again.status) == (first.job_id, 2, BatchStatus.DONE)
    assert len(cards_of(world, holder)) == 2


def test_only_the_verified_send_batches(world: BatchWorld, holder: Actor) -> None:
    assert holder.user_id is not None
    world.kyc.statuses[holder.user_id] = "PENDING"
    with pytest.raises(ForbiddenError) as refusal:
        world.send(holder, world.items(1))
    assert refusal.value.code == "kyc_required"
    assert world.sql("SELECT 1 FROM card_batches") == []


def test_a_batch_is_seen_by_its_owner_and_by_staff(world: BatchWorld, holder: Actor) -> None:
    job_id = world.send(holder, world.items(1))
    assert world.batch(world.add_user("support"), job_id)[0].total == 1
    with pytest.raises(NotFoundError) as refusal:
        world.batch(world.add_user(), job_id)
    assert refusal.value.code == "card_batch_not_found"


def test_an_item_without_an_answer_is_tried_again_as_time_goes_by(world: BatchWorld, holder: Actor) -> None:
    job_id = world.send(holder, world.items(1))
    world.processor.faults, world.processor.made_before_fault = [UNAVAILABLE] * 5, True
    for pause_s in (10, 30, 120, 600, 1800):
        assert world.run() == 1
        assert world.states(holder, job_id) == ["PENDING"]
        world.clock.at += timedelta(seconds=pause_s - 1)
        assert world.run() == 0
        world.clock.at += timedelta(seconds=1)
    assert world.run() == 1
    assert world.states(holder, job_id) == ["DONE"]
    assert set(world.processor.cards) == cards_of(world, holder)
    assert len(world.processor.cards) == 1


def give_up(world: BatchWorld) -> None:
    """Run six times with a processor that makes cards and does not answer."""
    world.processor.faults, world.processor.made_before_fault = [UNAVAILABLE] * 6, True
    for _ in range(6):
        world.run()
        world.clock.at += LONG


def test_an_item_given_up_leaves_no_live_card_behind(world: BatchWorld, holder: Actor) -> None:
    job_id = world.send(holder, world.items(1))
    give_up(world)
    assert world.states(holder, job_id) == ["processor_unavailable"]
    assert world.batch(holder, job_id)[0].status is BatchStatus.FAILED
    (made,) = world.processor.cards.values()
    assert world.processor.states[made.token] is ProcessorState.ACTIVE
    world.sweep()
    assert world.processor.states[made.token] is ProcessorState.CLOSED
    assert cards_of(world, holder) == set()


def test_a_card_the_sweeper_has_finished_meanwhile_is_the_items(world: BatchWorld, holder: Actor) -> None:
    job_id = world.send(holder, world.items(1))
    world.processor.faults, world.processor.made_before_fault = [UNAVAILABLE], True
    world.run()
    world.clock.at += LONG
    world.sweep()
    assert len(cards_of(world, holder)) == 1
    assert holder.user_id is not None
    # Refused now, and yet the card is there.
    world.kyc.statuses[holder.user_id] = "EXPIRED"
    world.run()
    assert world.states(holder, job_id) == ["DONE"]


def test_a_refusal_after_an_unknown_outcome_lets_no_card_come_later(world: BatchWorld, holder: Actor) -> None:
    job_id = world.send(holder, world.items(1))
    world.processor.faults, world.processor.made_before_fault = [UNAVAILABLE], True
    world.run()
    world.clock.at += LONG
    world.processor.faults, world.processor.made_before_fault = [REFUSED], False
    world.run()
    assert world.states(holder, job_id) == ["processor_refused"]
    world.clock.at += LONG
    world.sweep()
    assert cards_of(world, holder) == set()
    assert set(world.processor.states.values()) == {ProcessorState.CLOSED}


def test_an_unexpected_error_is_told_as_such_after_the_last_attempt(world: BatchWorld, holder: Actor) -> None:
    job_id = world.send(holder, world.items(1))

    def broken(card: IssuedCard) -> IssuedCard:
        raise RuntimeError("a bug with details")

    world.processor.made = broken
    for _ in range(6):
        assert world.states(holder, job_id) == ["PENDING"]
        world.run()
        world.clock.at += LONG
    assert world.states(holder, job_id) == ["internal_error"]
    assert "details" not in str(world.sql("SELECT failure FROM card_batch_items"))


def test_ten_batches_an_hour_are_taken_also_when_many_come_at_once(world: BatchWorld, holder: Actor) -> None:
    service = world.serving(creations_per_hour=None)
    ids = [world.ids.new() for _ in range(14)]
    taken: list[UUID] = []
    waits: list[int] = []

    def send(job_id: UUID) -> None:
        try:
            taken.append(service.create_batch(holder, world.items(1), job_id).job_id)
        except RateLimitedError as refusal:
            waits.append(refusal.retry_after_s)
        world.close()

    threads = [threading.Thread(target=send, args=(job_id,)) for job_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), waits) == (10, [3600] * 4)
    assert service.create_batch(holder, world.items(1), taken[0]).job_id == taken[0]
    other = world.add_user()
    assert world.states(other, world.send(other, world.items(1))) == ["PENDING"]
    world.clock.at = NOW + timedelta(minutes=59, seconds=30)
    with pytest.raises(RateLimitedError) as refusal:
        world.send(holder, world.items(1))
    assert (refusal.value.retry_after_s, refusal.value.quota) == (30, "card_batches")
    world.clock.at = NOW + timedelta(hours=1)
    assert world.states(holder, world.send(holder, world.items(1))) == ["PENDING"]


def test_the_same_item_key_is_the_same_card_in_every_batch(world: BatchWorld, holder: Actor) -> None:
    before = world.send(holder, [world.keyed("team-1"), world.keyed("team-2")])
    at_once = world.send(holder, [world.keyed("team-1")])
    world.run()
    after = world.send(holder, [world.keyed("team-3"), world.keyed("team-1")])
    others = world.add_user()
    elsewhere = world.send(others, [world.keyed("team-1")])
    world.run()

    def cards(actor: Actor, job_id: UUID) -> list[UUID]:
        return [outcome.card.card_id for outcome in world.batch(actor, job_id)[1] if outcome.card is not None]

    first = cards(holder, before)[0]
    assert (cards(holder, at_once), cards(holder, after)[1]) == ([first], first)
    assert cards(others, elsewhere) != [first]
    assert len(cards_of(world, holder)) == 3


def test_an_item_key_used_for_another_wish_fails_its_item_alone(world: BatchWorld, holder: Actor) -> None:
    world.send(holder, [world.keyed("team-1", label="One")])
    job_id = world.send(holder, [world.keyed("team-1", label="Two"), world.keyed("team-2")])
    world.run()
    assert world.states(holder, job_id) == ["idempotency_key_reused", "DONE"]


def test_a_failed_item_sets_its_key_free(world: BatchWorld, holder: Actor) -> None:
    world.processor.faults = [REFUSED]
    world.send(holder, [world.keyed("team-1")])
    world.run()
    job_id = world.send(holder, [world.keyed("team-1", label="Again")])
    world.run()
    assert world.states(holder, job_id) == ["DONE"]


def test_a_key_that_stands_twice_refuses_the_batch(world: BatchWorld, holder: Actor) -> None:
    with pytest.raises(InvalidFieldsError) as refusal:
        world.send(holder, [world.keyed("a"), world.keyed("b"), world.keyed("a"), *world.items(2)])
    assert [(error.field, error.code) for error in refusal.value.errors] == [("items.2.idempotency_key", "duplicate_key")]
    assert world.sql("SELECT 1 FROM card_batches") == []


def test_giving_up_one_item_takes_nothing_from_another_of_the_same_card(world: BatchWorld, holder: Actor) -> None:
    first = world.send(holder, [world.keyed("team-1")])
    world.processor.faults, world.processor.made_before_fault = [UNAVAILABLE] * 5, True
    for _ in range(5):
        world.run()
        world.clock.at += LONG
    second = world.send(holder, [world.keyed("team-1")])
    world.processor.faults = [UNAVAILABLE] * 2
    world.run()
    assert (world.states(holder, first), world.states(holder, second)) == (["processor_unavailable"], ["PENDING"])
    world.clock.at += LONG
    world.run()
    assert world.states(holder, second) == ["DONE"]
    assert len(world.processor.cards) == 1


def test_a_run_that_ends_gives_back_what_it_has_not_begun(world: BatchWorld, holder: Actor) -> None:
    job_id = world.send(holder, world.items(5))
    left = iter([RESERVE_S + 2, RESERVE_S + 1])
    assert world.runner(threads=1).run(lambda: next(left, RESERVE_S)) == 2
    assert world.states(holder, job_id).count("DONE") == 2
    assert {row["attempts"] for row in world.sql("SELECT attempts FROM card_batch_items WHERE state = 'PENDING'")} == {0}
    assert world.run() == 3


def test_a_database_that_does_not_answer_ends_the_run_with_an_error(world: BatchWorld) -> None:
    gone = copy.copy(world.worker)
    gone.database = Database(lambda: "host=127.0.0.1 port=1 dbname=none")
    with pytest.raises(UnavailableError) as failure:
        world.run(gone)
    assert failure.value.code == "database_unavailable"


def test_an_item_is_nobody_elses_until_its_lease_ends_and_a_late_failure_counts_for_nothing(
    world: BatchWorld, holder: Actor
) -> None:
    job_id = world.send(holder, world.items(1))
    answers: list[int] = []

    def slow(card: IssuedCard) -> IssuedCard:
        world.processor.made = lambda card: card
        world.clock.at += LEASE - timedelta(seconds=1)
        answers.append(world.run())
        world.clock.at += timedelta(seconds=1)
        world.processor.faults = [UNAVAILABLE]
        answers.append(world.run())
        return replace(card, currency="EUR")

    world.processor.made = slow
    world.run(threads=1)
    assert answers == [0, 1]
    # The slow one's processor answer was refused, but the item had been taken over; that run is to end it.
    assert world.states(holder, job_id) == ["PENDING"]
    world.clock.at += LONG
    world.run()
    assert world.states(holder, job_id) == ["processor_answer_invalid"]
