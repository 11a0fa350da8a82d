"""Fields and readings that inbound messages of processors share."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from cardwright.kernel.clock import rfc3339
from cardwright.kernel.countries import COUNTRIES, alpha_2
from cardwright.kernel.errors import FieldValueError, InvalidRequestError
from cardwright.kernel.money import ZERO_DIGIT, check_currency, parse_amount
from cardwright.kernel.secret import holds_card_number

M = TypeVar("M", bound=BaseModel)

_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
_MCC = re.compile(r"[0-9]{4}", re.ASCII)
_LONGEST_TEXT = 200
_DETAIL_NAMES_MAX = 64


class Incoming(BaseModel):
    """A part of a processor's message; fields we do not know are ignored (CONTRACT section 2)."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def told_time(text: str) -> str:
    """Return the text, which is kept as it was told, once it is a time with an offset (RFC 3339). Raises ValueError."""
    if _RFC3339.match(text) is None or datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("not a time")
    return text


def without_card_number(text: str) -> str:
    """Return the text, or `****` where it may hold a card number: that goes no further (PCI DSS 3.4.1)."""
    return "****" if holds_card_number(text) else text


# Printable ASCII without braces, which mark cache hash tags: as in authorization requests, whose ids these are.
Id = Annotated[str, StringConstraints(pattern=r"^[!-z|~]{1,128}$")]
Currency = Annotated[str, StringConstraints(min_length=3, max_length=3), AfterValidator(check_currency)]
# Currencies of vendors that write them in small letters.
AnyCaseCurrency = Annotated[str, AfterValidator(str.upper), AfterValidator(check_currency)]
Text = Annotated[str, StringConstraints(max_length=_LONGEST_TEXT)]
FreeText = Annotated[Text, AfterValidator(without_card_number)]
Mcc = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")]
# Rules are written in alpha-2 codes; networks send the other kind too.
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2,3}$"), AfterValidator(alpha_2)]
Time = Annotated[str, StringConstraints(max_length=40), AfterValidator(told_time)]
# A vendor's words about a merchant are no reason to lose an event about money: what is too long is cut.
CutText = Annotated[str, AfterValidator(lambda value: without_card_number(value[:_LONGEST_TEXT]))]


def malformed(fields: str) -> InvalidRequestError:
    """The refusal of an event that has not the fields it must have; `fields` are names, never values."""
    return InvalidRequestError(f"Not valid: {fields}.", code="event_malformed")


def read_part(value: object, model: type[M], called: str | None = None) -> M:
    """Read a value of a parsed body. Raises InvalidRequestError event_malformed, naming the fields, not their values.

    `called` is the value's own name, where the fields in it are none that the sender knows.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)
        found = {called} if called is not None else {_field(item["loc"]) for item in errors}
    except (ArithmeticError, TypeError):
        found = {"a number"}
    # Outside of the handler, so that it is not chained: pydantic's error quotes what was sent.
    raise malformed(", ".join(sorted(found)))


def _field(path: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:_DETAIL_NAMES_MAX] for part in path) or "body"


def known_category(code: str | None) -> str | None:
    """Return a merchant category code; a vendor's filler that is none is left out."""
    return code if code is not None and _MCC.fullmatch(code) else None


def known_country(code: str | None) -> str | None:
    """Return a country as its alpha-2 code; a vendor's filler that is none is left out."""
    named = alpha_2((code or "").upper())
    return named if named in COUNTRIES else None


def from_minor_units(units: int, currency: str) -> Decimal:
    """Return an amount told in minor units (cents; whole yen) without its sign. Raises InvalidRequestError event_malformed."""
    scale = Decimal(1) if currency in ZERO_DIGIT else Decimal("0.01")
    return exact_amount(abs(units) * scale)


def exact_amount(amount: Decimal) -> Decimal:
    """Return an amount with two decimals, without its sign. Raises InvalidRequestError event_malformed."""
    try:
        return parse_amount(f"{abs(amount):.2f}" if abs(amount) == round(abs(amount), 2) else "")
    except (FieldValueError, ArithmeticError):
        raise malformed("amount") from None


def unix_time(seconds: int) -> str:
    """Return a time told in seconds since 1970 as RFC 3339. Raises InvalidRequestError event_malformed."""
    try:
        return rfc3339(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        raise malformed("created") from None
