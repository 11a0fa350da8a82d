"""Replacing a card against the real database: one new card for one old, no moment to use the old, no fresh limit."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from cardwright.cards.rules import (
    REPLACEMENTS_PER_HOUR,
    AllowDeny,
    Card,
    CardStatus,
    Expiry,
    ProcessorState,
    ReasonCode,
    Usage,
    WantedLimits,
)
from cardwright.cards.service import StateChange
from cardwright.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidFieldsError,
    NotFoundError,
    ProviderRefusedError,
    RateLimitedError,
    StaleVersionError,
    UnavailableError,
)
from cardwright.platform.postgres import Actor
from tests.fakes.card_world import NOW, CardWorld, Killed

ACTIVE, FROZEN, CANCELLED, EXPIRED = CardStatus.ACTIVE, CardStatus.FROZEN, CardStatus.CANCELLED, CardStatus.EXPIRED
UNAVAILABLE = UnavailableError("gone", code="processor_unavailable")
REFUSED = ProviderRefusedError("no", code="processor_refused")


def replacing(
    world: CardWorld,
    actor: Actor,
    card: Card,
    code: ReasonCode | None = ReasonCode.LOST,
    operation_id: UUID | None = None,
    if_match: int | None = None,
) -> Card:
    """Replace a card; without an operation id the new card has one of its own."""
    change = StateChange(code=code, if_match=if_match)
    return world.service.replace_card(actor, card.card_id, change, operation_id=operation_id or world.ids.new())


def now_of(world: CardWorld, card: Card | UUID) -> Card:
    """The card as staff sees it now."""
    card_id = card.card_id if isinstance(card, Card) else card
    return world.service.get_card(Actor(None, "support"), card_id)


def replacements(world: CardWorld, card: Card) -> list[UUID]:
    """Cards that were issued in place of this one."""
    return [row["card_id"] for row in world.sql("SELECT card_id FROM virtual_cards WHERE replaces_card_id = %s", card.card_id)]


@pytest.mark.parametrize("code", [ReasonCode.LOST, ReasonCode.STOLEN, ReasonCode.COMPROMISED, ReasonCode.DAMAGED])
def test_the_old_card_ends_and_each_names_the_other(world: CardWorld, holder: Actor, card: Card, code: ReasonCode) -> None:
    new = replacing(world, holder, card, code)
    old = now_of(world, card)
    assert (old.status, old.status_reason_code, old.replaced_by_card_id) == (CANCELLED, code, new.card_id)
    assert (new.status, new.replaces_card_id, new.replaced_by_card_id) == (ACTIVE, card.card_id, None)
    assert now_of(world, new) == new
    assert new.last_four == world.processor.cards[new.card_id].last_four
    assert world.processor.states[card.processor_card_token] is ProcessorState.CLOSED
    assert (world.pay(card).reason, world.pay(new).reason) == ("card_cancelled", "approved")
    assert world.events(card.card_id) == {"card.created": 1, "card.cancelled": 1, "card.replaced": 1}
    assert world.events(new.card_id) == {"card.created": 1}
    (event,) = [row for row in world.rows("outbox", card.card_id) if row["type"] == "card.replaced"]
    assert (event["data"]["id"], event["data"]["replaced_by"]) == (str(card.card_id), str(new.card_id))
    entry = max(world.rows("card_audit_log", card.card_id), key=lambda row: row["seq"])
    assert (entry["action"], entry["new_values"]["replaced_by"]) == ("card.cancelled", str(new.card_id))
    assert world.rows("card_audit_log", new.card_id)[0]["new_values"]["replaces"] == str(card.card_id)


def test_label_limits_and_settings_go_over_and_the_card_is_good_for_a_whole_life(world: CardWorld, holder: Actor) -> None:
    old = world.issue(
        holder,
        label="Travel",
        limits=WantedLimits(Decimal("10.00"), Decimal("20.00"), Decimal("30.00")),
        merchant_categories=AllowDeny(("5411",), ("7995",)),
        usage=Usage.MERCHANT_LOCKED,
    )
    world.sql("UPDATE card_limits SET velocity_per_hour = NULL, time_zone = 'Asia/Tokyo', channels = '{\"deny\": [\"atm\"]}', "
              "countries = '{\"allow\": [\"FR\"], \"deny\": []}' WHERE card_id = %s", old.card_id)  # fmt: skip
    old = now_of(world, old)
    world.clock.at = NOW + timedelta(days=40)
    new = replacing(world, holder, old)
    assert (new.label, new.usage, new.controls) == (old.label, old.usage, old.controls)
    assert new.controls.time_zone == "Asia/Tokyo"
    assert new.expiry == Expiry(2029, 12)
    assert world.processor.limits[new.processor_card_token] == old.limits


def test_what_was_spent_stays_spent(world: CardWorld, holder: Actor) -> None:
    old = world.issue(holder, limits=WantedLimits(daily=Decimal("100.00")))
    assert world.pay(old, "60.00").reason == "approved"
    new = replacing(world, holder, old)
    assert world.pay(new, "40.01").reason == "daily_limit_exceeded"
    assert world.pay(new, "40.00").reason == "approved"
    newest = replacing(world, holder, new)
    assert world.pay(newest, "1.00").reason == "daily_limit_exceeded"
    world.clock.at = NOW + timedelta(days=1)
    assert world.pay(newest, "100.00").reason == "approved"


def test_velocity_and_use_go_over_too(world: CardWorld, holder: Actor) -> None:
    used = world.issue(holder, usage=Usage.SINGLE)
    assert world.pay(used).reason == "approved"
    assert world.pay(replacing(world, holder, used)).reason == "card_already_used"
    locked = world.issue(holder, usage=Usage.MERCHANT_LOCKED)
    world.pay(locked)
    (row,) = world.rows("card_limits", replacing(world, holder, locked).card_id)
    assert (row["locked_merchant_id"], row["approvals"]) == ("m_1", 1)
    fast = world.issue(holder)
    assert [world.pay(fast).reason for _ in range(5)] == ["approved"] * 5
    assert world.pay(replacing(world, holder, fast)).reason == "velocity_exceeded"


def test_pending_authorizations_do_not_keep_a_lost_card_alive(world: CardWorld, holder: Actor, card: Card) -> None:
    world.pay(card)
    replacing(world, holder, card)
    assert now_of(world, card).status is CANCELLED
    assert world.rows("card_limits", card.card_id)[0]["held"] == 10


def test_staff_replaces_on_behalf_and_the_card_is_the_holders(world: CardWorld, holder: Actor, card: Card) -> None:
    support = world.add_user("support")
    new = replacing(world, support, card, ReasonCode.STOLEN)
    assert new.user_id == holder.user_id
    assert world.service.get_card(holder, new.card_id) == new
    assert (now_of(world, card).status_actor_role, now_of(world, card).status_reason_code) == ("support", "stolen")
    assert [row["actor_id"] for row in world.rows("card_audit_log", new.card_id)] == [support.user_id]


def test_what_the_issuer_froze_the_holder_does_not_replace(world: CardWorld, holder: Actor, card: Card) -> None:
    world.service.update_card_status(
        world.add_user("compliance_officer"), card.card_id, FROZEN, reason=None, operation_id=world.ids.new()
    )
    for actor in (holder, world.add_user("support")):
        with pytest.raises(ForbiddenError) as refusal:
            replacing(world, actor, card)
        assert refusal.value.code == "card_frozen_by_issuer"
    assert (now_of(world, card).status, replacements(world, card)) == (FROZEN, [])
    assert replacing(world, world.add_user("admin"), card).replaces_card_id == card.card_id


def test_what_the_holder_froze_the_holder_replaces(world: CardWorld, holder: Actor, card: Card) -> None:
    world.service.update_card_status(holder, card.card_id, FROZEN, reason="lost", operation_id=world.ids.new())
    assert replacing(world, holder, card).status is ACTIVE


def test_a_strangers_and_an_unverified_holders_card_is_not_replaced(world: CardWorld, holder: Actor, card: Card) -> None:
    with pytest.raises(NotFoundError):
        replacing(world, world.add_user(), card)
    assert holder.user_id is not None
    world.kyc.statuses[holder.user_id] = "REJECTED"
    for actor in (holder, world.add_user("support")):
        with pytest.raises(ForbiddenError) as refusal:
            replacing(world, actor, card)
        assert refusal.value.code == "kyc_required"
    assert (now_of(world, card), replacements(world, card)) == (card, [])


def test_a_stale_version_or_a_foreign_reason_replaces_nothing(world: CardWorld, holder: Actor, card: Card) -> None:
    with pytest.raises(StaleVersionError):
        replacing(world, holder, card, if_match=2)
    with pytest.raises(InvalidFieldsError):
        replacing(world, holder, card, ReasonCode.COMPLIANCE)
    assert (now_of(world, card), replacements(world, card)) == (card, [])
    assert world.sql("SELECT 1 FROM card_issuances WHERE replaces_card_id = %s", card.card_id) == []
    assert replacing(world, holder, card, if_match=1).version == 1


def test_a_cancelled_card_is_not_replaced_and_an_expired_one_is(world: CardWorld, holder: Actor, card: Card) -> None:
    world.service.cancel(holder, card.card_id, StateChange(), operation_id=world.ids.new())
    with pytest.raises(ConflictError) as refusal:
        replacing(world, holder, card)
    assert refusal.value.code == "card_state_conflict"
    expired = world.issue(holder)
    world.sql("UPDATE virtual_cards SET status = 'EXPIRED', last_operation_id = gen_random_uuid() WHERE card_id = %s",
              expired.card_id)  # fmt: skip
    new = replacing(world, holder, expired, None)
    assert (now_of(world, expired).status, now_of(world, expired).replaced_by_card_id) == (EXPIRED, new.card_id)
    assert now_of(world, new).replaces_card_id == expired.card_id


def test_a_card_is_replaced_once(world: CardWorld, holder: Actor, card: Card) -> None:
    operation_id = world.ids.new()
    new = replacing(world, holder, card, operation_id=operation_id)
    assert replacing(world, holder, card, operation_id=operation_id, if_match=1) == new
    with pytest.raises(ConflictError) as refusal:
        replacing(world, holder, card)
    assert refusal.value.code == "card_already_replaced"
    assert replacements(world, card) == [new.card_id]


def test_at_once_from_ten_places_it_is_one_card(world: CardWorld, holder: Actor, card: Card) -> None:
    outcomes = world.at_once(*[lambda: replacing(world, holder, card)] * 10)
    assert outcomes == {"done": 1, "card_already_replaced": 9}
    assert len(replacements(world, card)) == 1
    other = world.issue(holder)
    operation_id = world.ids.new()
    outcomes = world.at_once(*[lambda: replacing(world, holder, other, operation_id=operation_id)] * 10)
    assert outcomes == {"done": 10}
    assert replacements(world, other) == [operation_id]
    assert world.events(operation_id) == {"card.created": 1}
    assert world.events(other.card_id) == {"card.created": 1, "card.cancelled": 1, "card.replaced": 1}


def test_who_has_used_up_the_creations_still_gets_rid_of_a_stolen_card(world: CardWorld, holder: Actor, card: Card) -> None:
    world.service = world.serving(creations_per_hour=1)
    with pytest.raises(RateLimitedError):
        world.issue(holder)
    for _ in range(REPLACEMENTS_PER_HOUR):
        card = replacing(world, holder, card)
    with pytest.raises(RateLimitedError) as refusal:
        replacing(world, holder, card)
    assert (refusal.value.quota, refusal.value.limit) == ("card_replacements", 20)
    assert now_of(world, card).status is ACTIVE
    assert replacing(world, world.add_user("support"), card).status is ACTIVE


@pytest.mark.parametrize("made", [False, True])
def test_killed_on_the_way_the_old_card_is_over_and_the_retry_finishes(
    world: CardWorld, holder: Actor, card: Card, made: bool
) -> None:
    operation_id = world.ids.new()
    world.kill_in_creation(made=made)
    with pytest.raises(Killed):
        replacing(world, holder, card, operation_id=operation_id)
    assert (now_of(world, card).status, replacements(world, card)) == (CANCELLED, [])
    assert world.pay(card).reason == "card_cancelled"
    assert replacing(world, holder, card, operation_id=operation_id).card_id == operation_id
    assert replacements(world, card) == [operation_id]


@pytest.mark.parametrize("made", [False, True])
def test_killed_on_the_way_and_never_asked_again_the_schedule_finishes(
    world: CardWorld, holder: Actor, card: Card, made: bool
) -> None:
    world.pay(card, "500.00")
    operation_id = world.ids.new()
    world.kill_in_creation(made=made)
    with pytest.raises(Killed):
        replacing(world, holder, card, operation_id=operation_id)
    world.clock.at += timedelta(seconds=61)
    world.schedules.sweep_issuances(lambda: 60.0)
    new = now_of(world, operation_id)
    assert (new.status, new.replaces_card_id, new.user_id) == (ACTIVE, card.card_id, holder.user_id)
    assert world.rows("card_limits", new.card_id)[0]["day_spent"] == 500
    assert world.events(card.card_id)["card.replaced"] == 1


def test_killed_before_the_processor_heard_of_the_end_it_is_told_by_schedule(world: CardWorld, holder: Actor, card: Card) -> None:
    def killed(state: ProcessorState) -> None:
        world.processor.before_switch = lambda state: None
        raise Killed

    world.processor.before_switch = killed
    with pytest.raises(Killed):
        replacing(world, holder, card)
    world.clock.at += timedelta(seconds=61)
    world.schedules.sweep_issuances(lambda: 60.0)
    world.schedules.sweep_cards(lambda: 60.0)
    assert world.processor.states[card.processor_card_token] is ProcessorState.CLOSED
    assert len(replacements(world, card)) == 1


def test_after_an_outage_the_same_key_finishes(world: CardWorld, holder: Actor, card: Card) -> None:
    operation_id = world.ids.new()
    world.processor.faults = [UNAVAILABLE] * 4
    with pytest.raises(UnavailableError):
        replacing(world, holder, card, operation_id=operation_id)
    with pytest.raises(ConflictError) as refusal:
        replacing(world, holder, card)
    assert refusal.value.code == "card_already_replaced"
    assert replacing(world, holder, card, operation_id=operation_id).card_id == operation_id


def test_when_the_processor_refuses_the_card_can_be_replaced_again(world: CardWorld, holder: Actor, card: Card) -> None:
    world.pay(card, "500.00")
    refused_id = world.ids.new()
    world.processor.faults = [REFUSED]
    for _ in range(2):
        with pytest.raises(ProviderRefusedError) as refusal:
            replacing(world, holder, card, operation_id=refused_id)
        assert refusal.value.code == "processor_refused"
    assert (now_of(world, card).status, replacements(world, card)) == (CANCELLED, [])
    new = replacing(world, holder, card)
    assert now_of(world, card).replaced_by_card_id == new.card_id
    assert replacements(world, card) == [new.card_id]
    assert world.rows("card_limits", new.card_id)[0]["day_spent"] == 500
    with pytest.raises(ProviderRefusedError):
        replacing(world, holder, card, operation_id=refused_id)


def test_a_card_that_has_ended_gives_no_place_to_its_replacement(world: CardWorld, holder: Actor) -> None:
    world.program = world.add_program("USD", max_open_cards=1)
    expired = world.issue(holder)
    world.sql(
        "UPDATE virtual_cards SET status = 'EXPIRED', last_operation_id = gen_random_uuid() WHERE card_id = %s", expired.card_id
    )
    other = world.issue(holder)
    with pytest.raises(ConflictError) as refusal:
        replacing(world, holder, expired)
    assert refusal.value.code == "card_limit_reached"
    # An open card gives its place away.
    assert replacing(world, holder, other).status is ACTIVE
    world.sql("UPDATE programs SET max_open_cards = 2 WHERE program_id = %s", world.program.program_id)
    assert replacing(world, holder, expired).status is ACTIVE
    assert world.actions(expired.card_id)[-1] == "card.replaced"
