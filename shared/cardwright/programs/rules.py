"""What a program is and what its values may be. The rules of limits stand here, so that cards keep the same ones."""

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypedDict
from uuid import UUID

from cardwright.kernel.errors import ConflictError, FieldError, InvalidFieldsError
from cardwright.kernel.money import CENT, MoneyError, check_minor_digits

DAILY_MIN: Final = Decimal("1.00")
DAILY_MAX: Final = Decimal("50000.00")
VELOCITY_MAX: Final = 100
OPEN_CARDS_MAX: Final = 100_000
LIFETIME_MONTHS_MAX: Final = 120


class Network(StrEnum):
    """Card schemes."""

    VISA = "visa"
    MASTERCARD = "mastercard"


class Funding(StrEnum):
    """What a card's purchases are held against: its limits, or the holder's balance."""

    LIMITS = "limits"
    BALANCE = "balance"


class ProgramStatus(StrEnum):
    """A retired program issues no more cards; those it has live on."""

    ACTIVE = "ACTIVE"
    RETIRED = "RETIRED"


@dataclass(frozen=True, slots=True)
class Limits:
    """Most a card may spend at once, in a day and in a month, in its currency."""

    per_transaction: Decimal
    daily: Decimal
    monthly: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A BIN range with its network, currency and defaults. Amounts are in the program's currency, lifetime in months.

    `step_up_above` None is the default daily limit; `last_operation_id` is the last change asked of this program itself.
    """

    program_id: UUID
    name: str
    network: str
    bin: str
    currency: str
    created_at: datetime
    default_per_transaction: Decimal
    default_daily: Decimal
    default_monthly: Decimal
    default_velocity_per_hour: int | None = 5
    funding: str = "limits"
    is_default: bool = False
    max_open_cards: int = 10
    card_lifetime_months: int = 36
    status: str = "ACTIVE"
    step_up_above: Decimal | None = None
    version: int = 1
    last_operation_id: UUID | None = None
    updated_at: datetime | None = None

    @property
    def default_limits(self) -> Limits:
        """Limits of a card that asks for none."""
        return Limits(self.default_per_transaction, self.default_daily, self.default_monthly)

    @property
    def step_up_threshold(self) -> Decimal:
        """Raising a card's limit above this amount needs a fresh second factor (CONTRACT, step-up)."""
        return self.default_daily if self.step_up_above is None else self.step_up_above


class ProgramChanges(TypedDict, total=False):
    """What of a program may change; what is left out stays. BIN, network, currency and funding are what its cards are."""

    name: str
    default_per_transaction: Decimal
    default_daily: Decimal
    default_monthly: Decimal
    default_velocity_per_hour: int | None
    max_open_cards: int
    card_lifetime_months: int
    step_up_above: Decimal | None
    is_default: bool
    status: ProgramStatus


def limit_errors(limits: Limits, currency: str, prefix: str, *, daily_asked: bool = True) -> list[FieldError]:
    """What is wrong: two decimals, 1.00 <= daily <= 50000.00 where asked for, per_transaction <= daily <= monthly.

    `prefix` stands before the names of the fields.
    """
    errors: list[FieldError] = []
    for name in ("per_transaction", "daily", "monthly"):
        value: Decimal = getattr(limits, name)
        if value < CENT:
            errors.append(FieldError(f"{prefix}{name}", "limit_out_of_range", "A limit is at least 0.01."))
        elif value != value.quantize(CENT):
            errors.append(FieldError(f"{prefix}{name}", "amount_invalid", "A limit has at most two decimals."))
        else:
            errors += _minor_digit_errors(f"{prefix}{name}", value, currency)
    if daily_asked and limits.daily >= CENT and not DAILY_MIN <= limits.daily <= DAILY_MAX:
        errors.append(FieldError(f"{prefix}daily", "limit_out_of_range", f"The daily limit is {DAILY_MIN} to {DAILY_MAX}."))
    if limits.per_transaction > limits.daily:
        errors.append(FieldError(f"{prefix}per_transaction", "limit_order", "One transaction may not exceed the daily limit."))
    if limits.daily > limits.monthly:
        errors.append(FieldError(f"{prefix}monthly", "limit_order", "The monthly limit may not be below the daily one."))
    return errors


def bin_errors(network: str, digits: str) -> list[FieldError]:
    """What is wrong with a BIN: 6 to 8 digits (ISO/IEC 7812-1) of the scheme's own range.

    Visa issues under 4, Mastercard under 51 to 55 and 2221 to 2720.
    """
    if not (digits.isascii() and digits.isdigit() and 6 <= len(digits) <= 8):
        return [FieldError("bin", "bin_invalid", "A BIN has 6 to 8 digits.")]
    mastercard = 51 <= int(digits[:2]) <= 55 or 2221 <= int(digits[:4]) <= 2720
    fits = digits.startswith("4") if network == Network.VISA else mastercard
    return [] if fits else [FieldError("bin", "bin_network_mismatch", "The BIN is not in a range of this network.")]


def check_program(program: Program) -> None:
    """Raise InvalidFieldsError with each field that breaks a rule, named as clients name it."""
    errors = bin_errors(program.network, program.bin)
    errors += limit_errors(program.default_limits, program.currency, "defaults.")
    errors += _range_errors("defaults.velocity_per_hour", program.default_velocity_per_hour, VELOCITY_MAX)
    errors += _range_errors("max_open_cards", program.max_open_cards, OPEN_CARDS_MAX)
    errors += _range_errors("card_lifetime_months", program.card_lifetime_months, LIFETIME_MONTHS_MAX)
    if program.step_up_above is not None:
        errors += _minor_digit_errors("step_up_above", program.step_up_above, program.currency)
    if errors:
        raise InvalidFieldsError(errors)


def check_default(before: Program, after: Program) -> None:
    """Raise ConflictError program_is_default or program_retired for a default that would issue no cards."""
    if not (after.is_default and after.status == ProgramStatus.RETIRED):
        return
    if before.status == ProgramStatus.RETIRED:
        raise ConflictError("A retired program cannot be the default.", code="program_retired")
    detail = "The default program of a currency is not retired; make another one the default first."
    raise ConflictError(detail, code="program_is_default")


def differences(before: Program, after: Program) -> tuple[dict[str, Any], dict[str, Any]]:
    """Old and new values of what changed, as JSON; versions and times of change are left out."""
    old, new = settings(before), settings(after)
    changed = [name for name in new if new[name] != old[name]]
    return {name: old[name] for name in changed}, {name: new[name] for name in changed}


def settings(program: Program) -> dict[str, Any]:
    """Everything an administrator decides of a program, as JSON for the audit log."""
    kept = {"program_id", "created_at", "updated_at", "version", "last_operation_id"}
    return {
        name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(program).items() if name not in kept
    }


def _range_errors(name: str, value: int | None, most: int) -> list[FieldError]:
    if value is None or 1 <= value <= most:
        return []
    return [FieldError(name, "out_of_range", f"The number is 1 to {most}.")]


def _minor_digit_errors(name: str, amount: Decimal, currency: str) -> list[FieldError]:
    try:
        check_minor_digits(amount, currency)
    except MoneyError as error:
        return [FieldError(name, error.code, error.detail)]
    return []
