"""The decision: flat guards in a fixed order over a request and a card's profile; pure.

Money and velocity are decided by `record_authorization` in the database, on the locked spend row, after these guards.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from uuid import UUID


class Reason(StrEnum):
    """Why a request was decided as it was (CONTRACT, from the processor)."""

    APPROVED = "approved"
    CARD_NOT_FOUND = "card_not_found"
    CARD_FROZEN = "card_frozen"
    CARD_CANCELLED = "card_cancelled"
    CARD_EXPIRED = "card_expired"
    CARD_ALREADY_USED = "card_already_used"
    MERCHANT_LOCKED = "merchant_locked"
    CURRENCY_MISMATCH = "currency_mismatch"
    PER_TRANSACTION_LIMIT_EXCEEDED = "per_transaction_limit_exceeded"
    MERCHANT_CATEGORY_BLOCKED = "merchant_category_blocked"
    COUNTRY_BLOCKED = "country_blocked"
    CHANNEL_BLOCKED = "channel_blocked"
    DAILY_LIMIT_EXCEEDED = "daily_limit_exceeded"
    MONTHLY_LIMIT_EXCEEDED = "monthly_limit_exceeded"
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
    """What the network asks. `amount` is in the card's currency, `merchant_amount` in the merchant's."""

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
class Decision:
    """The answer. `final` is false only for issuer_unavailable; `risk_score` is 0-100 or None where nobody scores."""

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


def decide(request: AuthorizationRequest, profile: Profile, now: datetime) -> Reason | None:  # noqa: PLR0911 - one return a guard
    """Return the first guard that declines, or None when all that needs no counters approves."""
    if profile.status == "FROZEN":
        return Reason.CARD_FROZEN
    # A status this engine does not know is no reason to approve.
    if profile.status not in ("ACTIVE", "EXPIRED"):
        return Reason.CARD_CANCELLED
    if profile.status == "EXPIRED" or now >= expires_at(profile.expiry_year, profile.expiry_month):
        return Reason.CARD_EXPIRED
    if request.currency != profile.currency:
        return Reason.CURRENCY_MISMATCH
    if request.amount > profile.per_transaction:
        return Reason.PER_TRANSACTION_LIMIT_EXCEEDED
    if _blocked(request.merchant.category_code, profile.categories_allowed, profile.categories_denied):
        return Reason.MERCHANT_CATEGORY_BLOCKED
    if _blocked(request.merchant.country or "", profile.countries_allowed, profile.countries_denied):
        return Reason.COUNTRY_BLOCKED
    # Where some are denied, one that is not told may be one of them.
    if profile.channels_denied and (request.channel is None or request.channel in profile.channels_denied):
        return Reason.CHANNEL_BLOCKED
    return None


def _blocked(value: str, allowed: frozenset[str], denied: frozenset[str]) -> bool:
    """A deny list names what is refused; an allow list, where there is one, names all that is not. Neither lets an unknown by."""
    return value in denied or (bool(allowed) and value not in allowed) or (not value and bool(denied))


@lru_cache(maxsize=1024)
def expires_at(year: int, month: int) -> datetime:
    """First moment after the card's last month, UTC (a card is good through the last day of the month on its face)."""
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
