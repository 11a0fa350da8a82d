"""The network tells what becomes of transactions: signed, at least once, late, twice or out of order when it is told to."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from tests.local.outside_world import KEY, SECRET, Issuer, listening
from tests.local.programs import Running, program

KINDS = {
    "clear": "transaction.cleared",
    "reverse": "transaction.reversed",
    "refund": "transaction.refunded",
    "force-post": "transaction.force_posted",
    "expire": "transaction.expired",
    "advice": "authorization.advice",
}
TAKEN = (202, b'{"received": true, "outcome": "applied"}')
APPROVED = b'{"decision": "APPROVE", "final": true, "reason": "approved", "approved_amount": "40.00"}'


@dataclass
class Wire:
    """The network with one issuer, whose two addresses are one server."""

    issuer: Issuer
    processor: Running
    http: httpx.Client
    card: str
    told: list[dict[str, Any]] = field(default_factory=list)

    def post(self, path: str, **body: Any) -> httpx.Response:
        """POST under /simulate."""
        return self.http.post(f"{self.processor.url}/simulate/{path}", json=body)

    def tell(self, kind: str, **body: Any) -> dict[str, Any]:
        """Play one event of the card."""
        answer = self.post(kind, **{"card_token": self.card, **body})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def authorize(self, amount: str = "42.10") -> str:
        """An approved authorization; its id."""
        self.issuer.answer = lambda _body: (200, APPROVED)
        request = self.post("authorize", card_token=self.card, amount=amount, currency="EUR").json()["request"]
        self.issuer.requests.clear()
        self.issuer.answer = lambda _body: TAKEN
        return str(request["authorization_id"])

    def faults(self, **faults: Any) -> None:
        """Set the processor's faults."""
        assert self.http.post(f"{self.processor.url}/faults", json={"processor": faults}).status_code == 200

    def events(self) -> list[dict[str, Any]]:
        """What the network told of the card, the latest first."""
        return list(self.http.get(f"{self.processor.url}/simulate/events", params={"card_token": self.card}).json()["data"])

    def wait_until(self, true: Callable[[], bool], seconds: float = 15.0) -> None:
        """Wait for what happens in the background."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, self.events()
            time.sleep(0.05)


@contextlib.contextmanager
def network(folder: Path, *more: str) -> Iterator[Running]:
    """The simulator alone."""
    signed = ["--secret", SECRET, "--api-key", KEY, "--authorization-url", "http://127.0.0.1:9/none"]
    with program("local.simulators.processor", "--data", str(folder), *signed, *more) as running:
        yield running


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Issuer, Running, httpx.Client]]:
    folder = tmp_path_factory.mktemp("network") / "processor"
    with listening() as issuer:
        addresses = ["--authorization-url", issuer.url, "--processor-webhook-url", issuer.url]
        with network(folder, *addresses) as running, httpx.Client(trust_env=False, timeout=30) as client:
            yield issuer, running, client


@pytest.fixture
def wire(parties: tuple[Issuer, Running, httpx.Client], key: str) -> Iterator[Wire]:
    issuer, running, client = parties
    issuer.requests.clear()
    issuer.answer = lambda _body: TAKEN
    yield Wire(issuer, running, client, card=key)
    client.delete(f"{running.url}/faults")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_event_is_signed_and_takes_amount_and_currency_from_its_authorization(wire: Wire, kind: str) -> None:
    authorization_id = wire.authorize()
    told = wire.tell(kind, authorization_id=authorization_id)
    ((headers, body),) = wire.issuer.requests
    assert Webhook(SECRET).verify(body, headers) == told["request"] == json.loads(body)
    assert {name: told["request"][name] for name in ("type", "authorization_id", "amount", "currency", "card_token")} == {
        "type": KINDS[kind],
        "authorization_id": authorization_id,
        "amount": "40.00",
        "currency": "EUR",
        "card_token": wire.card,
    }
    assert (told["type"], told["http_status"], told["answer"]["outcome"]) == (KINDS[kind], 202, "applied")
    assert told["event_id"] == told["request"]["event_id"]
    assert "merchant" not in told["request"]


def test_an_event_of_no_authorization_says_where_it_happened_and_wants_an_amount(wire: Wire) -> None:
    assert wire.post("force-post", card_token=wire.card).status_code == 422
    told = wire.tell("force-post", amount="9.00", currency="GBP", merchant={"category_code": "5812"})
    assert (told["request"]["merchant"]["category_code"], told["request"]["merchant"]["country"]) == ("5812", "GB")
    assert "authorization_id" not in told["request"]


def test_what_is_given_is_passed_on_as_it_is(wire: Wire) -> None:
    body = json.dumps(
        {"card_token": wire.card, "authorization_id": "auth_x", "event_id": f"evt_{wire.card}", "final_clearing": True}
    )
    answer = wire.http.post(
        f"{wire.processor.url}/simulate/clear", content=body[:-1] + ', "amount": 1.10, "currency": "eur"}'
    ).json()
    assert answer["request"]["amount"] == "1.10"
    assert (answer["request"]["currency"], answer["request"]["final_clearing"]) == ("eur", True)
    assert answer["event_id"] == f"evt_{wire.card}"


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"card_token":"a","amount":"1","currency":"USD","colour":"red"}'])
def test_a_bad_request_is_refused_and_nothing_is_told(wire: Wire, body: bytes) -> None:
    assert wire.http.post(f"{wire.processor.url}/simulate/clear", content=body).status_code == 422
    assert wire.issuer.requests == []


def test_an_event_that_was_not_taken_is_sent_again_until_it_is(wire: Wire) -> None:
    answers = iter([(503, b"{}"), (429, b"{}")])
    wire.issuer.answer = lambda _body: next(answers, TAKEN)
    told = wire.tell("clear", amount="5.00", currency="EUR", authorization_id="auth_1")
    assert (told["http_status"], told["delivered"]) == (503, False)
    wire.wait_until(lambda: bool(wire.events()[0]["delivered"]))
    assert {json.loads(body)["event_id"] for _, body in wire.issuer.requests} == {told["event_id"]}
    assert wire.events()[0]["attempts"] == len(wire.issuer.requests) == 3


def test_an_event_that_was_refused_is_not_sent_again(wire: Wire) -> None:
    wire.issuer.answer = lambda _body: (400, b'{"code": "event_malformed"}')
    told = wire.tell("clear", amount="5.00", currency="EUR", authorization_id="auth_1")
    assert (told["http_status"], told["answer"]["code"]) == (400, "event_malformed")
    (event,) = wire.events()
    assert (event["delivered"], event["refused"], event["attempts"]) == (False, True, 1)
    time.sleep(1.5)
    assert len(wire.issuer.requests) == 1


def test_a_duplicated_event_is_sent_twice_under_one_id(wire: Wire) -> None:
    wire.faults(duplicate_rate=1)
    told = wire.tell("reverse", authorization_id=wire.authorize())
    (first, body), (second, again) = wire.issuer.requests
    assert body == again
    assert first["webhook-id"] == second["webhook-id"]
    assert told["repeated"]["http_status"] == 202


def test_an_event_told_again_on_purpose_is_sent_as_given_and_remembered_once(wire: Wire) -> None:
    first = wire.tell("clear", amount="5.00", currency="EUR", authorization_id="auth_1")
    other = wire.tell("clear", amount="6.00", currency="EUR", authorization_id="auth_1", event_id=first["event_id"])
    assert [json.loads(body)["amount"] for _, body in wire.issuer.requests] == ["5.00", "6.00"]
    assert other["http_status"] == 202
    assert [event["request"] for event in wire.events()] == [first["request"]]


def test_a_double_reversal_is_two_events(wire: Wire) -> None:
    wire.faults(double_reversal=True)
    told = wire.tell("reverse", authorization_id=wire.authorize())
    first, second = (json.loads(body) for _, body in wire.issuer.requests)
    assert (first.pop("event_id"), second.pop("event_id")) == (told["event_id"], told["reversed_again"]["event_id"])
    assert first == second
    assert told["event_id"] != told["reversed_again"]["event_id"]
    wire.tell("clear", amount="1.00", currency="EUR", authorization_id="auth_1")
    assert len(wire.issuer.requests) == 3


def test_a_late_event_is_told_later(wire: Wire) -> None:
    wire.faults(late_ms=600)
    told = wire.tell("clear", amount="5.00", currency="EUR", authorization_id="auth_1")
    assert (told["delivered"], told["http_status"]) == (False, None)
    assert wire.issuer.requests == []
    wire.wait_until(lambda: bool(wire.events()[0]["delivered"]))
    assert json.loads(wire.issuer.requests[0][1]) == told["request"]


def test_a_late_double_reversal_is_late_double_and_sent_twice_each(wire: Wire) -> None:
    wire.faults(late_ms=300, double_reversal=True, duplicate_rate=1)
    told = wire.tell("reverse", amount="5.00", currency="EUR", authorization_id="auth_1")
    assert wire.issuer.requests == []
    wire.wait_until(lambda: len(wire.issuer.requests) == 4)
    came = sorted(json.loads(body)["event_id"] for _, body in wire.issuer.requests)
    assert came == sorted([told["event_id"], told["reversed_again"]["event_id"]] * 2)


def test_an_event_held_back_is_overtaken(wire: Wire) -> None:
    wire.faults(reorder_rate=1)
    first = wire.tell("clear", amount="5.00", currency="EUR", authorization_id="auth_1")
    wire.faults(reorder_rate=0)
    second = wire.tell("refund", amount="5.00", currency="EUR", authorization_id="auth_1")
    wire.wait_until(lambda: len(wire.issuer.requests) == 2)
    came = [json.loads(body)["event_id"] for _, body in wire.issuer.requests]
    assert came == [second["event_id"], first["event_id"]]


def test_an_event_whose_answer_was_lost_is_sent_again(wire: Wire) -> None:
    wire.faults(answer_lost_rate=1)
    told = wire.tell("clear", amount="5.00", currency="EUR", authorization_id="auth_1")
    assert (told["http_status"], told["delivered"], len(wire.issuer.requests)) == (None, False, 1)
    wire.faults(answer_lost_rate=0)
    wire.wait_until(lambda: bool(wire.events()[0]["delivered"]))
    assert len({body for _, body in wire.issuer.requests}) == 1
    assert len(wire.issuer.requests) >= 2


def test_what_was_not_told_when_the_network_died_is_told_when_it_is_back(tmp_path: Path) -> None:
    with listening() as issuer, httpx.Client(trust_env=False, timeout=30) as client:
        issuer.answer = lambda _body: TAKEN
        with network(tmp_path / "processor", "--processor-webhook-url", issuer.url) as running:
            wire = Wire(issuer, running, client, card="card_x")
            wire.faults(late_ms=1_500)
            told = wire.tell("clear", amount="5.00", currency="EUR", authorization_id="auth_1")
            running.kill_and_restart()
            wire.wait_until(lambda: len(issuer.requests) == 1)
            assert json.loads(issuer.requests[0][1]) == told["request"]


def test_without_an_address_of_the_issuer_nothing_can_be_told(tmp_path: Path) -> None:
    with network(tmp_path / "processor") as running:
        body = {"card_token": "card_x", "amount": "1.00", "currency": "EUR"}
        answer = httpx.post(f"{running.url}/simulate/refund", json=body, trust_env=False)
    assert answer.status_code == 503
