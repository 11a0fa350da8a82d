"""Doors over a card world: the real endpoints and their glue, identities given by name."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from cardwright.compose.settings import Settings
from cardwright.http.endpoint import Endpoint
from cardwright.idempotency.service import IdempotencyService
from cardwright.identity.rules import Principal
from cardwright.kernel.errors import UnauthenticatedError
from cardwright.kernel.rows import Role
from cardwright.kernel.secret import Secret
from cardwright.platform.keys import Sealer
from cardwright.platform.postgres import Actor
from cardwright.platform.secrets import SecretStore
from cardwright.ratelimit.service import RateLimiter
from cardwright.transactions.service import TransactionService
from cardwright.transactions.service.parked import ParkedEvents
from tests.fakes.card_world import CardWorld


@dataclass(frozen=True)
class Answer:
    """What a client sees; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body parsed."""
        return json.loads(self.text)


class FakeSecrets:
    """The sealing secret."""

    def get(self, name: str) -> Secret[Mapping[str, object]]:
        """Return it whatever the name."""
        return Secret({"active": "k1", "keys": {"k1": base64.b64encode(b"s" * 32).decode()}})


class ApiWorld:
    """A composition root for endpoints: the card world's parts, and whoever was let in."""

    def __init__(self, world: CardWorld) -> None:
        self.world = world
        self.clock, self.ids, self.database, self.cache = world.clock, world.ids, world.database, world.cache
        self.settings = Settings(
            stage="local", public_url="http://api.test", cors_origins=frozenset(), rate_limits=False, clock_file=None
        )
        self.sealer = Sealer(cast(SecretStore, FakeSecrets()), "sealing")
        self.idempotency = IdempotencyService(self.database, self.sealer, self.clock, self.ids)
        self.ratelimit = RateLimiter(self.cache, self.clock, self.ids, enabled=False)
        self.cards = world.service
        self.transactions = TransactionService(self.database, self.cards)
        self.parked_events = ParkedEvents(self.database, self.clock)
        self.principals: dict[str, Principal] = {}
        self.identity = self

    def authenticate(self, token: str) -> Principal:
        """Return who was let in under this token."""
        if token not in self.principals:
            raise UnauthenticatedError("Not a token of ours.", code="invalid_token")
        return self.principals[token]

    def let_in(self, actor: Actor, *, stepped_up: bool = True) -> str:
        """Return a token of the actor."""
        assert actor.user_id is not None
        now = self.clock.now()
        token = f"token-of-{actor.user_id}-{stepped_up}"
        self.principals[token] = Principal(
            user_id=actor.user_id,
            role=Role(actor.role),
            session_id=self.ids.new(),
            organization_id=None,
            auth_time=now,
            mfa_at=now if stepped_up else None,
            mfa_enrolled=True,
        )
        return token

    def ask(
        self,
        endpoint: Endpoint[Any],
        token: str | None,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        **inputs: Any,
    ) -> Answer:
        """Send one request through the handler; `inputs` are path parameters, the rest of them the query."""
        row = endpoint.row
        path = row.full_path
        query: dict[str, str] = {}
        for name, value in inputs.items():
            if "{" + name + "}" in path:
                path = path.replace("{" + name + "}", str(value))
            else:
                query[name] = str(value)
        sent = {"Content-Type": "application/json", **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        event = {
            "resource": row.full_path,
            "path": path,
            "httpMethod": row.method,
            "headers": sent,
            "multiValueHeaders": {name: [value] for name, value in sent.items()},
            "queryStringParameters": query or None,
            "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} or None,
            "requestContext": {"identity": {"sourceIp": "203.0.113.7"}, "stage": "local", "path": path, "requestId": "r"},
            "body": body if body is None or isinstance(body, str) else json.dumps(body),
            "isBase64Encoded": False,
        }
        with hosted(endpoint, self):
            answer = endpoint.handler(event, cast(Any, SimpleNamespace()))
        found = {name.lower(): value for name, value in answer.get("headers", {}).items()}
        found |= {name.lower(): values[-1] for name, values in answer.get("multiValueHeaders", {}).items()}
        assert not answer["isBase64Encoded"], "API Gateway hands base64 on undecoded"
        return Answer(answer["statusCode"], found, answer["body"])


@contextmanager
def hosted(endpoint: Endpoint[Any], api: ApiWorld) -> Iterator[None]:
    """Let an endpoint use this root instead of the one its environment composes."""
    before = endpoint._root
    endpoint._root = lambda needs: api
    try:
        yield
    finally:
        endpoint._root = before
