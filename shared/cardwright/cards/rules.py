"""Rules of cards: states and their one transition table, limits, expiry, quotas, and what an issued card must look like."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from cardwright.kernel.errors import ConflictError, FieldError, ForbiddenError, InvalidFieldsError
from cardwright.kernel.money import CENT, MoneyError, check_minor_digits
from cardwright.kernel.rows import STAFF, Role
from cardwright.kernel.secret import Secret, luhn_valid

DAILY_MIN = Decimal("1.00")
DAILY_MAX = Decimal("50000.00")
CREATIONS_QUOTA = "card_creations"
CREATIONS_WINDOW = timedelta(hours=1)
MERCHANT_CATEGORIES_MAX = 500


class CardStatus(StrEnum):
    """Where a card stands."""

    ACTIVE = "ACTIVE"
    FROZEN = "FROZEN"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class Usage(StrEnum):
    """How often and where a card may be used."""

    MULTI = "multi"
    SINGLE = "single"
    MERCHANT_LOCKED = "merchant_locked"


class ProcessorState(StrEnum):
    """The processor's own switch beside our decision."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    CLOSED = "CLOSED"


# Every legal move; the trigger guard_card_state holds the same pairs and a test compares them.
MOVES: frozenset[tuple[CardStatus, CardStatus]] = frozenset(
    {
        (CardStatus.ACTIVE, CardStatus.FROZEN),
        (CardStatus.FROZEN, CardStatus.ACTIVE),
        (CardStatus.ACTIVE, CardStatus.CANCELLED),
        (CardStatus.FROZEN, CardStatus.CANCELLED),
        (CardStatus.ACTIVE, CardStatus.EXPIRED),
        (CardStatus.FROZEN, CardStatus.EXPIRED),
    }
)
OPEN = frozenset({CardStatus.ACTIVE, CardStatus.FROZEN})
EVENTS = {
    CardStatus.ACTIVE: "card.unfrozen",
    CardStatus.FROZEN: "card.frozen",
    CardStatus.CANCELLED: "card.cancelled",
    CardStatus.EXPIRED: "card.expired",
}
PROCESSOR_STATES = {
    CardStatus.ACTIVE: ProcessorState.ACTIVE,
    CardStatus.FROZEN: ProcessorState.PAUSED,
    CardStatus.CANCELLED: ProcessorState.CLOSED,
    CardStatus.EXPIRED: ProcessorState.CLOSED,
}


def open_card(status: CardStatus) -> bool:
    """True while a card can still become usable; such cards count toward a program's maximum."""
    return status in OPEN


def transition(status: CardStatus, target: CardStatus) -> CardStatus:
    """Return the target when the move is legal.

    Raises ConflictError: card_already_active, _frozen, _cancelled or _expired in the target state, else card_state_conflict.
    """
    if status is target:
        raise ConflictError(f"The card is {target.lower()} already.", code=f"card_already_{target.lower()}")
    if (status, target) not in MOVES:
        raise ConflictError(f"A card that is {status.lower()} cannot become {target.lower()}.", code="card_state_conflict")
    return target


def check_release(frozen_by: str | None, actor_role: str) -> None:
    """A freeze by staff or by the system is not undone by the cardholder. Raises ForbiddenError card_frozen_by_issuer."""
    holders = frozenset(Role) - STAFF
    if actor_role in holders and frozen_by not in holders:
        raise ForbiddenError("The issuer froze this card; ask the issuer.", code="card_frozen_by_issuer")


@dataclass(frozen=True, slots=True)
class Limits:
    """Most a card may spend at once, in a day and in a month, in its currency."""

    per_transaction: Decimal
    daily: Decimal
    monthly: Decimal


@dataclass(frozen=True, slots=True)
class WantedLimits:
    """Limits as asked for; None takes the program's default, bent to what was asked."""

    per_transaction: Decimal | None = None
    daily: Decimal | None = None
    monthly: Decimal | None = None


def limits_for(wanted: WantedLimits, defaults: Limits, currency: str) -> Limits:
    """Complete and check limits. Raises InvalidFieldsError with each field that breaks a rule.

    A default gives way to what was asked: a daily limit below the default per transaction lowers that one too.
    """
    daily = wanted.daily
    if daily is None:
        daily = defaults.daily if wanted.monthly is None else min(defaults.daily, wanted.monthly)
    limits = Limits(
        per_transaction=min(defaults.per_transaction, daily) if wanted.per_transaction is None else wanted.per_transaction,
        daily=daily,
        monthly=max(defaults.monthly, daily) if wanted.monthly is None else wanted.monthly,
    )
    errors = limit_errors(limits, wanted, currency)
    if errors:
        raise InvalidFieldsError(errors)
    return limits


def limit_errors(limits: Limits, wanted: WantedLimits, currency: str) -> list[FieldError]:
    """What is wrong: two decimals, 1.00 <= daily <= 50000.00 where asked for, per_transaction <= daily <= monthly."""
    errors: list[FieldError] = []
    for name in ("per_transaction", "daily", "monthly"):
        value: Decimal = getattr(limits, name)
        if value < CENT:
            errors.append(FieldError(f"limits.{name}", "limit_out_of_range", "A limit is at least 0.01."))
        elif value != value.quantize(CENT):
            errors.append(FieldError(f"limits.{name}", "amount_invalid", "A limit has at most two decimals."))
        else:
            try:
                check_minor_digits(value, currency)
            except MoneyError as error:
                errors.append(FieldError(f"limits.{name}", error.code, error.detail))
    if wanted.daily is not None and not DAILY_MIN <= wanted.daily <= DAILY_MAX:
        errors.append(FieldError("limits.daily", "limit_out_of_range", f"The daily limit is {DAILY_MIN} to {DAILY_MAX}."))
    if limits.per_transaction > limits.daily:
        errors.append(FieldError("limits.per_transaction", "limit_order", "One transaction may not exceed the daily limit."))
    if limits.daily > limits.monthly:
        errors.append(FieldError("limits.monthly", "limit_order", "The monthly limit may not be below the daily one."))
    return errors


@dataclass(frozen=True, slots=True)
class MerchantCategories:
    """ISO 18245 codes: an allow list names all that is accepted, a deny list what is not. Sorted, without doubles."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


def merchant_categories(allow: Sequence[str], deny: Sequence[str]) -> MerchantCategories:
    """Build the lists. Raises InvalidFieldsError merchant_category_conflict for a code in both, too_many_items for long ones."""
    if max(len(allow), len(deny)) > MERCHANT_CATEGORIES_MAX:
        detail = f"A list holds at most {MERCHANT_CATEGORIES_MAX} codes."
        raise InvalidFieldsError([FieldError("merchant_categories", "too_many_items", detail)])
    if set(allow) & set(deny):
        detail = "A code is both allowed and denied."
        raise InvalidFieldsError([FieldError("merchant_categories", "merchant_category_conflict", detail)])
    return MerchantCategories(tuple(sorted(set(allow))), tuple(sorted(set(deny))))


@dataclass(frozen=True, slots=True, order=True)
class Expiry:
    """The month on a card's face; it is good through that month's last day."""

    year: int
    month: int


def expiry_for(wanted: date | None, today: date, lifetime_months: int) -> Expiry:
    """Month of expiry: the program's lifetime from today, or the month of a wanted day within it.

    Raises InvalidFieldsError expires_on_out_of_range.
    """
    months = today.year * 12 + today.month - 1 + lifetime_months
    last = Expiry(months // 12, months % 12 + 1)
    if wanted is None:
        return last
    expiry = Expiry(wanted.year, wanted.month)
    if wanted < today or expiry > last:
        detail = f"The day lies between today and the end of {last.year}-{last.month:02d}."
        raise InvalidFieldsError([FieldError("expires_on", "expires_on_out_of_range", detail)])
    return expiry


def creation_wait(busy_until: Sequence[datetime], limit: int, now: datetime) -> timedelta | None:
    """How long until one more card may be created, or None when it may be now.

    `busy_until` holds for each counted creation the time at which it stops counting.
    """
    counting = sorted(until for until in busy_until if until > now)
    return None if len(counting) < limit else counting[len(counting) - limit] - now


@dataclass(frozen=True, slots=True)
class IssuedCard:
    """What the processor answers when it has made a card."""

    token: str
    pan: Secret[str]
    last_four: str
    expiry: Expiry
    currency: str


def issued_card_fault(card: IssuedCard, bin_prefix: str, currency: str, expiry: Expiry) -> str | None:
    """Name of the first thing wrong with the processor's card, or None (PAN form: ISO/IEC 7812-1, 12 to 19 digits)."""
    pan = card.pan.reveal()
    checks = (
        ("pan_invalid", 12 <= len(pan) <= 19 and luhn_valid(pan)),
        ("bin_mismatch", pan.startswith(bin_prefix)),
        (
            "last_four_mismatch",
            pan.endswith(card.last_four) and re.fullmatch(r"[0-9]{4}", card.last_four, re.ASCII) is not None,
        ),
        ("currency_mismatch", card.currency == currency),
        ("expiry_mismatch", card.expiry == expiry),
        ("token_invalid", re.fullmatch(r"[!-~]{1,200}", card.token) is not None and pan not in card.token),
    )
    return next((name for name, holds in checks if not holds), None)


_NUMBERS = re.compile(r"[0-9][0-9 -]*[0-9]", re.ASCII)


def holds_card_number(text: str) -> bool:
    """True when free text has what may be a PAN in it: 13 to 19 digits, perhaps in groups, with a valid check digit."""
    for run in _NUMBERS.findall(text):
        groups = re.split(r"[ -]+", run)
        for start in range(len(groups)):
            for end in range(start + 1, len(groups) + 1):
                digits = "".join(groups[start:end])
                if 13 <= len(digits) <= 19 and luhn_valid(digits):
                    return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card as everybody but the vault knows it."""

    card_id: UUID
    user_id: UUID
    program_id: UUID
    status: CardStatus
    status_actor_role: str | None
    last_four: str
    processor_card_token: str
    expiry: Expiry
    currency: str
    label: str | None
    usage: Usage
    limits: Limits
    velocity_per_hour: int | None
    merchant_categories: MerchantCategories
    version: int
    last_operation_id: UUID
    created_at: datetime
    updated_at: datetime


def profile_key(processor_card_token: str) -> str:
    """Cache key of the authorization engine's profile of a card; the braces are the cluster's hash tag."""
    return f"card:{{{processor_card_token}}}:profile"
