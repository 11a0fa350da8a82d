"""What holds for every vendor's adapter, each against a small stateful stand-in."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from cardwright.cards.ports import Processor
from cardwright.cards.rules import Expiry, IssuedCard, Limits, ProcessorCard, ProcessorState
from cardwright.kernel.errors import BrokenInvariantError, CardwrightError, ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.providers.keys import Credentials
from cardwright.providers.processor_lithic import LithicProcessor
from cardwright.providers.processor_marqeta import MarqetaProcessor
from cardwright.providers.processor_stripe import StripeProcessor
from tests.pans import pan
from tests.unit.providers.vendors import FakeLithic, FakeMarqeta, FakeStripe, Vendor

# Made when the stand-ins' first card was.
CARD = UUID(int=(1_700_000_000_000 << 80) | (7 << 76) | (2 << 62) | 1)
PROGRAM = UUID("01930000-0000-7000-8000-000000000002")
LIMITS = Limits(Decimal("100.10"), Decimal("250.00"), Decimal("1000.00"))
SETTINGS: dict[str, dict[str, Any]] = {
    "lithic": {},
    "stripe": {"default": {"cardholder": "ich_1"}},
    "marqeta": {"user_token": "user-1", "default": {"card_product_token": "product-1", "currency": "USD"}},
}


@dataclass
class Pair:
    """An adapter and who answers it; `keys` are what the adapter's secret holds."""

    name: str
    vendor: Vendor
    processor: Processor
    keys: tuple[str, ...] = ("key-1",)

    def create(self, card_id: UUID = CARD) -> IssuedCard:
        """Ask for a card."""
        return self.processor.create_card(
            card_id=card_id, program_id=PROGRAM, bin_prefix="424242", currency="USD", expiry=Expiry(2029, 11), limits=LIMITS
        )


@pytest.fixture(params=["lithic", "stripe", "marqeta"])
def pair(request: pytest.FixtureRequest) -> Pair:
    def credentials() -> Credentials:
        return Credentials(tuple(Secret(key) for key in made.keys), SETTINGS[request.param])

    vendor: Vendor = {"lithic": FakeLithic, "stripe": FakeStripe, "marqeta": FakeMarqeta}[request.param]()
    wire = httpx.MockTransport(vendor)
    processor: Processor
    match request.param:
        case "lithic":
            processor = LithicProcessor("https://api.lithic.test/", credentials, transport=wire)
        case "stripe":
            processor = StripeProcessor("https://api.stripe.test/", credentials, transport=wire)
        case _:
            processor = MarqetaProcessor("https://api.marqeta.test/v3/", credentials, transport=wire)
    made = Pair(request.param, vendor, processor)
    return made


def calls(pair: Pair) -> list[Callable[[], object]]:
    """Every call that goes to the vendor."""
    processor = pair.processor
    always: list[Callable[[], object]] = [
        pair.create,
        lambda: processor.set_state("card-1", ProcessorState.PAUSED),
        lambda: processor.find_card(CARD),
        lambda: processor.list_cards(None),
    ]
    # Marqeta has no limits of a card.
    return always if pair.name == "marqeta" else [*always, lambda: processor.set_limits("card-1", LIMITS, "USD")]


def raised(call: Callable[[], object]) -> CardwrightError:
    """What a call raises."""
    with pytest.raises(CardwrightError) as caught:
        call()
    return caught.value


def everything(processor: Processor) -> list[ProcessorCard]:
    """All pages of the list, one after the other."""
    page = processor.list_cards(None)
    cards = [*page.cards]
    while page.next_cursor is not None:
        page = processor.list_cards(page.next_cursor)
        cards += page.cards
    return cards


def test_a_card_is_made_once_whatever_the_number_of_tries(pair: Pair) -> None:
    first, second = pair.create(), pair.create()
    assert first == second
    assert (first.pan.reveal(), first.last_four, first.expiry, first.currency) == (pan(), pan()[-4:], Expiry(2029, 11), "USD")
    assert len(pair.vendor.cards) == 1


def test_a_card_is_found_by_our_id(pair: Pair) -> None:
    assert pair.processor.find_card(CARD) is None
    made = pair.create()
    assert pair.processor.find_card(CARD) == ProcessorCard(made.token, CARD, ProcessorState.ACTIVE)
    assert pair.processor.find_card(PROGRAM) is None


def test_a_card_is_found_among_many(pair: Pair) -> None:
    made = pair.create()
    for number in range(250):
        pair.vendor.add(str(UUID(int=CARD.int + 1 + number)))
    found = pair.processor.find_card(CARD)
    assert found is not None
    assert found.token == made.token


@pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 250])
def test_the_list_holds_every_card_once_the_earliest_first(pair: Pair, number: int) -> None:
    wanted = [UUID(int=CARD.int + place) for place in range(number)]
    for card_id in wanted:
        pair.vendor.add(str(card_id))
    assert [card.card_id for card in everything(pair.processor)] == wanted


def test_a_card_made_while_the_list_is_read_comes_later(pair: Pair) -> None:
    wanted = [UUID(int=CARD.int + place) for place in range(151)]
    for card_id in wanted[:150]:
        pair.vendor.add(str(card_id))
    page = pair.processor.list_cards(None)
    cards = [*page.cards]
    pair.vendor.add(str(wanted[150]))
    while page.next_cursor is not None:
        page = pair.processor.list_cards(page.next_cursor)
        cards += page.cards
    assert [card.card_id for card in cards] == wanted


def test_a_strangers_card_is_listed_without_an_id_of_ours(pair: Pair) -> None:
    pair.vendor.add("bought elsewhere")
    assert [card.card_id for card in everything(pair.processor)] == [None]


def test_every_switch_can_be_thrown_twice(pair: Pair) -> None:
    token = pair.create().token
    states = (ProcessorState.PAUSED, ProcessorState.ACTIVE, ProcessorState.PAUSED, ProcessorState.CLOSED)
    for state in states:
        for _ in range(2):
            pair.processor.set_state(token, state)
        found = pair.processor.find_card(CARD)
        assert found is not None
        assert found.state is state


def test_a_closed_card_is_not_opened_again(pair: Pair) -> None:
    token = pair.create().token
    pair.processor.set_state(token, ProcessorState.CLOSED)
    refusal = raised(lambda: pair.processor.set_state(token, ProcessorState.ACTIVE))
    assert isinstance(refusal, ProviderRefusedError)
    assert refusal.code == "processor_refused"


def test_an_unknown_card_is_a_refusal(pair: Pair) -> None:
    assert isinstance(raised(lambda: pair.processor.set_state("no-such-card", ProcessorState.PAUSED)), ProviderRefusedError)


def test_a_token_does_not_reach_another_path(pair: Pair) -> None:
    assert isinstance(raised(lambda: pair.processor.set_state("../accounts?x=1", ProcessorState.PAUSED)), ProviderRefusedError)
    assert not [request for request in pair.vendor.asked if "/accounts" in request.url.raw_path.decode()]


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 302])
def test_a_busy_vendor_is_transient(pair: Pair, status: int) -> None:
    pair.vendor.fault = lambda request: httpx.Response(status, json={"error": {"message": "later"}})
    for call in calls(pair):
        if pair.name == "marqeta" and status == 409 and call == pair.create:
            # There the card exists already, and is asked for.
            continue
        assert (type(failure := raised(call)), failure.code) == (UnavailableError, "processor_unavailable")


@pytest.mark.parametrize("status", [400, 402, 403, 405, 422])
def test_a_refusal_is_final_and_no_fault_of_the_key(pair: Pair, status: int) -> None:
    pair.keys = ("key-1", "key-2")
    pair.vendor.fault = lambda request: httpx.Response(status, json={"error": {"message": "no"}})
    for call in calls(pair):
        assert (type(failure := raised(call)), failure.code) == (ProviderRefusedError, "processor_refused")
    assert {pair.vendor.key_of(request) for request in pair.vendor.asked} == {"key-1"}


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.ConnectTimeout, httpx.RemoteProtocolError])
def test_no_answer_is_transient_and_is_not_tried_again_here(pair: Pair, error: type[httpx.TransportError]) -> None:
    def fault(request: httpx.Request) -> httpx.Response:
        raise error("gone", request=request)

    pair.vendor.fault = fault
    for call in calls(pair):
        pair.vendor.asked.clear()
        assert isinstance(raised(call), UnavailableError)
        assert len(pair.vendor.asked) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"<html>busy</html>", b"[]", b"3", b"null", b"{}", b'{"token": 3}', b"\xff\xfe", b'{"data": [{}]}']
)
def test_what_cannot_be_read_leaves_the_outcome_open(pair: Pair, body: bytes) -> None:
    pair.vendor.fault = lambda request: httpx.Response(200, content=body, headers={"content-type": "application/json"})
    for call in calls(pair):
        assert isinstance(raised(call), UnavailableError)


def test_an_error_inside_an_answer_of_200_is_a_refusal(pair: Pair) -> None:
    pair.vendor.fault = lambda request: httpx.Response(200, json={"error": {"code": "card_program_closed"}})
    for call in calls(pair):
        assert isinstance(raised(call), ProviderRefusedError)


def test_a_card_without_its_number_leaves_the_outcome_open(pair: Pair) -> None:
    pair.vendor.bend = {"pan": None, "number": None}
    assert isinstance(raised(pair.create), UnavailableError)


def test_what_is_raised_holds_neither_answer_nor_key(pair: Pair) -> None:
    broken = f'{{"pan": "{pan()}", "number": "{pan()}", '.encode()
    for status in (200, 400, 500):
        pair.vendor.fault = lambda request, status=status: httpx.Response(status, content=broken)
        for call in calls(pair):
            failure: BaseException | None = raised(call)
            while failure is not None:
                assert pan() not in repr(failure)
                assert "key-1" not in repr(failure)
                # A suppressed cause still hangs on the error, so that none of the SDKs' may.
                failure = failure.__context__


def test_nothing_secret_is_logged(pair: Pair, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG):
        pair.create()
        pair.vendor.fault = lambda request: httpx.Response(500, json={"number": pan(), "pan": pan()})
        raised(pair.create)
    out, err = capfd.readouterr()
    for secret in (pan(), "key-1"):
        assert secret not in caplog.text + out + err


def test_keys_that_are_all_refused_are_our_fault_and_transient(pair: Pair) -> None:
    pair.keys = ("key-3", "key-2")
    for call in calls(pair):
        pair.vendor.asked.clear()
        assert isinstance(raised(call), UnavailableError)
        assert [pair.vendor.key_of(request) for request in pair.vendor.asked] == ["key-3", "key-2"]


def rotate(pair: Pair) -> Iterator[None]:
    """Two rotations, step by step: the new key beside the old at one side, then at the other; the old one goes."""
    pair.keys = ("key-2", "key-1")
    yield
    pair.vendor.keys = {"key-1", "key-2"}
    yield
    pair.vendor.keys = {"key-2"}
    yield
    pair.keys = ("key-2",)
    yield
    pair.vendor.keys = {"key-2", "key-3"}
    yield
    pair.keys = ("key-3", "key-2")
    yield
    pair.vendor.keys = {"key-3"}
    yield
    pair.keys = ("key-3",)
    yield


def test_no_call_fails_at_any_step_of_a_rotation(pair: Pair) -> None:
    token = pair.create().token
    for number, _ in enumerate(rotate(pair)):
        assert pair.create(UUID(int=CARD.int + 1 + number)).currency == "USD"
        pair.processor.set_state(token, ProcessorState.PAUSED if number % 2 == 0 else ProcessorState.ACTIVE)
        pair.processor.set_limits(token, LIMITS, "USD")
        assert pair.processor.find_card(CARD) is not None
    assert len(everything(pair.processor)) == 9


def test_keys_rotate_under_load(pair: Pair) -> None:
    pair.create()
    ended = threading.Event()
    calls_made = [0] * 4

    def work(place: int) -> None:
        while not ended.is_set():
            assert pair.processor.find_card(CARD) is not None
            calls_made[place] += 1

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, place) for place in range(4)]
        for _ in rotate(pair):
            before = list(calls_made)
            # Each has ended the call that began before this step, and one more.
            while not all(now > then + 1 for now, then in zip(calls_made, before, strict=True)):
                if any(one.done() for one in working):
                    break
                ended.wait(0.001)
        ended.set()
    for one in working:
        one.result()
    assert {pair.vendor.key_of(request) for request in pair.vendor.asked} == {"key-1", "key-2", "key-3"}


def test_a_view_is_refused_where_the_vendor_has_none(pair: Pair) -> None:
    def ask() -> str:
        return pair.processor.reveal_url("card-1", expires_at=datetime(2027, 1, 1, tzinfo=UTC), origins=[])

    if pair.name == "lithic":
        assert ask().startswith("https://api.lithic.test/v1/embed/card?embed_request=")
    else:
        assert raised(ask).code == "reveal_unsupported"
    assert pair.vendor.asked == []


def test_the_adapter_tells_its_name(pair: Pair) -> None:
    assert pair.processor.name == pair.name


def test_settings_of_another_shape_are_damage(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for default in ("text", {"unknown_setting": "x"}):
        monkeypatch.setitem(SETTINGS, pair.name, {"default": default, "user_token": "user-1"})
        assert isinstance(raised(pair.create), BrokenInvariantError)
    assert pair.vendor.asked == []
