"""What schedules do to cards, each test in a database of its own: issuances nobody is at, expiry, a processor behind."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from cardwright.cards.rules import Card, CardStatus, Expiry, IssuedCard, ProcessorCard, ProcessorState, WantedLimits
from cardwright.kernel.errors import BrokenInvariantError, CardwrightError, NotFoundError, ProviderRefusedError, UnavailableError
from cardwright.platform.postgres import Actor
from tests.fakes.card_world import NOW, CardWorld, Killed

ACTIVE, FROZEN, EXPIRED = CardStatus.ACTIVE, CardStatus.FROZEN, CardStatus.EXPIRED
UNAVAILABLE = UnavailableError("gone", code="processor_unavailable")
REFUSED = ProviderRefusedError("no", code="processor_refused")
STAFF = Actor(None, "support")
LATER = timedelta(seconds=61)


@pytest.fixture
def world(fresh_database: str) -> Iterator[CardWorld]:
    """A world alone in its database."""
    world = CardWorld(fresh_database)
    yield world
    world.close()


def killed(world: CardWorld, holder: Actor, *, made: bool) -> UUID:
    """A creation whose maker died at the processor; a minute goes by."""
    card_id = world.ids.new()
    world.kill_in_creation(made=made)
    with pytest.raises(Killed):
        world.service.issue_card(holder, world.wish(label="Travel", limits=WantedLimits(daily=Decimal("20.00"))), card_id)
    world.clock.at += LATER
    return card_id


def failed(world: CardWorld, holder: Actor, **bent: object) -> UUID:
    """A creation that the processor answered with a card that was not asked for; a minute goes by."""
    card_id = world.ids.new()
    world.processor.bend = lambda card: replace(card, **bent)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(ProviderRefusedError):
        world.service.issue_card(holder, world.wish(), card_id)
    world.processor.bend = lambda card: card
    world.clock.at += LATER
    return card_id


def follow(world: CardWorld, seconds: float = 60.0) -> int:
    """One run of the schedule that follows issuances."""
    return world.schedules.sweep_issuances(lambda: seconds)


def issuance(world: CardWorld, card_id: UUID) -> tuple[object, object, object]:
    """State, failure and whether it is clean."""
    (row,) = world.rows("card_issuances", card_id)
    return row["state"], row["failure_code"], row["cleaned_at"] is not None


def test_one_issuance_that_cannot_be_settled_does_not_keep_the_others(world: CardWorld, holder: Actor) -> None:
    first, second = killed(world, holder, made=True), killed(world, holder, made=True)
    find = world.processor.find_card

    def broken(card_id: UUID) -> ProcessorCard | None:
        if card_id == first:
            raise BrokenInvariantError("a setting is missing")
        return find(card_id)

    world.processor.find_card = broken  # type: ignore[method-assign]  # one card's own trouble
    assert follow(world) == 1
    assert (issuance(world, first)[0], issuance(world, second)[0]) == ("REQUESTED", "ISSUED")


def test_a_card_whose_maker_died_is_finished_as_it_was_wished(world: CardWorld, holder: Actor) -> None:
    card_id = killed(world, holder, made=True)
    assert follow(world) == 1
    card = world.service.get_card(holder, card_id)
    assert (card.status, card.label, card.limits.daily, card.expiry) == (ACTIVE, "Travel", Decimal("20.00"), Expiry(2029, 11))
    assert issuance(world, card_id) == ("ISSUED", None, False)
    assert world.events(card_id) == {"card.created": 1}
    assert [(row["actor_id"], row["actor_role"]) for row in world.rows("card_audit_log", card_id)] == [(None, "system")]
    assert list(world.processor.cards) == [card_id]
    assert world.pay(card).reason == "approved"
    # Whoever comes back finds it.
    assert world.service.issue_card(holder, world.wish(), card_id) == card
    assert follow(world) == 0


def test_a_card_the_processor_never_made_is_given_up_until_somebody_comes_back(world: CardWorld, holder: Actor) -> None:
    card_id = killed(world, holder, made=False)
    assert follow(world) == 1
    assert issuance(world, card_id) == ("ABANDONED", None, False)
    assert world.processor.cards == {}
    assert follow(world) == 0
    world.clock.at += timedelta(days=40)
    card = world.service.issue_card(holder, world.wish(label="other"), card_id)
    assert (card.card_id, card.label, card.expiry) == (card_id, "Travel", Expiry(2029, 11))
    assert issuance(world, card_id)[0] == "ISSUED"


def test_an_issuance_somebody_is_at_is_left_alone(world: CardWorld, holder: Actor) -> None:
    killed(world, holder, made=True)
    world.clock.at -= timedelta(seconds=2)
    assert follow(world) == 0
    assert world.sql("SELECT card_id FROM virtual_cards") == []


def test_after_an_outage_nobody_is_at_it_and_the_next_run_looks(world: CardWorld, holder: Actor) -> None:
    card_id = world.ids.new()
    world.processor.faults, world.processor.made_before_fault = [UNAVAILABLE] * 4, True
    with pytest.raises(UnavailableError):
        world.service.issue_card(holder, world.wish(), card_id)
    world.clock.at += timedelta(seconds=1)
    assert follow(world) == 1
    assert world.service.get_card(holder, card_id).status is ACTIVE


@pytest.mark.parametrize("bent", [{"currency": "EUR"}, {"last_four": "0000"}, {"expiry": Expiry(2031, 1)}])
def test_a_live_card_that_a_failed_issuance_left_is_closed(world: CardWorld, holder: Actor, bent: dict[str, object]) -> None:
    card_id = failed(world, holder, **bent)
    token = world.processor.cards[card_id].token
    assert issuance(world, card_id) == ("FAILED", "processor_answer_invalid", False)
    assert world.processor.states[token] is ProcessorState.ACTIVE
    assert follow(world) == 1
    assert world.processor.states[token] is ProcessorState.CLOSED
    assert issuance(world, card_id) == ("FAILED", "processor_answer_invalid", True)
    assert follow(world) == 0


def test_a_refused_issuance_that_left_nothing_is_clean(world: CardWorld, holder: Actor) -> None:
    card_id = world.ids.new()
    world.processor.faults = [REFUSED]
    with pytest.raises(ProviderRefusedError):
        world.service.issue_card(holder, world.wish(), card_id)
    world.clock.at += LATER
    assert (follow(world), issuance(world, card_id)) == (1, ("FAILED", "processor_refused", True))
    assert world.processor.told == []


def test_another_cards_token_is_never_closed(world: CardWorld, holder: Actor) -> None:
    good = world.issue(world.add_user())
    card_id = failed(world, holder, token=good.processor_card_token)
    assert follow(world) == 1
    assert world.processor.told == []
    assert issuance(world, card_id)[2] is True
    assert world.pay(good).reason == "approved"


def test_a_finished_answer_that_is_wrong_fails_and_is_cleaned(world: CardWorld, holder: Actor) -> None:
    card_id = killed(world, holder, made=True)
    made = world.processor.cards[card_id]
    world.processor.cards[card_id] = replace(made, currency="EUR")
    assert follow(world) == 1
    assert issuance(world, card_id) == ("FAILED", "processor_answer_invalid", False)
    world.clock.at += LATER
    assert follow(world) == 1
    assert world.processor.states[made.token] is ProcessorState.CLOSED
    with pytest.raises(NotFoundError):
        world.service.get_card(holder, card_id)


def test_while_the_processor_is_down_nothing_is_lost(world: CardWorld, holder: Actor) -> None:
    waiting, wrong = killed(world, holder, made=True), failed(world, holder, currency="EUR")
    world.processor.view_faults = [UNAVAILABLE] * 2
    assert follow(world) == 0
    assert (issuance(world, waiting)[0], issuance(world, wrong)[2]) == ("REQUESTED", False)
    world.clock.at += LATER
    assert follow(world) == 2
    assert (issuance(world, waiting)[0], issuance(world, wrong)[2]) == ("ISSUED", True)


@pytest.mark.parametrize("fault", [REFUSED, UNAVAILABLE])
def test_one_that_fails_each_time_holds_up_no_other(world: CardWorld, holder: Actor, fault: CardwrightError) -> None:
    wrong = [failed(world, holder, currency="EUR") for _ in range(3)]
    turns = iter([fault])
    world.processor.before_switch = lambda state: world.processor.switch_faults.extend(list(turns))
    assert follow(world) == 2
    assert sorted(issuance(world, card_id)[2] is True for card_id in wrong) == [False, True, True]
    world.clock.at += LATER
    assert follow(world) == 1
    assert all(world.processor.states[world.processor.cards[card_id].token] is ProcessorState.CLOSED for card_id in wrong)


def test_a_processor_that_answers_nothing_is_not_asked_for_each_one(world: CardWorld, holder: Actor) -> None:
    wrong = [failed(world, holder, currency="EUR") for _ in range(6)]
    world.processor.view_faults = [UNAVAILABLE] * 6
    assert follow(world) == 0
    assert len(world.processor.view_faults) == 3
    assert not any(issuance(world, card_id)[2] for card_id in wrong)


def test_without_time_left_no_work_is_begun(world: CardWorld, holder: Actor) -> None:
    card_id = killed(world, holder, made=True)
    assert follow(world, 15.0) == 0
    assert issuance(world, card_id)[0] == "REQUESTED"


def test_many_sweepers_at_once_finish_each_card_once(world: CardWorld, holder: Actor) -> None:
    world.program = world.add_program("USD", 2, max_open_cards=100)
    made = [killed(world, world.add_user(), made=True) for _ in range(6)]
    wrong = [failed(world, world.add_user(), currency="EUR") for _ in range(4)]
    outcomes = world.at_once(*[lambda: follow(world)] * 5)
    assert outcomes == {"done": 5}
    assert all(world.events(card_id) == {"card.created": 1} for card_id in made)
    assert len(world.processor.told) == len(wrong)
    assert len(world.processor.cards) == len(made) + len(wrong)


@pytest.mark.parametrize("made", [True, False] * 4)
def test_the_clients_retry_beside_the_sweeper_is_one_card(world: CardWorld, holder: Actor, made: bool) -> None:
    card_id = killed(world, holder, made=made)
    outcomes = world.at_once(lambda: world.service.issue_card(holder, world.wish(), card_id), lambda: follow(world))
    assert outcomes == {"done": 2}
    assert issuance(world, card_id)[0] == "ISSUED"
    assert world.events(card_id) == {"card.created": 1}


def test_whoever_comes_back_while_the_sweeper_looks_is_not_given_up(world: CardWorld, holder: Actor) -> None:
    """The sweeper finds nothing at the processor, then the client's retry makes the card and dies: it must be found again."""
    killed_id = killed(world, holder, made=False)
    looked, again = threading.Event(), world.processor.find_card

    def overtaken(card_id: UUID) -> ProcessorCard | None:
        found = again(card_id)
        if not looked.is_set():
            looked.set()
            world.clock.at += timedelta(seconds=1)
            world.kill_in_creation(made=True)
            with pytest.raises(Killed):
                world.service.issue_card(holder, world.wish(), killed_id)
        return found

    world.processor.find_card = overtaken  # type: ignore[method-assign]  # the same, with somebody in between
    follow(world)
    assert issuance(world, killed_id)[0] == "REQUESTED"
    world.clock.at += LATER
    assert follow(world) == 1
    assert world.service.get_card(holder, killed_id).status is ACTIVE


def test_a_maker_who_was_given_up_and_gets_no_answer_has_it_looked_at_again(world: CardWorld, holder: Actor) -> None:
    card_id = world.ids.new()

    def slow(card: IssuedCard) -> IssuedCard:
        # Nobody sees the card until the processor is done with it.
        world.clock.at += LATER
        assert follow_unlocked() == 1
        return card

    def follow_unlocked() -> int:
        world.processor.find_card = lambda card_id: None  # type: ignore[method-assign]  # asked from inside its own lock
        settled = follow(world)
        del world.processor.find_card
        return settled

    world.processor.bend, world.processor.made_before_fault = slow, True
    world.processor.faults = [UNAVAILABLE] * 4
    with pytest.raises(UnavailableError):
        world.service.issue_card(holder, world.wish(), card_id)
    world.clock.at += timedelta(seconds=1)
    assert follow(world) == 1
    assert world.service.get_card(holder, card_id).status is ACTIVE


def expire(world: CardWorld) -> int:
    """One run of the schedule that expires cards."""
    return world.schedules.expire_cards(lambda: 60.0)


def test_a_card_is_good_through_the_last_moment_of_its_month(world: CardWorld, holder: Actor) -> None:
    card = world.issue(holder, expires_on=date(2026, 12, 5))
    other = world.issue(holder)
    world.clock.at = datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert expire(world) == 0
    assert world.pay(card).reason == "approved"
    world.clock.at = datetime(2027, 1, 1, tzinfo=UTC)
    # Nobody waits for the schedule.
    assert world.pay(card).reason == "card_expired"
    assert expire(world) == 1
    ended = world.service.get_card(holder, card.card_id)
    assert (ended.status, ended.version, ended.status_reason_code, ended.status_actor_role) == (EXPIRED, 2, "expired", "system")
    assert world.actions(card.card_id) == ["card.created", "card.expired"]
    assert world.events(card.card_id) == {"card.created": 1, "card.expired": 1}
    assert world.pay(card).reason == "card_expired"
    assert world.service.get_card(holder, other.card_id).status is ACTIVE
    assert expire(world) == 0


def test_frozen_and_scheduled_cards_expire_too_and_once_whoever_runs(world: CardWorld, holder: Actor) -> None:
    cards = [world.issue(holder, expires_on=date(2026, 12, 5)) for _ in range(4)]
    for card in cards[:2]:
        world.service.update_card_status(holder, card.card_id, FROZEN, reason=None, operation_id=world.ids.new())
    world.sql("UPDATE virtual_cards SET cancel_after = %s WHERE card_id = %s", NOW + timedelta(days=80), cards[0].card_id)
    world.clock.at = datetime(2027, 1, 1, tzinfo=UTC)
    assert world.at_once(*[lambda: expire(world)] * 4) == {"done": 4}
    for card in cards:
        ended = world.service.get_card(holder, card.card_id)
        assert (ended.status, ended.cancel_after) == (EXPIRED, None)
        assert world.events(card.card_id)["card.expired"] == 1


def test_more_cards_than_a_page_expire_in_one_run(world: CardWorld, holder: Actor) -> None:
    world.program = world.add_program("USD", 2, max_open_cards=200)
    cards = [world.issue(holder, expires_on=date(2026, 12, 5)) for _ in range(51)]
    world.clock.at = datetime(2027, 1, 1, tzinfo=UTC)
    assert expire(world) == len(cards)
    assert world.sql("SELECT 1 FROM virtual_cards WHERE status <> 'EXPIRED'") == []


def test_the_processor_hears_of_expiry_by_the_schedule_that_tells_it(world: CardWorld, holder: Actor) -> None:
    card = world.issue(holder, expires_on=date(2026, 12, 5))
    world.clock.at = datetime(2027, 1, 1, tzinfo=UTC)
    expire(world)
    assert world.processor.told == []
    world.clock.at += timedelta(seconds=16)
    assert world.schedules.sweep_cards(lambda: 60.0) == 1
    assert world.processor.told == [(card.processor_card_token, ProcessorState.CLOSED)]
    assert world.schedules.sweep_cards(lambda: 60.0) == 0


def behind(world: CardWorld, cards: list[Card], holder: Actor) -> None:
    """Freeze cards while the processor hears nothing; some time goes by."""
    world.processor.switch_faults = [UNAVAILABLE] * len(cards)
    for card in cards:
        world.service.update_card_status(holder, card.card_id, FROZEN, reason=None, operation_id=world.ids.new())
    world.clock.at += timedelta(seconds=16)


def test_what_the_processor_did_not_hear_it_is_told_again_until_it_confirms(world: CardWorld, holder: Actor) -> None:
    cards = [world.issue(holder) for _ in range(3)]
    behind(world, cards, holder)
    world.processor.switch_faults = [UNAVAILABLE, REFUSED]
    assert world.schedules.sweep_cards(lambda: 60.0) == 1
    assert world.schedules.sweep_cards(lambda: 60.0) == 2
    assert {world.processor.states[card.processor_card_token] for card in cards} == {ProcessorState.PAUSED}
    assert world.schedules.sweep_cards(lambda: 60.0) == 0


def test_limits_the_processor_does_not_know_it_is_told(world: CardWorld, holder: Actor) -> None:
    card = world.issue(holder)
    world.sql("UPDATE virtual_cards SET limits_version = 3 WHERE card_id = %s", card.card_id)
    world.sql("UPDATE card_limits SET daily = 700 WHERE card_id = %s", card.card_id)
    world.clock.at += timedelta(seconds=16)
    world.processor.switch_faults = [UNAVAILABLE]
    assert [world.schedules.sweep_cards(lambda: 60.0) for _ in range(3)] == [0, 1, 0]
    assert world.processor.limits[card.processor_card_token].daily == 700
    assert world.rows("virtual_cards", card.card_id)[0]["processor_limits_version"] == 3


def test_a_sweep_amid_moves_by_its_holder_ends_in_the_cards_state(world: CardWorld, holder: Actor) -> None:
    card = world.issue(holder)
    behind(world, [card], holder)

    def move(target: CardStatus) -> None:
        world.service.update_card_status(holder, card.card_id, target, reason=None, operation_id=world.ids.new())

    world.at_once(
        *[lambda: world.schedules.sweep_cards(lambda: 60.0)] * 3,
        *[lambda: move(ACTIVE)] * 3,
        *[lambda: move(FROZEN)] * 3,
    )
    world.clock.at += timedelta(seconds=16)
    world.schedules.sweep_cards(lambda: 60.0)
    wanted = {ACTIVE: ProcessorState.ACTIVE, FROZEN: ProcessorState.PAUSED}
    assert world.processor.states[card.processor_card_token] is wanted[world.service.get_card(holder, card.card_id).status]
