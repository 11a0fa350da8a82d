"""Stripe's events `issuing_transaction.created` and `issuing_authorization.*` (docs.stripe.com, webhooks and Issuing)."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import Field

from cardwright.kernel import jsontext
from cardwright.kernel.errors import BrokenInvariantError, UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.kernel.signatures import SIGNATURES_MAX, TOLERANCE_S
from cardwright.providers import inbound_fields as fields
from cardwright.transactions.rules.events import EventMerchant, EventType, ProcessorEvent

_HEADER = "stripe-signature"
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_TRANSACTION = "issuing_transaction.created"
_AUTHORIZATIONS = frozenset({"issuing_authorization.created", "issuing_authorization.updated"})
# Approved without asking us, or after our answer did not come: decided elsewhere (Stripe, request_history.reason).
_DECIDED_ELSEWHERE = frozenset({"network_fallback", "webhook_timeout", "webhook_error", "card_active"})


class _Merchant(fields.Incoming):
    network_id: fields.CutText | None = None
    name: fields.CutText | None = None
    category_code: str | None = None
    city: fields.CutText | None = None
    country: str | None = None


class _Transaction(fields.Incoming):
    id: fields.Id
    type: str
    # Below zero for a capture, above for a refund; in minor units.
    amount: int
    currency: fields.AnyCaseCurrency
    card: Any
    authorization: Any = None
    merchant_data: _Merchant | None = None
    created: int


class _Capture(fields.Incoming):
    amount: int
    type: str


class _Request(fields.Incoming):
    amount: int
    approved: bool
    reason: str = ""
    created: int


class _Authorization(fields.Incoming):
    id: fields.Id
    status: str
    amount: int
    currency: fields.AnyCaseCurrency
    card: Any
    merchant_data: _Merchant | None = None
    request_history: list[_Request] = Field(default_factory=list)
    transactions: list[_Capture] = Field(default_factory=list)


class _Data(fields.Incoming):
    object: dict[str, Any]
    previous_attributes: dict[str, Any] = Field(default_factory=dict)


class _Message(fields.Incoming):
    id: fields.Id
    created: int
    data: _Data


class StripeInbound:
    """A secret is the text Stripe shows for the endpoint, taken as it is; several may be good at once."""

    def verify(self, secrets: Sequence[Secret[str]], headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """See InboundScheme. `Stripe-Signature: t=<seconds>,v1=<hex>,v1=<hex>`, HMAC-SHA256 over `t.body`; five minutes."""
        header = next((value for name, value in headers.items() if name.lower() == _HEADER), "")
        if not header:
            raise UnauthenticatedError("The request is not signed.", code="signature_missing")
        # One part more than is needed may be a scheme of tests (v0): what follows a full list is not looked at.
        parts = [part.strip().partition("=")[::2] for part in header.split(",")[: 2 * SIGNATURES_MAX]]
        times = [value for name, value in parts if name == "t"]
        given = [value.encode(errors="replace") for name, value in parts if name == "v1"]
        if len(times) != 1 or not _TIMESTAMP.fullmatch(times[0]) or not given:
            raise UnauthenticatedError("The signature header cannot be read.", code="signature_invalid")
        if abs(now.timestamp() - int(times[0])) > TOLERANCE_S:
            raise UnauthenticatedError("The signed timestamp is too far from our clock.", code="timestamp_out_of_range")
        wanted = [_mac(secret, times[0].encode() + b"." + body) for secret in secrets]
        # Every pair is compared, so that time tells nothing about which one fits.
        fits = [hmac.compare_digest(signature, mac) for signature in given[:SIGNATURES_MAX] for mac in wanted]
        if not any(fits):
            raise UnauthenticatedError("The signature does not fit the request.", code="signature_invalid")

    def read(self, body: bytes) -> tuple[ProcessorEvent, ...]:
        """Return the event, if it is one of ours. Raises InvalidRequestError json_invalid / event_malformed."""
        document = jsontext.parse(body)
        named = str(document.get("type")) if isinstance(document, dict) else ""
        if named == _TRANSACTION:
            message = fields.read_part(document, _Message)
            return _posted(fields.read_part(message.data.object, _Transaction))
        if named in _AUTHORIZATIONS:
            message = fields.read_part(document, _Message)
            found = _moved(message, fields.read_part(message.data.object, _Authorization))
            return () if found is None else (found,)
        return ()


def _mac(secret: Secret[str], signed: bytes) -> bytes:
    key = secret.reveal().encode()
    if not key:
        raise BrokenInvariantError("A signing secret has not the shape it must have.")
    return hmac.digest(key, signed, hashlib.sha256).hex().encode()


def _posted(told: _Transaction) -> tuple[ProcessorEvent, ...]:
    """A capture, or a refund; its own id is the event's, because Stripe may word one thing in two messages."""
    authorization = None if told.authorization is None else _named(told.authorization, "authorization")
    if told.type == "refund":
        event_type = EventType.REFUNDED
    elif told.type == "capture":
        event_type = EventType.FORCE_POSTED if authorization is None else EventType.CLEARED
    else:
        return ()
    return (
        ProcessorEvent(
            event_id=told.id,
            type=event_type,
            card_token=_named(told.card, "card"),
            amount=fields.from_minor_units(told.amount, told.currency),
            currency=told.currency,
            authorization_id=authorization,
            final_clearing=False,
            merchant=_merchant(told.merchant_data),
            occurred_at=fields.unix_time(told.created),
        ),
    )


def _moved(message: _Message, told: _Authorization) -> ProcessorEvent | None:
    """What happened to an authorization besides captures."""
    approved = [request for request in told.request_history if request.approved]
    return _pending(message, told, approved) if told.status == "pending" else _ended(message, told, approved)


def _pending(message: _Message, told: _Authorization, approved: Sequence[_Request]) -> ProcessorEvent | None:
    """A part that was reversed, or a decision made elsewhere."""
    before = message.data.previous_attributes
    if _fell(before, told.amount):
        return _of(message, told, EventType.REVERSED, before["amount"] - told.amount, message.id)
    if approved and approved[-1].reason in _DECIDED_ELSEWHERE and not told.transactions:
        total = sum(request.amount for request in approved)
        return _of(message, told, EventType.ADVICE, total, f"{told.id}:advice:{len(approved)}")
    return None


def _ended(message: _Message, told: _Authorization, approved: Sequence[_Request]) -> ProcessorEvent | None:
    """How it ended: reversed, expired, or captured and closed."""
    before = message.data.previous_attributes
    left = _left(before, told, approved)
    # What ends an authorization happens once, in however many messages it is told; later ones tell of something else.
    once = f"{told.id}:{told.status}"
    if before and "status" not in before:
        return None
    if told.status == "reversed" and left > 0:
        return _of(message, told, EventType.REVERSED, left, once)
    if told.status == "expired":
        return _of(message, told, EventType.EXPIRED, 0, once)
    if told.status == "closed" and told.transactions:
        return _of(message, told, EventType.CLEARED, 0, once)
    return None


def _left(before: Mapping[str, Any], told: _Authorization, approved: Sequence[_Request]) -> int:
    """What was still held when the rest was reversed; where that is not told, what was approved and never captured."""
    if _fell(before, told.amount):
        return int(before["amount"]) - told.amount
    return sum(one.amount for one in approved) - sum(abs(one.amount) for one in told.transactions if one.type == "capture")


def _fell(before: Mapping[str, Any], amount: int) -> bool:
    """True for an amount that became less by a partial reversal: a capture changes the list of transactions too."""
    earlier = before.get("amount")
    return isinstance(earlier, int) and earlier > amount and "transactions" not in before


def _of(message: _Message, told: _Authorization, event_type: EventType, units: int, event_id: str) -> ProcessorEvent:
    amount: Decimal = fields.from_minor_units(units, told.currency)
    return ProcessorEvent(
        event_id=event_id,
        type=event_type,
        card_token=_named(told.card, "card"),
        amount=amount,
        currency=told.currency,
        authorization_id=told.id,
        final_clearing=event_type is EventType.CLEARED,
        merchant=None,
        # The message's own time differs where one thing is told in two messages.
        occurred_at=fields.unix_time(message.created) if event_id == message.id else None,
    )


def _named(value: object, field: str) -> str:
    """The id of an object that stands in a message whole or by its id."""
    return fields.read_part({"id": value.get("id") if isinstance(value, dict) else value}, _Named, field).id


class _Named(fields.Incoming):
    id: fields.Id


def _merchant(told: _Merchant | None) -> EventMerchant | None:
    if told is None:
        return None
    return EventMerchant(
        id=told.network_id,
        name=told.name,
        category_code=fields.known_category(told.category_code),
        city=told.city,
        country=fields.known_country(told.country),
    )
