"""The Stripe adapter reads Stripe's own sample objects.

This proves nothing about requests: Stripe's description is not at hand, so nothing here checks what is sent, and the adapter
stays unproven (cardwright.providers.proven).
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from cardwright.cards.rules import Expiry, Limits, ProcessorCard, ProcessorState
from cardwright.kernel.secret import Secret
from cardwright.providers.keys import Credentials
from cardwright.providers.processor_stripe import StripeProcessor
from tests.contract.prism_mock import MockMissingError, do_without, vendor_spec
from tests.pans import pan

CARD = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a909")
LIMITS = Limits(Decimal("100.00"), Decimal("250.00"), Decimal("1000.00"))


@pytest.fixture(scope="module")
def sample() -> Mapping[str, Any]:
    try:
        path = vendor_spec("stripe_fixtures3.json")
    except MockMissingError as missing:
        do_without("stripe", missing)
    card: Mapping[str, Any] = json.loads(path.read_text())["resources"]["issuing.card"]
    return card


def stripe(answer: Mapping[str, Any]) -> StripeProcessor:
    """The adapter; every request is answered alike."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer))
    credentials = Credentials((Secret("key-1"),), {"default": {"cardholder": "ich_1"}})
    return StripeProcessor("https://api.stripe.test", lambda: credentials, transport=transport)


def test_a_card_of_stripes_sample_is_read(sample: Mapping[str, Any]) -> None:
    # Stripe leaves the number out of its samples.
    card = stripe({**sample, "number": pan()}).create_card(
        card_id=CARD, program_id=CARD, bin_prefix="424242", currency="USD", expiry=Expiry(2030, 8), limits=LIMITS
    )
    assert (card.token, card.pan, card.last_four) == (sample["id"], Secret(pan()), "4242")
    assert (card.expiry, card.currency) == (Expiry(2030, 8), "USD")


def test_a_list_of_stripes_sample_is_read(sample: Mapping[str, Any]) -> None:
    page = stripe({"object": "list", "data": [sample], "has_more": False}).list_cards(None)
    assert page.cards == (ProcessorCard(sample["id"], None, ProcessorState.ACTIVE),)
    assert page.next_cursor is None
