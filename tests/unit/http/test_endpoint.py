"""What every endpoint does alike, tried on one that exists only here."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from cardwright.http.call import Call
from cardwright.kernel import errors
from cardwright.kernel.errors import FieldError, UnauthenticatedError
from cardwright.kernel.rows import Audience, RateClass, Role
from tests.fakes.thing_world import ORIGIN, World
from tests.pans import pan


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
    for refused in (world.ask({"amount": "1"}, path="/api/v1/nothing"), world.ask({"amount": "1"}, method="PUT")):
        assert refused.status == 404
        assert refused.json["request_id"] == refused.headers["x-request-id"] == "gateway-1"
    named = world.ask({"amount": "1"}, path="/api/v1/nothing", x_request_id="mine")
    assert named.json["request_id"] == named.headers["x-request-id"] == "mine"


@pytest.mark.parametrize(
    ("header", "code"),
    [("", "token_missing"), ("Basic good", "token_missing"), ("Bearer ", "token_missing"), ("Bearer bad", "invalid_token")],
)
def test_without_a_good_token_nobody_gets_in(world: World, header: str, code: str) -> None:
    answer = world.ask({"amount": "1"}, authorization=header)
    assert (answer.status, answer.json["code"]) == (401, code)
    told = answer.headers["www-authenticate"]
    assert told.startswith('Bearer realm="cardwright"')
    assert ('error="invalid_token"' in told) == (code == "invalid_token")
    assert world.operations == []


@pytest.mark.parametrize(
    ("code", "challenged"),
    [
        ("token_expired", True),
        ("session_ended", True),
        ("invalid_credentials", False),
        ("mfa_code_invalid", False),
        ("refresh_token_invalid", False),
        ("signature_invalid", False),
    ],
)
def test_only_what_an_access_token_mends_is_challenged(world: World, code: str, challenged: bool) -> None:
    world.failure = UnauthenticatedError("No.", code=code)
    answer = world.ask({"amount": "1"})
    assert (answer.status, answer.json["code"], "www-authenticate" in answer.headers) == (401, code, challenged)


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
        (errors.RateLimitedError("x", quota="user", retry_after_s=7, limit=5, window_s=60), 429, "rate_limited"),
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
        assert (answer.headers["retry-after"], answer.headers["ratelimit"]) == ("7", '"user";r=0;t=7')
        assert answer.headers["ratelimit-policy"] == '"user";q=5;w=60'
    if status == 503:
        assert answer.headers["retry-after"] == "2"


def test_a_read_takes_no_body_and_checks_its_query() -> None:
    world = World(method="GET")
    assert world.ask().status == 201
    assert world.ask({"amount": "1"}).json["code"] == "body_not_allowed"
    assert world.ask(query={"limit": ["7"]}).status == 201
    refused = world.ask(query={"limit": ["x"]})
    assert (refused.status, [error["field"] for error in refused.json["errors"]]) == (422, ["limit"])


@pytest.mark.parametrize(
    ("row", "body", "known"),
    [
        ({"method": "GET"}, None, "limit"),
        ({}, {"amount": "1"}, "force"),
        ({"audience": Audience.PUBLIC, "rate": RateClass.NONE}, {"amount": "1"}, "force"),
    ],
)
def test_a_query_parameter_no_endpoint_reads_is_refused_by_name(row: dict[str, Any], body: Any, known: str) -> None:
    world = World(**row)
    refused = world.ask(body, query={known: ["1"], "lmit": ["1", "2"], "z" * 99: ["1"], "thing_id": [pan()]})
    assert (refused.status, refused.json["code"]) == (422, "invalid_fields")
    assert [(error["field"], error["code"]) for error in refused.json["errors"]] == [
        (name, "unknown_field") for name in ("lmit", "thing_id", "z" * 64)
    ]
    assert pan() not in refused.text
    assert world.operations == []
    assert world.ask(body, query={known: ["1"]}).status == 201


def test_who_is_not_let_in_learns_nothing_of_the_query(world: World) -> None:
    assert world.ask({"amount": "1"}, query={"lmit": ["1"]}, authorization="").status == 401


def test_only_configured_origins_are_told_that_they_may(world: World) -> None:
    assert world.ask({"amount": "1"}, origin=ORIGIN).headers["access-control-allow-origin"] == ORIGIN
    refused = world.ask({"amount": "1"}, origin="https://elsewhere.example.com")
    assert "access-control-allow-origin" not in refused.headers
    assert refused.headers["vary"] == "Origin"
    asked = world.ask(method="OPTIONS", origin=ORIGIN)
    assert (asked.status, asked.headers["access-control-allow-methods"]) == (204, "GET, POST, PUT, PATCH, DELETE")
    assert "access-control-allow-methods" not in world.ask(method="OPTIONS", origin="https://elsewhere.example.com").headers


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
