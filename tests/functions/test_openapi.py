"""The OpenAPI documents: valid, whole, and every example in a request is one that the endpoint takes."""

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from cardwright.compose.settings import Settings
from cardwright.idempotency.service import Fresh
from cardwright.identity.rules import Principal
from cardwright.kernel.clock import FixedClock
from cardwright.kernel.errors import NotFoundError
from cardwright.kernel.rows import Http, Role, Url
from cardwright.outbox.rules import EVENT_TYPES
from cardwright.platform.ids import IdSource
from functions import openapi
from functions.authorizations import shapes
from functions.catalogue import CATALOGUE
from tests.builders import NOW

Json = dict[str, Any]
DOCUMENT = openapi.document()
OLDER = openapi.older_dialect(DOCUMENT)
SCHEMAS: Json = DOCUMENT["components"]["schemas"]
ROWS = {(row.method.lower(), row.full_path): row for row in CATALOGUE if isinstance(row, Http)}
SIGNED = {row.full_path for row in CATALOGUE if isinstance(row, Url)}
# What an example needs around it where the model has no example of its own: one value for each field that must be there.
FILLERS: Json = {
    "email": "ada@example.com",
    "password": "correct horse battery staple",
    "code": "123456",
    "mfa_token": "mfa_x",
    "refresh_token": "rt_x",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "date_of_birth": "1990-12-10",
    "country": "FR",
    "note": "seen to by hand",
    "type": "passport",
    "number": "X1234567",
    "url": "https://hooks.example.com/cards",
    "event_types": ["card.created"],
    "currency": "USD",
    "amount": "12.34",
    "authorization_id": "auth_1",
    "card_token": "tok_1",
    "category_code": "5411",
    "per_transaction": "10.00",
    "daily": "20.00",
    "monthly": "30.00",
    "name": "Travel",
    "network": "visa",
    "bin": "40009910",
    "label": "Travel",
    "items": [{"currency": "USD"}],
    "locale": "en",
    "time_zone": "Europe/Berlin",
    "from": "22:00",
    "until": "07:00",
    "channel": "push",
    "template_id": "maintenance",
    "user_id": "0190163d-8694-739b-aea5-966c26f8ad91",
}


def resolved(schema: Json) -> Json:
    """A schema with its reference followed, and the part of an optional one that is not null."""
    if "$ref" in schema:
        found: Json = SCHEMAS[schema["$ref"].rpartition("/")[2]]
        return found
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    return resolved(options[0]) if len(options) == 1 else schema


def minimal(schema: Json) -> Any:
    """A body with only what must be there."""
    whole = resolved(schema)
    if whole.get("examples"):
        return whole["examples"][0]
    return {name: _filled(name, whole["properties"][name]) for name in whole.get("required", [])}


def _filled(name: str, schema: Json) -> Any:
    whole = resolved(schema)
    return minimal(whole) if "properties" in whole else FILLERS[name]


def bodies(schema: Json) -> Iterator[Any]:
    """A body for each example of a request, those of its inner documents too; the smallest one where there is none."""
    whole = resolved(schema)
    yield from whole.get("examples", [minimal(whole)])
    for name, inner in whole.get("properties", {}).items():
        part = resolved(inner)
        variants = list(bodies(part)) if "properties" in part else [*inner.get("examples", []), *part.get("examples", [])]
        for variant in variants:
            yield minimal(whole) | {name: variant}


def requests() -> Iterator[tuple[str, str, Any]]:
    """Every body that the document's examples make: method, path, body."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            for media in content.values():
                for body in bodies(media["schema"]):
                    yield method, path, body


class Reached:
    """Stands for every service: whoever asks it has taken the request."""

    def __getattr__(self, name: str) -> Any:
        def answer(*given: Any, **named: Any) -> Any:
            raise NotFoundError("The request was taken.", code="reached")

        return answer


class Identity(Reached):
    """Lets everybody in with a fresh second factor."""

    def __init__(self, role: Role) -> None:
        self._role = role

    def authenticate(self, token: str) -> Principal:
        """Whoever it is, in this role."""
        ids = IdSource(FixedClock(NOW))
        return Principal(
            user_id=ids.new(),
            role=self._role,
            session_id=ids.new(),
            organization_id=None,
            auth_time=NOW,
            mfa_at=NOW,
            mfa_enrolled=True,
        )


def root_for(row: Http) -> Any:
    """A composition root that has a guard and no services."""
    clock = FixedClock(NOW)
    parts: Json = {
        "settings": Settings(
            stage="local", public_url="http://api.test", cors_origins=frozenset(), rate_limits=False, clock_file=None
        ),
        "clock": clock,
        "ids": IdSource(clock),
        "identity": Identity(sorted(row.roles)[0]),
        "ratelimit": SimpleNamespace(spend=lambda **_: None),
        "idempotency": SimpleNamespace(begin=lambda *_: Fresh(IdSource(clock).new()), release=lambda *_: None),
    }

    class Root:
        def __getattr__(self, name: str) -> Any:
            return parts.get(name, Reached())

    return Root()


def send(row: Http, body: Any) -> Json:
    """Send one body through the endpoint; return the problem it ends in."""
    endpoint = importlib.import_module(row.module).endpoint
    path = re.sub(r"\{\w+\}", "0190163d-8694-739b-aea5-966c26f8ad91", row.full_path)
    headers = {"Content-Type": "application/json", "Authorization": "Bearer t", "Idempotency-Key": "k"}
    event = {
        "resource": row.full_path,
        "path": path,
        "httpMethod": row.method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {"identity": {"sourceIp": "192.0.2.1"}, "path": path},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }
    before = endpoint._root
    endpoint._root = lambda needs: root_for(row)
    try:
        answer = endpoint.handler(event, cast(Any, SimpleNamespace()))
    finally:
        endpoint._root = before
    told: Json = json.loads(answer["body"])
    return told


SENT = list(requests())


@pytest.mark.parametrize(
    ("method", "path", "body"), SENT, ids=[f"{path.rpartition('/')[2]}-{n}" for n, (_, path, _) in enumerate(SENT)]
)
def test_every_example_of_a_request_is_taken(method: str, path: str, body: Any) -> None:
    if path in SIGNED:
        assert shapes.parse(json.dumps(body).encode()).amount > 0
    else:
        told = send(ROWS[method, path], body)
        assert told["code"] == "reached", told


def test_every_request_with_a_body_is_among_them() -> None:
    with_body = {
        (m, p) for p, methods in DOCUMENT["paths"].items() for m, operation in methods.items() if "requestBody" in operation
    }
    assert {(method, path) for method, path, _ in SENT} == with_body
    assert len(with_body) > 10


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_examples_fit_their_schemas(name: str) -> None:
    definitions = {"$defs": SCHEMAS}

    def look(schema: Any) -> None:
        if isinstance(schema, list):
            for part in schema:
                look(part)
        elif isinstance(schema, Mapping):
            local = json.loads(json.dumps(schema).replace("#/components/schemas/", "#/$defs/"))
            for example in schema["examples"] if isinstance(schema.get("examples"), list) else []:
                OAS31Validator(
                    {**local, **json.loads(json.dumps(definitions).replace("#/components/schemas/", "#/$defs/"))}
                ).validate(example)
            for part in schema.values():
                look(part)

    look(SCHEMAS[name])
    assert SCHEMAS[name].keys() & {"type", "enum", "anyOf"}


def test_both_documents_are_valid() -> None:
    assert list(OpenAPIV31SpecValidator(cast(Any, DOCUMENT)).iter_errors()) == []
    assert list(OpenAPIV30SpecValidator(cast(Any, OLDER)).iter_errors()) == []


def test_the_documents_tell_of_every_row() -> None:
    told = {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert told == set(ROWS) | {("post", path) for path in SIGNED}
    names = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


def test_the_newer_document_tells_of_every_event_and_the_older_one_of_none() -> None:
    assert set(DOCUMENT["webhooks"]) == EVENT_TYPES
    named = {
        methods["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for methods in DOCUMENT["webhooks"].values()
    }
    assert len(named) == len(EVENT_TYPES)
    assert named <= set(SCHEMAS)
    assert "webhooks" not in OLDER
    assert named.isdisjoint(OLDER["components"]["schemas"])


def test_every_answer_that_is_no_success_is_a_problem() -> None:
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and "application/json" not in answer.get("content", {}):
                    assert list(answer["content"]) == ["application/problem+json"], operation["operationId"]


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
        ({"anyOf": [{"$ref": "#/x"}, {"type": "null"}]}, {"allOf": [{"$ref": "#/x"}], "nullable": True}),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}], "nullable": True},
        ),
        ({"const": "a"}, {"enum": ["a"]}),
        ({"examples": [1, 2]}, {"example": 1}),
        ({"exclusiveMinimum": 3}, {"minimum": 3, "exclusiveMinimum": True}),
        ({"exclusiveMinimum": True}, {"exclusiveMinimum": True}),
        ([{"contentMediaType": "x", "type": "string"}], [{"type": "string"}]),
    ],
)
def test_the_older_dialect_says_the_same(newer: Any, older: Any) -> None:
    assert openapi.downgrade(newer) == older
