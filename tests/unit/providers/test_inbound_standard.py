"""Our own form of a processor's events; and whatever stands in any scheme's message, it is read or refused by name."""

import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.errors import InvalidRequestError
from cardwright.providers.inbound_lithic import LithicInbound
from cardwright.providers.inbound_marqeta import MarqetaInbound
from cardwright.providers.inbound_standard import StandardInbound
from cardwright.providers.inbound_stripe import StripeInbound
from cardwright.transactions.ports import InboundScheme
from cardwright.transactions.rules.events import EventMerchant, EventType, ProcessorEvent
from tests.pans import pan
from tests.unit.providers.inbound import (
    AUTHORIZED,
    CAPTURE,
    HELD,
    STANDARD,
    lithic,
    lithic_event,
    marqeta,
    read,
    refusal,
    stripe_message,
)

CENTS = Decimal("0.01")

# Our own form


def test_our_own_form_is_read_whole_and_unknown_fields_are_ignored() -> None:
    assert read(StandardInbound(), STANDARD) == (
        ProcessorEvent(
            event_id="evt_1",
            type=EventType.CLEARED,
            card_token="card_1",
            amount=Decimal("42.10"),
            currency="EUR",
            authorization_id="auth_1",
            final_clearing=True,
            merchant=EventMerchant(id="m_1", name="Corner Shop", category_code="5411", city="Lyon", country="FR"),
            occurred_at="2026-11-21T10:00:00Z",
        ),
    )


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"event_id": None}, "event_id"),
        ({"event_id": "a" * 129}, "event_id"),
        ({"event_id": "{tag}"}, "event_id"),
        ({"card_token": ""}, "card_token"),
        ({"authorization_id": None}, "authorization_id"),
        ({"amount": "-1.00"}, "amount"),
        ({"amount": "0.00", "final_clearing": False}, "amount"),
        ({"amount": "1.001"}, "amount"),
        ({"amount": 1e300}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": "1.50", "currency": "JPY"}, "amount"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "ZZZ"}, "currency"),
        ({"currency": "KWD"}, "currency"),
        ({"final_clearing": "yes"}, "final_clearing"),
        ({"final_clearing": True, "type": "transaction.refunded"}, "final_clearing"),
        ({"merchant": "Shop"}, "merchant"),
        ({"merchant": {"category_code": "54"}}, "merchant.category_code"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": "2026-11-21T10:00:00"}, "occurred_at"),
        ({"type": 7}, "type"),
        ({"amount": None, "card_token": None}, "amount, card_token"),
    ],
)
def test_a_malformed_event_names_its_fields_and_not_their_values(changes: dict[str, Any], fields: str) -> None:
    error = refusal(StandardInbound(), {**STANDARD, **changes})
    assert (error.code, error.detail) == ("event_malformed", f"Not valid: {fields}.")
    assert error.__cause__ is None


@pytest.mark.parametrize("event_type", [EventType.CLEARED, EventType.REVERSED, EventType.EXPIRED, EventType.ADVICE])
def test_what_is_told_of_an_authorization_names_it(event_type: EventType) -> None:
    told = {**STANDARD, "type": event_type.value, "final_clearing": False}
    assert read(StandardInbound(), told)[0].type is event_type
    del told["authorization_id"]
    assert refusal(StandardInbound(), told).detail == "Not valid: authorization_id."


@pytest.mark.parametrize("event_type", [EventType.REFUNDED, EventType.FORCE_POSTED])
def test_a_refund_and_a_force_post_need_not_name_an_authorization(event_type: EventType) -> None:
    told = {name: value for name, value in STANDARD.items() if name not in {"authorization_id", "final_clearing"}}
    (event,) = read(StandardInbound(), {**told, "type": event_type.value})
    assert (event.type, event.authorization_id) == (event_type, None)


def test_only_a_last_clearing_and_an_expiry_may_be_of_nothing() -> None:
    nothing = {**STANDARD, "amount": 0}
    assert read(StandardInbound(), nothing)[0].amount == 0
    assert read(StandardInbound(), {**nothing, "type": "transaction.expired", "final_clearing": False})[0].amount == 0
    for event_type in EventType:
        if event_type is not EventType.EXPIRED:
            error = refusal(StandardInbound(), {**nothing, "type": event_type.value, "final_clearing": False})
            assert error.detail == "Not valid: amount."


@pytest.mark.parametrize(("body", "code"), [(b"{", "json_invalid"), (b"[]", "event_malformed"), (b"\xff", "json_invalid")])
def test_a_body_that_is_no_event_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        StandardInbound().read(body)
    assert refused.value.code == code


def test_an_event_of_a_type_we_do_not_know_is_refused_by_that_name() -> None:
    assert refusal(StandardInbound(), {**STANDARD, "type": "transaction.exploded"}).code == "event_type_unknown"


def test_a_card_number_in_a_merchants_words_goes_no_further() -> None:
    words = {"id": pan(), "name": f"Paid with {pan()}", "city": pan(), "category_code": "5411"}
    (event,) = read(StandardInbound(), {**STANDARD, "merchant": words})
    assert event.merchant is not None
    assert (event.merchant.id, event.merchant.name, event.merchant.city) == ("****", "****", "****")


# All of them

WELL_FORMED: list[tuple[InboundScheme, dict[str, Any]]] = [
    (LithicInbound(), lithic("SETTLED", AUTHORIZED, lithic_event(2, "CLEARING", 1234))),
    (StripeInbound(), stripe_message("issuing_transaction.created", CAPTURE)),
    (StripeInbound(), stripe_message("issuing_authorization.updated", {**HELD, "status": "expired"})),
    (MarqetaInbound(), {"transactions": [marqeta("authorization.clearing")]}),
    (StandardInbound(), STANDARD),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every value in a document."""
    items = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    return [path, *(found for name, value in items for found in places(value, (*path, name)))]


@pytest.mark.parametrize("number", range(len(WELL_FORMED)))
@given(data=st.data())
def test_anything_in_the_place_of_any_value_is_read_or_refused_by_name(number: int, data: st.DataObject) -> None:
    scheme, document = WELL_FORMED[number]
    path = data.draw(st.sampled_from([path for path in places(document) if path]))
    changed = copy.deepcopy(document)
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = data.draw(JSON)
    try:
        events = read(scheme, changed)
    except InvalidRequestError as refused:
        events, code = (), refused.code
    else:
        code = "event_malformed"
    assert code in {"event_malformed", "event_type_unknown", "json_invalid"}
    assert all(event.amount >= 0 and event.amount == event.amount.quantize(CENTS) for event in events)


@pytest.mark.parametrize(("scheme", "document"), [WELL_FORMED[0], WELL_FORMED[1], WELL_FORMED[3]])
def test_amounts_too_large_to_keep_are_refused(scheme: InboundScheme, document: dict[str, Any]) -> None:
    text = json.dumps(document).replace("1234", "1" + "0" * 30).replace("12.34", "1e400")
    with pytest.raises(InvalidRequestError) as refused:
        scheme.read(text.encode())
    assert refused.value.code == "event_malformed"
