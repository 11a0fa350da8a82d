"""The card network: asks the issuer for authorizations, stands in for it, and remembers the answers."""

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final

import httpx
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from local.clock import rfc3339
from local.simulators.faults import Misbehaviour
from local.simulators.serving import Setting, open_database, unprocessable
from local.simulators.signing import Signer

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS authorizations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, authorization_id TEXT NOT NULL, card_token TEXT NOT NULL,
    request TEXT NOT NULL, answer TEXT NOT NULL, http_status INTEGER, latency_ms REAL NOT NULL, sent_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS authorizations_card ON authorizations (card_token, seq);
"""
# Networks give the issuer about two seconds before they answer in its place.
_ISSUER_TIMEOUT_S: Final = 2.0
_LONGEST_HOLD_S: Final = 0.5
_OK: Final = 200
MERCHANTS: Final[dict[str, dict[str, Any]]] = {
    "USD": {
        "id": "m_2041",
        "name": "Maple Street Grocers",
        "category_code": "5411",
        "city": "Portland",
        "country": "US",
        "latitude": 45.52,
        "longitude": -122.68,
    },
    "EUR": {
        "id": "m_3307",
        "name": "Librairie du Canal",
        "category_code": "5942",
        "city": "Lyon",
        "country": "FR",
        "latitude": 45.76,
        "longitude": 4.83,
    },
    "GBP": {
        "id": "m_1189",
        "name": "Harbour Chemist",
        "category_code": "5912",
        "city": "Bristol",
        "country": "GB",
        "latitude": 51.45,
        "longitude": -2.59,
    },
}


class SimulatedAuthorization(BaseModel):
    """What to ask the issuer; everything left out is filled in. Values are passed on as given, bad ones too."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    card_token: str
    amount: str | int | Decimal
    currency: str
    authorization_id: str | None = None
    original_authorization_id: str | None = None
    type: str = "authorization"
    merchant_amount: str | int | Decimal | None = None
    merchant_currency: str | None = None
    partial_approval: bool = False
    merchant: dict[str, Any] | None = None
    channel: str = "ecommerce"
    device_id: str | None = None
    ip: str | None = None
    occurred_at: str | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to the issuer and what came of it."""

    answer: dict[str, Any]
    http_status: int | None
    latency_ms: float


def coordinates(merchant: dict[str, Any]) -> dict[str, Any]:
    """The merchant with its coordinates as JSON numbers again; only amounts must keep their text."""
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in merchant.items()}


class Network:
    """The network's side of authorizations."""

    def __init__(self, setting: Setting, signer: Signer, misbehaviour: Misbehaviour, authorization_url: str) -> None:
        """Open the storage and a pool of kept-alive connections to the issuer."""
        self._database = open_database(setting.data / "network.db", _SCHEMA)
        self._clock = setting.clock
        self._signer = signer
        self._misbehaviour = misbehaviour
        self._url = authorization_url
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
        self._http = httpx.AsyncClient(timeout=_ISSUER_TIMEOUT_S, limits=limits, trust_env=False)

    async def close(self) -> None:
        """Close connections and storage."""
        await self._http.aclose()
        self._database.close()

    async def authorize(self, wanted: SimulatedAuthorization) -> dict[str, Any]:
        """Ask the issuer, stand in for it when it gives no decision, and remember the outcome."""
        body = self._body(wanted)
        text = json.dumps(body)
        message_id = f"msg_{secrets.token_hex(12)}"
        await self._misbehaviour.hold_back(_LONGEST_HOLD_S)
        first = await self._ask(text, message_id)
        self._remember(body, first)
        self._misbehaviour.gone_out()
        outcome = {
            **first.answer,
            "request": body,
            "http_status": first.http_status,
            "latency_ms": round(first.latency_ms, 2),
        }
        if self._misbehaviour.twice():
            again = await self._ask(text, message_id)
            self._remember(body, again)
            outcome["repeated"] = {**again.answer, "http_status": again.http_status}
        return outcome

    def _body(self, wanted: SimulatedAuthorization) -> dict[str, Any]:
        amount = str(wanted.amount)
        given = wanted.merchant_amount
        body: dict[str, Any] = {
            "authorization_id": wanted.authorization_id or f"auth_{secrets.token_hex(12)}",
            "card_token": wanted.card_token,
            "type": wanted.type,
            "amount": amount,
            "currency": wanted.currency,
            "merchant_amount": amount if given is None else str(given),
            "merchant_currency": wanted.merchant_currency or wanted.currency,
            "partial_approval": wanted.partial_approval,
            "merchant": MERCHANTS.get(wanted.currency, MERCHANTS["USD"]) | coordinates(wanted.merchant or {}),
            "channel": wanted.channel,
            "device_id": wanted.device_id,
            "ip": wanted.ip,
            "occurred_at": wanted.occurred_at or rfc3339(self._clock.now()),
        }
        if wanted.original_authorization_id is not None:
            body["original_authorization_id"] = wanted.original_authorization_id
        return body

    async def _ask(self, text: str, message_id: str) -> Exchange:
        started = time.perf_counter()
        status = None
        try:
            async with asyncio.timeout(_ISSUER_TIMEOUT_S):
                answer = await self._http.post(self._url, content=text, headers=self._signer.headers(text, message_id))
            status = answer.status_code
            told = answer.json()
        except (httpx.HTTPError, TimeoutError, ValueError):
            told = None
        latency_ms = (time.perf_counter() - started) * 1_000
        if status == _OK and isinstance(told, dict) and "decision" in told:
            return Exchange(told, status, latency_ms)
        stood_in = {"decision": "DECLINE", "reason": "issuer_unavailable", "final": False, "stood_in": True}
        if isinstance(told, dict):
            stood_in["problem"] = told
        return Exchange(stood_in, status, latency_ms)

    def _remember(self, body: dict[str, Any], exchange: Exchange) -> None:
        self._database.execute(
            "INSERT INTO authorizations (authorization_id, card_token, request, answer, http_status, latency_ms,"
            " sent_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                body["authorization_id"],
                body["card_token"],
                json.dumps(body),
                json.dumps(exchange.answer),
                exchange.http_status,
                exchange.latency_ms,
                rfc3339(self._clock.now()),
            ),
        )

    def sent(self, card_token: str | None, limit: int) -> list[dict[str, Any]]:
        """The latest requests with their answers, the latest first."""
        rows = self._database.execute(
            "SELECT * FROM authorizations WHERE ?1 IS NULL OR card_token = ?1 ORDER BY seq DESC LIMIT ?2",
            (card_token, limit),
        ).fetchall()
        return [
            {
                **json.loads(row["answer"]),
                "authorization_id": row["authorization_id"],
                "request": json.loads(row["request"]),
                "http_status": row["http_status"],
                "latency_ms": round(row["latency_ms"], 2),
                "sent_at": row["sent_at"],
            }
            for row in rows
        ]


def routes(network: Network) -> APIRouter:
    """What plays the network, under /simulate."""
    router = APIRouter(prefix="/simulate")

    @router.post("/authorize")
    async def authorize(request: Request) -> JSONResponse:
        """Ask the issuer for an authorization and give its decision back."""
        try:
            # Amounts are read from their text, never through a binary fraction.
            given = json.loads(await request.body(), parse_float=Decimal)
            wanted = SimulatedAuthorization.model_validate(given)
        except ValidationError as error:
            return unprocessable(error.errors(include_input=False, include_url=False, include_context=False))
        except ValueError:
            return unprocessable([{"loc": ("body",), "msg": "not JSON"}])
        return JSONResponse(await network.authorize(wanted))

    @router.get("/authorizations")
    async def list_authorizations(
        card_token: str | None = None, limit: Annotated[int, Query(ge=1, le=1_000)] = 100
    ) -> dict[str, Any]:
        """What was asked so far, the latest first."""
        return {"data": network.sent(card_token, limit)}

    return router
