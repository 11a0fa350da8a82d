"""Events in our own form, signed with Standard Webhooks 1.0 (CONTRACT, from the processor): the simulated processor's."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, StrictBool

from cardwright.kernel import jsontext, signatures
from cardwright.kernel.errors import FieldValueError, InvalidRequestError
from cardwright.kernel.money import check_minor_digits, parse_amount
from cardwright.kernel.secret import Secret
from cardwright.providers import inbound_fields as fields
from cardwright.transactions.rules.events import EventMerchant, EventType, ProcessorEvent

# Events that only have a meaning for an authorization.
_OF_AN_AUTHORIZATION = frozenset({EventType.CLEARED, EventType.REVERSED, EventType.EXPIRED, EventType.ADVICE})


class _Merchant(fields.Incoming):
    id: fields.FreeText | None = None
    name: fields.FreeText | None = None
    category_code: fields.Mcc | None = None
    city: fields.FreeText | None = None
    country: fields.Country | None = None


class _Event(fields.Incoming):
    event_id: fields.Id
    authorization_id: fields.Id | None = None
    card_token: fields.Id
    amount: Annotated[Decimal, BeforeValidator(parse_amount)]
    currency: fields.Currency
    final_clearing: Annotated[StrictBool, BeforeValidator(lambda value: False if value is None else value)] = False
    merchant: _Merchant | None = None
    occurred_at: fields.Time | None = None


class StandardInbound:
    """A secret is `whsec_` and base64; several may be good at once."""

    def verify(self, secrets: Sequence[Secret[str]], headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """See InboundScheme; a timestamp over five minutes off, in the past or the future, is refused."""
        signatures.verify(secrets, headers, body, now)

    def read(self, body: bytes) -> tuple[ProcessorEvent, ...]:
        """Return the one event. Raises InvalidRequestError json_invalid / event_malformed / event_type_unknown."""
        document = jsontext.parse(body)
        event_type = _type(document)
        told = fields.read_part(document, _Event)
        wrong = _broken_fields(event_type, told)
        if wrong:
            raise fields.malformed(", ".join(wrong))
        return (
            ProcessorEvent(
                event_id=told.event_id,
                type=event_type,
                card_token=told.card_token,
                amount=told.amount,
                currency=told.currency,
                authorization_id=told.authorization_id,
                final_clearing=told.final_clearing,
                merchant=None if told.merchant is None else EventMerchant(**told.merchant.model_dump()),
                occurred_at=told.occurred_at,
            ),
        )


def _type(document: object) -> EventType:
    named = document.get("type") if isinstance(document, dict) else None
    if not isinstance(named, str):
        raise fields.malformed("type" if isinstance(document, dict) else "body")
    try:
        return EventType(named)
    except ValueError:
        raise InvalidRequestError("There is no event of this type.", code="event_type_unknown") from None


def _broken_fields(event_type: EventType, told: _Event) -> list[str]:
    """Names of the fields that do not fit the event's type."""
    wrong = []
    # A clearing may say no more than that it was the last one, and an expiry need not know what is left.
    may_be_nothing = event_type is EventType.EXPIRED or (event_type is EventType.CLEARED and told.final_clearing)
    try:
        check_minor_digits(told.amount, told.currency)
        if not told.amount and not may_be_nothing:
            wrong.append("amount")
    except FieldValueError:
        wrong.append("amount")
    if told.authorization_id is None and event_type in _OF_AN_AUTHORIZATION:
        wrong.append("authorization_id")
    if told.final_clearing and event_type is not EventType.CLEARED:
        wrong.append("final_clearing")
    return wrong
