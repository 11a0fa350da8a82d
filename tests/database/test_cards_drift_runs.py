"""Runs of the comparison with the processor: resumed, twice, at once, killed, and with a processor that fails."""

from collections.abc import Iterator
from itertools import chain, repeat

import pytest

from cardwright.cards.rules import Card, ProcessorPage
from cardwright.kernel.errors import ProviderRefusedError
from tests.fakes.batch_world import DyingDatabase
from tests.fakes.batch_world import Killed as Died
from tests.fakes.card_world import as_role
from tests.fakes.drift_world import ACTIVE, CLOSED, GONE, PAUSED, DriftWorld


@pytest.fixture
def world(fresh_database: str) -> Iterator[DriftWorld]:
    """A world in a database of its own."""
    world = DriftWorld(fresh_database)
    yield world
    world.close()


def cards(world: DriftWorld, count: int) -> list[Card]:
    """Cards that did not change lately, one a page of the processor's list."""
    world.processor.page_size = 1
    return [world.old_card() for _ in range(count)]


def after(pages: int) -> Iterator[float]:
    """Time for so many pages and no more."""
    return chain(repeat(300.0, pages), repeat(0.0))


def test_a_run_goes_on_where_the_last_one_ran_out_of_time(world: DriftWorld) -> None:
    cards(world, 5)
    compared = [world.compare(after(2).__next__) for _ in range(3)]
    # The last page is followed by a look for what no page held.
    assert compared == [2, 2, 1]
    assert world.sweep()["finished_at"] == world.clock.at


def test_time_that_runs_out_within_a_page_has_the_page_done_again(world: DriftWorld) -> None:
    first, second = world.old_card(), world.old_card()
    for card in (first, second):
        world.listing.states[card.processor_card_token] = PAUSED
    world.compare(chain([300.0, 300.0], repeat(0.0)).__next__)
    assert [token for token, _ in world.processor.told] == [first.processor_card_token]
    assert sorted(is_open for _, _, is_open in world.findings()) == [False, True]
    world.compare()
    assert [token for token, _ in world.processor.told] == [first.processor_card_token, second.processor_card_token]
    assert world.findings() == [("state_differs", first.card_id, False), ("state_differs", second.card_id, False)]


def test_a_second_run_right_after_a_pass_does_nothing_and_an_hour_later_begins_another(world: DriftWorld) -> None:
    world.old_card()
    assert (world.compare(), world.compare()) == (1, 0)
    world.later(minutes=29)
    assert world.compare() == 0
    world.later(minutes=31)
    assert world.compare() == 1
    assert world.sweep()["started_at"] == world.clock.at


def test_two_at_once_compare_once(world: DriftWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.old_card()
    listed = world.processor.list_cards
    other: list[int] = []

    def list_cards(cursor: str | None) -> ProcessorPage:
        other.append(world.compare())
        return listed(cursor)

    monkeypatch.setattr(world.processor, "list_cards", list_cards)
    assert (world.compare(), other) == (1, [0])


def test_who_was_silent_for_longer_than_the_lease_does_not_move_the_pass_of_the_next(
    world: DriftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards(world, 3)
    listed = world.processor.list_cards
    taken_over: list[int] = []

    def silent(cursor: str | None) -> ProcessorPage:
        monkeypatch.setattr(world.processor, "list_cards", listed)
        page = listed(cursor)
        world.later(minutes=11)
        taken_over.append(world.compare(after(2).__next__))
        return page

    monkeypatch.setattr(world.processor, "list_cards", silent)
    world.compare()
    assert taken_over == [2]
    assert world.sweep()["list_cursor"] == "2"


@pytest.mark.parametrize("committed", [False, True])
def test_a_run_killed_in_any_of_its_transactions_is_taken_up_when_its_lease_has_ended(world: DriftWorld, committed: bool) -> None:
    ours = cards(world, 2)
    world.listing.states[ours[0].processor_card_token] = PAUSED
    given_up = world.given_up()
    kills = 0
    for dies_in in range(1, 100):
        database = DyingDatabase(as_role(world.url, "worker"), dies_in, committed=committed)
        try:
            world.under(database).compare_processor_cards(lambda: 300.0)
        except Died:
            kills += 1
        finally:
            database.close()
        world.later(minutes=11)
        if world.sql("SELECT 1 FROM processor_sweeps WHERE finished_at IS NOT NULL"):
            break
    assert kills > 0
    assert world.listing.states[ours[0].processor_card_token] is ACTIVE
    assert world.listing.states[world.processor.cards[given_up].token] is CLOSED
    assert [is_open for _, _, is_open in world.findings()] == [False, False]


def test_a_processor_that_does_not_answer_breaks_the_run_off_where_it_is(world: DriftWorld) -> None:
    cards(world, 3)
    world.compare(after(1).__next__)
    world.processor.view_faults = [GONE]
    assert world.compare() == 0
    assert (world.sweep()["list_cursor"], world.sweep()["finished_at"]) == ("1", None)
    # Nobody has to wait for the lease of a run that ended by itself.
    assert world.compare() == 2


def test_a_card_that_cannot_be_closed_for_lack_of_an_answer_is_closed_by_the_next_run(world: DriftWorld) -> None:
    card_id = world.given_up()
    token = world.processor.cards[card_id].token
    world.processor.switch_faults = [GONE]
    world.compare()
    assert (world.findings(), world.listing.states[token]) == ([("unknown_at_processor", card_id, True)], ACTIVE)
    world.compare()
    assert (world.findings(), world.listing.states[token]) == ([("unknown_at_processor", card_id, False)], CLOSED)


def test_a_cursor_the_processor_no_longer_takes_begins_the_pass_again(world: DriftWorld) -> None:
    cards(world, 3)
    world.compare(after(1).__next__)
    world.later(minutes=5)
    world.processor.view_faults = [ProviderRefusedError("no such cursor", code="processor_refused")]
    assert world.compare() == 3
    assert (world.sweep()["started_at"], world.sweep()["finished_at"]) == (world.clock.at, world.clock.at)


def test_a_processor_that_refuses_to_list_is_asked_again_by_the_next_run(world: DriftWorld) -> None:
    world.old_card()
    world.processor.view_faults = [ProviderRefusedError("no", code="processor_refused")]
    assert (world.compare(), world.compare()) == (0, 1)


def test_a_processor_without_cards_reports_ours_and_touches_none(world: DriftWorld) -> None:
    ours = [world.old_card(), world.old_card()]
    world.listing.lost = {card.processor_card_token for card in ours}
    world.compare()
    assert world.findings() == [("missing_at_processor", card.card_id, True) for card in ours]
    assert world.processor.told == []
    assert {row["status"] for row in world.sql("SELECT status::text AS status FROM virtual_cards")} == {"ACTIVE"}
