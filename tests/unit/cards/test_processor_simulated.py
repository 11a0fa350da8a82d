"""What the simulated processor's answers mean to us."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from cardwright.cards.rules import Expiry, IssuedCard, ProcessorState
from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.providers.processor_simulated import SimulatedProcessor
from tests.pans import pan

CARD = UUID("01930000-0000-7000-8000-000000000001")
PROGRAM = UUID("01930000-0000-7000-8000-000000000002")
GOOD: dict[str, Any] = {
    "token": "card_abc",
    "pan": pan(),
    "exp_month": 11,
    "exp_year": 2029,
    "last_four": "4242",
    "currency": "USD",
    "state": "ACTIVE",
    "something_new": True,
}


def processor(answer: Callable[[httpx.Request], httpx.Response]) -> SimulatedProcessor:
    """Build a processor whose other side is a function."""
    return SimulatedProcessor("http://processor.test/", lambda: Secret("k3y"), transport=httpx.MockTransport(answer))


def create(answer: Callable[[httpx.Request], httpx.Response]) -> IssuedCard:
    """Ask for a card."""
    return processor(answer).create_card(
        card_id=CARD, program_id=PROGRAM, bin_prefix="424242", currency="USD", expiry=Expiry(2029, 11)
    )


def test_a_card_is_asked_for_under_its_id_and_its_number_is_wrapped_at_once() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(201, json=GOOD)

    card = create(answer)
    assert card == IssuedCard("card_abc", Secret(pan()), "4242", Expiry(2029, 11), "USD")
    assert seen[0].headers["idempotency-key"] == str(CARD)
    assert seen[0].headers["authorization"] == "Bearer k3y"
    assert json.loads(seen[0].content) == {
        "reference": str(CARD),
        "program": str(PROGRAM),
        "bin": "424242",
        "currency": "USD",
        "expires_on": "2029-11",
    }


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_a_refusal_is_final(status: int) -> None:
    with pytest.raises(ProviderRefusedError) as refusal:
        create(lambda request: httpx.Response(status, json={"detail": "no"}))
    assert refusal.value.code == "processor_refused"


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 502, 503])
def test_a_busy_processor_or_a_rotating_key_is_transient(status: int) -> None:
    with pytest.raises(UnavailableError) as failure:
        create(lambda request: httpx.Response(status))
    assert failure.value.code == "processor_unavailable"


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_no_answer_is_transient(error: type[httpx.TransportError]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("gone")

    with pytest.raises(UnavailableError):
        create(answer)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        f"<html>{pan()}</html>".encode(),
        b"\xff\xfe",
        b"[]",
        b"{}",
        json.dumps({**GOOD, "pan": int(pan())}).encode(),
        json.dumps({**GOOD, "exp_year": "2029"}).encode(),
        json.dumps({**GOOD, "exp_month": True}).encode(),
        json.dumps({**GOOD, "token": None}).encode(),
    ],
    ids=["nothing", "page", "octets", "list", "empty", "number", "year", "month", "token"],
)
def test_garbage_is_an_unknown_outcome_and_is_not_repeated_in_the_error(body: bytes) -> None:
    with pytest.raises(UnavailableError) as failure:
        create(lambda request: httpx.Response(201, content=body))
    assert pan() not in str(failure.value)
    assert failure.value.__cause__ is None


def test_a_state_is_patched() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"state": "PAUSED"})

    processor(answer).set_state("card_abc", ProcessorState.PAUSED)
    assert [(request.method, request.url.path, json.loads(request.content)) for request in seen] == [
        ("PATCH", "/v1/cards/card_abc", {"state": "PAUSED"})
    ]
