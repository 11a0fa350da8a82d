"""The comparison with the processor's cards: what is mended, what is reported, what is left to others."""

from collections.abc import Iterator
from uuid import UUID

import pytest

from cardwright.cards.rules import Card, CardStatus, ProcessorCard
from cardwright.cards.service import StateChange
from cardwright.kernel.errors import CardwrightError, ProviderRefusedError
from tests.fakes.drift_world import ACTIVE, CLOSED, GONE, PAUSED, DriftWorld

REFUSED = ProviderRefusedError("no", code="processor_refused")


@pytest.fixture
def world(fresh_database: str) -> Iterator[DriftWorld]:
    """A world in a database of its own."""
    world = DriftWorld(fresh_database)
    yield world
    world.close()


def freeze(world: DriftWorld, card: Card) -> None:
    """Freeze the holder's card."""
    world.service.update_card_status(world.holder, card.card_id, CardStatus.FROZEN, reason=None, operation_id=world.ids.new())


def test_cards_that_agree_leave_nothing_behind_but_a_finished_pass(world: DriftWorld) -> None:
    first, second = world.old_card(), world.old_card()
    freeze(world, second)
    world.processor.told.clear()
    world.later(minutes=5)
    assert world.compare() == 2
    assert (world.findings(), world.processor.told) == ([], [])
    assert world.sweep()["finished_at"] == world.clock.at
    seen = world.sql("SELECT processor_seen_at FROM virtual_cards")
    assert [row["processor_seen_at"] for row in seen] == [world.clock.at] * 2
    assert first.card_id != second.card_id


def test_a_state_that_differs_is_told_again(world: DriftWorld) -> None:
    card = world.old_card()
    world.listing.states[card.processor_card_token] = PAUSED
    world.compare()
    assert world.findings() == [("state_differs", card.card_id, False)]
    assert world.processor.told == [(card.processor_card_token, ACTIVE)]


def test_a_card_that_ended_here_is_closed_there(world: DriftWorld) -> None:
    card = world.old_card()
    world.service.cancel(world.holder, card.card_id, StateChange(), operation_id=world.ids.new())
    world.listing.states[card.processor_card_token] = ACTIVE
    world.later(minutes=5)
    world.compare()
    assert world.listing.states[card.processor_card_token] is CLOSED
    assert world.findings() == [("state_differs", card.card_id, False)]


def test_a_card_that_changed_a_moment_ago_is_left_to_whoever_tells_it(world: DriftWorld) -> None:
    card = world.old_card()
    world.processor.switch_faults = [GONE]
    freeze(world, card)
    world.later(seconds=59)
    world.compare()
    assert (world.findings(), world.processor.told) == ([], [])
    world.later()
    world.compare()
    assert world.findings() == [("state_differs", card.card_id, False)]
    assert world.processor.told == [(card.processor_card_token, PAUSED)]


def test_a_finding_stays_open_while_its_card_cannot_be_judged(world: DriftWorld) -> None:
    card, making = world.old_card(), world.given_up()
    world.listing.states[card.processor_card_token] = PAUSED
    world.processor.switch_faults = [REFUSED, REFUSED]
    world.compare()
    found = [("state_differs", card.card_id, True), ("unknown_at_processor", making, True)]
    assert world.findings() == found
    world.later()
    world.processor.switch_faults = [GONE]
    world.service.rename_card(world.holder, card.card_id, "new", operation_id=world.ids.new())
    world.sql("UPDATE card_issuances SET state = 'REQUESTED', finished_at = NULL WHERE card_id = %s", making)
    world.compare()
    assert world.findings() == found


def test_what_is_told_is_the_state_of_now_and_not_the_one_that_was_judged(world: DriftWorld) -> None:
    card = world.old_card()
    world.listing.states[card.processor_card_token] = PAUSED
    asked = iter(range(100))

    def deadline() -> float:
        # The second time it is asked is right before the card is told.
        if next(asked) == 1:
            freeze(world, card)
        return 300.0

    world.compare(deadline)
    assert world.listing.states[card.processor_card_token] is PAUSED
    assert world.processor.told[-1] == (card.processor_card_token, PAUSED)


@pytest.mark.parametrize("fault", [GONE, REFUSED])
def test_a_state_that_could_not_be_told_stays_a_finding_until_it_could(world: DriftWorld, fault: CardwrightError) -> None:
    card = world.old_card()
    world.listing.states[card.processor_card_token] = PAUSED
    world.processor.switch_faults = [fault]
    world.compare()
    assert world.findings() == [("state_differs", card.card_id, True)]
    world.later()
    world.compare()
    assert world.findings() == [("state_differs", card.card_id, False)]


def test_a_card_closed_at_the_processor_is_reported_once_and_until_ours_ends_too(
    world: DriftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = world.old_card()
    world.listing.states[card.processor_card_token] = CLOSED
    logged: list[object] = []
    monkeypatch.setattr("cardwright.cards.service.drift.logger.error", lambda text, extra: logged.append(extra))
    for _ in range(3):
        world.compare()
        world.later()
    assert world.findings() == [("closed_at_processor", card.card_id, True)]
    assert logged == [{"card_id": str(card.card_id), "finding": "closed_at_processor"}]
    assert world.processor.told == []
    assert world.open_findings() == 1
    world.service.cancel(world.holder, card.card_id, StateChange(), operation_id=world.ids.new())
    world.later()
    world.compare()
    assert world.findings() == [("closed_at_processor", card.card_id, False)]
    assert world.open_findings() == 0


def test_a_strangers_card_is_reported_and_never_closed(world: DriftWorld) -> None:
    foreign = world.ids.new()
    world.stranger("without reference")
    world.stranger("with a foreign one", foreign)
    for _ in range(2):
        world.compare()
        world.later()
    assert world.findings() == [("unknown_at_processor", foreign, True), ("unknown_at_processor", None, True)]
    assert world.processor.told == []
    world.listing.strangers.clear()
    world.compare()
    assert world.open_findings() == 0


def test_cards_made_after_the_moment_the_database_was_restored_to_stay_open(world: DriftWorld) -> None:
    lost = [world.old_card() for _ in range(2)]
    for table in ("card_tokens", "card_fingerprints", "card_limits", "card_issuances", "virtual_cards"):
        world.sql(f"DELETE FROM {table}")  # noqa: S608 - our own names
    world.compare()
    assert world.processor.told == []
    assert world.findings() == [("unknown_at_processor", card.card_id, True) for card in lost]


def test_a_strangers_card_that_is_closed_already_is_nobodys_concern(world: DriftWorld) -> None:
    world.stranger("closed", state=CLOSED)
    assert world.compare() == 1
    assert (world.findings(), world.processor.told) == ([], [])


@pytest.mark.parametrize("state", ["ABANDONED", "FAILED"])
def test_a_card_whose_issuance_was_given_up_is_closed_and_never_adopted_again(world: DriftWorld, state: str) -> None:
    card_id = world.given_up(state)
    world.compare()
    token = world.processor.cards[card_id].token
    assert (world.listing.states[token], world.findings()) == (CLOSED, [("unknown_at_processor", card_id, False)])
    with pytest.raises(ProviderRefusedError):
        world.service.issue_card(world.holder, world.wish(), card_id)
    assert world.rows("virtual_cards", card_id) == []


def test_a_card_that_is_being_made_is_left_to_the_sweep_of_issuances(world: DriftWorld) -> None:
    card_id = world.given_up("REQUESTED")
    world.compare()
    assert (world.findings(), world.processor.told) == ([], [])
    assert world.service.issue_card(world.holder, world.wish(), card_id).card_id == card_id


def test_a_card_adopted_between_look_and_close_is_not_closed(world: DriftWorld) -> None:
    card_id = world.given_up()
    asked = iter(range(100))

    def deadline() -> float:
        if next(asked) == 1:
            world.service.issue_card(world.holder, world.wish(), card_id)
        return 300.0

    world.compare(deadline)
    assert world.listing.states[world.processor.cards[card_id].token] is ACTIVE
    assert world.service.get_card(world.holder, card_id).status is CardStatus.ACTIVE
    world.later()
    world.compare()
    assert world.findings() == [("unknown_at_processor", card_id, False)]


def test_an_issuance_that_is_gone_between_look_and_close_closes_nothing(world: DriftWorld) -> None:
    card_id = world.given_up()
    asked = iter(range(100))

    def deadline() -> float:
        if next(asked) == 1:
            world.sql("DELETE FROM card_issuances WHERE card_id = %s", card_id)
        return 300.0

    world.compare(deadline)
    assert (world.processor.told, world.findings()) == ([], [("unknown_at_processor", card_id, True)])


def test_a_second_card_under_a_reference_of_ours_is_reported_and_not_closed(world: DriftWorld) -> None:
    card = world.old_card()
    token = world.stranger("twin", card.card_id)
    world.compare()
    assert token not in world.listing.states
    assert world.findings() == [("unknown_at_processor", card.card_id, True)]


def test_an_unknown_card_that_cannot_be_closed_stays_a_finding_until_it_is_gone(world: DriftWorld) -> None:
    card_id = world.given_up()
    world.processor.switch_faults = [REFUSED]
    world.compare()
    assert world.findings() == [("unknown_at_processor", card_id, True)]
    world.listing.lost = {world.processor.cards[card_id].token}
    world.later()
    world.compare()
    assert world.findings() == [("unknown_at_processor", card_id, False)]


def test_a_card_the_list_does_not_hold_is_reported_until_it_does_again(world: DriftWorld) -> None:
    card, other = world.old_card(), world.old_card()
    world.listing.lost = {card.processor_card_token}
    world.compare()
    world.later()
    world.compare()
    assert world.findings() == [("missing_at_processor", card.card_id, True)]
    world.listing.lost = set()
    world.later()
    world.compare()
    assert world.findings() == [("missing_at_processor", card.card_id, False)]
    assert other.card_id != card.card_id


def test_an_ended_card_may_be_missing(world: DriftWorld) -> None:
    card = world.old_card()
    world.listing.lost = {card.processor_card_token}
    world.compare()
    world.service.cancel(world.holder, card.card_id, StateChange(), operation_id=world.ids.new())
    world.later()
    world.compare()
    assert world.findings() == [("missing_at_processor", card.card_id, False)]


def test_a_card_made_after_the_pass_began_is_not_missed(world: DriftWorld) -> None:
    world.old_card()
    world.processor.page_size = 1
    world.old_card()
    world.compare(iter([300.0, 300.0, 0.0]).__next__)
    assert world.sweep()["finished_at"] is None
    late = world.issue(world.holder)
    world.listing.lost = {late.processor_card_token}
    world.compare()
    assert (world.findings(), world.sweep()["finished_at"]) == ([], world.clock.at)


@pytest.mark.parametrize(("unknown", "closed"), [(10, 10), (11, 0)])
def test_nothing_is_closed_where_too_much_of_a_page_would_be(world: DriftWorld, unknown: int, closed: int) -> None:
    for number in range(50 - unknown):
        world.stranger(f"closed {number}", state=CLOSED)
    given_up = [world.given_up() for _ in range(unknown)]
    world.compare()
    assert len(world.processor.told) == closed
    assert world.findings() == [("unknown_at_processor", card_id, closed == 0) for card_id in sorted(given_up)]
    assert world.sweep()["finished_at"] == world.clock.at


def test_a_page_whose_closings_are_held_back_is_mended_and_reported_and_the_pass_goes_on(
    world: DriftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = [world.given_up() for _ in range(11)]
    on_page, later, missing = world.old_card(), world.old_card(), world.old_card()
    for card in (on_page, later):
        world.listing.states[card.processor_card_token] = PAUSED
    world.listing.lost = {missing.processor_card_token}
    # Eleven, the first of ours and 38 strangers fill a page; the other one of ours stands alone on the next.
    world.listing.page_size = 50
    for number in range(38):
        world.stranger(str(number), state=CLOSED if number else ACTIVE)
    del world.listing.cards[later.card_id]
    world.listing.strangers.append(ProcessorCard(later.processor_card_token, later.card_id, PAUSED))
    logged: list[object] = []
    monkeypatch.setattr("cardwright.cards.service.drift.logger.error", lambda text, extra: logged.append(extra))
    assert world.compare() == 51
    assert {"cards": 50, "unknown": 11} in logged
    assert world.processor.told == [(card.processor_card_token, ACTIVE) for card in (on_page, later)]
    found = world.findings()
    assert found[:3] == [
        ("missing_at_processor", missing.card_id, True),
        ("state_differs", on_page.card_id, False),
        ("state_differs", later.card_id, False),
    ]
    unknown: list[UUID | None] = [*sorted(given_up), None]
    assert found[3:] == [("unknown_at_processor", card_id, True) for card_id in unknown]
    assert world.sweep()["finished_at"] == world.clock.at


def test_one_run_closes_twenty_unknown_cards_and_leaves_the_rest_to_the_next_pass(world: DriftWorld) -> None:
    given_up = sorted(world.given_up() for _ in range(25))
    after_them = world.old_card()
    world.listing.states[after_them.processor_card_token] = PAUSED
    world.compare()
    assert [state for _, state in world.processor.told] == [CLOSED] * 20 + [ACTIVE]
    assert (world.open_findings(), world.sweep()["finished_at"]) == (5, world.clock.at)
    world.later()
    world.compare()
    assert {world.listing.states[world.processor.cards[card_id].token] for card_id in given_up} == {CLOSED}
    assert [found for found in world.findings() if found[0] == "unknown_at_processor"] == [
        ("unknown_at_processor", card_id, False) for card_id in given_up
    ]


def test_what_the_processor_closes_in_name_only_does_not_hold_the_pass_up(
    world: DriftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(21):
        world.given_up()
    monkeypatch.setattr(world.listing, "set_state", lambda token, state: None)
    for _ in range(2):
        world.compare()
        assert world.sweep()["finished_at"] == world.clock.at
        world.later()
    assert world.open_findings() == 1


def test_a_finding_keeps_no_token_and_the_app_role_reads_it_as_staff_alone(world: DriftWorld) -> None:
    world.old_card()
    world.stranger("anything")
    world.compare()
    (row,) = world.sql("SELECT * FROM processor_findings")
    assert "stranger_anything" not in str(row)
    for actor, seen in ((world.holder, 0), (world.add_user("support"), 1)):
        with world.database.transaction(actor) as tx:
            assert len(tx.fetch_all("SELECT finding_id FROM processor_findings")) == seen
