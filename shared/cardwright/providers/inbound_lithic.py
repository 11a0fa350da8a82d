"""Lithic's event `card_transaction.updated`, signed with Standard Webhooks (docs.lithic.com, events API)."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from cardwright.kernel import jsontext, signatures
from cardwright.kernel.secret import Secret
from cardwright.providers import inbound_fields as fields
from cardwright.transactions.rules.events import EventMerchant, EventType, ProcessorEvent

_UPDATED = "card_transaction.updated"
_APPROVED = "APPROVED"
_SETTLED = "SETTLED"
# Lithic's deliveries may still carry the names its library of webhooks had before they were standardised.
_OLDER_NAMES = {
    "svix-id": signatures.ID_HEADER,
    "svix-timestamp": signatures.TIMESTAMP_HEADER,
    "svix-signature": signatures.SIGNATURE_HEADER,
}
_AUTHORIZING = frozenset({"AUTHORIZATION", "AUTHORIZATION_ADVICE", "FINANCIAL_AUTHORIZATION"})
# What moves money or a hold after it was decided. Where nothing was approved a debit is one that ignores limits.
_LINKED = {
    "AUTHORIZATION_ADVICE": EventType.ADVICE,
    "AUTHORIZATION_EXPIRY": EventType.EXPIRED,
    "AUTHORIZATION_REVERSAL": EventType.REVERSED,
    "CLEARING": EventType.CLEARED,
    "FINANCIAL_AUTHORIZATION": EventType.CLEARED,
}
_UNLINKED = {
    "CLEARING": EventType.FORCE_POSTED,
    "CORRECTION_DEBIT": EventType.FORCE_POSTED,
    "RETURN_REVERSAL": EventType.FORCE_POSTED,
    "CORRECTION_CREDIT": EventType.REFUNDED,
    "FINANCIAL_CREDIT_AUTHORIZATION": EventType.REFUNDED,
    "RETURN": EventType.REFUNDED,
}


class _Amount(fields.Incoming):
    amount: int
    currency: fields.Currency


class _Amounts(fields.Incoming):
    cardholder: _Amount


class _Event(fields.Incoming):
    token: fields.Id
    type: str
    result: str
    amounts: _Amounts
    created: fields.Time


class _Merchant(fields.Incoming):
    acceptor_id: fields.CutText | None = None
    descriptor: fields.CutText | None = None
    mcc: str | None = None
    city: fields.CutText | None = None
    country: str | None = None


class _Transaction(fields.Incoming):
    token: fields.Id
    card_token: fields.Id
    status: str
    events: list[_Event]
    merchant: _Merchant | None = None


class LithicInbound:
    """A message holds a transaction as it stands, with all its events so far: each is taken once, by its token.

    The authorization's id is the transaction's token, as in Lithic's requests for authorizations. Amounts are the cardholder's.
    That a transaction is settled is told as a last clearing of nothing, which gives back what is left of its hold: the clearings
    themselves must read the same in every message. A secret is `whsec_` and base64.
    """

    def verify(self, secrets: Sequence[Secret[str]], headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """See InboundScheme; a timestamp over five minutes off, in the past or the future, is refused."""
        given = {name.lower(): value for name, value in headers.items()}
        if not any(name in given for name in _OLDER_NAMES.values()):
            given = {_OLDER_NAMES.get(name, name): value for name, value in given.items()}
        signatures.verify(secrets, given, body, now)

    def read(self, body: bytes) -> tuple[ProcessorEvent, ...]:
        """Return the transaction's events. Raises InvalidRequestError json_invalid / event_malformed."""
        document = jsontext.parse(body)
        if not isinstance(document, dict) or document.get("event_type") != _UPDATED:
            return ()
        told = fields.read_part(document, _Transaction)
        approved = [event for event in told.events if event.result == _APPROVED]
        authorized = any(event.type in _AUTHORIZING for event in approved)
        events = [found for event in approved if (found := _event(told, event, authorized)) is not None]
        cleared = [event for event in approved if event.type == "CLEARING"]
        if authorized and cleared and told.status == _SETTLED:
            events.append(_settled(told, cleared[0]))
        return tuple(events)


def _event(told: _Transaction, event: _Event, authorized: bool) -> ProcessorEvent | None:
    event_type = (_LINKED.get(event.type) if authorized else None) or _UNLINKED.get(event.type)
    if event_type is None:
        return None
    held = event.amounts.cardholder
    return ProcessorEvent(
        event_id=event.token,
        type=event_type,
        card_token=told.card_token,
        amount=fields.from_minor_units(held.amount, held.currency),
        currency=held.currency,
        authorization_id=told.token if authorized else None,
        # A single message both authorizes and clears.
        final_clearing=event.type == "FINANCIAL_AUTHORIZATION",
        merchant=None if authorized else _merchant(told.merchant),
        occurred_at=event.created,
    )


def _settled(told: _Transaction, cleared: _Event) -> ProcessorEvent:
    currency = cleared.amounts.cardholder.currency
    return ProcessorEvent(
        event_id=f"{told.token}:settled",
        type=EventType.CLEARED,
        card_token=told.card_token,
        amount=fields.from_minor_units(0, currency),
        currency=currency,
        authorization_id=told.token,
        final_clearing=True,
        merchant=None,
        # When it was settled is not told: the first clearing's time stays the same from message to message.
        occurred_at=cleared.created,
    )


def _merchant(told: _Merchant | None) -> EventMerchant | None:
    if told is None:
        return None
    return EventMerchant(
        id=told.acceptor_id,
        name=told.descriptor,
        category_code=fields.known_category(told.mcc),
        city=told.city,
        country=fields.known_country(told.country),
    )
