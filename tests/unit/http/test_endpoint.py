"""What every endpoint does alike, tried on one that exists only here."""

import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Annotated, Any, cast
from uuid import UUID

import pytest
from fastapi import Depends

from cardwright.compose.settings import Settings
from cardwright.http.call import Call, Reply
from cardwright.http.endpoint import Endpoint, current_call
from cardwright.http.fields import Amount, Currency, Mcc, StrictModel
from cardwright.idempotency.service import Fresh, Replay
from cardwright.identity.rules import Principal
from cardwright.kernel import errors
from cardwright.kernel.clock import FixedClock
from cardwright.kernel.errors import FieldError, UnauthenticatedError
from cardwright.kernel.rows import Audience, Http, Idempotency, RateClass, Role
from cardwright.platform.ids import IdSource
from cardwright.ratelimit.rules import PER_USER, Standing
from tests.builders import NOW, new_id
from tests.pans import pan

AnyCall = Annotated[Call[Any], Depends(current_call)]
ITEM = UUID("0190163d-8694-739b-aea5-966c26f8ad91")
ORIGIN = "https://console.example.com"


class Thing(StrictModel):
    """A body with the fields that go wrong."""

    amount: Amount
    currency: Currency = "USD"
    mcc: Mcc | None = None
    note: str | None = None


class World:
    """A composition root whose guard does what a test says, and an endpoint over it."""

    def __init__(self, **row: Any) -> None:
        self.clock = FixedClock(NOW)
        self.ids = IdSource(self.clock)
        self.settings = Settings(
            stage="local", public_url="http://api.test", cors_origins=frozenset({ORIGIN}), rate_limits=True, clock_file=None
        )
        self.identity = self
        self.ratelimit = SimpleNamespace(spend=lambda **_: Standing(PER_USER, True, 99, 60))
        self.kept: dict[str, Any] = {}
        self.idempotency = self
        self.failure: Exception | None = None
        self.operations: list[UUID] = []
        self.principal = Principal(
            user_id=new_id(),
            role=Role.CARDHOLDER,
            session_id=new_id(),
            organization_id=None,
            auth_time=NOW,
            mfa_at=NOW,
            mfa_enrolled=True,
        )
        settings = {"method": "POST", "path": "/things/{thing_id}", "summary": "Change a thing."} | row
        self.endpoint: Endpoint[Any] = Endpoint(
            Http(name="change_thing", domain="things", **settings), lambda needs: cast(Any, self)
        )
        body = settings["method"] != "GET"
        self.endpoint.operation(response=Thing, status=201)(self._with_body() if body else self._without_body())

    def _with_body(self) -> Any:
        def change(thing_id: UUID, body: Thing, call: AnyCall) -> Reply:
            return self.answer(body, call)

        return change

    def _without_body(self) -> Any:
        def look(thing_id: UUID, call: AnyCall, limit: int = 5) -> Reply:
            return self.answer(Thing(amount=cast(Any, "1.00")), call)

        return look

    def answer(self, body: Thing, call: Call[Any]) -> Reply:
        """What the use case does."""
        self.operations.append(call.operation_id)
        if self.failure is not None:
            raise self.failure
        return Reply(body, etag=3, headers={"Location": "/things/1"}, once=frozenset({"note"}))

    def authenticate(self, token: str) -> Principal:
        """Take the one good token."""
        if token != "good":
            raise UnauthenticatedError("No.", code="invalid_token")
        return self.principal

    def begin(self, actor: object, key: str, method: str, path: str, body: bytes) -> Fresh | Replay:
        """Claim a key."""
        held = self.kept.setdefault(key, Fresh(new_id()))
        assert isinstance(held, Fresh | Replay)
        return held

    def complete(self, actor: object, key: str, status: int, body: bytes) -> None:
        """Keep an answer."""
        self.kept[key] = Replay(status, body)

    def release(self, actor: object, key: str) -> None:
        """Free a key."""
        self.kept[key + ":released"] = self.kept.pop(key)

    def suspend(self, actor: object, key: str) -> None:
        """End a lease."""
        self.kept[key + ":suspended"] = True

    def ask(
        self, body: Any = None, *, path: str = f"/api/v1/things/{ITEM}", method: str | None = None, **headers: str
    ) -> SimpleNamespace:
        """Send one request; header names with underscores for dashes, given names win."""
        row = self.endpoint.row
        sent = {"content-type": "application/json", "authorization": "Bearer good"} if method != "OPTIONS" else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value != ""}
        event = {
            "resource": row.full_path, "path": path, "httpMethod": method or row.method, "headers": sent,
            "multiValueHeaders": {name: [value] for name, value in sent.items()}, "queryStringParameters": None,
            "multiValueQueryStringParameters": None, "requestContext": {"identity": {"sourceIp": "192.0.2.1"}, "path": path},
            "body": body if body is None or isinstance(body, str) else json.dumps(body), "isBase64Encoded": False,
        }  # fmt: skip
        answer = self.endpoint.handler(event, cast(Any, SimpleNamespace()))
        found = {name.lower(): values[-1] for name, values in answer.get("multiValueHeaders", {}).items()}
        found |= {name.lower(): value for name, value in answer.get("headers", {}).items()}
        told: Any = json.loads(answer["body"]) if answer["body"] else None
        if answer["statusCode"] >= 400:
            assert found["content-type"] == "application/problem+json"
            assert {"type", "title", "status", "detail", "code", "request_id"} <= set(told)
            assert told["status"] == answer["statusCode"]
            assert told["request_id"] == found["x-request-id"] or found.get("x-request-id") is None
        return SimpleNamespace(status=answer["statusCode"], headers=found, json=told, text=answer["body"])


@pytest.fixture
def world() -> World:
    """An endpoint for signed-in users."""
    return World()


def test_an_answer_carries_version_place_quota_and_safety_headers(world: World) -> None:
    answer = world.ask({"amount": "1.5", "mcc": "5411"})
    assert (answer.status, answer.json) == (201, {"amount": "1.50", "currency": "USD", "mcc": "5411", "note": None})
    assert (answer.headers["etag"], answer.headers["location"]) == ('"3"', "/things/1")
    assert (answer.headers["ratelimit"], answer.headers["ratelimit-policy"]) == ('"user";r=99;t=60', '"user";q=100;w=60')
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert UUID(answer.headers["x-request-id"]).version == 7


@pytest.mark.parametrize(("given", "kept"), [("abc-1_2.3:4", True), ("a b", False), ("x" * 129, False), ("é", False)])
def test_a_callers_own_request_id_is_kept_when_it_is_a_sane_token(world: World, given: str, kept: bool) -> None:
    assert (world.ask({"amount": "1"}, x_request_id=given).headers["x-request-id"] == given) == kept


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ("{", 400, "json_invalid", None),
        ('{"amount": NaN}', 400, "json_invalid", None),
        ('{"amount": "1", "amount": "1"}', 400, "json_invalid", None),
        ('{"amount": 1e400}', 422, "invalid_fields", ("amount", "amount_invalid")),
        ({"amount": "1.005"}, 422, "invalid_fields", ("amount", "amount_invalid")),
        ({"amount": "-1"}, 422, "invalid_fields", ("amount", "amount_invalid")),
        ({"amount": "Infinity"}, 422, "invalid_fields", ("amount", "amount_invalid")),
        ({}, 422, "invalid_fields", ("amount", "required")),
        ({"amount": "1", "currency": "ZZZ"}, 422, "invalid_fields", ("currency", "currency_unknown")),
        ({"amount": "1", "currency": "KWD"}, 422, "invalid_fields", ("currency", "currency_unsupported")),
        ({"amount": "1", "mcc": "abc"}, 422, "invalid_fields", ("mcc", "invalid")),
        ({"amount": "1", "mcc": 5411}, 422, "invalid_fields", ("mcc", "invalid_type")),
        ({"amount": "1", "extra": 1}, 422, "invalid_fields", ("extra", "unknown_field")),
        ([], 422, "invalid_fields", ("body", "invalid_type")),
    ],
)
def test_bad_bodies_are_refused_by_code_and_field(
    world: World, body: Any, status: int, code: str, field: tuple[str, str] | None
) -> None:
    answer = world.ask(body)
    assert (answer.status, answer.json["code"]) == (status, code)
    if field is not None:
        assert [(error["field"], error["code"]) for error in answer.json["errors"]] == [field]
    assert world.operations == []


def test_a_card_number_in_the_wrong_place_is_not_repeated(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    answer = world.ask({"amount": pan(), "mcc": pan(), pan(): pan()})
    assert answer.status == 422
    shown = json.dumps([{k: v for k, v in error.items() if k != "field"} for error in answer.json["errors"]])
    assert pan() not in shown
    assert pan() not in capsys.readouterr().out


def test_a_body_may_be_as_large_as_its_row_says(world: World) -> None:
    assert world.ask(json.dumps({"amount": "1", "note": "x" * (300 * 1024)})).status == 413
    large = World(body_limit=2 * 1024 * 1024)
    assert large.ask(json.dumps({"amount": "1", "note": "x" * (300 * 1024)})).status == 201


@pytest.mark.parametrize(
    "media_type", ["text/plain", "", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
def test_only_json_in_utf_8_is_read(world: World, media_type: str) -> None:
    answer = world.ask({"amount": "1"}, content_type=media_type)
    assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")
    assert world.ask({"amount": "1"}, content_type='application/json; charset="UTF-8"').status == 201


def test_a_bad_uuid_is_422_and_another_path_or_method_404(world: World) -> None:
    answer = world.ask({"amount": "1"}, path="/api/v1/things/42")
    assert (answer.status, answer.json["errors"][0]["code"]) == (422, "uuid_invalid")
    assert world.ask({"amount": "1"}, path="/api/v1/nothing").status == 404
    assert world.ask({"amount": "1"}, method="PUT").status == 404


@pytest.mark.parametrize(
    ("header", "code"),
    [("", "token_missing"), ("Basic good", "token_missing"), ("Bearer ", "token_missing"), ("Bearer bad", "invalid_token")],
)
def test_without_a_good_token_nobody_gets_in(world: World, header: str, code: str) -> None:
    answer = world.ask({"amount": "1"}, authorization=header)
    assert (answer.status, answer.json["code"]) == (401, code)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert world.operations == []


def test_roles_and_the_second_factor_are_asked_for(world: World) -> None:
    staff = World(roles=frozenset({Role.ADMIN}))
    assert staff.ask({"amount": "1"}).json["code"] == "role_not_allowed"
    careful = World(step_up=True)
    assert careful.ask({"amount": "1"}).status == 201
    careful.clock.at += timedelta(minutes=5)
    assert careful.ask({"amount": "1"}).status == 201
    careful.clock.at += timedelta(microseconds=1)
    assert careful.ask({"amount": "1"}).json["code"] == "step_up_required"
    careful.principal = replace(careful.principal, mfa_at=None)
    assert careful.ask({"amount": "1"}).json["code"] == "step_up_required"
    careful.principal = replace(careful.principal, mfa_enrolled=False)
    assert careful.ask({"amount": "1"}).json["code"] == "mfa_enrolment_required"


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (errors.InvalidRequestError("x"), 400, "invalid_request"),
        (errors.NotFoundError("x"), 404, "not_found"),
        (errors.ConflictError("x", code="card_already_frozen"), 409, "card_already_frozen"),
        (errors.StaleVersionError("x"), 412, "version_mismatch"),
        (errors.UnprocessableError("x"), 422, "unprocessable"),
        (errors.InvalidFieldsError([FieldError("a.b", "bad", "No.")]), 422, "invalid_fields"),
        (errors.RateLimitedError("x", retry_after_s=7, limit=5, window_s=60), 429, "rate_limited"),
        (errors.ProviderRefusedError("x"), 502, "provider_refused"),
        (errors.UnavailableError("x", code="database_unavailable"), 503, "database_unavailable"),
        (errors.BrokenInvariantError("secret detail"), 500, "internal_error"),
        (RuntimeError("secret detail"), 500, "internal_error"),
        (MemoryError("secret detail"), 500, "internal_error"),
    ],
)
def test_every_error_is_a_problem_that_tells_no_more_than_it_should(failure: Exception, status: int, code: str) -> None:
    world = World()
    world.failure = failure
    answer = world.ask({"amount": "1"})
    assert (answer.status, answer.json["code"]) == (status, code)
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text
    if status == 429:
        assert (answer.headers["retry-after"], answer.headers["ratelimit-policy"]) == ("7", '"default";q=5;w=60')
    if status == 503:
        assert answer.headers["retry-after"] == "2"


def test_a_read_takes_no_body_and_checks_its_query() -> None:
    world = World(method="GET")
    assert world.ask().status == 201
    assert world.ask({"amount": "1"}).json["code"] == "body_not_allowed"


def test_only_configured_origins_are_told_that_they_may(world: World) -> None:
    assert world.ask({"amount": "1"}, origin=ORIGIN).headers["access-control-allow-origin"] == ORIGIN
    refused = world.ask({"amount": "1"}, origin="https://elsewhere.example.com")
    assert "access-control-allow-origin" not in refused.headers
    assert refused.headers["vary"] == "Origin"
    asked = world.ask(method="OPTIONS", origin=ORIGIN)
    assert (asked.status, asked.headers["access-control-allow-methods"]) == (204, "GET, POST, PUT, PATCH, DELETE")
    assert "access-control-allow-methods" not in world.ask(method="OPTIONS", origin="https://elsewhere.example.com").headers


def test_the_same_key_replays_the_answer_without_what_is_shown_once() -> None:
    world = World(idempotency=Idempotency.REQUIRED)
    assert world.ask({"amount": "1"}).json["code"] == "idempotency_key_required"
    first = world.ask({"amount": "1", "note": "once"}, idempotency_key="k")
    again = world.ask({"amount": "1", "note": "once"}, idempotency_key="k")
    assert (first.status, first.json["note"], "idempotency-replayed" in first.headers) == (201, "once", False)
    assert (again.status, again.headers["idempotency-replayed"], again.headers["etag"]) == (201, "true", '"3"')
    assert again.json == {name: value for name, value in first.json.items() if name != "note"}
    assert len(world.operations) == 1


@pytest.mark.parametrize("key", [" ", "x" * 256, "a\tb"])
def test_a_key_is_printable_and_not_endless(key: str) -> None:
    world = World(idempotency=Idempotency.HONOURED)
    assert world.ask({"amount": "1"}, idempotency_key=key).json["code"] == "idempotency_key_invalid"
    assert world.ask({"amount": "1"}).status == 201


def test_a_refusal_frees_the_key_and_an_unknown_outcome_keeps_the_operation() -> None:
    world = World(idempotency=Idempotency.HONOURED)
    world.failure = errors.ConflictError("x")
    world.ask({"amount": "1"}, idempotency_key="a")
    assert set(world.kept) == {"a:released"}
    for failure in (errors.UnavailableError("x"), errors.BrokenInvariantError("x"), RuntimeError("x")):
        world = World(idempotency=Idempotency.HONOURED)
        world.failure = failure
        world.ask({"amount": "1"}, idempotency_key="a")
        assert set(world.kept) == {"a", "a:suspended"}


def test_a_public_row_asks_for_no_token_and_an_unlimited_one_spends_nothing() -> None:
    public = World(audience=Audience.PUBLIC, rate=RateClass.NONE)
    answer = public.ask({"amount": "1"}, authorization="")
    assert answer.status == 201
    assert "ratelimit" not in answer.headers


@pytest.mark.parametrize(
    ("header", "version"),
    [('"3"', 3), ('W/"3"', 3), ("3", 3), ("*", None), ('"a"', "bad"), ('"1", "2"', "bad"), ('"٣"', "bad"), ("1" * 10, "bad")],
)
def test_if_match_names_one_version(world: World, header: str, version: int | str | None) -> None:
    call: Call[Any] = Call(cast(Any, world), world.endpoint.row, "r", "192.0.2.1", {"if-match": header})
    if version == "bad":
        with pytest.raises(errors.InvalidRequestError) as refused:
            assert call.if_match is None
        assert refused.value.code == "if_match_invalid"
    else:
        assert call.if_match == version
