"""The outside parties: their APIs, signed callbacks, faults that really act, and storage that survives a kill."""

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from local.clock import ClockFile
from local.simulators.processor.pan import luhn_digit
from tests.local.programs import Running, program

KEY = "key-of-the-test"
SECRET = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHM="
CARD = {"reference": "card-1", "program": "standard", "bin": "453201", "currency": "USD"}
PERSON = {
    "reference": "user-1",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "date_of_birth": "1990-12-10",
    "country": "GB",
    "document": {"type": "passport", "number": "X0000001"},
}


@dataclass
class Issuer:
    """Stands where Cardwright would: keeps what it is sent and answers as the test wants."""

    server: http.server.ThreadingHTTPServer
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], tuple[int, bytes]] = lambda _body: (200, b"{}")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def wait_for(self, count: int, seconds: float = 5.0) -> list[dict[str, Any]]:
        """The bodies, once so many have come."""
        deadline = time.monotonic() + seconds
        while len(self.requests) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(self.requests) >= count
        return [json.loads(body) for _, body in self.requests]


@contextlib.contextmanager
def listening() -> Iterator[Issuer]:
    """An issuer that answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            issuer.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status, content = issuer.answer(json.loads(body))
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer = Issuer(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class World:
    """The three simulators with one clock and one set of faults."""

    folder: Path
    issuer: Issuer
    processor: Running
    kyc: Running
    messages: Running
    http: httpx.Client

    def call(self, party: Running, method: str, path: str, **more: Any) -> httpx.Response:
        """A call to a party's API with the key."""
        headers = {"Authorization": f"Bearer {KEY}", **more.pop("headers", {})}
        return self.http.request(method, party.url + path, headers=headers, **more)

    def make_card(self, key: str, **changes: Any) -> httpx.Response:
        """POST /v1/cards."""
        return self.call(self.processor, "POST", "/v1/cards", json={**CARD, **changes}, headers={"Idempotency-Key": key})

    def authorize(self, **fields: Any) -> dict[str, Any]:
        """POST /simulate/authorize."""
        body = {"card_token": "card_x", "amount": "42.10", "currency": "USD", **fields}
        answer = self.http.post(f"{self.processor.url}/simulate/authorize", json=body)
        assert answer.status_code == 200
        return dict(answer.json())

    def faults(self, **parties: dict[str, Any]) -> None:
        """POST /faults."""
        assert self.http.post(f"{self.processor.url}/faults", json=parties).status_code == 200

    def verify(self, **changes: Any) -> str:
        """POST /v1/verifications; the id."""
        body = {**PERSON, "callback_url": self.issuer.url, **changes}
        answer = self.call(self.kyc, "POST", "/v1/verifications", json=body)
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        return str(answer.json()["id"])

    def send(self, **message: Any) -> httpx.Response:
        """POST /v1/messages."""
        return self.call(self.messages, "POST", "/v1/messages", json=message)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    common = ["--api-key", KEY]
    with contextlib.ExitStack() as stack:
        issuer = stack.enter_context(listening())
        signed = ["--secret", SECRET]
        more = {
            "processor": [*signed, "--authorization-url", issuer.url],
            "kyc": signed,
            "messages": [],
        }
        processor, kyc, messages = (
            stack.enter_context(program(f"local.simulators.{party}", "--data", str(folder / party), *common, *more[party]))
            for party in ("processor", "kyc", "messages")
        )
        client = stack.enter_context(httpx.Client(trust_env=False, timeout=10))
        yield World(folder, issuer, processor, kyc, messages, client)


@pytest.fixture
def world(running: World) -> Iterator[World]:
    running.http.delete(f"{running.processor.url}/faults")
    running.http.delete(f"{running.messages.url}/messages")
    running.issuer.requests.clear()
    running.issuer.answer = lambda _body: (200, b'{"decision": "APPROVE", "final": true, "reason": "approved"}')
    yield running
    running.http.delete(f"{running.processor.url}/faults")


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def assert_signed(world: World, headers: dict[str, str], body: bytes) -> None:
    """The signature is good, and stamped by the stack's clock, which other tests may have moved."""
    stamp = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    with ClockFile(world.folder / "clock") as clock:
        assert abs(clock.now() - stamp) < timedelta(minutes=1)
    assert headers["webhook-signature"] == Webhook(SECRET).sign(headers["webhook-id"], stamp, body.decode())


# Cards


def test_a_card_gets_a_luhn_valid_number_under_its_bin_and_shows_it_once(world: World, key: str) -> None:
    answer = world.make_card(key, reference=key, expires_on="2031-05")
    card = answer.json()
    assert answer.status_code == 201
    assert len(card["pan"]) == 16
    assert card["pan"].startswith("453201")
    assert luhn_digit(card["pan"][:-1]) == card["pan"][-1]
    assert (card["exp_month"], card["exp_year"], card["state"]) == (5, 2031, "ACTIVE")
    assert card["last_four"] == card["pan"][-4:]
    shown = world.call(world.processor, "GET", f"/v1/cards/{card['token']}").json()
    assert shown == {name: value for name, value in card.items() if name != "pan"}
    assert not [name for name in card if "cv" in name.lower()]


def test_the_check_digit_is_luhns() -> None:
    assert luhn_digit("7992739871") == "3"
    assert luhn_digit("453201511283036") == "6"


def test_an_idempotency_key_gives_the_same_card_and_refuses_another_body(world: World, key: str) -> None:
    first = world.make_card(key, reference=key)
    again = world.make_card(key, reference=key)
    other = world.make_card(key, reference=key, currency="EUR")
    assert first.json() == again.json()
    assert other.status_code == 409
    found = world.call(world.processor, "GET", "/v1/cards", params={"reference": key}).json()
    assert [card["token"] for card in found["data"]] == [first.json()["token"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"bin": "12345"},
        {"currency": "usd"},
        {"expires_on": "2031-13"},
        {"expires_on": "2020-01"},
        {"colour": "red"},
        {"reference": ""},
    ],
)
def test_a_bad_card_request_is_refused(world: World, key: str, changes: dict[str, Any]) -> None:
    assert world.make_card(key, **changes).status_code == 422


def test_the_api_wants_its_key_and_an_idempotency_key(world: World) -> None:
    assert world.call(world.processor, "POST", "/v1/cards", json=CARD).status_code == 422
    for wrong in ("Bearer other", "", KEY):
        answer = world.http.get(f"{world.processor.url}/v1/cards", headers={"Authorization": wrong})
        assert answer.status_code == 401
    assert world.http.post(f"{world.kyc.url}/v1/verifications", json=PERSON).status_code == 401
    assert world.http.post(f"{world.messages.url}/v1/messages", json={}).status_code == 401


def test_a_refusal_does_not_repeat_what_was_sent(world: World) -> None:
    answer = world.call(world.kyc, "POST", "/v1/verifications", json={**PERSON, "country": "Britain"})
    assert answer.status_code == 422
    assert "Britain" not in answer.text
    assert "X0000001" not in answer.text


def test_states_can_be_set_and_closed_is_final(world: World, key: str) -> None:
    path = f"/v1/cards/{world.make_card(key).json()['token']}"
    for state in ("PAUSED", "PAUSED", "ACTIVE", "CLOSED", "CLOSED"):
        answer = world.call(world.processor, "PATCH", path, json={"state": state})
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    assert world.call(world.processor, "PATCH", path, json={"state": "ACTIVE"}).status_code == 409
    assert world.call(world.processor, "PATCH", path, json={"state": "LOST"}).status_code == 422
    assert world.call(world.processor, "PATCH", "/v1/cards/nothing", json={"state": "ACTIVE"}).status_code == 404


def test_cards_are_listed_in_pages(world: World, key: str) -> None:
    tokens = [world.make_card(f"{key}-{number}", reference=key).json()["token"] for number in range(3)]
    query = {"reference": key, "limit": 2}
    page = world.call(world.processor, "GET", "/v1/cards", params=query).json()
    rest = world.call(world.processor, "GET", "/v1/cards", params={**query, "cursor": page["next_cursor"]}).json()
    assert [card["token"] for card in page["data"] + rest["data"]] == tokens
    assert (page["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)


# Network


def test_an_authorization_is_signed_complete_and_answered_with_the_decision(world: World) -> None:
    told = world.authorize(merchant={"category_code": "7995"}, channel="atm")
    ((headers, body),) = world.issuer.requests
    assert_signed(world, headers, body)
    request = json.loads(body)
    assert request["card_token"] == "card_x"
    assert request == told["request"]
    assert request["merchant"]["category_code"] == "7995"
    assert request["merchant"]["country"] == "US"
    assert (request["amount"], request["merchant_amount"], request["channel"]) == ("42.10", "42.10", "atm")
    assert (told["decision"], told["reason"], told["http_status"]) == ("APPROVE", "approved", 200)
    assert told["latency_ms"] > 0


def test_an_amount_given_as_a_number_keeps_its_text(world: World) -> None:
    body = b'{"card_token": "card_x", "amount": 0.10, "currency": "EUR"}'
    told = world.http.post(f"{world.processor.url}/simulate/authorize", content=body).json()
    assert told["request"]["amount"] == "0.10"
    assert told["request"]["merchant"]["country"] == "FR"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"amount": "1"}', b'{"card_token":"a","amount":"1","currency":"USD","x":1}'])
def test_a_bad_request_to_the_network_is_refused_and_not_sent(world: World, body: bytes) -> None:
    assert world.http.post(f"{world.processor.url}/simulate/authorize", content=body).status_code == 422
    assert world.issuer.requests == []


@pytest.mark.parametrize("answer", [(500, b"oops"), (401, b'{"code": "signature_invalid"}'), (200, b"<html>"), (200, b"{}")])
def test_the_network_stands_in_for_an_issuer_without_a_decision(world: World, answer: tuple[int, bytes]) -> None:
    world.issuer.answer = lambda _body: answer
    told = world.authorize()
    assert (told["decision"], told["reason"], told["final"]) == ("DECLINE", "issuer_unavailable", False)
    assert told["stood_in"] is True
    assert told["http_status"] == answer[0]


def test_the_network_waits_two_seconds_for_an_issuer(world: World) -> None:
    done = threading.Event()

    def slow(_body: dict[str, Any]) -> tuple[int, bytes]:
        done.wait(4)
        return 200, b"{}"

    world.issuer.answer = slow
    began = time.monotonic()
    told = world.authorize()
    done.set()
    assert 1.8 < time.monotonic() - began < 3.5
    assert (told["reason"], told["stood_in"]) == ("issuer_unavailable", True)


def test_authorizations_are_remembered_per_card(world: World, key: str) -> None:
    for number in range(3):
        world.authorize(card_token=key, authorization_id=f"auth_{number}")
    found = world.http.get(f"{world.processor.url}/simulate/authorizations", params={"card_token": key}).json()["data"]
    assert [entry["authorization_id"] for entry in found] == ["auth_2", "auth_1", "auth_0"]
    assert {entry["decision"] for entry in found} == {"APPROVE"}


def test_a_duplicated_authorization_is_sent_twice_under_one_id(world: World) -> None:
    world.faults(processor={"duplicate_rate": 1})
    told = world.authorize()
    assert told["repeated"]["decision"] == "APPROVE"
    (first, body), (second, again) = world.issuer.requests
    assert body == again
    assert first["webhook-id"] == second["webhook-id"]


# Clock


def test_the_clock_moves_for_all_and_signatures_follow_it(world: World) -> None:
    before = world.http.get(f"{world.processor.url}/clock").json()["now"]
    answer = world.http.post(f"{world.processor.url}/clock", json={"advance": "PT6H"})
    moved = datetime.fromisoformat(answer.json()["now"]) - datetime.fromisoformat(before)
    assert timedelta(hours=6) <= moved < timedelta(hours=6, minutes=1)
    assert answer.json()["now"].endswith("Z")
    with ClockFile(world.folder / "clock") as clock:
        ahead = clock.now() - datetime.now(UTC)
        world.authorize()
        stamp = int(world.issuer.requests[-1][0]["webhook-timestamp"])
        assert abs(clock.now().timestamp() - stamp) < 60
    assert ahead >= timedelta(hours=6) - timedelta(seconds=1)
    world.send(channel="sms", to="+15550100", body="later")
    (message,) = world.http.get(f"{world.messages.url}/messages").json()
    assert datetime.fromisoformat(message["sent_at"]) > datetime.now(UTC) + timedelta(hours=5)


@pytest.mark.parametrize("body", [{"advance": "1 hour"}, {"advance": "P1M"}, {"advance": 6}, {}, {"advance": "P99999D"}])
def test_a_bad_advance_is_refused(world: World, body: dict[str, Any]) -> None:
    before = world.http.get(f"{world.processor.url}/clock").json()["ahead_seconds"]
    assert world.http.post(f"{world.processor.url}/clock", json=body).status_code == 422
    assert world.http.get(f"{world.processor.url}/clock").json()["ahead_seconds"] == before


# Faults


@pytest.mark.parametrize(
    "faults",
    [
        {"bank": {"fail_next": 1}},
        {"kyc": {"explode": True}},
        {"kyc": {"wrong_currency": True}},
        {"processor": {"error_rate": 1.5}},
        {"processor": {"fail_next": -1}},
        {"messages": 7},
    ],
)
def test_unknown_parties_fields_and_values_are_refused_and_change_nothing(world: World, faults: dict[str, Any]) -> None:
    address = f"{world.processor.url}/faults"
    before = world.http.get(address).json()
    assert world.http.post(address, json=faults).status_code == 422
    assert world.http.put(address, json=faults).status_code == 422
    assert world.http.get(address).json() == before


def test_faults_are_merged_replaced_and_cleared(world: World) -> None:
    address = f"{world.processor.url}/faults"
    world.faults(processor={"latency_ms": 5})
    world.faults(processor={"error_status": 502}, kyc={"latency_ms": 1})
    found = world.http.get(address).json()
    assert (found["processor"]["latency_ms"], found["processor"]["error_status"]) == (5, 502)
    replaced = world.http.put(address, json={"messages": {"latency_ms": 2}}).json()
    assert [replaced[party]["latency_ms"] for party in ("processor", "kyc", "messages")] == [0, 0, 2]
    assert world.http.delete(address).json()["messages"]["latency_ms"] == 0


def test_the_next_calls_fail_and_then_no_more(world: World, key: str) -> None:
    world.faults(processor={"fail_next": 2, "error_status": 502})
    assert [world.make_card(key).status_code for _ in range(3)] == [502, 502, 201]
    world.faults(messages={"fail_next": 1})
    statuses = [world.send(channel="sms", to="a", body="b").status_code for _ in range(2)]
    assert statuses == [503, 202]
    assert len(world.http.get(f"{world.messages.url}/messages").json()) == 1


def test_errors_and_latency_act_on_the_api_only(world: World) -> None:
    world.faults(processor={"error_rate": 1.0, "latency_ms": 300})
    began = time.monotonic()
    assert world.call(world.processor, "GET", "/v1/cards").status_code == 503
    assert time.monotonic() - began >= 0.3
    assert world.authorize()["decision"] == "APPROVE"


def test_a_timeout_never_answers_and_does_nothing(world: World, key: str) -> None:
    world.faults(processor={"timeout_rate": 1.0})
    with pytest.raises(httpx.ReadTimeout):
        world.call(world.processor, "POST", "/v1/cards", json=CARD, headers={"Idempotency-Key": key}, timeout=httpx.Timeout(0.5))
    world.faults(processor={"timeout_rate": 0.0})
    found = world.call(world.processor, "GET", "/v1/cards", params={"reference": key}).json()
    assert found["data"] == []


def test_a_card_may_be_made_without_an_answer_and_is_found_again(world: World, key: str) -> None:
    world.faults(processor={"create_then_timeout": True})
    body = {**CARD, "reference": key}
    with pytest.raises(httpx.ReadTimeout):
        world.call(world.processor, "POST", "/v1/cards", json=body, headers={"Idempotency-Key": key}, timeout=httpx.Timeout(0.5))
    (found,) = world.call(world.processor, "GET", "/v1/cards", params={"reference": key}).json()["data"]
    world.faults(processor={"create_then_timeout": False})
    assert world.make_card(key, reference=key).json()["token"] == found["token"]


def test_garbage_is_no_json(world: World, key: str) -> None:
    world.faults(processor={"garbage": True})
    answer = world.make_card(key)
    assert answer.status_code == 201
    with pytest.raises(ValueError, match="Unterminated"):
        answer.json()


def test_a_card_may_come_in_another_currency(world: World, key: str) -> None:
    world.faults(processor={"wrong_currency": True})
    assert world.make_card(key).json()["currency"] == "EUR"
    assert world.make_card(f"{key}-2", currency="EUR").json()["currency"] == "USD"


def test_authorizations_held_back_are_overtaken(world: World) -> None:
    world.faults(processor={"reorder_rate": 1.0})
    first = threading.Thread(target=world.authorize, kwargs={"authorization_id": "auth_first"})
    first.start()
    time.sleep(0.15)
    world.faults(processor={"reorder_rate": 0.0})
    world.authorize(authorization_id="auth_second")
    first.join(5)
    assert [body["authorization_id"] for body in world.issuer.wait_for(2)] == ["auth_second", "auth_first"]


# KYC


@pytest.mark.parametrize(("last_name", "outcome"), [("Lovelace", "approved"), ("Reject", "declined"), ("Review", "review")])
def test_a_verification_is_decided_by_name_and_called_back_signed(world: World, last_name: str, outcome: str) -> None:
    verification = world.verify(last_name=last_name)
    path = f"/v1/verifications/{verification}"
    assert world.call(world.kyc, "GET", path).json()["status"] == "pending"
    (event,) = world.issuer.wait_for(1)
    headers, body = world.issuer.requests[0]
    assert_signed(world, headers, body)
    assert (event["type"], event["id"], event["reference"]) == ("verification.completed", verification, "user-1")
    assert (event["status"], event["event_id"]) == (outcome, headers["webhook-id"])
    assert world.call(world.kyc, "GET", path).json()["status"] == outcome


def test_a_callback_not_taken_is_tried_again_with_the_same_event(world: World) -> None:
    answers = iter([(500, b""), (503, b""), (200, b"")])
    world.issuer.answer = lambda _body: next(answers)
    world.verify()
    events = world.issuer.wait_for(3, seconds=8)
    assert len({event["event_id"] for event in events}) == 1


def test_a_duplicated_callback_comes_twice(world: World) -> None:
    world.faults(kyc={"duplicate_rate": 1.0})
    world.verify()
    first, second = world.issuer.wait_for(2)
    assert first == second


def test_a_verification_pending_at_a_kill_is_called_back_after_the_restart(world: World) -> None:
    verification = world.verify()
    world.kyc.kill_and_restart()
    events = world.issuer.wait_for(1, seconds=8)
    assert events[0]["id"] == verification
    assert world.call(world.kyc, "GET", "/v1/verifications/nothing").status_code == 404


def test_nothing_of_the_person_is_kept_but_the_outcome(world: World) -> None:
    world.verify(first_name="Grimhilde")
    world.issuer.wait_for(1)
    kept = b"".join(path.read_bytes() for path in (world.folder / "kyc").iterdir())
    assert b"Grimhilde" not in kept
    assert b"X0000001" not in kept


# Messages


def test_messages_are_listed_oldest_first_per_recipient(world: World) -> None:
    for number in range(3):
        world.send(channel="email", to="ada@example.com", subject="Code", body=f"{number}", data={"code": f"00{number}"})
    world.send(channel="push", to="device-1", body="hello")
    address = f"{world.messages.url}/messages"
    found = world.http.get(address, params={"to": "ada@example.com"}).json()
    assert [message["data"]["code"] for message in found] == ["000", "001", "002"]
    assert {"channel", "to", "subject", "body", "sent_at", "data"} <= found[0].keys()
    latest = world.http.get(address, params={"to": "ada@example.com", "limit": 1}).json()
    assert [message["body"] for message in latest] == ["2"]
    assert len(world.http.get(address).json()) == 4


def test_the_mailbox_page_escapes_what_it_shows(world: World) -> None:
    world.send(channel="email", to="<i>@x", subject="<script>alert(1)</script>", body="<b>&")
    page = world.http.get(world.messages.url)
    assert page.headers["content-type"].startswith("text/html")
    assert "<script>" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "&lt;i&gt;@x" in page.text


@pytest.mark.parametrize("message", [{"channel": "fax", "to": "a", "body": "b"}, {"channel": "sms", "body": "b"}])
def test_a_bad_message_is_refused(world: World, message: dict[str, Any]) -> None:
    assert world.send(**message).status_code == 422


def test_a_duplicated_message_arrives_twice(world: World) -> None:
    world.faults(messages={"duplicate_rate": 1.0})
    world.send(channel="sms", to="+15550101", body="twice")
    assert len(world.http.get(f"{world.messages.url}/messages").json()) == 2


# Running


def test_cards_messages_and_faults_survive_a_kill(world: World, key: str) -> None:
    card = world.make_card(key).json()
    world.send(channel="sms", to="+15550102", body="kept")
    world.faults(messages={"latency_ms": 1})
    for party in (world.processor, world.messages):
        party.kill_and_restart()
    assert world.make_card(key).json() == card
    assert [message["body"] for message in world.http.get(f"{world.messages.url}/messages").json()] == ["kept"]
    assert world.http.get(f"{world.processor.url}/faults").json()["messages"]["latency_ms"] == 1


def test_a_simulator_stops_within_two_seconds_even_while_a_call_hangs(world: World) -> None:
    world.faults(messages={"timeout_rate": 1.0})
    call = threading.Thread(target=_try, args=(world,))
    call.start()
    time.sleep(0.3)
    assert world.messages.stop() < 2.5
    call.join(5)
    world.messages.start()
    assert world.http.get(f"{world.messages.url}/healthz").json() == {"status": "ok"}


def _try(world: World) -> None:
    with contextlib.suppress(httpx.HTTPError):
        httpx.post(f"{world.messages.url}/v1/messages", json={}, timeout=5, trust_env=False)
