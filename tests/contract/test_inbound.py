"""Messages around the vendors' own sample objects are read; where their descriptions are not here, this is skipped."""

import json
from decimal import Decimal
from typing import Any

import pytest

from cardwright.providers.inbound_stripe import StripeInbound
from cardwright.transactions.rules.events import EventType
from tests.contract.prism_mock import MockMissingError, do_without, vendor_spec


@pytest.fixture(scope="module")
def samples() -> dict[str, Any]:
    """Stripe's sample objects."""
    try:
        found: dict[str, Any] = json.loads(vendor_spec("stripe_fixtures3.json").read_text())["resources"]
    except MockMissingError as missing:
        do_without("stripe", missing)
    return found


def message(kind: str, thing: dict[str, Any]) -> bytes:
    """A message of Stripe's about an object."""
    return json.dumps({"id": "evt_1", "type": kind, "created": thing["created"], "data": {"object": thing}}).encode()


def test_stripes_sample_of_a_capture_is_a_clearing(samples: dict[str, Any]) -> None:
    thing = samples["issuing.transaction"]
    (event,) = StripeInbound().read(message("issuing_transaction.created", thing))
    assert (event.type, event.amount, event.currency) == (EventType.CLEARED, Decimal("1.00"), "USD")
    assert (event.event_id, event.card_token, event.authorization_id) == (thing["id"], thing["card"], thing["authorization"])
    assert event.merchant is not None
    assert (event.merchant.name, event.merchant.category_code, event.merchant.country) == ("Rocket Rides", "4121", "US")


@pytest.mark.parametrize(("status", "event_type"), [("pending", None), ("expired", EventType.EXPIRED)])
def test_stripes_sample_of_an_authorization_is_read(samples: dict[str, Any], status: str, event_type: EventType | None) -> None:
    thing = {**samples["issuing.authorization"], "status": status}
    told = StripeInbound().read(message("issuing_authorization.updated", thing))
    assert [(event.type, event.authorization_id, event.card_token) for event in told] == (
        [] if event_type is None else [(event_type, thing["id"], thing["card"]["id"])]
    )
