"""What the network tells the issuer of an authorization afterwards: at least once, and in any order when faults say so."""

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final

import httpx
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from local.clock import rfc3339
from local.simulators.faults import Misbehaviour
from local.simulators.processor.network import MERCHANTS, coordinates
from local.simulators.serving import Setting, open_database, unprocessable
from local.simulators.signing import Signer

# delivered: 1 once the issuer took it; given_up: 1 once it refused it for good; held_back: 1 until another has gone out.
# due_at: seconds since 1970 by the system's clock, for waiting does not follow the shared one.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, card_token TEXT NOT NULL,
    authorization_id TEXT, amount TEXT NOT NULL, currency TEXT NOT NULL, occurred_at TEXT NOT NULL, sent_at TEXT,
    delivered INTEGER NOT NULL DEFAULT 0, given_up INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    held_back INTEGER NOT NULL DEFAULT 0, due_at REAL NOT NULL, http_status INTEGER, request TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_card ON events (card_token, seq);
CREATE INDEX IF NOT EXISTS events_due ON events (due_at) WHERE delivered = 0 AND given_up = 0;
"""
TYPES: Final = {
    "clear": "transaction.cleared",
    "reverse": "transaction.reversed",
    "refund": "transaction.refunded",
    "force-post": "transaction.force_posted",
    "expire": "transaction.expired",
    "advice": "authorization.advice",
}
_ISSUER_TIMEOUT_S: Final = 5.0
_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 300.0
_LONGEST_HOLD_S: Final = 2.0
_LOOK_EVERY_S: Final = 0.1
_AT_ONCE: Final = 20
# Refusals that pass: the request itself may be good.
_LATER: Final = frozenset({408, 425, 429})


class SimulatedEvent(BaseModel):
    """What to tell the issuer; what is left out is taken from the authorization. Values are passed on as given, bad ones too."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    card_token: str
    authorization_id: str | None = None
    amount: str | int | Decimal | None = None
    currency: str | None = None
    final_clearing: bool | None = None
    merchant: dict[str, Any] | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to tell the issuer; no status: it gave no answer in time, or the answer was lost."""

    http_status: int | None
    answer: Any

    @property
    def delivered(self) -> bool:
        """The issuer has taken it."""
        return self.http_status is not None and 200 <= self.http_status < 300

    @property
    def refused(self) -> bool:
        """The issuer will never take it."""
        return self.http_status is not None and 400 <= self.http_status < 500 and self.http_status not in _LATER


class Lifecycle:
    """The network's side of clearings, reversals, refunds, expiries, force posts and advices."""

    def __init__(self, setting: Setting, signer: Signer, misbehaviour: Misbehaviour, webhook_url: str | None) -> None:
        """Keep events in the network's own storage, beside the authorizations. Without a URL nothing can be told."""
        self._database = open_database(setting.data / "network.db", _SCHEMA)
        self._clock = setting.clock
        self._signer = signer
        self._misbehaviour = misbehaviour
        self._url = webhook_url
        self._http = httpx.AsyncClient(timeout=_ISSUER_TIMEOUT_S, trust_env=False)

    async def close(self) -> None:
        """Close connections and storage."""
        await self._http.aclose()
        self._database.close()

    async def tell(self, kind: str, wanted: SimulatedEvent) -> dict[str, Any]:
        """Tell the issuer, or keep the event for later where a fault says so. Raises HTTPException 422, 503."""
        if self._url is None:
            raise HTTPException(503, "the network does not know where the issuer takes events")
        body = self._body(TYPES[kind], wanted)
        outcome = await self._play(body)
        if kind == "reverse" and self._misbehaviour.processor().double_reversal:
            outcome["reversed_again"] = await self._play({**body, "event_id": _new_id()})
        return outcome

    async def _play(self, body: dict[str, Any]) -> dict[str, Any]:
        """Tell one event now, or put it off where a fault says so."""
        if self._known(body["event_id"]):
            # Told again on purpose, perhaps with another body: what happened, happened once, and is remembered once.
            return {**_shown(body), **_told(await self._post(body))}
        faults = self._misbehaviour.processor()
        held_back = not faults.late_ms and self._misbehaviour.draw(faults.reorder_rate)
        if faults.late_ms or held_back:
            self._keep(body, _LONGEST_HOLD_S if held_back else faults.late_ms / 1_000, held_back=held_back)
            return {**_shown(body), "http_status": None, "answer": None, "delivered": False}
        told, repeated = await self._deliver(self._keep(body, _ISSUER_TIMEOUT_S + _FIRST_RETRY_S), body)
        return {**_shown(body), **_told(told), **({"repeated": _told(repeated)} if repeated else {})}

    def _body(self, event_type: str, wanted: SimulatedEvent) -> dict[str, Any]:
        known = self._authorized(wanted.card_token, wanted.authorization_id)
        amount = known.get("amount") if wanted.amount is None else str(wanted.amount)
        currency = wanted.currency or known.get("currency")
        if amount is None or currency is None:
            raise HTTPException(422, "no such authorization was asked for: give amount and currency")
        body: dict[str, Any] = {
            "event_id": wanted.event_id or _new_id(),
            "type": event_type,
            "card_token": wanted.card_token,
            "amount": amount,
            "currency": currency,
            "occurred_at": rfc3339(self._clock.now()),
        }
        if wanted.authorization_id is not None:
            body["authorization_id"] = wanted.authorization_id
        if wanted.final_clearing is not None:
            body["final_clearing"] = wanted.final_clearing
        if wanted.merchant is not None or not known:
            merchant = MERCHANTS.get(currency, MERCHANTS["USD"]) | (wanted.merchant or {})
            body["merchant"] = coordinates(merchant)
        return body

    def _authorized(self, card_token: str, authorization_id: str | None) -> dict[str, Any]:
        """Amount and currency of an authorization: what was approved, or what was asked for where nothing was."""
        row = self._database.execute(
            "SELECT request, answer FROM authorizations WHERE card_token = ? AND authorization_id = ? ORDER BY seq DESC LIMIT 1",
            (card_token, authorization_id),
        ).fetchone()
        if row is None:
            return {}
        request, answer = json.loads(row["request"]), json.loads(row["answer"])
        approved = answer.get("approved_amount") if answer.get("decision") == "APPROVE" else None
        return {"amount": approved or request["amount"], "currency": request["currency"]}

    def _known(self, event_id: str) -> bool:
        found = self._database.execute("SELECT 1 FROM events WHERE event_id = ?", (event_id,)).fetchall()
        return bool(found)

    def _keep(self, body: dict[str, Any], due_in_s: float, *, held_back: bool = False) -> int:
        """Remember an event before it is sent, so that it is sent also when this process dies meanwhile."""
        row = self._database.execute(
            "INSERT INTO events (event_id, type, card_token, authorization_id, amount, currency, occurred_at, held_back, due_at,"
            " request) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq",
            (
                body["event_id"],
                body["type"],
                body["card_token"],
                body.get("authorization_id"),
                body["amount"],
                body["currency"],
                body["occurred_at"],
                int(held_back),
                time.time() + due_in_s,
                json.dumps(body),
            ),
        ).fetchall()[0]
        return int(row["seq"])

    async def _deliver(self, seq: int, body: dict[str, Any]) -> tuple[Delivery, Delivery | None]:
        """Send a remembered event, twice where a fault says so, and note what came of it.

        What was not taken is due again, each time later. Returns what came of the first and of the second.
        """
        told = await self._post(body)
        faults = self._misbehaviour.processor()
        if self._misbehaviour.draw(faults.answer_lost_rate):
            told = Delivery(None, None)
        self._database.execute(
            "UPDATE events SET attempts = attempts + 1, delivered = ?, given_up = ?, http_status = ?, sent_at = ?, held_back = 0,"
            " due_at = ? + min(?, ? * (1 << min(attempts, 16))) WHERE seq = ?",
            (
                int(told.delivered),
                int(told.refused),
                told.http_status,
                rfc3339(self._clock.now()),
                time.time(),
                _LONGEST_RETRY_S,
                _FIRST_RETRY_S,
                seq,
            ),
        )
        # What was held back has been overtaken now.
        self._database.execute("UPDATE events SET held_back = 0, due_at = ? WHERE held_back = 1", (time.time(),))
        return told, await self._post(body) if self._misbehaviour.twice() else None

    async def _post(self, body: dict[str, Any]) -> Delivery:
        text = json.dumps(body)
        try:
            # Signed anew at each attempt: the issuer refuses old signatures. The message's id stays, as the standard asks.
            headers = self._signer.headers(text, f"msg_{body['event_id']}")
            answer = await self._http.post(self._url or "", content=text, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL):
            return Delivery(None, None)
        try:
            return Delivery(answer.status_code, answer.json())
        except ValueError:
            return Delivery(answer.status_code, None)

    async def deliver_due(self) -> None:
        """Send what is due, over and over, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if self._url is None:
                continue
            due = self._database.execute(
                "SELECT seq, request FROM events WHERE delivered = 0 AND given_up = 0 AND due_at <= ? ORDER BY seq DESC",
                (time.time(),),
            ).fetchall()
            # The latest first: a network promises no order.
            await asyncio.gather(*(self._deliver(row["seq"], json.loads(row["request"])) for row in due[:_AT_ONCE]))

    def sent(self, card_token: str | None, limit: int) -> list[dict[str, Any]]:
        """The latest events, the latest first."""
        rows = self._database.execute(
            "SELECT * FROM events WHERE ?1 IS NULL OR card_token = ?1 ORDER BY seq DESC LIMIT ?2", (card_token, limit)
        ).fetchall()
        return [
            {
                **_shown(json.loads(row["request"])),
                "http_status": row["http_status"],
                "delivered": bool(row["delivered"]),
                "refused": bool(row["given_up"]),
                "attempts": row["attempts"],
                "sent_at": row["sent_at"],
            }
            for row in rows
        ]


def _new_id() -> str:
    return f"evt_{secrets.token_hex(12)}"


def _shown(body: dict[str, Any]) -> dict[str, Any]:
    return {"event_id": body["event_id"], "type": body["type"], "request": body}


def _told(told: Delivery) -> dict[str, Any]:
    return {"http_status": told.http_status, "answer": told.answer, "delivered": told.delivered}


def routes(lifecycle: Lifecycle) -> APIRouter:
    """What happens to transactions after their authorization, under /simulate."""
    router = APIRouter(prefix="/simulate")

    def plays(kind: str) -> None:
        @router.post(f"/{kind}", name=TYPES[kind])
        async def tell(request: Request) -> JSONResponse:
            try:
                # Amounts are read from their text, never through a binary fraction.
                wanted = SimulatedEvent.model_validate(json.loads(await request.body(), parse_float=Decimal))
            except ValidationError as error:
                return unprocessable(error.errors(include_input=False, include_url=False, include_context=False))
            except ValueError:
                return unprocessable([{"loc": ("body",), "msg": "not JSON"}])
            return JSONResponse(await lifecycle.tell(kind, wanted))

    for kind in TYPES:
        plays(kind)

    @router.get("/events")
    async def list_events(card_token: str | None = None, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> dict[str, Any]:
        """What was told so far, the latest first."""
        return {"data": lifecycle.sent(card_token, limit)}

    return router
