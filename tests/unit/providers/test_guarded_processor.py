"""Which calls of the processor the breaker stands before; its state in a real Valkey."""

import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import httpx
import pytest

from cardwright.cards.rules import Expiry, Limits, ProcessorState
from cardwright.cards.service import GuardedProcessor
from cardwright.kernel.clock import FixedClock
from cardwright.kernel.errors import CircuitOpenError, ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.platform.breaker import Breaker
from cardwright.platform.cache import Cache
from cardwright.providers.keys import Credentials
from cardwright.providers.processor_stripe import StripeProcessor
from tests.builders import NOW
from tests.unit.providers.vendors import FakeStripe

FAILURES = 3
CARD = UUID(int=(1_700_000_000_000 << 80) | (7 << 76) | (2 << 62) | 1)
LIMITS = Limits(Decimal("1.00"), Decimal("1.00"), Decimal("1.00"))


class Line:
    """A processor that refuses every view by itself, behind a breaker."""

    def __init__(self, cache: Cache) -> None:
        self.clock = FixedClock(NOW)
        self.vendor = FakeStripe()
        credentials = Credentials((Secret("key-1"),), {"default": {"cardholder": "ich_1"}})
        breaker = Breaker(
            cache,
            self.clock,
            f"test-{secrets.token_hex(8)}",
            code="processor_unavailable",
            failures=FAILURES,
            open_s=10,
        )
        self.processor = GuardedProcessor(
            StripeProcessor("https://stripe.test", lambda: credentials, transport=httpx.MockTransport(self.vendor)), breaker
        )

    def break_down(self) -> None:
        """Answer nothing any more, and be asked until the circuit opens."""
        self.vendor.fault = lambda request: httpx.Response(503)
        for _ in range(FAILURES):
            with pytest.raises(UnavailableError):
                self.processor.find_card(CARD)

    def view(self) -> None:
        """Ask for a view."""
        with pytest.raises(ProviderRefusedError):
            self.processor.reveal_url("card-1", expires_at=NOW, origins=())


@pytest.fixture
def line(cache_url: str) -> Iterator[Line]:
    cache = Cache(cache_url, budget_s=2.0)
    yield Line(cache)
    cache.close()


def calls(line: Line) -> list[Callable[[], object]]:
    """Every call that goes over the line."""
    processor = line.processor
    return [
        lambda: processor.create_card(
            card_id=CARD, program_id=CARD, bin_prefix="424242", currency="USD", expiry=Expiry(2029, 11), limits=LIMITS
        ),
        lambda: processor.set_state("card-1", ProcessorState.PAUSED),
        lambda: processor.set_limits("card-1", LIMITS, "USD"),
        lambda: processor.find_card(CARD),
        lambda: processor.list_cards(None),
    ]


def test_a_party_that_is_down_is_asked_nothing_over_the_line(line: Line) -> None:
    line.break_down()
    line.vendor.asked.clear()
    for call in calls(line):
        with pytest.raises(CircuitOpenError):
            call()
    assert line.vendor.asked == []


def test_a_view_is_answered_while_the_circuit_is_open(line: Line) -> None:
    line.break_down()
    line.view()
    assert line.processor.name == "stripe"


def test_a_view_neither_probes_nor_closes_the_circuit(line: Line) -> None:
    line.break_down()
    line.clock.at = NOW + timedelta(seconds=11)
    line.view()
    # The probe is still to be had, and opens the circuit anew.
    with pytest.raises(UnavailableError) as failure:
        line.processor.find_card(CARD)
    assert type(failure.value) is UnavailableError
    with pytest.raises(CircuitOpenError):
        line.processor.find_card(CARD)


def test_a_view_between_failures_does_not_hide_them(line: Line) -> None:
    line.vendor.fault = lambda request: httpx.Response(503)
    for _ in range(FAILURES):
        line.view()
        with pytest.raises(UnavailableError):
            line.processor.find_card(CARD)
    with pytest.raises(CircuitOpenError):
        line.processor.find_card(CARD)


def test_a_program_the_account_may_not_use_closes_nothing_to_the_others(line: Line) -> None:
    line.vendor.fault = lambda request: httpx.Response(403, json={"error": {"message": "not allowed"}})
    for _ in range(FAILURES + 1):
        with pytest.raises(ProviderRefusedError):
            line.processor.create_card(
                card_id=CARD, program_id=CARD, bin_prefix="424242", currency="USD", expiry=Expiry(2029, 11), limits=LIMITS
            )
    line.vendor.fault = None
    assert line.processor.find_card(CARD) is None
