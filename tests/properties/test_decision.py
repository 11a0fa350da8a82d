"""Laws of the decision guards that hold for every request and card."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from cardwright.authorizations.rules import (
    DECLINE_AT,
    Allowances,
    AuthorizationRequest,
    Counters,
    Merchant,
    Profile,
    Reason,
    decide,
    decide_counted,
    expires_at,
)
from cardwright.cards.rules import windows

MCCS = st.sampled_from(["5411", "7995", "4111"])
COUNTRIES = st.sampled_from(["FR", "US", "KP"])
CHANNELS = st.sampled_from(["chip", "atm", "ecommerce"])
AMOUNTS = st.decimals(Decimal("0.00"), Decimal("9999999999.99"), places=2)
NEAR = st.decimals(Decimal("0.01"), Decimal("200.00"), places=2)
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2031, 12, 31), timezones=st.just(UTC))
ZONES = st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham"])

REQUESTS = st.builds(
    AuthorizationRequest,
    authorization_id=st.just("a"),
    card_token=st.just("t"),
    type=st.just("authorization"),
    amount=AMOUNTS | NEAR,
    currency=st.sampled_from(["USD", "EUR"]),
    merchant=st.builds(Merchant, category_code=MCCS, country=st.none() | COUNTRIES),
    channel=st.none() | CHANNELS,
    partial_approval=st.booleans(),
    device_id=st.sampled_from([None, "known", "of a thief"]),
)
PROFILES = st.builds(
    Profile,
    card_id=st.just(UUID(int=1)),
    user_id=st.just(UUID(int=2)),
    config_version=st.just(1),
    status=st.sampled_from(["ACTIVE", "ACTIVE", "ACTIVE", "FROZEN", "CANCELLED", "EXPIRED"]),
    currency=st.just("USD"),
    expiry_year=st.integers(2025, 2031),
    expiry_month=st.integers(1, 12),
    per_transaction=NEAR | st.just(Decimal("9999999999.99")),
    time_zone=st.just("UTC"),
    categories_allowed=st.frozensets(MCCS, max_size=2),
    categories_denied=st.frozensets(MCCS, max_size=1),
    countries_allowed=st.frozensets(COUNTRIES, max_size=2),
    countries_denied=st.frozensets(COUNTRIES, max_size=1),
    channels_denied=st.frozensets(CHANNELS, max_size=1),
)

# The same rules said another way: each a sentence about the pair, in the order in which they are asked.
Sentence = Callable[[AuthorizationRequest, Profile, datetime], bool]
SENTENCES: list[tuple[Reason, Sentence]] = [
    (Reason.CARD_FROZEN, lambda r, p, now: p.status == "FROZEN"),
    (Reason.CARD_CANCELLED, lambda r, p, now: p.status == "CANCELLED"),
    (Reason.CARD_EXPIRED, lambda r, p, now: p.status == "EXPIRED" or (now.year, now.month) > (p.expiry_year, p.expiry_month)),
    (Reason.FRAUD_SUSPECTED, lambda r, p, now: r.device_id == "of a thief"),
    (Reason.CURRENCY_MISMATCH, lambda r, p, now: r.currency != p.currency),
    (Reason.PER_TRANSACTION_LIMIT_EXCEEDED, lambda r, p, now: not r.partial_approval and r.amount > p.per_transaction),
    (Reason.MERCHANT_CATEGORY_BLOCKED, lambda r, p, now: r.merchant.category_code in p.categories_denied),
    (
        Reason.MERCHANT_CATEGORY_BLOCKED,
        lambda r, p, now: len(p.categories_allowed) > 0 and r.merchant.category_code not in p.categories_allowed,
    ),
    (Reason.COUNTRY_BLOCKED, lambda r, p, now: r.merchant.country in p.countries_denied),
    (Reason.COUNTRY_BLOCKED, lambda r, p, now: r.merchant.country is None and len(p.countries_denied) > 0),
    (Reason.COUNTRY_BLOCKED, lambda r, p, now: len(p.countries_allowed) > 0 and r.merchant.country not in p.countries_allowed),
    (Reason.CHANNEL_BLOCKED, lambda r, p, now: r.channel in p.channels_denied),
    (Reason.CHANNEL_BLOCKED, lambda r, p, now: r.channel is None and len(p.channels_denied) > 0),
]


def score_of(request: AuthorizationRequest) -> int | None:
    """A score told from the device alone."""
    return {None: None, "known": DECLINE_AT - 1}.get(request.device_id, DECLINE_AT)


@given(REQUESTS, PROFILES, MOMENTS)
def test_the_reason_is_the_first_sentence_that_is_true(request: AuthorizationRequest, profile: Profile, now: datetime) -> None:
    expected = next((reason for reason, sentence in SENTENCES if sentence(request, profile, now)), None)
    assert decide(request, profile, score_of(request), now) == expected


@given(REQUESTS, PROFILES, MOMENTS, AMOUNTS)
def test_a_higher_amount_never_turns_a_decline_into_an_approval(
    request: AuthorizationRequest, profile: Profile, now: datetime, more: Decimal
) -> None:
    if decide(request, profile, score_of(request), now) is not None:
        assert decide(replace(request, amount=request.amount + more), profile, score_of(request), now) is not None


@given(REQUESTS, PROFILES, MOMENTS)
def test_only_an_active_card_in_its_time_and_currency_gets_through(
    request: AuthorizationRequest, profile: Profile, now: datetime
) -> None:
    if decide(request, profile, score_of(request), now) is None:
        assert profile.status == "ACTIVE"
        assert now < expires_at(profile.expiry_year, profile.expiry_month)
        assert request.currency == profile.currency
        assert request.partial_approval or request.amount <= profile.per_transaction


@given(REQUESTS, PROFILES, MOMENTS)
def test_what_is_not_decided_here_changes_nothing(request: AuthorizationRequest, profile: Profile, now: datetime) -> None:
    other = replace(request, authorization_id="b", device_id="d", ip="192.0.2.1", occurred_at="1999-01-01T00:00:00Z")
    assert decide(other, profile, score_of(request), now) == decide(request, profile, score_of(request), now)


SUMS = st.decimals(Decimal("0.00"), Decimal("250.00"), places=2)
ALLOWANCES = st.builds(
    Allowances,
    daily=SUMS,
    monthly=SUMS,
    velocity_per_hour=st.none() | st.just(5),
    usage=st.sampled_from(["multi", "multi", "single", "merchant_locked"]),
)
COUNTERS = st.builds(
    Counters,
    day_spent=SUMS,
    month_spent=SUMS,
    approvals=st.integers(0, 2),
    velocity_at=st.none() | MOMENTS,
    locked_merchant_id=st.none() | st.just("m_1"),
    available=st.none() | SUMS,
    continued=st.booleans(),
)


@given(REQUESTS, PROFILES, ALLOWANCES, COUNTERS, MOMENTS)
def test_what_is_approved_fits_every_limit_and_is_all_that_fits(
    request: AuthorizationRequest, profile: Profile, allowances: Allowances, seen: Counters, now: datetime
) -> None:
    reason, approved = decide_counted(request, profile, allowances, seen, now)
    rooms = [allowances.daily - seen.day_spent, allowances.monthly - seen.month_spent]
    rooms += [] if seen.available is None else [seen.available]
    if reason is not Reason.APPROVED:
        assert approved == 0
        return
    assert all(approved <= room for room in rooms)
    if request.partial_approval:
        assert approved == min(request.amount, profile.per_transaction, *rooms)
        assert approved > 0 or request.amount == 0
    else:
        assert approved == request.amount


@given(REQUESTS, PROFILES, ALLOWANCES, COUNTERS, MOMENTS)
def test_a_part_is_no_less_than_what_is_approved_without_asking_for_one(
    request: AuthorizationRequest, profile: Profile, allowances: Allowances, seen: Counters, now: datetime
) -> None:
    whole, part = (replace(request, partial_approval=partial) for partial in (False, True))
    reason, approved = decide_counted(whole, profile, allowances, seen, now)
    if reason is Reason.APPROVED and request.amount <= profile.per_transaction:
        assert decide_counted(part, profile, allowances, seen, now) == (reason, approved)


@given(MOMENTS, ZONES)
def test_now_lies_in_its_own_windows(now: datetime, zone: str) -> None:
    day, month = windows(now, zone)
    local = ZoneInfo(zone)
    assert month <= day <= now
    assert now - day < timedelta(hours=26)
    assert now - month < timedelta(days=32)
    assert day.astimezone(local).date() == now.astimezone(local).date()
    assert month.astimezone(local).date() == now.astimezone(local).date().replace(day=1)


@given(MOMENTS, ZONES, st.timedeltas(timedelta(0), timedelta(days=1)))
def test_windows_never_go_back(now: datetime, zone: str, later: timedelta) -> None:
    assert windows(now, zone) <= windows(now + later, zone)
    assert windows(now, zone)[1] <= windows(now + later, zone)[1]
