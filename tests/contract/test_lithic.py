"""The Lithic adapter against Lithic's own OpenAPI description, unedited.

Proves that each request is one Lithic's description accepts and that its answers are read. Prism answers with examples and
knows no state, so a card's life is tested elsewhere (tests/unit/providers/test_processor_vendors.py).
"""

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from cardwright.cards.rules import Expiry, IssuedCard, Limits, ProcessorState
from cardwright.kernel.errors import ProviderRefusedError
from cardwright.kernel.secret import Secret
from cardwright.providers.keys import Credentials
from cardwright.providers.processor_lithic import LithicProcessor

CARD = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a909")
PROGRAM = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a90a")
TOKEN = "7ef7d65c-9023-4da3-b113-3b8583fd7951"
LIMITS = Limits(Decimal("100.00"), Decimal("250.00"), Decimal("1000.00"))
SETTINGS = {"default": {"card_program_token": "00000000-0000-0000-1000-000000000000", "account_token": str(CARD)}}


class Wire(httpx.HTTPTransport):
    """Carries requests and remembers what was answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answered: list[tuple[str, str, int]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        self.answered.append((request.method, request.url.path, answer.status_code))
        return answer


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as transport:
        yield transport


@pytest.fixture
def lithic(lithic_url: str, wire: Wire) -> LithicProcessor:
    return adapter(lithic_url, wire, SETTINGS)


def adapter(url: str, wire: Wire, settings: Mapping[str, Any]) -> LithicProcessor:
    """The adapter, talking to the mock."""
    return LithicProcessor(url, lambda: Credentials((Secret("key-1"),), settings), transport=wire)


def create(processor: LithicProcessor, year: int = 2027) -> IssuedCard:
    """Ask for a card."""
    return processor.create_card(
        card_id=CARD, program_id=PROGRAM, bin_prefix="411111", currency="USD", expiry=Expiry(year, 6), limits=LIMITS
    )


@pytest.mark.parametrize("settings", [SETTINGS, {}])
def test_a_card_is_asked_for_as_lithic_wants_it(lithic_url: str, wire: Wire, settings: Mapping[str, Any]) -> None:
    card = create(adapter(lithic_url, wire, settings))
    assert (card.token, card.last_four, card.expiry, card.currency) == (TOKEN, "4142", Expiry(2027, 6), "USD")
    assert card.pan.reveal().endswith(card.last_four)


def test_the_mock_refuses_what_lithic_would_refuse(lithic: LithicProcessor) -> None:
    with pytest.raises(ProviderRefusedError):
        create(lithic, year=20270)
    with pytest.raises(ProviderRefusedError):
        lithic.set_state("not-a-uuid", ProcessorState.PAUSED)


@pytest.mark.parametrize("state", list(ProcessorState))
def test_every_switch_is_one_lithic_knows(lithic: LithicProcessor, wire: Wire, state: ProcessorState) -> None:
    lithic.set_state(TOKEN, state)
    assert wire.answered == [("PATCH", f"/v1/cards/{TOKEN}", 200)]


def test_limits_are_told_as_lithic_wants_them(lithic: LithicProcessor, wire: Wire) -> None:
    lithic.set_limits(TOKEN, LIMITS, "USD")
    assert wire.answered == [("PATCH", f"/v1/cards/{TOKEN}", 200)]


def test_a_card_is_looked_for_by_its_memo(lithic: LithicProcessor, wire: Wire) -> None:
    # The example has another memo than our card id.
    assert lithic.find_card(CARD) is None
    assert wire.answered == [("GET", "/v1/cards", 200)]


@pytest.mark.parametrize("cursor", [None, f"down:{TOKEN}", f"up:{TOKEN}"])
def test_a_list_is_read_in_each_direction(lithic: LithicProcessor, wire: Wire, cursor: str | None) -> None:
    page = lithic.list_cards(cursor)
    assert wire.answered == [("GET", "/v1/cards", 200)]
    # The description's example: one card, with the memo of somebody else, and whether more follow.
    assert page.next_cursor is not None or [card.card_id for card in page.cards] == [None]


def test_the_view_of_a_card_answers_to_the_signed_url(lithic: LithicProcessor) -> None:
    expires_at = datetime(2027, 1, 1, 0, 1, tzinfo=UTC)
    url = lithic.reveal_url(TOKEN, expires_at=expires_at, origins=["https://console.example"])
    page = httpx.get(url, headers={"Authorization": "key-1"}, trust_env=False)
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
    wanted = json.loads(b64decode(httpx.URL(url).params["embed_request"]))
    assert wanted == {"expiration": "2027-01-01T00:01:00+00:00", "target_origin": "https://console.example", "token": TOKEN}
