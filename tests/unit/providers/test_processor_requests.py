"""What each vendor's adapter sends: amounts, references, programs."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import httpx
import pytest

from cardwright.cards.rules import Expiry, Limits, ProcessorState
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.secret import Secret
from cardwright.providers.amounts import minor_units
from cardwright.providers.keys import Credentials
from cardwright.providers.processor_lithic import LithicProcessor
from cardwright.providers.processor_marqeta import MarqetaProcessor
from cardwright.providers.processor_stripe import StripeProcessor
from tests.pans import pan
from tests.unit.providers.vendors import FakeLithic, FakeMarqeta, FakeStripe, Vendor

CARD = UUID("018bcfe5-6800-7000-8000-000000000001")
PROGRAM = UUID("01930000-0000-7000-8000-000000000002")
ACCOUNT = "01930000-0000-7000-8000-000000000003"
LIMITS = Limits(Decimal("100.10"), Decimal("250.00"), Decimal("1000.00"))
SILENT = """
import httpx, sys
from uuid import UUID
from decimal import Decimal
from cardwright.cards.rules import Expiry, Limits
from cardwright.kernel.secret import Secret
from cardwright.providers.keys import Credentials
from cardwright.providers.processor_lithic import LithicProcessor
from cardwright.providers.processor_stripe import StripeProcessor
from tests.unit.providers.vendors import FakeLithic, FakeStripe
limits = Limits(Decimal("1.00"), Decimal("1.00"), Decimal("1.00"))
for adapter, vendor in ((LithicProcessor, FakeLithic), (StripeProcessor, FakeStripe)):
    secret = Credentials((Secret("key-1"),), {"default": {"cardholder": "ich_1"}} if vendor is FakeStripe else {})
    made = adapter("https://vendor.test", lambda: secret, transport=httpx.MockTransport(vendor())).create_card(
        card_id=UUID(int=1), program_id=UUID(int=2), bin_prefix="424242", currency="USD", expiry=Expiry(2029, 11), limits=limits
    )
    assert made.pan.reveal()
"""


def credentials(**settings: Any) -> Credentials:
    """One key, and settings."""
    return Credentials((Secret("key-1"),), settings)


def create(processor: LithicProcessor | StripeProcessor | MarqetaProcessor, currency: str = "USD") -> None:
    """Ask for a card."""
    processor.create_card(
        card_id=CARD, program_id=PROGRAM, bin_prefix="424242", currency=currency, expiry=Expiry(2029, 6), limits=LIMITS
    )


def lithic(vendor: Vendor, **settings: Any) -> LithicProcessor:
    return LithicProcessor("https://lithic.test", lambda: credentials(**settings), transport=httpx.MockTransport(vendor))


def stripe(vendor: Vendor, **settings: Any) -> StripeProcessor:
    return StripeProcessor("https://stripe.test", lambda: credentials(**settings), transport=httpx.MockTransport(vendor))


def form(request: httpx.Request) -> dict[str, str]:
    """Fields of a form."""
    return dict(parse_qsl(request.content.decode()))


def test_lithic_is_asked_for_a_card() -> None:
    vendor = FakeLithic()
    create(lithic(vendor, programs={str(PROGRAM): {"account_token": ACCOUNT}}))
    assert vendor.asked[0].headers["idempotency-key"] == str(CARD)
    assert json.loads(vendor.asked[0].content) == {
        "type": "VIRTUAL",
        "state": "OPEN",
        "memo": str(CARD),
        "exp_month": "06",
        "exp_year": "2029",
        "spend_limit": 10010,
        "spend_limit_duration": "TRANSACTION",
        "account_token": ACCOUNT,
    }


def test_lithic_is_never_told_a_limit_that_would_lift_all_limits() -> None:
    vendor = FakeLithic()
    processor = lithic(vendor)
    create(processor)
    processor.set_limits(next(iter(vendor.cards.values()))["token"], Limits(Decimal("0.00"), *[Decimal("1.00")] * 2), "USD")
    assert json.loads(vendor.asked[-1].content) == {"spend_limit": 1, "spend_limit_duration": "TRANSACTION"}


def test_the_currency_lithic_tells_is_the_cards() -> None:
    vendor = FakeLithic()
    vendor.bend = {"cardholder_currency": "EUR"}
    card = lithic(vendor).create_card(
        card_id=CARD, program_id=PROGRAM, bin_prefix="424242", currency="USD", expiry=Expiry(2029, 6), limits=LIMITS
    )
    assert card.currency == "EUR"


def test_a_part_of_a_memo_is_not_the_card() -> None:
    vendor = FakeLithic()
    vendor.add(f"copy of {CARD}")
    assert lithic(vendor).find_card(CARD) is None


def test_lithics_view_is_signed_with_the_newest_key() -> None:
    keys = (Secret("key-2"), Secret("key-1"))
    processor = LithicProcessor("https://lithic.test", lambda: Credentials(keys))
    older = LithicProcessor("https://lithic.test", lambda: Credentials(keys[1:]))
    expires_at = datetime(2027, 1, 1, tzinfo=UTC)
    urls = [
        httpx.URL(one.reveal_url("card-1", expires_at=expires_at, origins=["https://a.example"])) for one in (processor, older)
    ]
    assert urls[0].params["embed_request"] == urls[1].params["embed_request"]
    assert urls[0].params["hmac"] != urls[1].params["hmac"]
    assert not [url for url in urls if "key-" in str(url)]


def test_stripe_is_asked_for_a_card_and_then_for_its_number() -> None:
    vendor = FakeStripe()
    create(stripe(vendor, default={"cardholder": "ich_1"}, programs={str(PROGRAM): {"cardholder": "ich_2"}}))
    made, told = vendor.asked
    assert made.headers["idempotency-key"] == str(CARD)
    assert form(made) == {
        "type": "virtual",
        "status": "active",
        "cardholder": "ich_2",
        "currency": "usd",
        "exp_month": "6",
        "exp_year": "2029",
        "metadata[reference]": str(CARD),
        "spending_controls[spending_limits][0][interval]": "per_authorization",
        "spending_controls[spending_limits][0][amount]": "10010",
        "spending_controls[spending_limits][1][interval]": "daily",
        "spending_controls[spending_limits][1][amount]": "25000",
        "spending_controls[spending_limits][2][interval]": "monthly",
        "spending_controls[spending_limits][2][amount]": "100000",
    }
    assert (told.method, dict(told.url.params)) == ("GET", {"expand[0]": "number"})


def test_stripe_is_told_limits() -> None:
    vendor = FakeStripe()
    processor = stripe(vendor, default={"cardholder": "ich_1"})
    create(processor)
    processor.set_limits(next(iter(vendor.cards.values()))["id"], LIMITS, "USD")
    assert form(vendor.asked[-1])["spending_controls[spending_limits][2][amount]"] == "100000"


def test_stripes_list_is_read_back_to_when_the_id_was_made_and_no_further() -> None:
    vendor = FakeStripe()
    assert stripe(vendor).find_card(CARD) is None
    assert dict(vendor.asked[0].url.params) == {"limit": "100", "created[gte]": str((CARD.int >> 80) // 1000 - 300)}
    assert stripe(vendor).find_card(UUID(int=1)) is None
    assert dict(vendor.asked[1].url.params) == {"limit": "100"}


def test_marqeta_is_asked_for_a_card_under_our_id() -> None:
    vendor = FakeMarqeta()
    settings = {"user_token": "user-1", "default": {"card_product_token": "product-1", "currency": "EUR"}}
    processor = MarqetaProcessor(
        "https://marqeta.test/v3", lambda: credentials(**settings), transport=httpx.MockTransport(vendor)
    )
    create(processor)
    assert json.loads(vendor.asked[0].content) == {
        "token": CARD.hex,
        "user_token": "user-1",
        "card_product_token": "product-1",
    }
    assert dict(vendor.asked[0].url.params) == {"show_pan": "true", "show_cvv_number": "false"}
    processor.set_state(CARD.hex, ProcessorState.PAUSED)
    wanted = {"card_token": CARD.hex, "channel": "API", "state": "SUSPENDED", "reason_code": "01"}
    assert json.loads(vendor.asked[-1].content) == wanted
    processor.set_limits(CARD.hex, LIMITS, "EUR")
    assert len(vendor.asked) == 2


def test_a_marqeta_card_is_in_its_products_currency() -> None:
    settings = {"user_token": "user-1", "default": {"card_product_token": "product-1", "currency": "EUR"}}
    processor = MarqetaProcessor(
        "https://marqeta.test/v3", lambda: credentials(**settings), transport=httpx.MockTransport(FakeMarqeta())
    )
    card = processor.create_card(
        card_id=CARD, program_id=PROGRAM, bin_prefix="424242", currency="USD", expiry=Expiry(2029, 11), limits=LIMITS
    )
    assert (card.currency, card.expiry) == ("EUR", Expiry(2029, 11))


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [("0.01", "USD", 1), ("9999999999.99", "USD", 999999999999), ("100.00", "JPY", 100), ("100", "EUR", 10000)],
)
def test_amounts_are_told_exactly(amount: str, currency: str, units: int) -> None:
    assert minor_units(Decimal(amount), currency) == units


@pytest.mark.parametrize(("amount", "currency"), [("0.001", "USD"), ("100.50", "JPY")])
def test_a_part_of_a_minor_unit_is_a_bug(amount: str, currency: str) -> None:
    with pytest.raises(BrokenInvariantError):
        minor_units(Decimal(amount), currency)


def test_the_sdks_own_debugging_shows_no_card_number() -> None:
    variables = {**os.environ, "STRIPE_LOG": "debug", "LITHIC_LOG": "debug"}
    told = subprocess.run([sys.executable, "-c", SILENT], env=variables, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 0, told.stderr
    assert pan() not in told.stdout + told.stderr
    assert "key-1" not in told.stdout + told.stderr
