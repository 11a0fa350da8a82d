"""Workers of batches: several at once, killed at any point, fair to everybody."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardwright.cards.rules import BatchStatus
from cardwright.cards.service.batch_runs import LEASE, PAGE
from cardwright.cards.store import batches as store
from cardwright.kernel.errors import CardwrightError, ProviderRefusedError, UnavailableError
from cardwright.platform.postgres import Actor
from tests.fakes.batch_world import BatchWorld, Killed

SYSTEM = Actor(None, "system")
LATER = timedelta(hours=1)


@pytest.fixture
def world(fresh_database: str) -> Iterator[BatchWorld]:
    """A world in a database of this test."""
    world = BatchWorld(fresh_database)
    yield world
    world.close()


@pytest.fixture
def holder(world: BatchWorld) -> Actor:
    """A verified cardholder."""
    return world.add_user()


def check_ended(world: BatchWorld, actor: Actor, job_id: UUID, count: int) -> None:
    """One card for each item, here and at the processor, each told once; the batch has ended."""
    batch, outcomes = world.batch(actor, job_id)
    assert (batch.status, batch.done, batch.finished_at is not None) == (BatchStatus.DONE, count, True)
    made = {outcome.card.card_id for outcome in outcomes if outcome.card is not None}
    ours = {row["card_id"] for row in world.sql("SELECT card_id FROM virtual_cards WHERE user_id = %s", actor.user_id)}
    assert made == ours == set(world.processor.cards)
    assert len(made) == count
    told = world.sql("SELECT card_id FROM outbox WHERE type = 'card.created'")
    assert Counter(row["card_id"] for row in told) == dict.fromkeys(made, 1)


# Three items by one worker: it takes them, admits, completes and settles each, and finds nothing more.
TRANSACTIONS = range(1, 12)


@pytest.mark.parametrize("dies_in", TRANSACTIONS)
@pytest.mark.parametrize("committed", [False, True], ids=["before_commit", "after_commit"])
def test_a_worker_killed_in_any_transaction_leaves_the_rest_to_the_next(
    world: BatchWorld, holder: Actor, dies_in: int, committed: bool
) -> None:
    job_id = world.send(holder, world.items(3))
    with pytest.raises(Killed):
        world.run(world.killed_worker(dies_in, committed=committed), threads=1)
    world.run()
    world.clock.at += LEASE
    world.run()
    check_ended(world, holder, job_id, 3)


def test_the_transactions_a_worker_is_killed_in_are_all_there_are(world: BatchWorld, holder: Actor) -> None:
    world.send(holder, world.items(3))
    assert world.run(world.killed_worker(TRANSACTIONS.stop, committed=False), threads=1) == 3


@pytest.mark.parametrize("made", [False, True], ids=["before_the_card", "after_the_card"])
def test_a_worker_killed_at_the_processor_makes_no_second_card(world: BatchWorld, holder: Actor, made: bool) -> None:
    job_id = world.send(holder, world.items(3))
    world.processor.deaths = [None, Killed()]
    world.processor.made_before_fault = made
    with pytest.raises(Killed):
        world.run(threads=1)
    world.clock.at += LEASE
    world.sweep()
    world.run()
    check_ended(world, holder, job_id, 3)


def test_workers_at_once_take_each_item_once(world: BatchWorld, holder: Actor) -> None:
    other = world.add_user()
    job_ids = [world.send(holder, world.items(45)), world.send(other, world.items(45))]
    run: list[int] = []
    threads = [threading.Thread(target=lambda: run.append(world.run())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(run) == 90
    assert set(Counter(world.processor.asked).values()) == {1}
    assert len(world.processor.cards) == 90
    for actor, job_id in zip((holder, other), job_ids, strict=True):
        batch, _ = world.batch(actor, job_id)
        assert (batch.status, batch.done) == (BatchStatus.DONE, 45)


def take(world: BatchWorld) -> list[store.DueItem]:
    """Take a page."""
    with world.worker.database.transaction(SYSTEM) as tx:
        return store.take_due(tx, PAGE, world.clock.at, world.clock.at + LEASE)


def counts(items: Sequence[store.DueItem]) -> Counter[UUID]:
    """How many of each batch."""
    return Counter(item.job_id for item in items)


def test_what_one_worker_is_taking_another_neither_waits_for_nor_takes(world: BatchWorld, holder: Actor) -> None:
    world.send(holder, world.items(6))
    # The first to take of a batch makes it RUNNING; for that moment the others do wait.
    with world.worker.database.transaction(SYSTEM) as tx:
        assert len(store.take_due(tx, 1, world.clock.at, world.clock.at + LEASE)) == 1
    taken: list[int] = []

    def take_too() -> None:
        taken.append(len(take(world)))
        world.worker.database.close()

    with world.worker.database.transaction(SYSTEM) as tx:
        mine = store.take_due(tx, 3, world.clock.at, world.clock.at + LEASE)
        # A lock would be waited for longer than this thread is.
        other = threading.Thread(target=take_too)
        other.start()
        other.join(3)
        assert taken == [2]
    assert len(mine) == 3
    assert take(world) == []


def test_a_small_batch_is_not_held_up_by_a_large_one(world: BatchWorld, holder: Actor) -> None:
    large = world.send(holder, world.items(100))
    world.clock.at += timedelta(minutes=1)
    other = world.add_user()
    small = world.send(other, world.items(3))
    page = take(world)
    assert counts(page) == {large: PAGE - 3, small: 3}
    assert [item.job_id for item in page[:6]].count(small) == 3
    assert counts(take(world)) == {large: PAGE}


def test_users_share_and_of_one_user_batches_share(world: BatchWorld, holder: Actor) -> None:
    own = [world.send(holder, world.items(30)) for _ in range(3)]
    other = world.add_user()
    alone = world.send(other, world.items(30))
    taken = counts(take(world))
    assert taken[alone] == PAGE // 2
    assert sorted(taken[job_id] for job_id in own) == [3, 3, 4]


def test_two_that_settle_the_last_items_at_once_end_the_batch(world: BatchWorld, holder: Actor) -> None:
    for _ in range(10):
        job_id = world.send(holder, world.items(2))
        items = take(world)
        together = threading.Barrier(2)

        def settle(item: store.DueItem, together: threading.Barrier = together) -> None:
            with world.worker.database.transaction(SYSTEM) as tx:
                store.settle(tx, item, None, world.clock.at)
                together.wait(5)
                store.finish_settled(tx, item.user_id, item.job_id, world.clock.at)
            world.worker.database.close()

        threads = [threading.Thread(target=settle, args=(item,)) for item in items]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert world.batch(holder, job_id)[0].finished_at == world.clock.at
        world.clock.at += timedelta(hours=1)


FAULTS = st.sampled_from(
    [
        None,
        UnavailableError("gone", code="processor_unavailable"),
        ProviderRefusedError("no", code="processor_refused"),
        Killed(),
    ]
)


@settings(max_examples=20)
@given(faults=st.lists(FAULTS, max_size=20), made=st.booleans(), count=st.integers(1, 5))
def test_whatever_the_processor_does_each_item_ends_and_no_card_is_lost_or_doubled(
    database_url: str, faults: list[CardwrightError | Killed | None], made: bool, count: int
) -> None:
    world = BatchWorld(database_url)
    holder = world.add_user()
    job_id = world.send(holder, world.items(count))
    world.processor.deaths, world.processor.made_before_fault = list(faults), made
    for _ in range(30):
        try:
            world.run(threads=2)
        except Killed:
            world.sweep()
        world.clock.at += LATER
        if world.batch(holder, job_id)[0].finished_at is not None:
            break
    world.sweep()
    batch, outcomes = world.batch(holder, job_id)
    assert (batch.done, batch.finished_at is not None) == (count, True)
    ours = {row["card_id"] for row in world.sql("SELECT card_id FROM virtual_cards WHERE user_id = %s", holder.user_id)}
    assert ours == {outcome.card.card_id for outcome in outcomes if outcome.card is not None}
    asked = {row["card_id"] for row in world.sql("SELECT card_id FROM card_batch_items WHERE job_id = %s", job_id)}
    live = {card_id for card_id, card in world.processor.cards.items() if world.processor.states[card.token].value != "CLOSED"}
    assert ours == live & asked
    world.close()
