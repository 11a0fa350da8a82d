"""What a card may spend and where: limits, velocity, merchant categories, countries, channels, the zone of its windows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from cardwright.kernel.errors import FieldError, InvalidFieldsError
from cardwright.programs import rules as programs

# A card's limits and a program's defaults keep the same rules; they stand with the programs, which know no cards.
Limits = programs.Limits
limit_errors = programs.limit_errors
DAILY_MIN = programs.DAILY_MIN
DAILY_MAX = programs.DAILY_MAX
VELOCITY_MAX = programs.VELOCITY_MAX
LIST_MAX = 500


class Channel(StrEnum):
    """How a card is presented (CONTRACT, from the processor)."""

    ECOMMERCE = "ecommerce"
    CONTACTLESS = "contactless"
    CHIP = "chip"
    MAGSTRIPE = "magstripe"
    ATM = "atm"
    RECURRING = "recurring"


@dataclass(frozen=True, slots=True)
class WantedLimits:
    """Limits as asked for; None takes the program's default, bent to what was asked."""

    per_transaction: Decimal | None = None
    daily: Decimal | None = None
    monthly: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AllowDeny:
    """An allow list names all that is accepted, a deny list what is not. Sorted, without doubles."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def document(self) -> dict[str, list[str]]:
        """The lists as JSON."""
        return {"allow": list(self.allow), "deny": list(self.deny)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """Everything that bounds a card's use. `velocity_per_hour` None is off; merchant categories are codes and group names."""

    limits: Limits
    velocity_per_hour: int | None = 5
    time_zone: str = "UTC"
    merchant_categories: AllowDeny = field(default_factory=AllowDeny)
    countries: AllowDeny = field(default_factory=AllowDeny)
    channels_denied: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The controls as JSON, with the names they have in CONTRACT."""
        return {
            "per_transaction": str(self.limits.per_transaction),
            "daily": str(self.limits.daily),
            "monthly": str(self.limits.monthly),
            "velocity_per_hour": self.velocity_per_hour,
            "time_zone": self.time_zone,
            "merchant_categories": self.merchant_categories.document(),
            "countries": self.countries.document(),
            "channels": {"deny": list(self.channels_denied)},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ListsChange:
    """What of an allow and a deny list is written anew; None keeps a list."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] | None = None

    def applied_to(self, name: str, lists: AllowDeny, conflict: str) -> AllowDeny:
        """The lists of field `name` after the change. Raises InvalidFieldsError as allow_deny."""
        allow = lists.allow if self.allow is None else self.allow
        deny = lists.deny if self.deny is None else self.deny
        return allow_deny(name, allow, deny, conflict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsChange:
    """What of a card's controls is changed; None keeps a value. `velocity_off` takes the velocity limit away."""

    per_transaction: Decimal | None = None
    daily: Decimal | None = None
    monthly: Decimal | None = None
    velocity_per_hour: int | None = None
    velocity_off: bool = False
    time_zone: str | None = None
    merchant_categories: ListsChange = field(default_factory=ListsChange)
    countries: ListsChange = field(default_factory=ListsChange)
    channels_denied: tuple[str, ...] | None = None

    def applied_to(self, controls: Controls, currency: str) -> Controls:
        """The controls after the change. Raises InvalidFieldsError with what breaks a rule of limits or is allowed and denied."""
        before = controls.limits
        limits = Limits(
            per_transaction=before.per_transaction if self.per_transaction is None else self.per_transaction,
            daily=before.daily if self.daily is None else self.daily,
            monthly=before.monthly if self.monthly is None else self.monthly,
        )
        errors = limit_errors(limits, currency, "", daily_asked=self.daily is not None)
        if errors:
            raise InvalidFieldsError(errors)
        velocity = controls.velocity_per_hour if self.velocity_per_hour is None else self.velocity_per_hour
        denied = controls.channels_denied if self.channels_denied is None else tuple(sorted(set(self.channels_denied)))
        return Controls(
            limits=limits,
            velocity_per_hour=None if self.velocity_off else velocity,
            time_zone=controls.time_zone if self.time_zone is None else self.time_zone,
            merchant_categories=self.merchant_categories.applied_to(
                "merchant_categories", controls.merchant_categories, "merchant_category_conflict"
            ),
            countries=self.countries.applied_to("countries", controls.countries, "country_conflict"),
            channels_denied=denied,
        )


def raises_above(before: Limits, after: Limits, threshold: Decimal) -> bool:
    """True when an amount is raised to more than the threshold."""
    pairs = (
        (before.per_transaction, after.per_transaction),
        (before.daily, after.daily),
        (before.monthly, after.monthly),
    )
    return any(new > old and new > threshold for old, new in pairs)


def differences(before: Controls, after: Controls) -> tuple[dict[str, Any], dict[str, Any]]:
    """Old and new values of what changed, as JSON."""
    old, new = before.document(), after.document()
    changed = [name for name in new if new[name] != old[name]]
    return {name: old[name] for name in changed}, {name: new[name] for name in changed}


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
    errors = limit_errors(limits, currency, "limits.", daily_asked=wanted.daily is not None)
    if errors:
        raise InvalidFieldsError(errors)
    return limits


def allow_deny(name: str, allow: Sequence[str], deny: Sequence[str], conflict: str) -> AllowDeny:
    """Build the lists of field `name`.

    Raises InvalidFieldsError with code `conflict` for an entry in both, too_many_items for long ones.
    """
    if max(len(allow), len(deny)) > LIST_MAX:
        raise InvalidFieldsError([FieldError(name, "too_many_items", f"A list holds at most {LIST_MAX} entries.")])
    if set(allow) & set(deny):
        raise InvalidFieldsError([FieldError(name, conflict, "An entry is both allowed and denied.")])
    return AllowDeny(tuple(sorted(set(allow))), tuple(sorted(set(deny))))


def merchant_categories(allow: Sequence[str], deny: Sequence[str]) -> AllowDeny:
    """Build the lists of merchant categories. Raises InvalidFieldsError merchant_category_conflict, too_many_items."""
    return allow_deny("merchant_categories", allow, deny, "merchant_category_conflict")
