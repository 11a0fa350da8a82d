"""What processors send, and how it is read: documents and readings that the tests of their schemes share."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from cardwright.kernel.errors import InvalidRequestError
from cardwright.transactions.ports import InboundScheme
from cardwright.transactions.rules.events import ProcessorEvent

STANDARD: dict[str, Any] = {
    "event_id": "evt_1",
    "type": "transaction.cleared",
    "authorization_id": "auth_1",
    "card_token": "card_1",
    "amount": "42.10",
    "currency": "EUR",
    "final_clearing": True,
    "merchant": {"id": "m_1", "name": "Corner Shop", "category_code": "5411", "city": "Lyon", "country": "FRA"},
    "occurred_at": "2026-11-21T10:00:00Z",
    "network": {"unknown": "fields are ignored"},
}


def encoded(document: object) -> bytes:
    """As a request's body."""
    return json.dumps(document).encode()


def read(scheme: InboundScheme, document: object) -> tuple[ProcessorEvent, ...]:
    """What a scheme reads in a document."""
    return scheme.read(encoded(document))


def refusal(scheme: InboundScheme, document: object) -> InvalidRequestError:
    """How a scheme refuses a document."""
    with pytest.raises(InvalidRequestError) as refused:
        read(scheme, document)
    return refused.value


def brief(events: tuple[ProcessorEvent, ...]) -> list[tuple[str, str, str, str | None, bool]]:
    """Id, type, amount, authorization and whether it is the last clearing, of each event."""
    return [(one.event_id, one.type.value, str(one.amount), one.authorization_id, one.final_clearing) for one in events]


LITHIC_AUTHORIZATION = "0c2adae9-f535-4505-8c35-421dad9bd0b6"


def lithic_event(number: int, kind: str, cents: int, result: str = "APPROVED") -> dict[str, Any]:
    """An event of a transaction, as in Lithic's description of its interface."""
    amount = {"amount": cents, "conversion_rate": "1.000000", "currency": "USD"}
    return {
        "token": f"00000000-0000-4000-8000-00000000000{number}",
        "type": kind,
        "result": result,
        "amount": cents,
        "amounts": {"cardholder": amount, "merchant": {"amount": cents, "currency": "USD"}, "settlement": None},
        "created": f"2026-11-21T10:00:0{number}Z",
        "detailed_results": ["APPROVED"],
        "effective_polarity": "DEBIT",
        "rule_results": [],
        "network_info": None,
    }


def lithic(status: str, *events: dict[str, Any]) -> dict[str, Any]:
    """A notice of a transaction with these events so far."""
    return {
        "event_type": "card_transaction.updated",
        "token": LITHIC_AUTHORIZATION,
        "card_token": "19c22c47-7a75-43ee-9891-595419830f7e",
        "status": status,
        "merchant": {"acceptor_id": "m_1", "descriptor": "COFFEE SHOP", "mcc": "5812", "city": "NEW YORK", "country": "USA"},
        "events": list(events),
    }


def event_id(number: int) -> str:
    """The token of a numbered event."""
    return f"00000000-0000-4000-8000-00000000000{number}"


AUTHORIZED = lithic_event(1, "AUTHORIZATION", 5000)


def stripe_message(kind: str, thing: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An event around an object."""
    data: dict[str, Any] = {"object": dict(thing)}
    if before is not None:
        data["previous_attributes"] = dict(before)
    return {"id": "evt_1", "object": "event", "type": kind, "created": 1_795_000_000, "data": data}


CAPTURE: dict[str, Any] = {
    "id": "ipi_1",
    "object": "issuing.transaction",
    "type": "capture",
    "amount": -1234,
    "currency": "usd",
    "card": "ic_1",
    "authorization": "iauth_1",
    "created": 1_795_000_000,
    "merchant_data": {
        "network_id": "1234567890",
        "name": "Rocket Rides",
        "category": "taxicabs_limousines",
        "category_code": "4121",
        "city": "San Francisco",
        "country": "US",
    },
}
HELD: dict[str, Any] = {
    "id": "iauth_1",
    "object": "issuing.authorization",
    "status": "pending",
    "amount": 5000,
    "currency": "usd",
    "card": {"id": "ic_1", "object": "issuing.card"},
    "request_history": [{"amount": 5000, "approved": True, "reason": "webhook_approved", "created": 1_795_000_000}],
    "transactions": [],
}


def marqeta(kind: str, **changes: Any) -> dict[str, Any]:
    """One transaction of a notice."""
    return {
        "token": "tx_2",
        "type": kind,
        "state": "COMPLETION",
        "card_token": "card_1",
        "amount": 12.34,
        "currency_code": "USD",
        "preceding_related_transaction_token": "tx_1",
        "card_acceptor": {"mid": "m_1", "name": "Shop", "mcc": "5411", "city": "Oakland", "country_code": "USA"},
        "user_transaction_time": "2026-11-21T10:00:00Z",
        **changes,
    }
