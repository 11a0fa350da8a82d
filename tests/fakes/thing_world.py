"""An endpoint that exists only in tests, over a composition root whose guard does what a test says."""

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import Depends

from cardwright.compose.settings import Settings
from cardwright.http.call import Call, Reply
from cardwright.http.endpoint import Endpoint, current_call
from cardwright.http.fields import Amount, Currency, Mcc, StrictModel
from cardwright.idempotency.service import Fresh, Replay
from cardwright.identity.rules import Principal
from cardwright.kernel.clock import FixedClock
from cardwright.kernel.errors import UnauthenticatedError
from cardwright.kernel.rows import Http, Role
from cardwright.platform.ids import IdSource
from cardwright.ratelimit.rules import PER_USER, Standing
from tests.builders import NOW, new_id

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
        self.closing_failure: Exception | None = None
        self.targets: list[str] = []
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
        def change(thing_id: UUID, body: Thing, call: AnyCall, force: bool = False) -> Reply:
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

    def begin(self, actor: object, key: str, method: str, target: str, body: bytes) -> Fresh | Replay:
        """Claim a key."""
        self.targets.append(target)
        held = self.kept.setdefault(key, Fresh(new_id()))
        assert isinstance(held, Fresh | Replay)
        return held

    def complete(self, actor: object, key: str, status: int, body: bytes) -> None:
        """Keep an answer."""
        self._close()
        self.kept[key] = Replay(status, body)

    def release(self, actor: object, key: str) -> None:
        """Free a key."""
        self._close()
        self.kept[key + ":released"] = self.kept.pop(key)

    def suspend(self, actor: object, key: str) -> None:
        """End a lease."""
        self._close()
        self.kept[key + ":suspended"] = True

    def _close(self) -> None:
        if self.closing_failure is not None:
            raise self.closing_failure

    def ask(
        self,
        body: Any = None,
        *,
        path: str = f"/api/v1/things/{ITEM}",
        method: str | None = None,
        query: Mapping[str, list[str]] | None = None,
        **headers: str,
    ) -> SimpleNamespace:
        """Send one request; header names with underscores for dashes, given names win; each query name has its values."""
        row = self.endpoint.row
        sent = {"content-type": "application/json", "authorization": "Bearer good"} if method != "OPTIONS" else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value != ""}
        event = {
            "resource": row.full_path, "path": path, "httpMethod": method or row.method, "headers": sent,
            "multiValueHeaders": {name: [value] for name, value in sent.items()}, "queryStringParameters": None,
            "multiValueQueryStringParameters": query,
            "requestContext": {"identity": {"sourceIp": "192.0.2.1"}, "path": path, "requestId": "gateway-1"},
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
