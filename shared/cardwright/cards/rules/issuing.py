"""Making a card: its expiry, the quota of creations, the wish as it is kept, and what an issued card must look like."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from cardwright.cards.rules.limits import AllowDeny, Controls, Limits
from cardwright.cards.rules.states import ProcessorState
from cardwright.kernel.errors import FieldError, InvalidFieldsError
from cardwright.kernel.secret import Secret, luhn_valid

CREATIONS_QUOTA = "card_creations"
CREATIONS_PER_HOUR = 5
# Whoever has used up the creations must still be able to get rid of a stolen card; nobody loses more than a wallet's worth.
REPLACEMENTS_QUOTA = "card_replacements"
REPLACEMENTS_PER_HOUR = 20
CREATIONS_WINDOW = timedelta(hours=1)


class Usage(StrEnum):
    """How often and where a card may be used."""

    MULTI = "multi"
    SINGLE = "single"
    MERCHANT_LOCKED = "merchant_locked"


class Origin(StrEnum):
    """What an issuance comes from; each counts against a quota of its own."""

    REQUEST = "request"
    BATCH = "batch"
    REPLACEMENT = "replacement"


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


def quota_wait(busy_until: Sequence[datetime], limit: int, now: datetime) -> timedelta | None:
    """How long until something counted may happen once more, or None when it may now.

    `busy_until` holds for each one counted the time at which it stops counting.
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


@dataclass(frozen=True, slots=True)
class CardWish:
    """What a card is to be, with every default filled in: kept with its issuance, so that whoever finishes it makes this card."""

    label: str | None
    usage: Usage
    controls: Controls

    def document(self) -> dict[str, Any]:
        """The wish as JSON."""
        controls = asdict(self.controls)
        controls["limits"] = {name: str(amount) for name, amount in controls["limits"].items()}
        return {"label": self.label, "usage": self.usage.value, "controls": controls}


def read_wish(document: Mapping[str, Any]) -> CardWish:
    """The wish that `CardWish.document` made. Raises KeyError for anything else."""
    controls = document["controls"]
    lists = {
        name: AllowDeny(tuple(controls[name]["allow"]), tuple(controls[name]["deny"]))
        for name in ("merchant_categories", "countries")
    }
    return CardWish(
        label=document["label"],
        usage=Usage(document["usage"]),
        controls=Controls(
            limits=Limits(**{name: Decimal(amount) for name, amount in controls["limits"].items()}),
            velocity_per_hour=controls["velocity_per_hour"],
            time_zone=controls["time_zone"],
            channels_denied=tuple(controls["channels_denied"]),
            **lists,
        ),
    )


@dataclass(frozen=True, slots=True)
class ProcessorCard:
    """A card as the processor lists it: its token, our card id where its reference is one, its switch."""

    token: str
    card_id: UUID | None
    state: ProcessorState


@dataclass(frozen=True, slots=True)
class ProcessorPage:
    """One page of the processor's cards; `next_cursor` is None on the last one."""

    cards: tuple[ProcessorCard, ...]
    next_cursor: str | None
