"""The authorization request as the network sends it (CONTRACT, from the processor); unknown fields are ignored."""

import re
from datetime import datetime
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StrictBool,
    StringConstraints,
    ValidationError,
    model_validator,
)

from cardwright.authorizations.rules import AuthorizationRequest, Merchant
from cardwright.kernel import jsontext
from cardwright.kernel.countries import alpha_2
from cardwright.kernel.errors import InvalidRequestError
from cardwright.kernel.money import (
    CURRENCIES,
    THREE_DIGIT,
    TWO_DIGIT,
    MoneyError,
    check_currency,
    check_minor_digits,
    parse_amount,
)
from cardwright.kernel.secret import holds_card_number

_MERCHANT_AMOUNT = re.compile(r"(?:0|[1-9][0-9]{0,9})(?:\.[0-9]{1,3})?", re.ASCII)
_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)


def _within(value: Decimal, bound: int) -> Decimal:
    if not value.is_finite() or abs(value) > bound:
        raise ValueError("out of range")
    return value


def _merchant_amount(value: object) -> Decimal:
    text = str(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""
    if _MERCHANT_AMOUNT.fullmatch(text) is None:
        raise ValueError("not an amount")
    return Decimal(text)


def _known_currency(code: str) -> str:
    if code not in CURRENCIES and code not in THREE_DIGIT:
        raise ValueError("not an ISO 4217 code")
    return code


def _moment(text: str) -> str:
    """The text itself, which is kept as it was told, once it is a time with an offset (RFC 3339)."""
    if _RFC3339.match(text) is None or datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("not a time")
    return text


_Amount = Annotated[Decimal, BeforeValidator(parse_amount)]
_Currency = Annotated[str, StringConstraints(min_length=3, max_length=3), AfterValidator(check_currency)]
_Id = Annotated[str, StringConstraints(pattern=r"^[!-z|~]{1,128}$")]  # printable ASCII without braces, which mark cache hash tags
_Text = Annotated[str, StringConstraints(max_length=200)]
# Free text of the network's: what may be a card number in it goes no further (PCI DSS 3.4.1).
_FreeText = Annotated[_Text, AfterValidator(lambda value: "****" if holds_card_number(value) else value)]
# In the merchant's currency, which may have three minor digits.
_MerchantAmount = Annotated[Decimal, BeforeValidator(_merchant_amount)]
_Coordinate = Annotated[Decimal, BeforeValidator(lambda value: Decimal(value) if isinstance(value, int | str) else value)]


class _Incoming(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class MerchantIn(_Incoming):
    """Where the card is used."""

    category_code: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")]
    id: _Text | None = None
    name: _FreeText | None = None
    city: _FreeText | None = None
    # Rules are written in alpha-2 codes; networks send the other kind too.
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2,3}$"), AfterValidator(alpha_2)] | None = None
    latitude: Annotated[_Coordinate, AfterValidator(lambda value: _within(value, 90))] | None = None
    longitude: Annotated[_Coordinate, AfterValidator(lambda value: _within(value, 180))] | None = None


class AuthorizationIn(_Incoming):
    """One request for an authorization."""

    authorization_id: _Id
    card_token: _Id
    type: Literal["authorization", "incremental"] = "authorization"
    original_authorization_id: _Id | None = None
    amount: _Amount
    currency: _Currency
    merchant_amount: _MerchantAmount | None = None
    merchant_currency: Annotated[str, AfterValidator(_known_currency)] | None = None
    partial_approval: StrictBool = False
    merchant: MerchantIn
    channel: Literal["ecommerce", "contactless", "chip", "magstripe", "atm", "recurring"] | None = None
    device_id: _FreeText | None = None
    ip: Annotated[str, AfterValidator(lambda value: str(ip_address(value)))] | None = None
    occurred_at: Annotated[str, StringConstraints(max_length=40), AfterValidator(_moment)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        check_minor_digits(self.amount, self.currency)
        if self.type == "incremental" and self.original_authorization_id is None:
            raise ValueError("an incremental authorization names its original")
        return self


def parse(body: bytes) -> AuthorizationRequest:
    """Read a request. Raises InvalidRequestError json_invalid or request_malformed, naming the fields, not their values."""
    value: Any = jsontext.parse(body)
    return read_usual(value) or read_any(value)


def read_any(value: Any) -> AuthorizationRequest:
    """Read parsed JSON by the model. Raises InvalidRequestError request_malformed."""
    try:
        told = AuthorizationIn.model_validate(value)
    except ValidationError as error:
        fields = sorted(
            {".".join(str(part)[:64] for part in item["loc"]) or "body" for item in error.errors(include_input=False)}
        )
        raise InvalidRequestError(f"Not valid: {', '.join(fields)}.", code="request_malformed") from error
    except (MoneyError, ArithmeticError, TypeError) as error:
        raise InvalidRequestError("Not valid: a number.", code="request_malformed") from error
    merchant = told.merchant
    return AuthorizationRequest(
        authorization_id=told.authorization_id,
        card_token=told.card_token,
        type=told.type,
        amount=told.amount,
        currency=told.currency,
        merchant=Merchant(
            merchant.category_code,
            merchant.id,
            merchant.name,
            merchant.city,
            merchant.country,
            merchant.latitude,
            merchant.longitude,
        ),
        channel=told.channel,
        original_authorization_id=told.original_authorization_id,
        merchant_amount=told.merchant_amount,
        merchant_currency=told.merchant_currency,
        partial_approval=told.partial_approval,
        device_id=told.device_id,
        ip=told.ip,
        occurred_at=told.occurred_at,
    )


_USUAL_ID = re.compile(r"[!-z|~]{1,128}", re.ASCII)
_USUAL_CATEGORY = re.compile(r"[0-9]{4}", re.ASCII)
_USUAL_COUNTRY = re.compile(r"[A-Z]{2,3}", re.ASCII)
_CHANNELS: Final = frozenset({"ecommerce", "contactless", "chip", "magstripe", "atm", "recurring"})
_PAN_MIN = 13


class _Unusual(Exception):
    """Not for this reader; the model decides what it is."""


def read_usual(value: Any) -> AuthorizationRequest | None:
    """Read parsed JSON that is what networks usually send, at a quarter of the model's cost; None sends it to the model.

    It refuses nothing and never reads a request otherwise than the model (a property test compares the two): a rule that is not
    met here, or a form it does not know, makes it leave the request alone.
    """
    try:
        return _usual(value)
    except (_Unusual, KeyError, ValueError, TypeError, AttributeError):
        return None


def _usual(value: dict[str, Any]) -> AuthorizationRequest:
    get = value.get
    kind = get("type", "authorization")
    original = get("original_authorization_id")
    currency = value["currency"]
    merchant_amount, merchant_currency = get("merchant_amount"), get("merchant_currency")
    partial_approval = get("partial_approval", False)
    channel, occurred_at = get("channel"), get("occurred_at")
    device_id, ip = get("device_id"), get("ip")
    if (
        (kind != "authorization" and (kind != "incremental" or original is None))
        or currency not in TWO_DIGIT
        or (channel is not None and channel not in _CHANNELS)
        or (partial_approval is not False and partial_approval is not True)
        or (occurred_at is not None and len(occurred_at) > 40)
        or type(value["amount"]) is not str
    ):
        raise _Unusual
    return AuthorizationRequest(
        authorization_id=_id(value["authorization_id"]),
        card_token=_id(value["card_token"]),
        type=kind,
        amount=parse_amount(value["amount"]),
        currency=currency,
        merchant=_usual_merchant(value["merchant"]),
        channel=channel,
        original_authorization_id=None if original is None else _id(original),
        merchant_amount=None if merchant_amount is None else _merchant_amount(merchant_amount),
        merchant_currency=None if merchant_currency is None else _known_currency(merchant_currency),
        partial_approval=partial_approval,
        device_id=None if device_id is None else _free_text(device_id),
        ip=None if ip is None else _address(ip),
        occurred_at=None if occurred_at is None else _moment(occurred_at),
    )


def _usual_merchant(value: dict[str, Any]) -> Merchant:
    get = value.get
    category_code, identifier, name = value["category_code"], get("id"), get("name")
    city, country, latitude, longitude = get("city"), get("country"), get("latitude"), get("longitude")
    if (
        _USUAL_CATEGORY.fullmatch(category_code) is None
        or (identifier is not None and (type(identifier) is not str or len(identifier) > 200))
        or (country is not None and _USUAL_COUNTRY.fullmatch(country) is None)
    ):
        raise _Unusual
    return Merchant(
        category_code,
        identifier,
        None if name is None else _free_text(name),
        None if city is None else _free_text(city),
        None if country is None else alpha_2(country),
        None if latitude is None else _degrees(latitude, 90),
        None if longitude is None else _degrees(longitude, 180),
    )


def _id(value: str) -> str:
    if _USUAL_ID.fullmatch(value) is None:
        raise _Unusual
    return value


def _free_text(value: str) -> str:
    if type(value) is not str or len(value) > 200:
        raise _Unusual
    # No card number is shorter, but in characters that fold into several.
    if len(value) < _PAN_MIN and value.isascii():
        return value
    return "****" if holds_card_number(value) else value


def _degrees(value: Decimal, bound: int) -> Decimal:
    if type(value) is not Decimal:
        raise _Unusual
    return _within(value, bound)


def _address(value: str) -> str:
    if type(value) is not str:
        raise _Unusual
    return str(ip_address(value))
