"""What the simulated processor's answers mean to us."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from cardwright.cards.rules import Expiry, IssuedCard, Limits, ProcessorCard, ProcessorPage, ProcessorState
from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.providers.processor_simulated import SimulatedProcessor
from tests.pans import pan

CARD = UUID("01930000-0000-7000-8000-000000000001")
PROGRAM = UUID("01930000-0000-7000-8000-000000000002")
LIMITS = Limits(Decimal("500.00"), Decimal("1E+3"), Decimal("5000.5"))
AMOUNTS = {"per_transaction": "500.00", "daily": "1000", "monthly": "5000.5"}
LISTED = {"token": "card_abc", "reference": str(CARD), "state": "PAUSED", "something_new": True}
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
    return SimulatedProcessor(
        "http://processor.test/", lambda: (Secret("k3y"), Secret("k2y")), transport=httpx.MockTransport(answer)
    )


def create(answer: Callable[[httpx.Request], httpx.Response]) -> IssuedCard:
    """Ask for a card."""
    return processor(answer).create_card(
        card_id=CARD, program_id=PROGRAM, bin_prefix="424242", currency="USD", expiry=Expiry(2029, 11), limits=LIMITS
    )


class Recorder:
    """Answers every request with one body, and keeps the requests."""

    def __init__(self, body: object, status: int = 200) -> None:
        self.seen: list[httpx.Request] = []
        self._body = body
        self._status = status

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        return httpx.Response(self._status, json=self._body)


# Each call of the port.
CALLS: dict[str, Callable[[SimulatedProcessor], object]] = {
    "state": lambda asked: asked.set_state("card_abc", ProcessorState.PAUSED),
    "limits": lambda asked: asked.set_limits("card_abc", LIMITS, "USD"),
    "find": lambda asked: asked.find_card(CARD),
    "list": lambda asked: asked.list_cards(None),
    "reveal": lambda asked: asked.reveal_url("card_abc", expires_at=datetime(2026, 11, 21, 12, tzinfo=UTC), origins=()),
}


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
        "limits": AMOUNTS,
    }


@pytest.mark.parametrize("status", [400, 402, 403, 404, 405, 422])
def test_a_refusal_is_final(status: int) -> None:
    with pytest.raises(ProviderRefusedError) as refusal:
        create(lambda request: httpx.Response(status, json={"detail": "no"}))
    assert refusal.value.code == "processor_refused"


@pytest.mark.parametrize("status", [302, 401, 408, 409, 425, 429, 500, 502, 503])
def test_a_busy_processor_a_request_under_way_or_a_rotating_key_is_transient(status: int) -> None:
    with pytest.raises(UnavailableError) as failure:
        create(lambda request: httpx.Response(status))
    assert failure.value.code == "processor_unavailable"


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_no_answer_is_transient(error: type[httpx.TransportError]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("gone")

    with pytest.raises(UnavailableError) as failure:
        create(answer)
    # A suppressed cause still hangs on the error; it holds the request, and that the key.
    assert (failure.value.__cause__, failure.value.__context__) == (None, None)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("status", [400, 402, 403, 404, 405, 422])
def test_every_call_tells_a_refusal(call: Callable[[SimulatedProcessor], object], status: int) -> None:
    with pytest.raises(ProviderRefusedError) as refusal:
        call(processor(Recorder({"detail": "no"}, status)))
    assert refusal.value.code == "processor_refused"


@pytest.mark.parametrize(
    ("name", "raised"),
    [
        ("state", ProviderRefusedError),
        ("limits", ProviderRefusedError),
        ("reveal", ProviderRefusedError),
        ("find", UnavailableError),
        ("list", UnavailableError),
    ],
)
def test_a_conflict_of_a_card_says_that_it_is_closed(name: str, raised: type[Exception]) -> None:
    with pytest.raises(raised):
        CALLS[name](processor(Recorder({"detail": "a closed card stays as it is"}, 409)))


def test_a_refusal_is_not_tried_with_the_next_key() -> None:
    recorder = Recorder({}, 403)
    with pytest.raises(ProviderRefusedError):
        create(recorder)
    assert [request.headers["authorization"] for request in recorder.seen] == ["Bearer k3y"]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_error_inside_a_good_answer_is_a_refusal(call: Callable[[SimulatedProcessor], object]) -> None:
    body = {"error": {"code": "declined", "message": "no"}}
    with pytest.raises(ProviderRefusedError) as refusal:
        call(processor(Recorder(body)))
    assert refusal.value.code == "processor_refused"
    with pytest.raises(ProviderRefusedError):
        create(Recorder(body, 201))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("content", [b"", b"<html>", b'{"token": "ca', b"[]", b"{}", b"null"])
def test_every_call_takes_garbage_for_no_answer(call: Callable[[SimulatedProcessor], object], content: bytes) -> None:
    with pytest.raises(UnavailableError) as failure:
        call(processor(lambda _: httpx.Response(200, content=content)))
    assert failure.value.code == "processor_unavailable"


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_redirect_is_not_followed(call: Callable[[SimulatedProcessor], object]) -> None:
    with pytest.raises(UnavailableError):
        call(processor(lambda _: httpx.Response(302, headers={"Location": "http://elsewhere.test/"})))


def test_a_key_that_is_not_taken_gives_way_to_the_next() -> None:
    shown: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        shown.append(request.headers["authorization"])
        return httpx.Response(401) if shown[-1] == "Bearer k3y" else httpx.Response(201, json=GOOD)

    assert create(answer).token == "card_abc"
    assert shown == ["Bearer k3y", "Bearer k2y"]


def test_keys_are_asked_for_at_each_call() -> None:
    keys = [(Secret("old"),), (Secret("new"), Secret("old"))]
    recorder = Recorder({"data": [], "next_cursor": None})
    asked = SimulatedProcessor("http://processor.test", lambda: keys.pop(0), transport=httpx.MockTransport(recorder))
    for _ in range(2):
        asked.list_cards(None)
    assert [request.headers["authorization"] for request in recorder.seen] == ["Bearer old", "Bearer new"]


def test_no_key_that_is_taken_is_unavailable() -> None:
    recorder = Recorder({}, 401)
    with pytest.raises(UnavailableError) as failure:
        create(recorder)
    assert failure.value.code == "processor_unavailable"
    assert len(recorder.seen) == 2


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
    recorder = Recorder({"state": "PAUSED", "limits": None})
    processor(recorder).set_state("card/abc?", ProcessorState.PAUSED)
    assert [(request.method, request.url.raw_path, json.loads(request.content)) for request in recorder.seen] == [
        ("PATCH", b"/v1/cards/card%2Fabc%3F", {"state": "PAUSED"})
    ]


def test_limits_are_patched_as_decimal_texts() -> None:
    recorder = Recorder({"state": "ACTIVE", "limits": AMOUNTS})
    processor(recorder).set_limits("card_abc", LIMITS, "USD")
    assert [(request.method, request.url.path, json.loads(request.content)) for request in recorder.seen] == [
        ("PATCH", "/v1/cards/card_abc", {"limits": AMOUNTS})
    ]


def test_a_change_that_the_answer_does_not_show_is_an_unknown_outcome() -> None:
    other = {"state": "ACTIVE", "limits": {**AMOUNTS, "daily": "999"}}
    for name in ("state", "limits"):
        with pytest.raises(UnavailableError):
            CALLS[name](processor(Recorder(other)))


def test_a_card_is_found_by_our_id() -> None:
    other = {**LISTED, "token": "card_other", "reference": "somebody else's"}
    recorder = Recorder({"data": [other, LISTED], "next_cursor": None})
    assert processor(recorder).find_card(CARD) == ProcessorCard("card_abc", CARD, ProcessorState.PAUSED)
    assert (recorder.seen[0].method, dict(recorder.seen[0].url.params)) == ("GET", {"reference": str(CARD)})
    assert processor(Recorder({"data": [other], "next_cursor": None})).find_card(CARD) is None


@pytest.mark.parametrize("reference", ["card-1", "", CARD.hex, f"urn:uuid:{CARD}", f"{{{CARD}}}", None])
def test_a_reference_that_is_no_card_id_of_ours_is_none(reference: object) -> None:
    page = processor(Recorder({"data": [{**LISTED, "reference": reference}], "next_cursor": None})).list_cards(None)
    assert page == ProcessorPage((ProcessorCard("card_abc", None, ProcessorState.PAUSED),), None)


def test_cards_are_listed_page_by_page() -> None:
    recorder = Recorder({"data": [LISTED], "next_cursor": "17", "has_more": True})
    asked = processor(recorder)
    assert asked.list_cards(None).next_cursor == "17"
    asked.list_cards("17")
    assert [dict(request.url.params) for request in recorder.seen] == [{"limit": "200"}, {"limit": "200", "cursor": "17"}]


@pytest.mark.parametrize(
    "body",
    [
        {"data": {}},
        {"data": [7]},
        {"data": [{**LISTED, "token": None}]},
        {"data": [{**LISTED, "token": ""}]},
        {"data": [{**LISTED, "reference": 7}]},
        {"data": [{**LISTED, "reference": [1]}]},
        {"data": [{**LISTED, "state": "LOST"}]},
        {"data": [{**LISTED, "state": ["PAUSED"]}]},
        {"data": [], "next_cursor": 7},
        {"data": [], "next_cursor": ""},
    ],
)
def test_a_page_that_cannot_be_read_is_no_answer(body: object) -> None:
    with pytest.raises(UnavailableError):
        processor(Recorder(body)).list_cards(None)


def test_a_view_is_asked_for_until_a_time_and_for_some_origins() -> None:
    recorder = Recorder({"url": "https://processor.test/embed/x"})
    asked = processor(recorder)
    until = datetime(2026, 11, 21, 12, 1, tzinfo=UTC)
    assert asked.reveal_url("card_abc", expires_at=until, origins=["https://app.test"]) == "https://processor.test/embed/x"
    assert recorder.seen[0].url.path == "/v1/cards/card_abc/embed"
    assert json.loads(recorder.seen[0].content) == {"expires_at": "2026-11-21T12:01:00.000Z", "origins": ["https://app.test"]}


@pytest.mark.parametrize("url", [None, 7, "", "javascript:alert(1)", "//elsewhere.test"])
def test_a_view_without_a_web_address_is_no_answer(url: object) -> None:
    with pytest.raises(UnavailableError):
        CALLS["reveal"](processor(Recorder({"url": url})))
