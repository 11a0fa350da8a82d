"""Marqeta's transaction notifications (marqeta.com/docs: event types, signature verification)."""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cardwright.kernel import jsontext
from cardwright.kernel.errors import BrokenInvariantError, UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.providers import inbound_fields as fields
from cardwright.transactions.rules.events import EventMerchant, EventType, ProcessorEvent

_HEADER = "x-marqeta-signature"
# Hex digits of the two algorithms a webhook may be set to. Marqeta sends again for two weeks, also what it signed with the other.
_ALGORITHMS = {40: "sha1", 64: "sha256"}
_REFUSED = frozenset({"DECLINED", "ERROR"})
_TYPES = {
    "authorization.advice": EventType.ADVICE,
    "authorization.clearing": EventType.CLEARED,
    "authorization.reversal": EventType.REVERSED,
    "authorization.reversal.issuerexpiration": EventType.EXPIRED,
    "pindebit": EventType.CLEARED,
    "pindebit.authorization.clearing": EventType.CLEARED,
    "pindebit.authorization.reversal": EventType.REVERSED,
    "pindebit.authorization.reversal.issuerexpiration": EventType.EXPIRED,
    "pindebit.refund": EventType.REFUNDED,
    "refund": EventType.REFUNDED,
    "refund.authorization.clearing": EventType.REFUNDED,
}
# One message both asks and clears: it is its own authorization.
_SINGLE_MESSAGE = "pindebit"


class _Key(BaseModel):
    """What a webhook of ours at Marqeta is configured with."""

    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1)
    password: str = Field(min_length=1, repr=False)
    signing_secret: str = Field(min_length=1, repr=False)


class _Merchant(fields.Incoming):
    mid: fields.CutText | None = None
    name: fields.CutText | None = None
    mcc: str | None = None
    city: fields.CutText | None = None
    country_code: str | None = None


class _Notice(fields.Incoming):
    type: str
    state: str


class _Transaction(fields.Incoming):
    token: fields.Id
    type: str
    card_token: fields.Id
    amount: Decimal
    currency_code: fields.AnyCaseCurrency
    preceding_related_transaction_token: fields.Id | None = None
    multi_clearing_sequence_number: str | None = None
    multi_clearing_sequence_count: str | None = None
    card_acceptor: _Merchant | None = None
    user_transaction_time: str | None = None


class MarqetaInbound:
    """A message is sent under Basic authentication and signed with the webhook's secret; we ask for both.

    Marqeta signs no time: a message that is sent again is good for ever, and is taken once, by its transaction's token. A secret
    is the text of a JSON object, {"username", "password", "signing_secret"}, as the webhook was configured at Marqeta.
    The authorization's id is the token of the transaction that asked for it.
    """

    def verify(self, secrets: Sequence[Secret[str]], headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """See InboundScheme; HMAC-SHA256 or HMAC-SHA1 over the body, in hex."""
        given = {name.lower(): value for name, value in headers.items()}
        signature = given.get(_HEADER, "")
        scheme, _, credentials = given.get("authorization", "").partition(" ")
        if not signature or not credentials:
            raise UnauthenticatedError("The request is not signed.", code="signature_missing")
        algorithm, login = _ALGORITHMS.get(len(signature)), _login(credentials)
        if algorithm is None or login is None or scheme.lower() != "basic":
            raise UnauthenticatedError("The signature headers cannot be read.", code="signature_invalid")
        found = False
        for key in map(_key, secrets):
            wanted = hmac.digest(key.signing_secret.encode(), body, algorithm).hex().encode()
            # Both are compared for every secret, so that time tells nothing about which one fits.
            known = hmac.compare_digest(login, f"{key.username}:{key.password}".encode())
            found |= hmac.compare_digest(signature.encode(errors="replace"), wanted) & known
        if not found:
            raise UnauthenticatedError("The signature does not fit the request.", code="signature_invalid")

    def read(self, body: bytes) -> tuple[ProcessorEvent, ...]:
        """Return the message's events. Raises InvalidRequestError json_invalid / event_malformed."""
        document = jsontext.parse(body)
        listed = document.get("transactions") if isinstance(document, dict) else None
        if not isinstance(listed, list):
            return ()
        events = []
        for item in listed:
            notice = fields.read_part(item, _Notice)
            if notice.type in _TYPES and notice.state not in _REFUSED:
                events.append(_event(fields.read_part(item, _Transaction)))
        return tuple(events)


def _login(credentials: str) -> bytes | None:
    """The user name and password of Basic authentication (RFC 7617), as they were joined."""
    try:
        return base64.b64decode(credentials.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None


def _key(secret: Secret[str]) -> _Key:
    try:
        return _Key.model_validate(json.loads(secret.reveal()))
    except (ValueError, ValidationError):
        raise BrokenInvariantError("A signing secret has not the shape it must have.") from None


def _event(told: _Transaction) -> ProcessorEvent:
    event_type = _TYPES[told.type]
    authorization = told.token if told.type == _SINGLE_MESSAGE else told.preceding_related_transaction_token
    if event_type is EventType.CLEARED and authorization is None:
        event_type = EventType.FORCE_POSTED
    if authorization is None and event_type not in (EventType.FORCE_POSTED, EventType.REFUNDED):
        raise fields.malformed("preceding_related_transaction_token")
    return ProcessorEvent(
        event_id=told.token,
        type=event_type,
        card_token=told.card_token,
        amount=fields.exact_amount(told.amount),
        currency=told.currency_code,
        authorization_id=authorization,
        final_clearing=event_type is EventType.CLEARED and _last(told),
        merchant=_merchant(told.card_acceptor),
        occurred_at=_time(told.user_transaction_time),
    )


def _last(told: _Transaction) -> bool:
    """True for the last clearing of several, and for one that is not numbered: it is the only one."""
    return told.multi_clearing_sequence_number == told.multi_clearing_sequence_count


def _time(text: str | None) -> str | None:
    try:
        return None if text is None else fields.told_time(text)
    except ValueError:
        return None


def _merchant(told: _Merchant | None) -> EventMerchant | None:
    if told is None:
        return None
    return EventMerchant(
        id=told.mid,
        name=told.name,
        category_code=fields.known_category(told.mcc),
        city=told.city,
        country=fields.known_country(told.country_code),
    )
