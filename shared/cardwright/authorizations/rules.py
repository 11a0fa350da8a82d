"""The decision: flat guards in a fixed order over a request, a card's profile and a risk score; pure.

Use, money and velocity are decided by `record_authorization` in the database, on the locked spend row, after these guards.
`decide_counted` says the same in Python, over what that row was seen to hold, so that a stored decision can be made again.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from uuid import UUID

# Names the guards and counters of this module and of `record_authorization`; stored with each decision. Another answer to the
# same question is another version. 0: decisions from before it was stored.
RULE_VERSION = 1
# A risk score of 0-100 from which on a request is declined.
DECLINE_AT = 90
_HOUR = timedelta(hours=1)
_CENT = Decimal("0.01")


class Reason(StrEnum):
    """Why a request was decided as it was (CONTRACT, from the processor)."""

    APPROVED = "approved"
    CARD_NOT_FOUND = "card_not_found"
    CARD_FROZEN = "card_frozen"
    CARD_CANCELLED = "card_cancelled"
    CARD_EXPIRED = "card_expired"
    FRAUD_SUSPECTED = "fraud_suspected"
    CARD_ALREADY_USED = "card_already_used"
    MERCHANT_LOCKED = "merchant_locked"
    CURRENCY_MISMATCH = "currency_mismatch"
    PER_TRANSACTION_LIMIT_EXCEEDED = "per_transaction_limit_exceeded"
    MERCHANT_CATEGORY_BLOCKED = "merchant_category_blocked"
    COUNTRY_BLOCKED = "country_blocked"
    CHANNEL_BLOCKED = "channel_blocked"
    DAILY_LIMIT_EXCEEDED = "daily_limit_exceeded"
    MONTHLY_LIMIT_EXCEEDED = "monthly_limit_exceeded"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    VELOCITY_EXCEEDED = "velocity_exceeded"
    AUTHORIZATION_ID_REUSED = "authorization_id_reused"
    ISSUER_UNAVAILABLE = "issuer_unavailable"


@dataclass(frozen=True, slots=True)
class Merchant:
    """Where the card is used. `category_code` is an ISO 18245 code, `country` ISO 3166-1 alpha-2."""

    category_code: str
    id: str | None = None
    name: str | None = None
    city: str | None = None
    country: str | None = None
    latitude: Decimal | None = None
    longitude: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What the network asks. `amount` is in the card's currency, `merchant_amount` in the merchant's.

    With `partial_approval` a part of the amount is a welcome answer too.
    """

    authorization_id: str
    card_token: str
    type: str
    amount: Decimal
    currency: str
    merchant: Merchant
    channel: str | None
    original_authorization_id: str | None = None
    merchant_amount: Decimal | None = None
    merchant_currency: str | None = None
    partial_approval: bool = False
    device_id: str | None = None
    ip: str | None = None
    occurred_at: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """What the engine knows of a card; `config_version` names this state and is checked again when the decision is recorded."""

    card_id: UUID
    user_id: UUID
    config_version: int
    status: str
    currency: str
    expiry_year: int
    expiry_month: int
    per_transaction: Decimal
    time_zone: str
    categories_allowed: frozenset[str]
    categories_denied: frozenset[str]
    countries_allowed: frozenset[str]
    countries_denied: frozenset[str]
    channels_denied: frozenset[str]


@dataclass(frozen=True, slots=True)
class Allowances:
    """Of a card's configuration what is counted against: limits in its currency, approvals an hour (None: any), and its use."""

    daily: Decimal
    monthly: Decimal
    velocity_per_hour: int | None
    usage: str


@dataclass(frozen=True, slots=True)
class Counters:
    """What the spend row held when a decision was recorded; sums are of the running windows, in the card's currency.

    `velocity_at` is the approval that must be an hour old, None where there are too few. `available` is None for a card that
    limits alone fund. `continued` is true for more of an authorization that stands.
    """

    day_spent: Decimal
    month_spent: Decimal
    approvals: int
    velocity_at: datetime | None
    locked_merchant_id: str | None
    available: Decimal | None
    continued: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. `approved_amount` may be less than was asked where that is welcome.

    `final` is false only for issuer_unavailable; `risk_score` is 0-100 or None where nobody scores.
    """

    reason: str
    authorization_id: str
    transaction_id: UUID | None
    approved_amount: Decimal
    risk_score: int | None
    decided_at: datetime
    final: bool = True

    @property
    def approved(self) -> bool:
        """True when the network may go on."""
        return self.reason == Reason.APPROVED


def decide(  # noqa: PLR0911 - one return a guard
    request: AuthorizationRequest, profile: Profile, score: int | None, now: datetime
) -> Reason | None:
    """Return the first guard that declines, or None when all that needs no counters approves.

    `score` is the risk, 0-100, or None where nobody scores.
    """
    if profile.status == "FROZEN":
        return Reason.CARD_FROZEN
    # A status this engine does not know is no reason to approve.
    if profile.status not in ("ACTIVE", "EXPIRED"):
        return Reason.CARD_CANCELLED
    if profile.status == "EXPIRED" or now >= expires_at(profile.expiry_year, profile.expiry_month):
        return Reason.CARD_EXPIRED
    if score is not None and score >= DECLINE_AT:
        return Reason.FRAUD_SUSPECTED
    if request.currency != profile.currency:
        return Reason.CURRENCY_MISMATCH
    # Where a part is welcome the limit is what the part is measured by, with the other limits.
    if request.amount > profile.per_transaction and not request.partial_approval:
        return Reason.PER_TRANSACTION_LIMIT_EXCEEDED
    if _blocked(request.merchant.category_code, profile.categories_allowed, profile.categories_denied):
        return Reason.MERCHANT_CATEGORY_BLOCKED
    if _blocked(request.merchant.country or "", profile.countries_allowed, profile.countries_denied):
        return Reason.COUNTRY_BLOCKED
    # Where some are denied, one that is not told may be one of them.
    if profile.channels_denied and (request.channel is None or request.channel in profile.channels_denied):
        return Reason.CHANNEL_BLOCKED
    return None


def decide_counted(
    request: AuthorizationRequest, profile: Profile, allowances: Allowances, seen: Counters, now: datetime
) -> tuple[Reason, Decimal]:
    """Return the reason and the approved amount for a request that `decide` lets through, as `record_authorization` does.

    Of a request that takes a part, as much is approved as every limit has room for; it is declined where one has none.
    """
    if not seen.continued:
        merchant_id = request.merchant.id
        if allowances.usage == "single" and seen.approvals > 0:
            return Reason.CARD_ALREADY_USED, Decimal("0.00")
        if allowances.usage == "merchant_locked" and (
            merchant_id is None or (seen.locked_merchant_id or merchant_id) != merchant_id
        ):
            return Reason.MERCHANT_LOCKED, Decimal("0.00")
    needed = min(request.amount, _CENT) if request.partial_approval else request.amount
    offered = min(request.amount, profile.per_transaction) if request.partial_approval else request.amount
    for room, reason in (
        (allowances.daily - seen.day_spent, Reason.DAILY_LIMIT_EXCEEDED),
        (allowances.monthly - seen.month_spent, Reason.MONTHLY_LIMIT_EXCEEDED),
        (seen.available, Reason.INSUFFICIENT_FUNDS),
    ):
        if room is not None:
            if needed > room:
                return reason, Decimal("0.00")
            offered = min(offered, room)
    limited = allowances.velocity_per_hour is not None and not seen.continued
    if limited and seen.velocity_at is not None and seen.velocity_at > now - _HOUR:
        return Reason.VELOCITY_EXCEEDED, Decimal("0.00")
    return Reason.APPROVED, offered


def _blocked(value: str, allowed: frozenset[str], denied: frozenset[str]) -> bool:
    """A deny list names what is refused; an allow list, where there is one, names all that is not. Neither lets an unknown by."""
    return value in denied or (bool(allowed) and value not in allowed) or (not value and bool(denied))


@lru_cache(maxsize=1024)
def expires_at(year: int, month: int) -> datetime:
    """First moment after the card's last month, UTC (a card is good through the last day of the month on its face)."""
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
