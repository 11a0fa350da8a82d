"""Cancelling a card against the real database: at once, after what is pending, taken back, and amid authorizations."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from cardwright.cards.rules import Card, CardStatus, ProcessorState, ReasonCode
from cardwright.cards.service import StateChange
from cardwright.kernel.errors import ConflictError, ForbiddenError, InvalidFieldsError, StaleVersionError, UnavailableError
from cardwright.platform.postgres import Actor
from tests.fakes.card_world import NOW, CardWorld

ACTIVE, FROZEN, CANCELLED, EXPIRED = CardStatus.ACTIVE, CardStatus.FROZEN, CardStatus.CANCELLED, CardStatus.EXPIRED
WEEK = timedelta(days=7)


@pytest.fixture
def pending(world: CardWorld, card: Card) -> Card:
    """The holder's card with a pending authorization."""
    assert world.pay(card).reason == "approved"
    return card


def cancel(
    world: CardWorld,
    actor: Actor,
    card: Card,
    force_after: datetime | None = None,
    operation_id: UUID | None = None,
    change: StateChange | None = None,
) -> Card:
    """Cancel a card."""
    return world.service.cancel(
        actor, card.card_id, change or StateChange(), operation_id=operation_id or world.ids.new(), force_after=force_after
    )


def move(world: CardWorld, actor: Actor, card: Card, target: CardStatus) -> Card:
    """Freeze or unfreeze a card."""
    return world.service.update_card_status(actor, card.card_id, target, reason=None, operation_id=world.ids.new())


def sweep(world: CardWorld) -> int:
    """One run of the schedule."""
    return world.schedules.sweep_cards(lambda: 60.0)


def now_of(world: CardWorld, card: Card) -> Card:
    """The card as staff sees it now."""
    return world.service.get_card(Actor(None, "support"), card.card_id)


def test_a_card_with_nothing_pending_ends_at_once(world: CardWorld, holder: Actor, card: Card) -> None:
    ended = cancel(world, holder, card, change=StateChange(words="no more use", code=ReasonCode.DAMAGED))
    assert (ended.status, ended.version, ended.status_reason_code, ended.cancel_after) == (CANCELLED, 2, "damaged", None)
    assert world.service.get_card(holder, card.card_id) == ended
    assert world.actions(card.card_id) == ["card.created", "card.cancelled"]
    assert world.events(card.card_id) == {"card.created": 1, "card.cancelled": 1}
    assert world.processor.states[card.processor_card_token] is ProcessorState.CLOSED
    assert world.pay(card).reason == "card_cancelled"


def test_a_frozen_card_can_be_cancelled_and_a_closed_one_not_again(world: CardWorld, holder: Actor, card: Card) -> None:
    move(world, holder, card, FROZEN)
    assert cancel(world, holder, card).status is CANCELLED
    with pytest.raises(ConflictError) as refusal:
        cancel(world, holder, card, NOW + WEEK)
    assert refusal.value.code == "card_already_cancelled"
    expired = world.issue(holder)
    world.sql("UPDATE virtual_cards SET status = 'EXPIRED', last_operation_id = gen_random_uuid() WHERE card_id = %s",
              expired.card_id)  # fmt: skip
    with pytest.raises(ConflictError) as refusal:
        cancel(world, holder, expired)
    assert refusal.value.code == "card_state_conflict"


def test_of_many_cancellations_at_once_one_wins(world: CardWorld, holder: Actor, card: Card) -> None:
    outcomes = world.at_once(*[lambda: cancel(world, holder, card)] * 20)
    assert outcomes == {"done": 1, "card_already_cancelled": 19}
    assert world.actions(card.card_id) == ["card.created", "card.cancelled"]
    assert world.events(card.card_id)["card.cancelled"] == 1
    assert world.processor.told == [(card.processor_card_token, ProcessorState.CLOSED)]


def test_the_same_operation_again_finds_its_own_work(world: CardWorld, holder: Actor, card: Card) -> None:
    operation_id = world.ids.new()
    assert cancel(world, holder, card, operation_id=operation_id) == cancel(world, holder, card, operation_id=operation_id)
    assert world.events(card.card_id)["card.cancelled"] == 1


def test_a_stale_version_cancels_nothing(world: CardWorld, holder: Actor, card: Card) -> None:
    with pytest.raises(StaleVersionError):
        cancel(world, holder, card, change=StateChange(if_match=2))
    assert cancel(world, holder, card, change=StateChange(if_match=1)).status is CANCELLED


def test_while_an_authorization_is_pending_a_card_is_not_cancelled(world: CardWorld, holder: Actor, pending: Card) -> None:
    with pytest.raises(ConflictError) as refusal:
        cancel(world, holder, pending)
    assert refusal.value.code == "pending_authorizations"
    assert now_of(world, pending) == pending
    assert world.actions(pending.card_id) == ["card.created"]
    world.release_holds(pending)
    assert cancel(world, holder, pending).status is CANCELLED


def test_a_scheduled_card_is_frozen_and_cancelled_when_nothing_is_pending(world: CardWorld, holder: Actor, pending: Card) -> None:
    scheduled = cancel(world, holder, pending, NOW + WEEK, change=StateChange(code=ReasonCode.STOLEN))
    assert (scheduled.status, scheduled.cancel_after, scheduled.status_reason_code) == (FROZEN, NOW + WEEK, "stolen")
    assert now_of(world, pending) == scheduled
    assert world.pay(pending).reason == "card_frozen"
    assert world.processor.states[pending.processor_card_token] is ProcessorState.PAUSED
    (event,) = [row for row in world.rows("outbox", pending.card_id) if row["type"] == "card.frozen"]
    assert event["data"]["cancel_after"] == "2026-11-28T12:00:00.000Z"
    sweep(world)
    assert now_of(world, pending) == scheduled
    world.release_holds(pending)
    sweep(world)
    ended = now_of(world, pending)
    assert (ended.status, ended.status_reason_code, ended.status_actor_role, ended.cancel_after) == (
        CANCELLED, "stolen", "system", None,
    )  # fmt: skip
    assert world.actions(pending.card_id) == ["card.created", "card.frozen", "card.cancelled"]
    assert world.events(pending.card_id) == {"card.created": 1, "card.frozen": 1, "card.cancelled": 1}
    assert world.processor.states[pending.processor_card_token] is ProcessorState.CLOSED


def test_at_its_time_a_scheduled_card_is_cancelled_whatever_is_pending(world: CardWorld, holder: Actor, pending: Card) -> None:
    cancel(world, holder, pending, NOW + WEEK)
    world.clock.at = NOW + WEEK - timedelta(microseconds=1)
    sweep(world)
    assert now_of(world, pending).status is FROZEN
    world.clock.at = NOW + WEEK
    outcomes = world.at_once(*[lambda: sweep(world)] * 4)
    assert outcomes == {"done": 4}
    assert now_of(world, pending).status is CANCELLED
    assert world.events(pending.card_id)["card.cancelled"] == 1


def test_to_unfreeze_takes_the_cancellation_back(world: CardWorld, holder: Actor, pending: Card) -> None:
    cancel(world, holder, pending, NOW + WEEK)
    back = move(world, holder, pending, ACTIVE)
    assert (back.status, back.cancel_after) == (ACTIVE, None)
    world.clock.at = NOW + 2 * WEEK
    sweep(world)
    assert now_of(world, pending) == back


def test_a_card_that_staff_froze_is_scheduled_and_stays_the_staffs(world: CardWorld, holder: Actor, pending: Card) -> None:
    frozen = move(world, world.add_user("support"), pending, FROZEN)
    scheduled = cancel(world, holder, pending, NOW + WEEK, operation_id=(operation_id := world.ids.new()))
    assert (scheduled.status, scheduled.cancel_after, scheduled.version) == (FROZEN, NOW + WEEK, frozen.version + 1)
    assert (scheduled.status_actor_role, scheduled.status_reason_code) == ("support", "issuer_request")
    assert now_of(world, pending) == scheduled
    assert cancel(world, holder, pending, NOW + WEEK, operation_id=operation_id) == scheduled
    assert world.actions(pending.card_id) == ["card.created", "card.frozen", "card.cancellation_scheduled"]
    sooner = cancel(world, holder, pending, NOW + timedelta(hours=1))
    entry = max(world.rows("card_audit_log", pending.card_id), key=lambda row: row["seq"])
    assert (sooner.cancel_after, entry["old_values"]) == (
        NOW + timedelta(hours=1),
        {"cancel_after": "2026-11-28T12:00:00.000Z"},
    )


def test_with_nothing_pending_a_time_is_not_waited_for(world: CardWorld, holder: Actor, card: Card) -> None:
    assert cancel(world, holder, card, NOW + WEEK).status is CANCELLED


@pytest.mark.parametrize("moment", [NOW, NOW - WEEK, NOW + timedelta(days=90, microseconds=1), datetime.max.replace(tzinfo=UTC)])
def test_a_time_that_is_over_or_too_far_is_refused(world: CardWorld, holder: Actor, pending: Card, moment: datetime) -> None:
    with pytest.raises(InvalidFieldsError) as refusal:
        cancel(world, holder, pending, moment)
    assert refusal.value.errors[0].code == "force_after_out_of_range"
    assert now_of(world, pending) == pending
    assert cancel(world, holder, pending, NOW + timedelta(days=90)).status is FROZEN


def test_a_processor_that_does_not_hear_is_told_by_the_schedule(world: CardWorld, holder: Actor, card: Card) -> None:
    world.processor.switch_faults = [UnavailableError("gone", code="processor_unavailable")]
    assert cancel(world, holder, card).status is CANCELLED
    assert world.processor.states[card.processor_card_token] is ProcessorState.ACTIVE
    sweep(world)
    # Whoever changed it may still be telling.
    assert world.processor.states[card.processor_card_token] is ProcessorState.ACTIVE
    world.clock.at += timedelta(seconds=16)
    sweep(world)
    assert world.processor.states[card.processor_card_token] is ProcessorState.CLOSED


def test_a_cancellation_killed_before_the_processor_is_told_is_told_by_the_schedule(
    world: CardWorld, holder: Actor, card: Card
) -> None:
    def killed(state: ProcessorState) -> None:
        world.processor.before_switch = lambda state: None
        raise KeyboardInterrupt

    world.processor.before_switch = killed
    with pytest.raises(KeyboardInterrupt):
        cancel(world, holder, card)
    assert now_of(world, card).status is CANCELLED
    world.clock.at += timedelta(seconds=16)
    sweep(world)
    assert world.processor.states[card.processor_card_token] is ProcessorState.CLOSED


@pytest.mark.parametrize("turn", range(12))
def test_no_authorization_is_approved_on_a_card_that_is_cancelled(world: CardWorld, holder: Actor, card: Card, turn: int) -> None:
    reasons: list[str] = []
    lock = threading.Lock()

    def pay() -> None:
        decision = world.pay(card, "1.00")
        with lock:
            reasons.append(decision.reason)

    works: list[Callable[[], object]] = [pay] * 3
    works.insert(turn % 4, lambda: cancel(world, holder, card))
    outcomes = world.at_once(*works)
    (spend,) = world.rows("card_limits", card.card_id)
    if now_of(world, card).status is CANCELLED:
        assert (set(reasons), spend["held"]) == ({"card_cancelled"}, 0)
        assert outcomes == {"done": 4}
    else:
        assert (reasons.count("approved"), spend["held"]) == (3, 3)
        assert outcomes == {"done": 3, "pending_authorizations": 1}


def test_what_compliance_has_scheduled_the_holder_neither_puts_off_nor_takes_back(
    world: CardWorld, holder: Actor, pending: Card
) -> None:
    move(world, holder, pending, FROZEN)
    officer, soon = world.add_user("compliance_officer"), NOW + timedelta(hours=1)
    assert cancel(world, officer, pending, soon).cancel_after == soon
    assert world.actions(pending.card_id)[-1] == "card.freeze_taken_over"
    with pytest.raises(ForbiddenError):
        cancel(world, holder, pending, NOW + WEEK)
    with pytest.raises(ForbiddenError):
        move(world, holder, pending, CardStatus.ACTIVE)
    sooner = NOW + timedelta(minutes=30)
    assert cancel(world, holder, pending, sooner).cancel_after == sooner
    world.clock.at = sooner
    # Other tests' cards may be due as well.
    assert sweep(world) >= 1
    assert now_of(world, pending).status is CANCELLED
