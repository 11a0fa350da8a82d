"""Whose freeze a card's is, against the real database: roles, reasons, freezes that take another's place, storms of moves."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from cardwright.cards.rules import FRAUD_DISPUTE, Card, CardStatus, ProcessorState, ReasonCode
from cardwright.cards.service import StateChange
from cardwright.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidFieldsError,
    NotFoundError,
    UnavailableError,
)
from cardwright.platform.postgres import Actor
from tests.fakes.card_world import CardWorld

ACTIVE, FROZEN, CANCELLED = CardStatus.ACTIVE, CardStatus.FROZEN, CardStatus.CANCELLED
FRAUD_ENGINE = Actor(None, "system")


def freeze(world: CardWorld, actor: Actor, card: Card, code: ReasonCode | None = None, words: str | None = None) -> Card:
    """Freeze a card; the fraud engine is no user and works under the worker's role."""
    service = world.schedules if actor.user_id is None else world.service
    return service.update_card_status(actor, card.card_id, FROZEN, reason=words, code=code, operation_id=world.ids.new())


def release(world: CardWorld, actor: Actor, card: Card) -> Card:
    """Unfreeze a card."""
    return world.service.update_card_status(actor, card.card_id, ACTIVE, reason=None, operation_id=world.ids.new())


def refused_release(world: CardWorld, actor: Actor, card: Card) -> bool:
    """True when this actor may not undo the freeze, and nothing was written."""
    before = world.rows("virtual_cards", card.card_id)
    with pytest.raises(ForbiddenError) as refusal:
        release(world, actor, card)
    return refusal.value.code == "card_frozen_by_issuer" and world.rows("virtual_cards", card.card_id) == before


def disputing(holder: Actor) -> Actor:
    """The holder who disputes a fraud alert."""
    return replace(holder, role=FRAUD_DISPUTE)


@pytest.mark.parametrize("role", ["support", "admin", "compliance_officer"])
def test_what_staff_froze_the_holder_and_a_dispute_do_not_release(world: CardWorld, holder: Actor, card: Card, role: str) -> None:
    staff = world.add_user(role)
    assert freeze(world, staff, card).status_reason_code == "issuer_request"
    assert refused_release(world, holder, card)
    assert refused_release(world, disputing(holder), card)
    assert release(world, staff, card).status is ACTIVE


def test_what_compliance_froze_support_does_not_release(world: CardWorld, holder: Actor, card: Card) -> None:
    frozen = freeze(world, world.add_user("compliance_officer"), card, ReasonCode.COMPLIANCE, "sanctions list")
    assert (frozen.status_reason_code, frozen.status_actor_role) == ("compliance", "compliance_officer")
    assert refused_release(world, holder, card)
    assert refused_release(world, world.add_user("support"), card)
    assert release(world, world.add_user("admin"), card).status is ACTIVE


def test_what_the_fraud_engine_froze_a_dispute_releases_and_the_holder_alone_does_not(
    world: CardWorld, holder: Actor, card: Card
) -> None:
    frozen = freeze(world, FRAUD_ENGINE, card, ReasonCode.FRAUD)
    assert (frozen.status_reason_code, frozen.status_actor_role) == ("fraud", "system")
    assert refused_release(world, holder, card)
    back = release(world, disputing(holder), card)
    assert (back.status, back.status_reason_code, back.status_actor_role) == (ACTIVE, "disputed_alert", "fraud_dispute")
    assert [row["actor_role"] for row in sorted(world.rows("card_audit_log", card.card_id), key=lambda row: row["seq"])] == [
        "cardholder",
        "system",
        "fraud_dispute",
    ]


def test_a_dispute_releases_nothing_but_the_fraud_engines_freeze(world: CardWorld, holder: Actor, card: Card) -> None:
    freeze(world, holder, card)
    assert refused_release(world, disputing(holder), card)
    assert release(world, holder, card).status is ACTIVE
    freeze(world, world.add_user("support"), card, ReasonCode.FRAUD)
    assert refused_release(world, disputing(holder), card)


def test_a_strangers_dispute_finds_no_card(world: CardWorld, card: Card) -> None:
    freeze(world, FRAUD_ENGINE, card, ReasonCode.FRAUD)
    with pytest.raises(NotFoundError):
        release(world, disputing(world.add_user()), card)
    with pytest.raises(NotFoundError):
        world.service.cancel(world.add_user(), card.card_id, StateChange(), operation_id=world.ids.new())


def test_an_issuers_freeze_takes_the_place_of_the_holders_own(world: CardWorld, holder: Actor, card: Card) -> None:
    freeze(world, holder, card, ReasonCode.LOST)
    taken = freeze(world, world.add_user("compliance_officer"), card, ReasonCode.COMPLIANCE, "court order")
    assert (taken.status, taken.version, taken.status_reason_code) == (FROZEN, 3, "compliance")
    assert world.service.get_card(holder, card.card_id) == taken
    assert world.actions(card.card_id) == ["card.created", "card.frozen", "card.freeze_taken_over"]
    entry = max(world.rows("card_audit_log", card.card_id), key=lambda row: row["seq"])
    assert (entry["reason"], entry["old_values"], entry["new_values"]) == (
        "court order",
        {"reason_code": "lost", "actor_role": "cardholder"},
        {"reason_code": "compliance", "actor_role": "compliance_officer"},
    )
    assert world.events(card.card_id)["card.frozen"] == 1
    assert refused_release(world, holder, card)


def test_a_freeze_taken_over_again_by_the_same_operation_is_one(world: CardWorld, holder: Actor, card: Card) -> None:
    freeze(world, holder, card)
    support, operation_id = world.add_user("support"), world.ids.new()
    twice = [
        world.service.update_card_status(support, card.card_id, FROZEN, reason=None, operation_id=operation_id) for _ in range(2)
    ]
    assert twice[0] == twice[1]
    assert world.actions(card.card_id) == ["card.created", "card.frozen", "card.freeze_taken_over"]


def test_a_weaker_or_equal_freeze_changes_nothing(world: CardWorld, holder: Actor, card: Card) -> None:
    support = world.add_user("support")
    freeze(world, support, card)
    before = world.rows("virtual_cards", card.card_id)
    for actor, code in ((holder, ReasonCode.STOLEN), (support, ReasonCode.FRAUD), (FRAUD_ENGINE, ReasonCode.FRAUD)):
        with pytest.raises(ConflictError) as refusal:
            freeze(world, actor, card, code)
        assert refusal.value.code == "card_already_frozen"
    assert world.rows("virtual_cards", card.card_id) == before
    # The fraud engine came too late to lend the holder a dispute.
    assert refused_release(world, disputing(holder), card)


def test_staff_takes_over_from_the_fraud_engine_so_that_no_dispute_releases_it(
    world: CardWorld, holder: Actor, card: Card
) -> None:
    freeze(world, holder, card)
    freeze(world, FRAUD_ENGINE, card, ReasonCode.FRAUD)
    freeze(world, world.add_user("support"), card, ReasonCode.FRAUD)
    assert world.actions(card.card_id)[1:] == ["card.frozen", "card.freeze_taken_over", "card.freeze_taken_over"]
    assert refused_release(world, disputing(holder), card)


def test_of_a_holders_freeze_and_many_issuers_at_once_the_strongest_stands(world: CardWorld, holder: Actor, card: Card) -> None:
    officer, support = world.add_user("compliance_officer"), world.add_user("support")
    actors = [holder] * 10 + [support] * 10 + [officer] * 10
    outcomes = world.at_once(*[lambda actor=actor: freeze(world, actor, card) for actor in actors])
    assert set(outcomes) <= {"done", "card_already_frozen"}
    assert refused_release(world, support, card)
    actions = world.actions(card.card_id)
    assert actions[:2] == ["card.created", "card.frozen"]
    assert outcomes["done"] == len(actions) - 1 <= 3
    assert world.events(card.card_id)["card.frozen"] == 1


@pytest.mark.parametrize(
    ("role", "code"),
    [("cardholder", ReasonCode.FRAUD), ("cardholder", ReasonCode.COMPLIANCE), ("cardholder", ReasonCode.DISPUTED_ALERT),
     ("support", ReasonCode.COMPLIANCE), ("admin", ReasonCode.EXPIRED)],
)  # fmt: skip
def test_a_reason_that_is_not_the_actors_is_refused_and_nothing_is_written(
    world: CardWorld, holder: Actor, card: Card, role: str, code: ReasonCode
) -> None:
    actor = holder if role == "cardholder" else world.add_user(role)
    with pytest.raises(InvalidFieldsError) as refusal:
        freeze(world, actor, card, code)
    assert refusal.value.errors[0].code == "reason_code_not_allowed"
    with pytest.raises(InvalidFieldsError):
        world.service.cancel(actor, card.card_id, StateChange(code=code), operation_id=world.ids.new())
    assert world.actions(card.card_id) == ["card.created"]


def test_words_and_code_of_a_move_are_kept_and_the_code_is_told(world: CardWorld, holder: Actor, card: Card) -> None:
    freeze(world, holder, card, words="stolen")
    (row,) = world.rows("virtual_cards", card.card_id)
    assert (row["status_reason_code"], row["status_reason"]) == ("stolen", "stolen")
    (event,) = [row for row in world.rows("outbox", card.card_id) if row["type"] == "card.frozen"]
    assert event["data"]["reason_code"] == "stolen"
    assert "status_reason" not in event["data"]


def test_after_a_storm_of_moves_processor_audit_events_and_card_agree(world: CardWorld, holder: Actor, card: Card) -> None:
    support = world.add_user("support")

    def cancel() -> None:
        world.service.cancel(holder, card.card_id, StateChange(), operation_id=world.ids.new())

    storm = [
        lambda: freeze(world, holder, card),
        lambda: release(world, holder, card),
        lambda: freeze(world, support, card),
        lambda: release(world, support, card),
    ]
    outcomes = world.at_once(*storm * 8)
    assert set(outcomes) <= {"done", "card_already_frozen", "card_already_active", "card_frozen_by_issuer"}
    agree(world, holder, card)
    outcomes = world.at_once(*storm * 4, cancel, cancel)
    assert set(outcomes) <= {
        "done", "card_already_frozen", "card_already_active", "card_frozen_by_issuer", "card_already_cancelled",
        "card_state_conflict",
    }  # fmt: skip
    assert agree(world, holder, card).status is CANCELLED
    assert world.processor.states[card.processor_card_token] is ProcessorState.CLOSED


def test_a_storm_under_a_processor_that_fails_now_and_then_ends_in_one_state(world: CardWorld, holder: Actor, card: Card) -> None:
    world.processor.switch_faults = [UnavailableError("gone", code="processor_unavailable")] * 6
    world.at_once(*[lambda: freeze(world, holder, card), lambda: release(world, holder, card)] * 12)
    agree(world, holder, card)


def agree(world: CardWorld, holder: Actor, card: Card) -> Card:
    """Check that what is known of a card in each place is one story; whom the processor's teller gave up is swept first."""
    world.clock.at += timedelta(minutes=1)
    world.schedules.sweep_cards(lambda: 60.0)
    now = world.service.get_card(holder, card.card_id)
    moves = world.actions(card.card_id)[1:]
    assert now.version == len(moves) + 1
    taken_over = moves.count("card.freeze_taken_over")
    assert sum(world.events(card.card_id).values()) == len(moves) + 1 - taken_over
    assert Counter(moves)["card.frozen"] - Counter(moves)["card.unfrozen"] in (0, 1)
    expected = {ACTIVE: ProcessorState.ACTIVE, FROZEN: ProcessorState.PAUSED, CANCELLED: ProcessorState.CLOSED}[now.status]
    assert world.processor.states[card.processor_card_token] is expected
    assert world.rows("virtual_cards", card.card_id)[0]["processor_state"] == expected
    return now
