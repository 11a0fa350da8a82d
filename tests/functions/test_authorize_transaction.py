"""The authorization door: signatures over the raw bytes, both event shapes, and every malformed body a problem."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from cardwright.authorizations import service as engine
from cardwright.cards.rules import profile_key
from cardwright.compose import authorization as compose
from cardwright.compose import resources, settings
from cardwright.kernel.rows import Capability
from functions.authorizations.authorize_transaction import handler
from tests.builders import SeededCard, add_card
from tests.fakes.secrets_extension import Extension, serving_secrets
from tests.pans import pan

Event = dict[str, Any]
SECRETS = ["whsec_" + base64.b64encode(os.urandom(24)).decode() for _ in range(2)]


def forget() -> None:
    """Drop what this process composed."""
    for cached in (settings.settings, resources.clock, resources.ids, resources.secrets, compose.root):
        cached.cache_clear()
    resources.forget_connections()
    resources.secrets.cache_clear()


@pytest.fixture
def extension() -> Iterator[Extension]:
    """The secrets the function may read."""
    with serving_secrets({"inbound": {"secrets": SECRETS}}) as served:
        yield served


@contextmanager
def composed(monkeypatch: pytest.MonkeyPatch, database_url: str, cache_url: str, extension: Extension) -> Iterator[None]:
    """The function's variables, and nothing composed before or after."""
    for name, value in {
        "CARDWRIGHT_STAGE": "local",
        "CARDWRIGHT_PUBLIC_URL": "http://localhost",
        "CARDWRIGHT_DATABASE_APP": f"{database_url}?options=-c%20role%3Dapp",
        "CARDWRIGHT_CACHE_URL": cache_url,
        "CARDWRIGHT_PROCESSOR_INBOUND_SECRET": "inbound",
        "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(extension.port),
        "AWS_SESSION_TOKEN": "sandbox",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CARDWRIGHT_CLOCK_FILE", raising=False)
    monkeypatch.setattr(compose, "CACHE_BUDGET_S", 2.0)
    forget()
    yield
    resources.database(Capability.DATABASE_APP, compose.DATABASE_BUDGET_S).close()
    resources.cache_client(2.0).close()
    forget()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, cache_url: str, extension: Extension) -> Iterator[None]:
    """The same around every test."""
    with composed(monkeypatch, database_url, cache_url, extension):
        yield


@pytest.fixture
def card(database_url: str) -> SeededCard:
    """An active card."""
    return add_card(database_url)


def body(token: str, **changes: Any) -> dict[str, Any]:
    """A request as CONTRACT shows it."""
    return {
        "authorization_id": f"auth_{secrets.token_hex(8)}",
        "card_token": token,
        "type": "authorization",
        "amount": "42.10",
        "currency": "USD",
        "merchant_amount": "39.00",
        "merchant_currency": "EUR",
        "partial_approval": False,
        "merchant": {
            "id": "m_1", "name": "Corner Shop", "category_code": "5411", "city": "Lyon", "country": "FR",
            "latitude": 45.76, "longitude": 4.83,
        },
        "channel": "ecommerce",
        "device_id": None,
        "ip": None,
        "occurred_at": "2026-11-21T10:00:00Z",
    } | changes  # fmt: skip


def signed(raw: bytes, *, secret: str = SECRETS[0], at: float | None = None, message_id: str = "msg_1") -> dict[str, str]:
    """The three headers over a body, made as the specification says and not by our own code."""
    stamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{message_id}.{stamp}.".encode() + raw, hashlib.sha256).digest()
    return {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": f"v1,{base64.b64encode(mac).decode()}"}


def url_event(raw: bytes, headers: dict[str, str], method: str = "POST", *, encoded: bool = False) -> Event:
    """A Function URL event, payload 2.0."""
    return {
        "version": "2.0",
        "headers": {"content-type": "application/json", **headers},
        "requestContext": {"http": {"method": method, "path": "/"}, "requestId": "req_1"},
        "body": base64.b64encode(raw).decode() if encoded else raw.decode(),
        "isBase64Encoded": encoded,
    }


def rest_event(raw: bytes, headers: dict[str, str], *, encoded: bool = False) -> Event:
    """A REST proxy event, payload 1.0, with header names as a client may write them."""
    return {
        "resource": "/api/v1/webhooks/authorize-transaction",
        "httpMethod": "POST",
        "headers": {name.title(): value for name, value in headers.items()},
        "requestContext": {"requestId": "req_2", "identity": {"sourceIp": "192.0.2.1"}},
        "body": base64.b64encode(raw).decode() if encoded else raw.decode(),
        "isBase64Encoded": encoded,
    }


def answer_to(event: Event) -> tuple[int, dict[str, Any]]:
    """Run the handler; return status and parsed body, after a look at what every answer has."""
    answer = handler(event, None)
    assert answer["headers"]["X-Request-Id"] == event["requestContext"]["requestId"]
    assert answer["headers"]["Cache-Control"] == "no-store"
    told = json.loads(answer["body"])
    if answer["statusCode"] != 200:
        assert answer["headers"]["Content-Type"] == "application/problem+json"
        assert set(told) == {"type", "title", "status", "detail", "code", "request_id"}
        assert told["status"] == answer["statusCode"]
    return answer["statusCode"], told


def post(document: dict[str, Any] | bytes, **signing: Any) -> tuple[int, dict[str, Any]]:
    """Sign and send one document."""
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return answer_to(url_event(raw, signed(raw, **signing)))


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("shape", [url_event, rest_event])
def test_a_signed_request_is_decided(card: SeededCard, shape: Any, encoded: bool) -> None:
    wanted = body(card.token, merchant={"category_code": "5411", "name": "Café Ω"})
    raw = json.dumps(wanted, ensure_ascii=False).encode()
    status, told = answer_to(shape(raw, signed(raw), encoded=encoded))
    assert status == 200
    assert set(told) == {
        "decision", "final", "reason", "authorization_id", "transaction_id", "risk_score", "approved_amount", "decided_at",
    }  # fmt: skip
    assert (told["decision"], told["final"], told["reason"], told["approved_amount"]) == ("APPROVE", True, "approved", "42.10")
    assert told["authorization_id"] == wanted["authorization_id"]
    assert told["decided_at"].endswith("Z")


def test_a_decline_is_an_answer_of_status_200(card: SeededCard) -> None:
    status, told = post(body(card.token, amount="500.01"))
    assert (status, told["decision"], told["reason"], told["approved_amount"]) == (
        200, "DECLINE", "per_transaction_limit_exceeded", "0.00",
    )  # fmt: skip
    status, told = post(body("tok_of_nobody"))
    assert (status, told["reason"], told["final"]) == (200, "card_not_found", True)


def test_numbers_are_read_from_their_text_and_unknown_fields_pass(card: SeededCard) -> None:
    raw = json.dumps(body(card.token, network_extra={"a": [1]})).replace('"42.10"', "0.1").encode()
    status, told = post(raw)
    assert (status, told["approved_amount"]) == (200, "0.10")


def test_the_same_request_in_another_spelling_is_the_same_request(card: SeededCard) -> None:
    wanted = body(card.token)
    _, first = post(wanted)
    reordered = dict(reversed(wanted.items())) | {"extra": 1}
    assert post(json.dumps(reordered, indent=2).encode()) == (200, first)
    _, reused = post(wanted | {"amount": "42.11"})
    assert reused["reason"] == "authorization_id_reused"


def test_each_of_the_valid_secrets_is_taken_while_they_rotate(card: SeededCard) -> None:
    assert post(body(card.token), secret=SECRETS[1])[0] == 200
    raw = json.dumps(body(card.token)).encode()
    both = signed(raw, secret="whsec_" + base64.b64encode(b"x" * 24).decode())
    both["webhook-signature"] += " " + signed(raw)["webhook-signature"] + " v2,unknown"
    assert answer_to(url_event(raw, both))[0] == 200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"webhook-signature": None}, "signature_missing"),
        ({"webhook-id": None}, "signature_missing"),
        ({"webhook-timestamp": None}, "signature_missing"),
        ({"webhook-timestamp": "soon"}, "signature_invalid"),
        ({"webhook-timestamp": "\uff11\uff17\uff16"}, "signature_invalid"),
        ({"webhook-id": "msg_2"}, "signature_invalid"),
        ({"webhook-signature": "v1,AAAA"}, "signature_invalid"),
        ({"webhook-signature": "v2,AAAA"}, "signature_invalid"),
        ({"webhook-signature": "née"}, "signature_invalid"),
        ({"webhook-timestamp": "1"}, "timestamp_out_of_range"),
    ],
)
def test_a_signature_that_does_not_hold_is_401(card: SeededCard, change: dict[str, str | None], code: str) -> None:
    raw = json.dumps(body(card.token)).encode()
    headers = {name: value for name, value in (signed(raw) | change).items() if value is not None}
    status, told = answer_to(url_event(raw, headers))
    assert (status, told["code"]) == (401, code)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_timestamp_six_minutes_off_is_refused_though_well_signed(card: SeededCard, minutes: int) -> None:
    status, told = post(body(card.token), at=time.time() + minutes * 60)
    assert (status, told["code"]) == (401, "timestamp_out_of_range")
    assert post(body(card.token), at=time.time() + minutes * 45)[0] == 200


def test_a_signature_over_another_body_or_by_another_secret_is_refused(card: SeededCard) -> None:
    raw, other = (json.dumps(body(card.token, amount=amount)).encode() for amount in ("1.00", "2.00"))
    assert answer_to(url_event(raw, signed(other)))[1]["code"] == "signature_invalid"
    stranger = "whsec_" + base64.b64encode(b"stranger" * 3).decode()
    assert post(body(card.token), secret=stranger)[1]["code"] == "signature_invalid"


def test_an_unsigned_body_is_not_even_read() -> None:
    status, told = answer_to(url_event(b"{not json", {}))
    assert (status, told["code"]) == (401, "signature_missing")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "json_invalid"),
        (b"{", "json_invalid"),
        (b"\xef\xbb\xbf{}", "json_invalid"),
        (b'{"amount": NaN}', "json_invalid"),
        (b'{"amount": Infinity}', "json_invalid"),
        (b'{"amount": "1", "amount": "2"}', "json_invalid"),
        (b'{"card_token": "\\u0000"}', "json_invalid"),
        (b'{"card_token": "\\ud800"}', "json_invalid"),
        (b"[" * 100000, "json_invalid"),
        (b'{"n": ' + b"9" * 5000 + b"}", "json_invalid"),
        (b"[]", "request_malformed"),
        (b"null", "request_malformed"),
        (b"{}", "request_malformed"),
    ],
)
def test_a_body_that_is_no_request_is_400(raw: bytes, code: str) -> None:
    status, told = post(raw)
    assert (status, told["code"]) == (400, code)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": "12.345"}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "-1.00"}, "amount"),
        ({"amount": "1e3"}, "amount"),
        ({"amount": "99999999999.00"}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": {"value": 1}}, "amount"),
        ({"currency": "ZZZ"}, "currency"),
        ({"currency": "usd"}, "currency"),
        ({"currency": "KWD"}, "currency"),
        ({"currency": "JPY", "amount": "10.50"}, "body"),
        ({"merchant": {"category_code": "abc"}}, "merchant.category_code"),
        ({"merchant": {"category_code": "٥٤١١"}}, "merchant.category_code"),
        ({"merchant": {"category_code": "5411", "latitude": 91}}, "merchant.latitude"),
        ({"merchant": {"category_code": "5411", "longitude": "east"}}, "a number"),
        ({"merchant": {"category_code": "5411", "country": "F"}}, "merchant.country"),
        ({"merchant": "shop"}, "merchant"),
        ({"channel": "telepathy"}, "channel"),
        ({"type": "incremental"}, "body"),
        ({"type": "refund"}, "type"),
        ({"authorization_id": ""}, "authorization_id"),
        ({"authorization_id": "a b"}, "authorization_id"),
        ({"authorization_id": "x" * 129}, "authorization_id"),
        ({"card_token": "tok{x}"}, "card_token"),
        ({"card_token": 7}, "card_token"),
        ({"merchant_currency": "ZZZ"}, "merchant_currency"),
        ({"merchant_amount": "1.2345"}, "merchant_amount"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": "2026-11-21T10:00:00"}, "occurred_at"),
        ({"partial_approval": "yes"}, "partial_approval"),
        ({"ip": "not-ip"}, "ip"),
    ],
)
def test_a_malformed_field_is_named_and_its_value_is_not(card: SeededCard, change: dict[str, Any], field: str) -> None:
    status, told = post(body(card.token, **change))
    assert (status, told["code"]) == (400, "request_malformed")
    assert field in told["detail"]
    assert "ZZZ" not in told["detail"]


def test_what_may_be_a_card_number_in_free_text_is_not_kept(card: SeededCard, database_url: str) -> None:
    merchant = {"id": "m_1", "name": f"Shop {pan()}", "city": pan(), "category_code": "5411"}
    status, told = post(body(card.token, merchant=merchant, merchant_amount="1.234", merchant_currency="KWD"))
    assert (status, told["decision"]) == (200, "APPROVE")
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT detail FROM card_transactions WHERE transaction_id = %s", (told["transaction_id"],)
        ).fetchone()
    assert row is not None
    assert (row[0]["merchant"]["name"], row[0]["merchant"]["city"]) == ("****", "****")
    assert (row[0]["merchant_amount"], row[0]["merchant_currency"]) == ("1.234", "KWD")


@pytest.mark.parametrize(("content_type", "status"), [("text/plain", 415), ("application/json; charset=utf-8", 200), (None, 200)])
def test_another_media_type_is_415(card: SeededCard, content_type: str | None, status: int) -> None:
    raw = json.dumps(body(card.token)).encode()
    event = url_event(raw, signed(raw))
    event["headers"] = {name: value for name, value in event["headers"].items() if name != "content-type"}
    if content_type is not None:
        event["headers"]["Content-Type"] = content_type
    assert answer_to(event)[0] == status


def test_a_sane_request_id_of_the_callers_is_kept_and_a_strange_one_replaced(card: SeededCard) -> None:
    raw = json.dumps(body(card.token)).encode()
    for sent, kept in (("trace-42", "trace-42"), ("a b", "req_1")):
        answer = handler(url_event(raw, signed(raw) | {"x-request-id": sent}), None)
        assert answer["headers"]["X-Request-Id"] == kept


@pytest.mark.parametrize("literal", [b"1e400", b"-1", b"1.001", b"1E2"])
def test_an_amount_as_a_json_number_is_held_to_the_same_rules(card: SeededCard, literal: bytes) -> None:
    status, told = post(json.dumps(body(card.token)).encode().replace(b'"42.10"', literal))
    assert (status, told["code"]) == (400, "request_malformed")


def test_a_body_over_the_limit_is_413_and_what_is_not_base64_400(card: SeededCard) -> None:
    raw = json.dumps(body(card.token, padding="x" * 300 * 1024)).encode()
    status, told = post(raw)
    assert (status, told["code"]) == (413, "payload_too_large")
    event = url_event(b"{}", signed(b"{}")) | {"body": "!!!", "isBase64Encoded": True}
    assert answer_to(event)[1]["code"] == "body_unreadable"


def test_another_method_finds_nothing() -> None:
    status, told = answer_to(url_event(b"", signed(b""), method="GET"))
    assert (status, told["code"]) == (404, "not_found")


def test_a_wrong_environment_is_500_without_a_word_about_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as without:
        without.delenv("CARDWRIGHT_CACHE_URL")
        status, told = post(b"{}")
    assert (status, told["code"]) == (500, "internal_error")
    assert "CARDWRIGHT" not in json.dumps(told)
    assert "CARDWRIGHT_CACHE_URL" in capsys.readouterr().out


def test_secrets_that_cannot_be_had_are_503(extension: Extension) -> None:
    extension.status = 500
    status, told = post(b"{}")
    assert (status, told["code"]) == (503, "secrets_unavailable")


def test_each_decision_leaves_one_line_of_metrics_without_the_card(card: SeededCard, capsys: pytest.CaptureFixture[str]) -> None:
    post(body(card.token))
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["Decision"], told["Reason"], told["Decisions"], told["request_id"]) == ("APPROVE", "approved", 1, "req_1")
    assert told["AuthorizationLatency"] > 0
    assert card.token not in line


def test_the_remembered_keys_of_a_card_share_its_slot(card: SeededCard) -> None:
    tags = {key[key.index("{") : key.index("}")] for key in (profile_key(card.token), engine.decision_key(card.token, "a"))}
    assert tags == {"{" + card.token}
