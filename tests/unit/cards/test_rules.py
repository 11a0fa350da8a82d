"""Laws of limits, expiry, quotas, merchant categories and issued cards."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from cardwright.cards.rules import (
    Expiry,
    IssuedCard,
    Limits,
    WantedLimits,
    check_release,
    expiry_for,
    issued_card_fault,
    limits_for,
    merchant_categories,
    quota_wait,
)
from cardwright.kernel.errors import ForbiddenError, InvalidFieldsError
from cardwright.kernel.secret import Secret
from tests.pans import pan

DEFAULTS = Limits(Decimal("500.00"), Decimal("1000.00"), Decimal("5000.00"))
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def wanted(per_transaction: str | None = None, daily: str | None = None, monthly: str | None = None) -> WantedLimits:
    """Build wanted limits from texts."""
    return WantedLimits(*(None if text is None else Decimal(text) for text in (per_transaction, daily, monthly)))


def limits(per_transaction: str, daily: str, monthly: str) -> Limits:
    """Build limits from texts."""
    return Limits(Decimal(per_transaction), Decimal(daily), Decimal(monthly))


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (wanted(), DEFAULTS),
        (wanted(daily="1.00"), limits("1.00", "1.00", "5000.00")),
        (wanted(daily="50000.00"), limits("500.00", "50000.00", "50000.00")),
        (wanted(monthly="700.00"), limits("500.00", "700.00", "700.00")),
        (wanted(monthly="100.00"), limits("100.00", "100.00", "100.00")),
        (wanted(per_transaction="1000.00"), limits("1000.00", "1000.00", "5000.00")),
        (wanted("10.00", "20.00", "30.00"), limits("10.00", "20.00", "30.00")),
        (wanted("0.01", "1.00", "1.00"), limits("0.01", "1.00", "1.00")),
    ],
)
def test_limits_left_out_are_the_defaults_bent_to_what_was_asked(asked: WantedLimits, given: Limits) -> None:
    assert limits_for(asked, DEFAULTS, "USD") == given


@pytest.mark.parametrize(
    ("asked", "currency", "found"),
    [
        (wanted(daily="0.99"), "USD", {("limits.daily", "limit_out_of_range")}),
        (wanted(daily="50000.01"), "USD", {("limits.daily", "limit_out_of_range")}),
        (wanted(per_transaction="1000.01"), "USD", {("limits.per_transaction", "limit_order")}),
        (wanted(daily="100.00", monthly="99.99"), "USD", {("limits.monthly", "limit_order")}),
        (wanted(per_transaction="0.00"), "USD", {("limits.per_transaction", "limit_out_of_range")}),
        (wanted(per_transaction="1.001"), "USD", {("limits.per_transaction", "amount_invalid")}),
        (wanted(daily="100.50"), "JPY", {("limits.daily", "amount_not_whole"), ("limits.per_transaction", "amount_not_whole")}),
        (
            wanted("3.00", "2.00", "1.00"),
            "USD",
            {("limits.per_transaction", "limit_order"), ("limits.monthly", "limit_order")},
        ),
    ],
)
def test_limits_out_of_order_or_range_are_refused_field_by_field(
    asked: WantedLimits, currency: str, found: set[tuple[str, str]]
) -> None:
    with pytest.raises(InvalidFieldsError) as refusal:
        limits_for(asked, DEFAULTS, currency)
    assert {(error.field, error.code) for error in refusal.value.errors} == found


@pytest.mark.parametrize(
    ("asked", "expiry"),
    [
        (None, Expiry(2029, 11)),
        (date(2026, 11, 21), Expiry(2026, 11)),
        (date(2027, 1, 5), Expiry(2027, 1)),
        (date(2029, 11, 30), Expiry(2029, 11)),
    ],
)
def test_expiry_is_the_month_of_the_wanted_day_or_the_end_of_the_lifetime(asked: date | None, expiry: Expiry) -> None:
    assert expiry_for(asked, NOW.date(), 36) == expiry


@pytest.mark.parametrize("asked", [date(2026, 11, 20), date(2029, 12, 1), date(2099, 1, 1)])
def test_a_day_before_today_or_beyond_the_lifetime_is_refused(asked: date) -> None:
    with pytest.raises(InvalidFieldsError) as refusal:
        expiry_for(asked, NOW.date(), 36)
    assert refusal.value.errors[0].code == "expires_on_out_of_range"


@pytest.mark.parametrize(("months", "expiry"), [(1, Expiry(2026, 12)), (2, Expiry(2027, 1)), (13, Expiry(2027, 12))])
def test_a_lifetime_crosses_the_year(months: int, expiry: Expiry) -> None:
    assert expiry_for(None, NOW.date(), months) == expiry


def test_a_quota_frees_when_enough_of_what_counts_has_left() -> None:
    ends = [NOW + timedelta(minutes=minutes) for minutes in (30, 10, 50, 20, 40)]
    assert quota_wait(ends[:4], 5, NOW) is None
    assert quota_wait(ends, 5, NOW) == timedelta(minutes=10)
    assert quota_wait([*ends, NOW + timedelta(minutes=5)], 5, NOW) == timedelta(minutes=10)
    assert quota_wait([*ends[:4], NOW], 5, NOW) is None


def test_merchant_categories_are_sorted_without_doubles() -> None:
    found = merchant_categories(["5812", "5411", "5812"], ["7995"])
    assert (found.allow, found.deny) == (("5411", "5812"), ("7995",))


@pytest.mark.parametrize(
    ("allow", "deny", "code"),
    [(["5411"], ["5411"], "merchant_category_conflict"), (["5411"] * 501, [], "too_many_items")],
)
def test_merchant_categories_that_contradict_or_never_end_are_refused(allow: list[str], deny: list[str], code: str) -> None:
    with pytest.raises(InvalidFieldsError) as refusal:
        merchant_categories(allow, deny)
    assert refusal.value.errors[0].code == code


@pytest.mark.parametrize("frozen_by", ["support", "admin", "compliance_officer", "system", None])
def test_a_holder_does_not_undo_the_freeze_of_staff_or_system(frozen_by: str | None) -> None:
    with pytest.raises(ForbiddenError) as refusal:
        check_release(None, frozen_by, "cardholder")
    assert refusal.value.code == "card_frozen_by_issuer"
    with pytest.raises(ForbiddenError):
        check_release(None, frozen_by, "merchant")


@pytest.mark.parametrize(
    ("frozen_by", "actor_role"),
    [("cardholder", "cardholder"), ("merchant", "cardholder"), ("admin", "support"), ("system", "support")],
)
def test_holders_undo_their_own_freeze_and_staff_any(frozen_by: str, actor_role: str) -> None:
    check_release(None, frozen_by, actor_role)
    assert frozen_by != "nobody"


def issued(digits: str = pan()) -> IssuedCard:
    """Build a good answer of a processor; the number is the well-known test number."""
    return IssuedCard("card_abc", Secret(digits), digits[-4:], Expiry(2029, 11), "USD")


def test_a_good_card_has_no_fault() -> None:
    assert issued_card_fault(issued(), "424242", "USD", Expiry(2029, 11)) is None


@pytest.mark.parametrize(
    ("card", "fault"),
    [
        (issued(pan()[:-1] + "1"), "pan_invalid"),
        (issued(pan(length=11)), "pan_invalid"),
        (issued(pan(length=20)), "pan_invalid"),
        (replace(issued(), pan=Secret("not digits")), "pan_invalid"),
        (issued(pan("555555")), "bin_mismatch"),
        (replace(issued(), last_four="4243"), "last_four_mismatch"),
        (replace(issued(), last_four=""), "last_four_mismatch"),
        (replace(issued(), last_four="24242"), "last_four_mismatch"),
        (replace(issued(), currency="EUR"), "currency_mismatch"),
        (replace(issued(), expiry=Expiry(2029, 12)), "expiry_mismatch"),
        (replace(issued(), token=""), "token_invalid"),
        (replace(issued(), token="two words"), "token_invalid"),
        (replace(issued(), token="t" + pan()), "token_invalid"),
    ],
)
def test_what_is_wrong_with_an_issued_card_is_named(card: IssuedCard, fault: str) -> None:
    assert issued_card_fault(card, "424242", "USD", Expiry(2029, 11)) == fault


def test_an_issued_card_prints_no_number() -> None:
    assert pan() not in repr(issued())
