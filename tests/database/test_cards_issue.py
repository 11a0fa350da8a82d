"""Issuing a card against the real database: one effect, all or nothing, whatever fails."""

import threading
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from cardwright.cards.rules import AllowDeny, CardStatus, Expiry, ProcessorState, Usage, WantedLimits
from cardwright.cards.service import CardFilter
from cardwright.kernel.errors import (
    BrokenInvariantError,
    CardwrightError,
    ConflictError,
    ForbiddenError,
    InvalidFieldsError,
    NotFoundError,
    ProviderRefusedError,
    RateLimitedError,
    UnavailableError,
    UnprocessableError,
)
from cardwright.kernel.secret import Secret
from cardwright.platform.postgres import Actor
from tests.fakes.card_world import NOW, CardWorld, as_role
from tests.pans import pan

TABLES = ("virtual_cards", "card_limits", "card_tokens", "card_fingerprints", "outbox", "card_audit_log")
UNAVAILABLE = UnavailableError("gone", code="processor_unavailable")
REFUSED = ProviderRefusedError("no", code="processor_refused")


def nothing_of(world: CardWorld, card_id: UUID) -> bool:
    """True when no table but the issuances knows the card."""
    return all(world.rows(table, card_id) == [] for table in TABLES)


def test_a_card_comes_with_limits_token_fingerprint_issuance_audit_and_event(world: CardWorld, holder: Actor) -> None:
    card_id = world.ids.new()
    card = world.service.issue_card(holder, world.wish(label="Travel"), card_id)
    (row,) = world.rows("virtual_cards", card_id)
    made = world.processor.cards[card_id]
    assert (card.card_id, card.status, card.version, card.expiry) == (card_id, CardStatus.ACTIVE, 1, Expiry(2029, 11))
    assert (row["last_four"], row["processor_card_token"], row["processor_state"]) == (made.last_four, made.token, "ACTIVE")
    assert world.fake_vault.decrypt(card_id, row["card_number_encrypted"]) == made.pan
    assert [row["fingerprint"] for row in world.rows("card_fingerprints", card_id)] == [world.vault.fingerprint(made.pan)]
    assert [row["processor_card_token"] for row in world.rows("card_tokens", card_id)] == [made.token]
    (limits,) = world.rows("card_limits", card_id)
    assert (limits["per_transaction"], limits["daily"], limits["monthly"]) == (500, 1000, 5000)
    assert (limits["velocity_per_hour"], limits["config_version"]) == (5, 1)
    assert (limits["day_start"], limits["month_start"]) == (NOW.replace(hour=0), NOW.replace(day=1, hour=0))
    assert [row["state"] for row in world.rows("card_issuances", card_id)] == ["ISSUED"]
    assert [(row["action"], row["actor_id"]) for row in world.rows("card_audit_log", card_id)] == [
        ("card.created", holder.user_id)
    ]
    (event,) = world.rows("outbox", card_id)
    assert (event["type"], event["user_id"], event["data"]["status"]) == ("card.created", holder.user_id, "ACTIVE")
    assert made.pan.reveal() not in str(event)


def test_a_card_as_stored_is_the_card_as_answered(world: CardWorld, holder: Actor) -> None:
    card = world.issue(
        holder,
        label="One gift",
        limits=WantedLimits(daily=Decimal("20.00")),
        merchant_categories=AllowDeny(("5411",), ("7995",)),
        usage=Usage.SINGLE,
        expires_on=date(2027, 2, 1),
    )
    assert world.service.get_card(holder, card.card_id) == card
    assert (card.expiry, card.limits.per_transaction) == (Expiry(2027, 2), Decimal("20.00"))


@pytest.mark.parametrize("status", ["NOT_STARTED", "PENDING", "REJECTED", "NEEDS_REVIEW", "EXPIRED"])
def test_only_the_verified_get_a_card(world: CardWorld, holder: Actor, status: str) -> None:
    assert holder.user_id is not None
    world.kyc.statuses[holder.user_id] = status
    with pytest.raises(ForbiddenError) as refusal:
        world.issue(holder)
    assert refusal.value.code == "kyc_required"
    assert world.processor.asked == []


def test_a_program_must_exist_and_fit_the_currency(world: CardWorld, holder: Actor) -> None:
    for changes, code in (
        ({"program_id": world.ids.new()}, "program_not_found"),
        ({"currency": "EUR"}, "program_currency_mismatch"),
        ({"currency": "CHF", "program_id": None}, "currency_unsupported"),
    ):
        with pytest.raises(UnprocessableError) as refusal:
            world.issue(holder, **changes)
        assert refusal.value.code == code
    assert world.processor.asked == []


def test_without_a_program_the_currencys_default_is_taken(world: CardWorld, holder: Actor) -> None:
    default = world.add_program("SEK", is_default=True)
    assert world.issue(holder, currency="SEK", program_id=None).program_id == default.program_id


def test_wrong_limits_and_days_reach_neither_processor_nor_tables(world: CardWorld, holder: Actor) -> None:
    card_id = world.ids.new()
    for changes in ({"limits": WantedLimits(daily=Decimal("0.50"))}, {"expires_on": date(2026, 11, 20)}):
        with pytest.raises(InvalidFieldsError):
            world.service.issue_card(holder, world.wish(**changes), card_id)
    assert world.rows("card_issuances", card_id) == []
    assert world.processor.asked == []


def test_the_same_operation_twice_is_one_card(world: CardWorld, holder: Actor) -> None:
    card_id = world.ids.new()
    first = world.service.issue_card(holder, world.wish(), card_id)
    assert world.service.issue_card(holder, world.wish(), card_id) == first
    assert len(world.processor.cards) == 1
    assert len(world.rows("outbox", card_id)) == 1


def test_transient_faults_are_tried_again_under_the_same_id(world: CardWorld, holder: Actor) -> None:
    world.processor.faults = [UNAVAILABLE] * 3
    card = world.issue(holder)
    assert world.processor.asked == [card.card_id] * 4
    assert world.pauses == [1.0, 2.0, 4.0]


def test_after_an_outage_the_next_run_finishes_the_first_ones_card(world: CardWorld, holder: Actor) -> None:
    card_id = world.ids.new()
    world.processor.faults, world.processor.made_before_fault = [UNAVAILABLE] * 4, True
    with pytest.raises(UnavailableError) as failure:
        world.service.issue_card(holder, world.wish(), card_id)
    assert failure.value.code == "processor_unavailable"
    assert nothing_of(world, card_id)
    assert [row["state"] for row in world.rows("card_issuances", card_id)] == ["REQUESTED"]
    world.clock.at = NOW + timedelta(hours=11)
    card = world.service.issue_card(holder, world.wish(), card_id)
    assert (card.card_id, card.expiry) == (card_id, Expiry(2029, 11))
    assert len(world.processor.cards) == 1


def test_so_late_that_the_processor_may_have_forgotten_the_key_a_card_is_closed_and_not_asked_for_again(
    world: CardWorld, holder: Actor
) -> None:
    card_id = world.ids.new()
    world.processor.faults, world.processor.made_before_fault = [UNAVAILABLE] * 4, True
    with pytest.raises(UnavailableError):
        world.service.issue_card(holder, world.wish(), card_id)
    asked = len(world.processor.asked)
    world.clock.at = NOW + timedelta(hours=13)
    with pytest.raises(UnavailableError):
        world.service.issue_card(holder, world.wish(), card_id)
    world.schedules.sweep_issuances(lambda: 60.0)
    world.clock.at = NOW + timedelta(hours=14)
    world.schedules.sweep_issuances(lambda: 60.0)
    assert set(world.processor.states.values()) == {ProcessorState.CLOSED}
    with pytest.raises(ProviderRefusedError):
        world.service.issue_card(holder, world.wish(), card_id)
    assert len(world.processor.asked) == asked


def test_a_refusal_of_the_processor_fails_the_issuance(world: CardWorld, holder: Actor) -> None:
    card_id = world.ids.new()
    world.processor.faults = [REFUSED]
    for _ in range(2):
        with pytest.raises(ProviderRefusedError) as refusal:
            world.service.issue_card(holder, world.wish(), card_id)
        assert refusal.value.code == "processor_refused"
    assert nothing_of(world, card_id)
    assert [(row["state"], row["failure_code"]) for row in world.rows("card_issuances", card_id)] == [
        ("FAILED", "processor_refused")
    ]
    assert world.processor.asked == [card_id]


@pytest.mark.parametrize(
    "bent", [{"currency": "EUR"}, {"last_four": "0000"}, {"pan": Secret(pan()[:-1] + "1")}, {"pan": Secret(pan("555555"))}]
)
def test_a_card_that_is_not_the_one_asked_for_is_refused(world: CardWorld, holder: Actor, bent: dict[str, object]) -> None:
    card_id = world.ids.new()
    world.processor.bend = lambda card: replace(card, **bent)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(ProviderRefusedError) as refusal:
        world.service.issue_card(holder, world.wish(), card_id)
    assert refusal.value.code == "processor_answer_invalid"
    assert nothing_of(world, card_id)


@pytest.mark.parametrize("same", ["pan", "token"])
def test_a_number_or_token_seen_before_is_refused_for_another_users_card_too(world: CardWorld, holder: Actor, same: str) -> None:
    first = world.processor.cards[world.issue(world.add_user()).card_id]
    bent = {"token": first.token} if same == "token" else {"pan": first.pan, "last_four": first.last_four}
    world.processor.bend = lambda card: replace(card, **bent)
    card_id = world.ids.new()
    with pytest.raises(ProviderRefusedError) as refusal:
        world.service.issue_card(holder, world.wish(), card_id)
    assert refusal.value.code == "processor_answer_invalid"
    assert nothing_of(world, card_id)
    assert [row["state"] for row in world.rows("card_issuances", card_id)] == ["FAILED"]


def test_without_keys_nothing_is_half_done_and_the_next_run_finishes(world: CardWorld, holder: Actor) -> None:
    card_id = world.ids.new()
    world.fake_vault.fault = UnavailableError("gone", code="keys_unavailable")
    with pytest.raises(UnavailableError) as failure:
        world.service.issue_card(holder, world.wish(), card_id)
    assert failure.value.code == "keys_unavailable"
    assert nothing_of(world, card_id)
    assert world.service.issue_card(holder, world.wish(), card_id).card_id == card_id
    assert len(world.processor.cards) == 1


def test_a_program_caps_open_cards(world: CardWorld, holder: Actor) -> None:
    world.program = world.add_program("USD", max_open_cards=2)
    cards = [world.issue(holder), world.issue(holder)]
    with pytest.raises(ConflictError) as refusal:
        world.issue(holder)
    assert refusal.value.code == "card_limit_reached"
    world.sql(
        "UPDATE virtual_cards SET status = 'CANCELLED', last_operation_id = gen_random_uuid() WHERE card_id = %s",
        cards[0].card_id,
    )
    assert world.issue(holder).status is CardStatus.ACTIVE


def test_the_cap_holds_when_cards_are_asked_for_at_once(world: CardWorld, holder: Actor) -> None:
    world.program = world.add_program("USD", max_open_cards=3)
    outcomes: list[str] = []

    def issue() -> None:
        try:
            world.issue(holder)
            outcomes.append("issued")
        except CardwrightError as error:
            outcomes.append(error.code)
        finally:
            world.close()

    threads = [threading.Thread(target=issue) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["card_limit_reached"] * 7 + ["issued"] * 3


def test_five_cards_an_hour_and_no_refusal_or_repetition_counts(world: CardWorld, holder: Actor) -> None:
    service = world.serving(creations_per_hour=5)
    first = world.ids.new()
    service.issue_card(holder, world.wish(), first)
    world.clock.at = NOW + timedelta(minutes=10)
    for _ in range(4):
        world.processor.faults = [REFUSED]
        with pytest.raises(ProviderRefusedError):
            service.issue_card(holder, world.wish(), world.ids.new())
        world.processor.faults = [UNAVAILABLE] * 4
        with pytest.raises(UnavailableError):
            service.issue_card(holder, world.wish(), world.ids.new())
        world.clock.at += timedelta(seconds=1)
        world.schedules.sweep_issuances(lambda: 60.0)
        service.issue_card(holder, world.wish(), world.ids.new())
    service.issue_card(holder, world.wish(), first)
    with pytest.raises(RateLimitedError) as refusal:
        service.issue_card(holder, world.wish(), world.ids.new())
    said = refusal.value
    assert (said.quota, said.retry_after_s, said.limit, said.window_s) == ("card_creations", 2996, 5, 3600)
    world.clock.at = NOW + timedelta(minutes=60)
    service.issue_card(holder, world.wish(), world.ids.new())
    assert len(world.sql("SELECT 1 FROM virtual_cards WHERE user_id = %s", holder.user_id)) == 6


def test_a_crashed_run_counts_until_it_is_known_what_became_of_it(world: CardWorld, holder: Actor) -> None:
    world.program = world.add_program("USD", max_open_cards=1)

    def crash(card_id: UUID) -> None:
        world.processor.bend = lambda card: 1 / 0  # type: ignore[return-value,assignment]  # what a killed process never answers
        with pytest.raises(ZeroDivisionError):
            world.service.issue_card(holder, world.wish(), card_id)
        world.processor.bend = lambda card: card

    crashed = world.ids.new()
    crash(crashed)
    with pytest.raises(ConflictError):
        world.issue(holder)
    world.clock.at = NOW + timedelta(seconds=61)
    with pytest.raises(ConflictError):
        world.issue(holder)
    world.schedules.sweep_issuances(lambda: 60.0)
    world.issue(holder)
    with pytest.raises(ConflictError):
        world.service.issue_card(holder, world.wish(), crashed)


def test_what_was_admitted_once_is_not_refused_when_it_is_asked_for_again(world: CardWorld, holder: Actor) -> None:
    world.program = world.add_program("USD", max_open_cards=2)
    service = world.serving(creations_per_hour=2)
    first = world.ids.new()
    world.processor.faults, world.processor.made_before_fault = [UNAVAILABLE] * 4, True
    with pytest.raises(UnavailableError):
        service.issue_card(holder, world.wish(), first)
    service.issue_card(holder, world.wish(), world.ids.new())
    for _ in range(3):
        with pytest.raises(ConflictError):
            service.issue_card(holder, world.wish(), world.ids.new())
    assert service.issue_card(holder, world.wish(), first).card_id == first
    assert len(world.processor.cards) == 2


def test_a_processor_that_does_not_answer_lifts_no_quota(world: CardWorld, holder: Actor) -> None:
    service = world.serving(creations_per_hour=3)
    for _ in range(3):
        world.processor.faults, world.processor.made_before_fault = [UNAVAILABLE] * 4, True
        with pytest.raises(UnavailableError):
            service.issue_card(holder, world.wish(), world.ids.new())
    with pytest.raises(RateLimitedError):
        service.issue_card(holder, world.wish(), world.ids.new())
    assert len(world.processor.cards) == 3


def test_a_nobody_holds_no_card(world: CardWorld) -> None:
    with pytest.raises(ForbiddenError):
        world.issue(Actor(None, "system"))
    assert world.processor.asked == []


def test_anothers_card_is_not_found_and_staff_finds_it(world: CardWorld, holder: Actor) -> None:
    card = world.issue(holder)
    with pytest.raises(NotFoundError) as refusal:
        world.service.get_card(world.add_user(), card.card_id)
    assert refusal.value.code == "card_not_found"
    assert world.service.get_card(world.add_user("support"), card.card_id) == card


def test_cards_are_listed_newest_first_and_go_on_after_a_key(world: CardWorld, holder: Actor) -> None:
    cards = []
    for minute in range(4):
        world.clock.at = NOW + timedelta(minutes=minute)
        cards.append(world.issue(holder))
    world.issue(world.add_user())
    cards.reverse()
    assert world.service.list_cards(holder, limit=10) == cards
    assert world.service.list_cards(holder, limit=2) == cards[:2]
    assert world.service.list_cards(holder, limit=10, after=cards[1].card_id) == cards[2:]
    admin = world.add_user("admin")
    assert world.service.list_cards(admin, limit=10, wanted=CardFilter(user_id=holder.user_id)) == cards
    assert len({card.user_id for card in world.service.list_cards(admin, limit=200)}) > 1


def test_a_program_is_added_once_and_never_by_the_app(world: CardWorld) -> None:
    migrator = as_role(world.url, "migrator")
    system = Actor(None, "system")
    with migrator.transaction(system) as tx:
        world.programs.add_program(tx, world.program)
        assert world.programs.get(tx, world.program.program_id) == world.program
    with pytest.raises(ConflictError), migrator.transaction(system) as tx:
        world.programs.add_program(tx, replace(world.program, name="Another"))
    migrator.close()
    with pytest.raises(Exception, match="row-level security"), world.database.transaction(system) as tx:
        world.programs.add_program(tx, replace(world.program, program_id=world.ids.new()))


def test_a_card_without_its_issuance_is_a_bug(world: CardWorld, holder: Actor) -> None:
    card_id = world.ids.new()

    def forget(card: object) -> object:
        world.sql("DELETE FROM card_issuances WHERE card_id = %s", card_id)
        return card

    world.processor.bend = forget  # type: ignore[assignment]  # it gives back what it was given
    with pytest.raises(BrokenInvariantError):
        world.service.issue_card(holder, world.wish(), card_id)
    assert nothing_of(world, card_id)
