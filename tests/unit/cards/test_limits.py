"""Changing limits: what is left out stays, what breaks a rule is named, what is raised is noticed."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from cardwright.cards.rules import AllowDeny, Controls, Limits, LimitsChange, ListsChange, differences, raises_above
from cardwright.kernel.errors import InvalidFieldsError


def limits(per_transaction: str, daily: str, monthly: str) -> Limits:
    """Build limits from texts."""
    return Limits(Decimal(per_transaction), Decimal(daily), Decimal(monthly))


CONTROLS = Controls(
    limits=limits("500.00", "1000.00", "5000.00"),
    velocity_per_hour=5,
    time_zone="Europe/Paris",
    merchant_categories=AllowDeny((), ("7995",)),
    countries=AllowDeny(("FR",), ("US",)),
    channels_denied=("atm",),
)


def test_a_change_of_nothing_changes_nothing() -> None:
    assert LimitsChange().applied_to(CONTROLS, "USD") == CONTROLS
    assert differences(CONTROLS, CONTROLS) == ({}, {})


def test_what_is_named_changes_and_the_rest_stays() -> None:
    change = LimitsChange(
        daily=Decimal("900.00"), countries=ListsChange(deny=("GB", "US", "GB")), channels_denied=("magstripe", "atm")
    )
    changed = change.applied_to(CONTROLS, "USD")
    assert changed == replace(
        CONTROLS,
        limits=limits("500.00", "900.00", "5000.00"),
        countries=AllowDeny(("FR",), ("GB", "US")),
        channels_denied=("atm", "magstripe"),
    )
    assert differences(CONTROLS, changed) == (
        {"daily": "1000.00", "countries": {"allow": ["FR"], "deny": ["US"]}, "channels": {"deny": ["atm"]}},
        {"daily": "900.00", "countries": {"allow": ["FR"], "deny": ["GB", "US"]}, "channels": {"deny": ["atm", "magstripe"]}},
    )


def test_velocity_is_switched_off_and_on() -> None:
    off = LimitsChange(velocity_off=True).applied_to(CONTROLS, "USD")
    assert off.velocity_per_hour is None
    assert LimitsChange(velocity_per_hour=3).applied_to(off, "USD").velocity_per_hour == 3


def test_lists_are_emptied_by_empty_lists() -> None:
    emptied = LimitsChange(countries=ListsChange(allow=(), deny=()), channels_denied=()).applied_to(CONTROLS, "USD")
    assert (emptied.countries, emptied.channels_denied) == (AllowDeny(), ())


@pytest.mark.parametrize(
    ("asked", "currency", "found"),
    [
        ({"daily": "0.99"}, "USD", {("daily", "limit_out_of_range"), ("per_transaction", "limit_order")}),
        ({"daily": "50000.01", "monthly": "60000.00"}, "USD", {("daily", "limit_out_of_range")}),
        ({"daily": "499.99"}, "USD", {("per_transaction", "limit_order")}),
        ({"monthly": "999.99"}, "USD", {("monthly", "limit_order")}),
        ({"per_transaction": "1000.01"}, "USD", {("per_transaction", "limit_order")}),
        ({"per_transaction": "0.00"}, "USD", {("per_transaction", "limit_out_of_range")}),
        ({"monthly": "5000.50"}, "JPY", {("monthly", "amount_not_whole")}),
    ],
)
def test_limits_that_break_a_rule_are_named(asked: dict[str, str], currency: str, found: set[tuple[str, str]]) -> None:
    change = LimitsChange()
    for name, amount in asked.items():
        change = replace(change, **{name: Decimal(amount)})  # type: ignore[arg-type]  # a limit by its name, as a test gives it
    with pytest.raises(InvalidFieldsError) as refusal:
        change.applied_to(CONTROLS, currency)
    assert {(error.field, error.code) for error in refusal.value.errors} == found


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"countries": ListsChange(allow=("DE", "US"))}, "countries", "country_conflict"),
        ({"merchant_categories": ListsChange(allow=("7995",))}, "merchant_categories", "merchant_category_conflict"),
        ({"merchant_categories": ListsChange(deny=("5411",) * 501)}, "merchant_categories", "too_many_items"),
    ],
)
def test_an_entry_allowed_that_is_denied_already_is_refused(change: dict[str, Any], field: str, code: str) -> None:
    with pytest.raises(InvalidFieldsError) as refusal:
        LimitsChange(**change).applied_to(CONTROLS, "USD")
    assert [(error.field, error.code) for error in refusal.value.errors] == [(field, code)]


@pytest.mark.parametrize(
    ("after", "raised"),
    [
        (limits("500.00", "1000.00", "5000.00"), False),
        (limits("1000.00", "1000.00", "5000.00"), False),
        (limits("500.00", "1000.01", "5000.00"), True),
        (limits("500.00", "1000.00", "5000.01"), True),
        (limits("500.00", "1000.00", "4999.99"), False),
        (limits("1000.01", "1000.01", "1000.01"), True),
        (limits("1.00", "1.00", "2000.00"), False),
    ],
)
def test_only_what_rises_above_the_threshold_is_a_raise(after: Limits, raised: bool) -> None:
    assert raises_above(CONTROLS.limits, after, Decimal("1000.00")) is raised
