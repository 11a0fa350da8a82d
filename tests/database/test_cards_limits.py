"""Changing limits against the real database: one winner, one entry, one event, and what was spent stays spent."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest

from cardwright.cards.rules import (
    Card,
    CardStatus,
    Limits,
    LimitsChange,
    ListsChange,
    WindowUse,
    day_window,
    month_window,
    profile_key,
    window_use,
)
from cardwright.cards.service import Spend, StateChange
from cardwright.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidFieldsError,
    NotFoundError,
    StaleVersionError,
    UnavailableError,
)
from cardwright.platform.postgres import Actor
from tests.fakes.card_world import NOW, CardWorld

GONE = UnavailableError("gone", code="processor_unavailable")
ZONES = ("Pacific/Kiritimati", "Asia/Tokyo", "America/New_York", "Pacific/Pago_Pago", "Europe/Paris")


def nothing_asked() -> None:
    """Let a raise through, as for who has just shown a second factor."""


def refused() -> None:
    """Refuse a raise, as for who has not."""
    raise ForbiddenError("Confirm first.", code="step_up_required")


def put(
    world: CardWorld,
    actor: Actor,
    card: Card,
    change: LimitsChange,
    *,
    operation_id: UUID | None = None,
    if_match: int | None = None,
    require_step_up: Callable[[], None] = nothing_asked,
) -> tuple[Card, Spend]:
    """Change limits."""
    return world.service.update_limits(
        actor,
        card.card_id,
        change,
        operation_id=operation_id or world.ids.new(),
        if_match=if_match,
        require_step_up=require_step_up,
    )


def daily(amount: str) -> LimitsChange:
    """Another daily limit, with one at once that fits it."""
    return LimitsChange(per_transaction=min(Decimal(amount), Decimal("500.00")), daily=Decimal(amount))


def uses(world: CardWorld, actor: Actor, card: Card) -> tuple[WindowUse, WindowUse]:
    """What of the daily and the monthly limit is spent, as it is shown."""
    now, (found, spend) = world.clock.now(), world.service.get_limits(actor, card.card_id)
    zone = found.controls.time_zone
    return (
        window_use(found.limits.daily, spend.day_spent, spend.day_start, now, zone, day_window),
        window_use(found.limits.monthly, spend.month_spent, spend.month_start, now, zone, month_window),
    )


def test_a_change_raises_versions_and_leaves_audit_event_and_an_empty_cache(world: CardWorld, holder: Actor, card: Card) -> None:
    change = LimitsChange(
        per_transaction=Decimal("20.00"),
        daily=Decimal("50.00"),
        merchant_categories=ListsChange(deny=("gambling",)),
        channels_denied=("atm",),
    )
    operation_id = world.ids.new()
    changed, _ = put(world, holder, card, change, operation_id=operation_id)
    assert changed.limits == Limits(Decimal("20.00"), Decimal("50.00"), Decimal("5000.00"))
    assert (changed.version, changed.limits_version) == (2, 2)
    assert world.service.get_card(holder, card.card_id) == replace(changed, processor_limits_version=2)
    assert world.rows("card_limits", card.card_id)[0]["config_version"] == 2
    assert world.fake_cache.commands == [("DEL", profile_key(card.processor_card_token))]
    assert world.processor.limits[card.processor_card_token] == changed.limits
    assert world.actions(card.card_id) == ["card.created", "card.limits_updated"]
    (entry,) = (row for row in world.rows("card_audit_log", card.card_id) if row["seq"] == 2)
    assert (entry["actor_id"], entry["actor_role"]) == (holder.user_id, "cardholder")
    assert entry["old_values"] == {
        "per_transaction": "500.00",
        "daily": "1000.00",
        "merchant_categories": {"allow": [], "deny": []},
        "channels": {"deny": []},
        "version": 1,
    }
    assert entry["new_values"] == {
        "per_transaction": "20.00",
        "daily": "50.00",
        "merchant_categories": {"allow": [], "deny": ["gambling"]},
        "channels": {"deny": ["atm"]},
        "version": 2,
    }
    (event,) = (row for row in world.rows("outbox", card.card_id) if row["type"] == "card.limits_updated")
    assert event["data"]["limits"] == changed.controls.document()
    assert event["data"]["changed"] == ["channels", "daily", "merchant_categories", "per_transaction"]
    assert event["data"]["version"] == 2


def test_of_fifty_changes_on_one_version_exactly_one_wins(world: CardWorld, holder: Actor, card: Card) -> None:
    changes = [daily(f"{600 + number}.00") for number in range(50)]
    outcomes = world.at_once(*(partial(put, world, holder, card, change, if_match=1) for change in changes))
    assert outcomes == Counter({"done": 1, "version_mismatch": 49})
    assert world.service.get_card(holder, card.card_id).version == 2
    assert world.actions(card.card_id) == ["card.created", "card.limits_updated"]
    assert world.events(card.card_id) == {"card.created": 1, "card.limits_updated": 1}


def test_changes_without_a_version_are_all_made_one_after_the_other(world: CardWorld, holder: Actor, card: Card) -> None:
    outcomes = world.at_once(
        *(lambda amount=amount: put(world, holder, card, daily(f"{amount}.00")) for amount in range(600, 610))
    )
    assert outcomes == Counter({"done": 10})
    last = world.service.get_card(holder, card.card_id)
    assert (last.version, last.limits_version, last.processor_limits_version) == (11, 11, 11)
    assert world.processor.limits[card.processor_card_token] == last.limits


def test_changes_of_different_fields_at_once_keep_each_other(world: CardWorld, holder: Actor, card: Card) -> None:
    changes = (
        LimitsChange(per_transaction=Decimal("7.00")),
        LimitsChange(daily=Decimal("600.00")),
        LimitsChange(monthly=Decimal("2000.00")),
        LimitsChange(velocity_per_hour=9),
        LimitsChange(time_zone="Asia/Tokyo"),
        LimitsChange(channels_denied=("atm",)),
    )
    for _ in range(3):
        assert world.at_once(*(partial(put, world, holder, card, change) for change in changes)) == {"done": 6}
        controls = world.service.get_card(holder, card.card_id).controls
        assert controls.limits == Limits(Decimal("7.00"), Decimal("600.00"), Decimal("2000.00"))
        assert (controls.velocity_per_hour, controls.time_zone, controls.channels_denied) == (9, "Asia/Tokyo", ("atm",))
        put(world, holder, card, LimitsChange(per_transaction=Decimal("5.00"), daily=Decimal("500.00"), velocity_off=True))
        put(world, holder, card, LimitsChange(monthly=Decimal("900.00"), time_zone="UTC", channels_denied=()))


def test_a_replacement_that_waited_for_lower_limits_has_them(world: CardWorld, holder: Actor, card: Card) -> None:
    def replaced() -> Card:
        try:
            return world.service.replace_card(holder, card.card_id, StateChange(), operation_id=world.ids.new())
        finally:
            world.database.close()

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(world.url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT 1 FROM virtual_cards WHERE card_id = %s FOR NO KEY UPDATE", (card.card_id,))
        made = pool.submit(replaced)
        while world.sql(waiting)[0]["count"] == 0:
            time.sleep(0.01)
        other.execute("UPDATE card_limits SET per_transaction = 5, daily = 50 WHERE card_id = %s", (card.card_id,))
        other.commit()
        assert made.result().limits.daily == Decimal("50.00")


def test_the_same_operation_again_finds_its_own_work(world: CardWorld, holder: Actor, card: Card) -> None:
    operation_id = world.ids.new()
    first, _ = put(world, holder, card, daily("700.00"), operation_id=operation_id, if_match=1)
    again, _ = put(world, holder, card, daily("700.00"), operation_id=operation_id, if_match=1)
    assert again == replace(first, processor_limits_version=2)
    put(world, holder, card, daily("800.00"))
    late, _ = put(world, holder, card, daily("700.00"), operation_id=operation_id)
    assert (late.limits.daily, late.version) == (Decimal("800.00"), 3)
    assert world.actions(card.card_id) == ["card.created", "card.limits_updated", "card.limits_updated"]


def test_the_same_operation_twice_at_once_is_done_once(world: CardWorld, holder: Actor, card: Card) -> None:
    operation_id = world.ids.new()
    outcomes = world.at_once(*[lambda: put(world, holder, card, daily("700.00"), operation_id=operation_id)] * 8)
    assert outcomes == Counter({"done": 8})
    assert world.service.get_card(holder, card.card_id).version == 2
    assert world.events(card.card_id)["card.limits_updated"] == 1


def test_what_changes_nothing_leaves_no_trace(world: CardWorld, holder: Actor, card: Card) -> None:
    same = LimitsChange(daily=Decimal("1000.00"), time_zone="UTC", velocity_per_hour=5, countries=ListsChange(allow=()))
    kept, _ = put(world, holder, card, same)
    assert kept == card
    assert world.actions(card.card_id) == ["card.created"]
    assert world.fake_cache.commands == []
    with pytest.raises(StaleVersionError):
        put(world, holder, card, same, if_match=7)


def test_a_refused_change_leaves_nothing_half_written(world: CardWorld, holder: Actor, card: Card) -> None:
    before = world.rows("card_limits", card.card_id)
    with pytest.raises(InvalidFieldsError):
        put(world, holder, card, LimitsChange(daily=Decimal("100.00"), velocity_off=True))
    with pytest.raises(ForbiddenError) as refusal:
        put(world, holder, card, LimitsChange(monthly=Decimal("5000.01"), time_zone="Asia/Tokyo"), require_step_up=refused)
    assert refusal.value.code == "step_up_required"
    assert world.rows("card_limits", card.card_id) == before
    assert world.service.get_card(holder, card.card_id) == card
    assert world.actions(card.card_id) == ["card.created"]


def test_only_a_raise_above_the_programs_threshold_needs_a_fresh_factor(world: CardWorld, holder: Actor) -> None:
    world.program = world.add_program("USD", 7, step_up_above=Decimal("6000.00"))
    card = world.issue(holder)
    put(world, holder, card, LimitsChange(daily=Decimal("5000.00"), monthly=Decimal("6000.00")), require_step_up=refused)
    with pytest.raises(ForbiddenError):
        put(world, holder, card, LimitsChange(monthly=Decimal("6000.01")), require_step_up=refused)
    put(world, holder, card, LimitsChange(monthly=Decimal("9000.00")))
    lowered, _ = put(world, holder, card, LimitsChange(monthly=Decimal("7000.00")), require_step_up=refused)
    assert lowered.limits.monthly == Decimal("7000.00")


@pytest.mark.parametrize("role", ["support", "admin", "compliance_officer"])
def test_staff_changes_the_limits_of_anybodys_card(world: CardWorld, holder: Actor, card: Card, role: str) -> None:
    changed, _ = put(world, world.add_user(role), card, daily("300.00"))
    assert world.service.get_limits(holder, card.card_id)[0].limits == changed.limits
    entries = {row["action"]: row for row in world.rows("card_audit_log", card.card_id)}
    assert entries["card.limits_updated"]["actor_role"] == role


def test_anothers_card_is_not_found(world: CardWorld, card: Card) -> None:
    stranger = world.add_user()
    with pytest.raises(NotFoundError):
        world.service.get_limits(stranger, card.card_id)
    with pytest.raises(NotFoundError):
        put(world, stranger, card, daily("1.00"))


def test_the_function_itself_changes_no_strangers_row(world: CardWorld, holder: Actor, card: Card) -> None:
    statement = "SELECT set_card_limits(%s, 1, 2, 3, 5::smallint, 'UTC', '{}', '{}', '{}', %s, %s, %s, %s, %s) AS version"
    parameters: tuple[Any, ...] = (card.card_id, NOW, NOW, NOW, NOW, NOW)
    with world.database.transaction(world.add_user()) as tx:
        assert tx.fetch_one(statement, parameters) == {"version": None}
    with world.database.transaction(holder) as tx:
        assert tx.fetch_one(statement, parameters) == {"version": 2}


@pytest.mark.parametrize("status", [CardStatus.CANCELLED, CardStatus.EXPIRED])
def test_a_card_that_has_ended_keeps_its_limits(world: CardWorld, holder: Actor, card: Card, status: CardStatus) -> None:
    world.sql(
        "UPDATE virtual_cards SET status = %s::card_status, last_operation_id = %s WHERE card_id = %s",
        status,
        world.ids.new(),
        card.card_id,
    )
    with pytest.raises(ConflictError) as refusal:
        put(world, holder, card, daily("1.00"), if_match=99)
    assert refusal.value.code == "card_state_conflict"
    assert world.service.get_limits(holder, card.card_id)[0].limits == card.limits


def test_a_frozen_cards_limits_are_changed(world: CardWorld, holder: Actor, card: Card) -> None:
    world.service.update_card_status(holder, card.card_id, CardStatus.FROZEN, reason=None, operation_id=world.ids.new())
    changed, _ = put(world, holder, card, daily("10.00"))
    assert (changed.status, changed.limits.daily) == (CardStatus.FROZEN, Decimal("10.00"))


def test_only_amounts_are_told_to_the_processor(world: CardWorld, holder: Actor, card: Card) -> None:
    world.processor.switch_faults = [GONE]
    changed, _ = put(world, holder, card, LimitsChange(countries=ListsChange(deny=("US",))))
    assert (changed.version, changed.limits_version) == (2, 1)
    assert world.processor.switch_faults == [GONE]


def test_a_processor_that_did_not_hear_undoes_nothing_and_is_told_later(world: CardWorld, holder: Actor, card: Card) -> None:
    world.processor.switch_faults = [GONE]
    operation_id = world.ids.new()
    changed, _ = put(world, holder, card, daily("200.00"), operation_id=operation_id)
    assert changed.limits.daily == Decimal("200.00")
    assert world.service.get_card(holder, card.card_id).processor_limits_version == 1
    put(world, holder, card, daily("200.00"), operation_id=operation_id)
    assert world.service.get_card(holder, card.card_id).processor_limits_version == 2
    assert world.processor.limits[card.processor_card_token] == changed.limits


def test_what_remains_is_shown_and_when_it_begins_anew(world: CardWorld, holder: Actor, card: Card) -> None:
    put(world, holder, card, LimitsChange(time_zone="Europe/Paris"))
    assert world.pay(card, "120.50").approved
    day, month = uses(world, holder, card)
    assert (day.spent, day.remaining) == (Decimal("120.50"), Decimal("879.50"))
    assert (month.spent, month.remaining) == (Decimal("120.50"), Decimal("4879.50"))
    assert day.resets_at.isoformat() == "2026-11-21T23:00:00+00:00"
    assert month.resets_at.isoformat() == "2026-11-30T23:00:00+00:00"
    world.clock.at = day.resets_at
    tomorrow, same_month = uses(world, holder, card)
    assert (tomorrow.spent, tomorrow.resets_at) == (Decimal("0.00"), day.resets_at + timedelta(days=1))
    assert same_month == month


def test_another_time_zone_gives_no_second_daily_limit(world: CardWorld, holder: Actor, card: Card) -> None:
    put(world, holder, card, LimitsChange(velocity_off=True))
    assert world.pay(card, "500.00").approved
    assert world.pay(card, "500.00").approved
    for hop in range(10):
        put(world, holder, card, LimitsChange(time_zone=ZONES[hop % 5]))
        assert world.pay(card, "0.01").reason == "daily_limit_exceeded"
        world.clock.at += timedelta(hours=1)
        assert world.pay(card, "0.01").reason == "daily_limit_exceeded"
    put(world, holder, card, LimitsChange(time_zone="UTC"))
    assert uses(world, holder, card)[0].resets_at.isoformat() == "2026-11-22T00:00:00+00:00"
    world.clock.at += timedelta(hours=2)
    assert world.pay(card, "500.00").approved
    assert uses(world, holder, card)[1].spent == Decimal("1500.00")


def test_what_is_shown_after_a_change_of_zone_is_when_the_engine_begins_anew(world: CardWorld, holder: Actor, card: Card) -> None:
    put(world, holder, card, LimitsChange(velocity_off=True, daily=Decimal("500.00")))
    assert world.pay(card, "500.00").approved
    for zone in ZONES:
        put(world, holder, card, LimitsChange(time_zone=zone))
        resets_at = uses(world, holder, card)[0].resets_at
        world.clock.at = resets_at - timedelta(microseconds=1)
        assert world.pay(card, "0.01").reason == "daily_limit_exceeded"
        world.clock.at = resets_at
        assert world.pay(card, "500.00").approved


def test_another_time_zone_at_the_end_of_a_month_gives_no_second_monthly_limit(
    world: CardWorld, holder: Actor, card: Card
) -> None:
    world.clock.at = NOW.replace(day=30, hour=20)
    put(world, holder, card, LimitsChange(velocity_off=True, daily=Decimal("500.00"), monthly=Decimal("500.00")))
    assert world.pay(card, "500.00").approved
    put(world, holder, card, LimitsChange(daily=Decimal("500.00"), time_zone="Asia/Tokyo"))
    for hours in (0, 5, 30, 24 * 20):
        world.clock.at = NOW.replace(day=30, hour=20) + timedelta(hours=hours)
        assert world.pay(card, "0.01").reason in ("daily_limit_exceeded", "monthly_limit_exceeded")
    put(world, holder, card, LimitsChange(time_zone="Europe/Paris"))
    assert uses(world, holder, card)[1].resets_at.isoformat() == "2026-12-31T23:00:00+00:00"


def test_a_card_never_used_takes_the_windows_of_its_new_zone(world: CardWorld, holder: Actor, card: Card) -> None:
    put(world, holder, card, LimitsChange(time_zone="Asia/Tokyo"))
    day, month = uses(world, holder, card)
    assert (day.spent, day.resets_at.isoformat()) == (Decimal("0.00"), "2026-11-21T15:00:00+00:00")
    assert month.resets_at.isoformat() == "2026-11-30T15:00:00+00:00"


def test_velocity_switched_on_counts_the_approvals_of_the_last_hour(world: CardWorld, holder: Actor, card: Card) -> None:
    put(world, holder, card, LimitsChange(velocity_off=True))
    world.clock.at = NOW - timedelta(minutes=61)
    assert world.pay(card, "1.00").approved
    for minute in range(4):
        world.clock.at = NOW - timedelta(minutes=40 - minute)
        assert world.pay(card, "1.00").approved
    assert world.pay(card, "600.00").reason == "per_transaction_limit_exceeded"
    world.clock.at = NOW
    assert world.service.get_limits(holder, card.card_id)[1].recent_approvals == ()
    _, spend = put(world, holder, card, LimitsChange(velocity_per_hour=3))
    assert [NOW - at for at in spend.recent_approvals] == [timedelta(minutes=minutes) for minutes in (39, 38, 37)]
    assert world.pay(card, "1.00").reason == "velocity_exceeded"
    _, spend = put(world, holder, card, LimitsChange(velocity_per_hour=5))
    assert len(spend.recent_approvals) == 4
    assert world.pay(card, "1.00").approved
    assert world.pay(card, "1.00").reason == "velocity_exceeded"
    world.clock.at = NOW + timedelta(minutes=20, seconds=1)
    assert world.pay(card, "1.00").approved


def test_velocity_counts_no_increment_of_what_was_approved(world: CardWorld, holder: Actor, card: Card) -> None:
    put(world, holder, card, LimitsChange(velocity_off=True))
    assert world.pay(card, "1.00", authorization_id="auth_first").approved
    more = {"type": "incremental", "original_authorization_id": "auth_first"}
    assert all(world.pay(card, "1.00", **more).approved for _ in range(3))
    assert world.pay(card, "1.00", type="incremental", original_authorization_id="auth_unknown").approved
    _, spend = put(world, holder, card, LimitsChange(velocity_per_hour=3))
    assert len(spend.recent_approvals) == 2
