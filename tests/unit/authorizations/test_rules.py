"""The guards in their order, as a table, and the windows of a calendar."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from cardwright.authorizations.rules import AuthorizationRequest, Merchant, Profile, Reason, decide, expires_at
from cardwright.cards.rules import windows

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

# Each row breaks its own guard and every later one, so its reason shows that it stands before them.
#   status     expiry   score  currency  amount  mcc   country  channel     reason
GUARDS = """
    FROZEN     2026-10  100    EUR       99.00   7995  KP       atm         card_frozen
    CANCELLED  2026-10  100    EUR       99.00   7995  KP       atm         card_cancelled
    EXPIRED    2030-12  100    EUR       99.00   7995  KP       atm         card_expired
    ACTIVE     2026-10  100    EUR       99.00   7995  KP       atm         card_expired
    ACTIVE     2030-12  90     EUR       99.00   7995  KP       atm         fraud_suspected
    ACTIVE     2030-12  89     EUR       99.00   7995  KP       atm         currency_mismatch
    ACTIVE     2030-12  0      USD       99.00   7995  KP       atm         per_transaction_limit_exceeded
    ACTIVE     2030-12  -      USD       50.00   7995  KP       atm         merchant_category_blocked
    ACTIVE     2030-12  -      USD       50.00   5411  KP       atm         country_blocked
    ACTIVE     2030-12  -      USD       50.00   5411  FR       atm         channel_blocked
    ACTIVE     2030-12  89     USD       50.00   5411  FR       ecommerce   -
    ACTIVE     2026-11  -      USD       50.00   5411  FR       recurring   -
    ACTIVE     2030-12  -      USD       50.00   5411  FR       -           channel_blocked
    ACTIVE     2030-12  -      USD       0.00    5411  FR       chip        -
    ACTIVE     2030-12  -      USD       50.01   5411  FR       chip        per_transaction_limit_exceeded
    ACTIVE     2030-12  90     USD       0.00    5411  FR       chip        fraud_suspected
"""
ROWS = [line.split() for line in GUARDS.strip().splitlines()]


def profile(**changes: object) -> Profile:
    """An active card that denies gambling, one country and cash machines."""
    told: dict[str, object] = {
        "card_id": UUID(int=1),
        "user_id": UUID(int=2),
        "config_version": 1,
        "status": "ACTIVE",
        "currency": "USD",
        "expiry_year": 2030,
        "expiry_month": 12,
        "per_transaction": Decimal("50.00"),
        "time_zone": "UTC",
        "categories_allowed": frozenset(),
        "categories_denied": frozenset({"7995"}),
        "countries_allowed": frozenset(),
        "countries_denied": frozenset({"KP"}),
        "channels_denied": frozenset({"atm"}),
    }
    return Profile(**(told | changes))  # type: ignore[arg-type]  # fields by name, as a test gives them


def asked(
    amount: str = "10.00", mcc: str = "5411", country: str | None = "FR", channel: str | None = "chip", currency: str = "USD"
) -> AuthorizationRequest:
    """A request that says what a row says."""
    return AuthorizationRequest("a", "t", "authorization", Decimal(amount), currency, Merchant(mcc, country=country), channel)


@pytest.mark.parametrize("row", ROWS, ids=["-".join(row) for row in ROWS])
def test_the_first_guard_that_declines_names_the_reason(row: list[str]) -> None:
    status, expiry, score, currency, amount, mcc, country, channel, reason = row
    year, month = expiry.split("-")
    card = profile(status=status, expiry_year=int(year), expiry_month=int(month))
    request = asked(amount, mcc, country, None if channel == "-" else channel, currency)
    risk = None if score == "-" else int(score)
    assert decide(request, card, risk, NOW) == (None if reason == "-" else Reason(reason))


def test_where_a_part_is_welcome_the_limit_per_transaction_caps_and_does_not_decline() -> None:
    request = replace(asked("99.00"), partial_approval=True)
    assert decide(request, profile(), None, NOW) is None
    assert decide(replace(request, partial_approval=False), profile(), None, NOW) is Reason.PER_TRANSACTION_LIMIT_EXCEEDED
    assert decide(replace(request, merchant=Merchant("7995")), profile(), None, NOW) is Reason.MERCHANT_CATEGORY_BLOCKED


@pytest.mark.parametrize(
    ("allowed", "denied", "mcc", "blocked"),
    [
        ((), (), "5411", False),
        (("5411",), (), "5411", False),
        (("5411",), (), "5412", True),
        ((), ("5411",), "5411", True),
        (("5411",), ("5411",), "5411", True),
    ],
)
def test_an_allow_list_names_all_that_is_accepted(
    allowed: tuple[str, ...], denied: tuple[str, ...], mcc: str, blocked: bool
) -> None:
    card = profile(categories_allowed=frozenset(allowed), categories_denied=frozenset(denied))
    assert (decide(asked(mcc=mcc), card, None, NOW) is Reason.MERCHANT_CATEGORY_BLOCKED) == blocked


def test_what_is_not_told_is_refused_only_where_some_are_named() -> None:
    assert decide(asked(country=None), profile(countries_denied=frozenset()), None, NOW) is None
    assert decide(asked(country=None), profile(), None, NOW) is Reason.COUNTRY_BLOCKED
    assert decide(asked(channel=None), profile(channels_denied=frozenset()), None, NOW) is None
    assert decide(asked(channel=None), profile(), None, NOW) is Reason.CHANNEL_BLOCKED
    assert decide(asked(country=None), profile(countries_allowed=frozenset({"FR"})), None, NOW) is Reason.COUNTRY_BLOCKED


def test_a_card_is_good_through_the_last_moment_of_its_month() -> None:
    card = profile(expiry_year=2026, expiry_month=12)
    end = datetime(2027, 1, 1, tzinfo=UTC)
    assert expires_at(2026, 12) == end
    assert expires_at(2026, 11) == datetime(2026, 12, 1, tzinfo=UTC)
    assert decide(asked(), card, None, end - timedelta(microseconds=1)) is None
    assert decide(asked(), card, None, end) is Reason.CARD_EXPIRED


@pytest.mark.parametrize(
    ("now", "zone", "day", "month"),
    [
        ("2026-11-21T12:00", "UTC", "2026-11-21T00:00", "2026-11-01T00:00"),
        # The clock goes forward in Paris on 29 March 2026: that day has 23 hours, the next begins at 22:00 UTC.
        ("2026-03-29T21:59", "Europe/Paris", "2026-03-28T23:00", "2026-02-28T23:00"),
        ("2026-03-29T22:00", "Europe/Paris", "2026-03-29T22:00", "2026-02-28T23:00"),
        # It goes back on 25 October: that day has 25 hours.
        ("2026-10-25T22:59", "Europe/Paris", "2026-10-24T22:00", "2026-09-30T22:00"),
        ("2026-10-25T23:00", "Europe/Paris", "2026-10-25T23:00", "2026-09-30T22:00"),
        # The month turns in Kiritimati (UTC+14) while it is still the day before at home, and late in Honolulu.
        ("2026-01-31T10:00", "Pacific/Kiritimati", "2026-01-31T10:00", "2026-01-31T10:00"),
        ("2026-02-01T09:59", "Pacific/Honolulu", "2026-01-31T10:00", "2026-01-01T10:00"),
        # A leap day, and the turn of a year.
        ("2028-02-29T23:59", "UTC", "2028-02-29T00:00", "2028-02-01T00:00"),
        ("2027-01-01T00:00", "UTC", "2027-01-01T00:00", "2027-01-01T00:00"),
    ],
)
def test_windows_begin_at_local_midnight(now: str, zone: str, day: str, month: str) -> None:
    def moment(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    assert windows(moment(now), zone) == (moment(day), moment(month))


def test_a_status_the_engine_does_not_know_is_no_reason_to_approve() -> None:
    assert decide(asked(), profile(status="SUSPENDED"), None, NOW) == "card_cancelled"
