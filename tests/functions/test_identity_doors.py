"""The identity and KYC doors: real handlers answering API Gateway events, on the real database."""

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import ModuleType
from typing import Any

import pytest

from cardwright.identity.service import IdentityService
from cardwright.kernel import signatures
from cardwright.kernel.clock import Clock
from cardwright.kernel.rows import Http
from cardwright.kernel.secret import Secret
from cardwright.kyc.rules import Details
from cardwright.kyc.service import KycEvents, KycService
from cardwright.platform.ids import IdSource
from cardwright.providers.kyc_simulated import read_event
from functions.identity.routes import ROWS as IDENTITY
from functions.kyc.routes import ROWS as KYC
from local.lambda_context import LambdaContext
from tests.fix_identity import PASSWORD, PUBLIC_URL, Someone, Tools, as_role, new_email, totp_code

ROWS = {row.name: row for row in (*IDENTITY, *KYC)}
SIGNING = Secret("whsec_" + "c2lnbmluZyBzZWNyZXQgb2YgdGhlIHRlc3Rz")
SUBMISSION = {
    "first_name": "Ada",
    "last_name": "Lovelace",
    "date_of_birth": "1990-12-10",
    "country": "GB",
    "document": {"type": "passport", "number": "X123"},
}


@dataclass(frozen=True)
class DoorSettings:
    """What the doors read of a stage."""

    public_url: str = PUBLIC_URL
    stage: str = "test"
    cors_origins: frozenset[str] = frozenset()


class Provider:
    """A KYC provider that takes everything."""

    def __init__(self) -> None:
        self.references: list[str] = []

    def submit(self, reference: str, details: Details, callback_url: str) -> str:
        """Keep the reference."""
        self.references.append(reference)
        return "ver_1"


class Root:
    """A composition root made of the tools of these tests."""

    def __init__(self, tools: Tools, worker_url: str) -> None:
        self.settings = DoorSettings()
        self.clock: Clock = tools.clock
        self.ids: IdSource = tools.ids
        self.ratelimit = tools.ratelimit
        self.identity = IdentityService(tools)
        self.provider = Provider()
        self.kyc = KycService(tools.database, tools.clock, tools.ids, provider=lambda: self.provider, public_url=PUBLIC_URL)
        self.worker = as_role(worker_url, "worker")
        self.kyc_events = KycEvents(self.worker, tools.clock, tools.ids, secrets=lambda: [SIGNING], read_event=read_event)


@dataclass(frozen=True)
class Answer:
    """What a door answered."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]


Ask = Callable[..., Answer]


@pytest.fixture
def root(tools: Tools, database_url: str) -> Root:
    """The root every door gets."""
    return Root(tools, database_url)


@pytest.fixture
def ask(root: Root, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Send a request to a row's handler."""

    def send(name: str, body: object = None, *, token: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        row = ROWS[name]
        assert isinstance(row, Http)
        module: ModuleType = importlib.import_module(row.module)
        monkeypatch.setattr(module.endpoint, "_root", lambda _: root)
        sent = {"Host": "api.example.com", "X-Request-Id": "req-1", **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        text = body if isinstance(body, str) else None if body is None else json.dumps(body)
        if text is not None:
            sent["Content-Type"] = "application/json"
        event = {
            "resource": row.full_path,
            "path": row.full_path,
            "httpMethod": row.method,
            "headers": sent,
            "multiValueHeaders": {key: [value] for key, value in sent.items()},
            "queryStringParameters": None,
            "multiValueQueryStringParameters": None,
            "pathParameters": None,
            "requestContext": {"identity": {"sourceIp": "192.0.2.7"}, "requestId": "r", "stage": "test", "path": row.full_path},
            "body": text,
            "isBase64Encoded": False,
        }
        answer = module.handler(event, LambdaContext(row, "r"))
        given = {key.lower(): values[0] for key, values in answer.get("multiValueHeaders", {}).items()}
        given.update({key.lower(): value for key, value in answer.get("headers", {}).items()})
        return Answer(answer["statusCode"], json.loads(answer["body"] or "{}"), given)

    return send


def signed(body: str, message_id: str, at: datetime) -> dict[str, str]:
    """Headers of a signed event."""
    seconds = int(at.timestamp())
    signature = signatures.sign([SIGNING], message_id, seconds, body.encode())
    return {"webhook-id": message_id, "webhook-timestamp": str(seconds), "webhook-signature": signature}


def test_from_registration_to_a_second_factor(ask: Ask, tools: Tools) -> None:
    email, password = new_email(), PASSWORD.reveal()
    person = {"email": email, "password": password, "first_name": "Grace", "last_name": "Hopper"}
    registered = ask("register_user", person)
    assert (registered.status, registered.body) == (202, {"status": "VERIFICATION_SENT"})
    assert ask("register_user", person).body == registered.body
    assert ask("login", {"email": email, "password": password}).body["code"] == "email_not_verified"
    confirmation = {"email": email, "code": tools.messages.code(email).reveal()}
    assert ask("verify_email", confirmation).body == {"email_verified": True}
    assert (again := ask("verify_email", confirmation)).body["code"] == "email_code_invalid"
    assert again.status == 422
    tokens = ask("login", {"email": email, "password": password}).body
    assert (tokens["token_type"], tokens["expires_in"], tokens["user"]["email"]) == ("Bearer", 900, email)
    token = tokens["access_token"]
    assert ask("challenge_mfa", {"code": "123456"}, token=token).body["code"] == "mfa_enrolment_required"
    enrolment = ask("enrol_totp", token=token).body
    code = totp_code(tools, Secret(enrolment["secret"])).reveal()
    confirmed = ask("confirm_totp", {"code": code}, token=token)
    assert (confirmed.status, len(confirmed.body["recovery_codes"])) == (200, 10)
    profile = ask("get_profile", token=confirmed.body["access_token"])
    assert (profile.body["mfa_enrolled"], profile.body["kyc_status"]) == (True, "NOT_STARTED")
    assert profile.headers["etag"] == f'"{profile.body["version"]}"'
    owed = ask("login", {"email": email, "password": password}).body
    assert owed["mfa_required"] is True
    let_in = ask("verify_mfa", {"mfa_token": owed["mfa_token"], "code": confirmed.body["recovery_codes"][0]})
    assert let_in.status == 200
    next_code = totp_code(tools, Secret(enrolment["secret"]), 1).reveal()
    stepped = ask("challenge_mfa", {"code": next_code}, token=let_in.body["access_token"])
    assert set(stepped.body) == {"access_token", "token_type", "expires_in"}


def test_tokens_are_refreshed_once_and_end_with_the_session(ask: Ask, someone: Someone) -> None:
    tokens = ask("login", {"email": someone.email, "password": PASSWORD.reveal()}).body
    renewed = ask("refresh_session", {"refresh_token": tokens["refresh_token"]}).body
    assert ask("logout", token=renewed["access_token"]).status == 204
    ended = ask("get_profile", token=renewed["access_token"])
    assert (ended.status, ended.body["code"]) == (401, "session_ended")
    assert ask("refresh_session", {"refresh_token": renewed["refresh_token"]}).body["code"] == "refresh_token_invalid"


def test_keys_and_metadata_are_public_and_may_be_cached(ask: Ask) -> None:
    keys, metadata = ask("get_jwks"), ask("get_openid_configuration")
    assert [set(key) for key in keys.body["keys"]] == [{"kty", "use", "alg", "kid", "n", "e"}] * 2
    assert metadata.body["jwks_uri"] == f"{PUBLIC_URL}/.well-known/jwks.json"
    assert keys.headers["cache-control"] == metadata.headers["cache-control"] == "public, max-age=300"


def test_a_submission_is_decided_by_a_signed_event(ask: Ask, root: Root, someone: Someone) -> None:
    token = ask("login", {"email": someone.email, "password": PASSWORD.reveal()}).body["access_token"]
    submitted = ask("submit_kyc", SUBMISSION, token=token)
    assert (submitted.status, submitted.body["status"]) == (202, "PENDING")
    assert ask("submit_kyc", SUBMISSION, token=token).body["code"] == "kyc_pending"
    event = {
        "event_id": "evt_1",
        "type": "verification.completed",
        "reference": root.provider.references[0],
        "status": "approved",
    }
    body = json.dumps({**event, "unknown": True})
    assert ask("receive_kyc_event", body).body["code"] == "signature_missing"
    headers = signed(body, "evt_1", root.clock.now())
    assert ask("receive_kyc_event", body + " ", headers=headers).body["code"] == "signature_invalid"
    late = signed(body, "evt_1", datetime(2026, 11, 21, 10, 6, tzinfo=UTC))
    assert ask("receive_kyc_event", body, headers=late).body["code"] == "timestamp_out_of_range"
    for _ in range(2):
        assert ask("receive_kyc_event", body, headers=headers).status == 202
    assert ask("get_kyc_status", token=token).body["status"] == "VERIFIED"
    root.worker.close()


@pytest.mark.parametrize(
    ("name", "body", "field", "code"),
    [
        ("register_user", {"email": "a@b.example", "password": "x" * 12, "first_name": "A"}, "last_name", "required"),
        (
            "register_user",
            {"email": "nobody", "password": "x y" * 9, "first_name": "A", "last_name": "B"},
            "email",
            "email_invalid",
        ),
        ("login", {"email": "a@b.example", "password": "x" * 129}, "password", "too_long"),
        ("login", {"email": "a@b.example", "password": 5}, "password", "invalid_type"),
        ("login", {"email": "a@b.example", "password": "x", "admin": True}, "admin", "unknown_field"),
        ("verify_mfa", {"mfa_token": "x", "code": "12345"}, "code", "too_short"),
        ("verify_email", {"email": "a@b.example", "code": "1234567"}, "code", "too_long"),
    ],
)
def test_bad_fields_are_named_and_not_repeated(ask: Ask, name: str, body: dict[str, object], field: str, code: str) -> None:
    answer = ask(name, body)
    assert answer.status == 422
    assert [(error["field"], error["code"]) for error in answer.body["errors"]] == [(field, code)]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"date_of_birth": "10.12.1990"}, "date_of_birth"),
        ({"date_of_birth": 600000000}, "date_of_birth"),
        ({"date_of_birth": str(date(2020, 1, 1))}, "date_of_birth"),
        ({"country": "ZZ"}, "country"),
        ({"country": "gb"}, "country"),
        ({"document": {"type": "passport", "number": "<>"}}, "document.number"),
        ({"document": {"type": "passport"}}, "document.number"),
        ({"last_name": ""}, "last_name"),
    ],
)
def test_bad_details_are_refused(ask: Ask, someone: Someone, changed: dict[str, object], field: str) -> None:
    token = ask("login", {"email": someone.email, "password": PASSWORD.reveal()}).body["access_token"]
    answer = ask("submit_kyc", {**SUBMISSION, **changed}, token=token)
    assert (answer.status, [error["field"] for error in answer.body["errors"]]) == (422, [field])
