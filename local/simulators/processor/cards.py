"""The processor's card API: making, showing, listing and setting cards."""

import hashlib
import json
import secrets
import sqlite3
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from local.clock import rfc3339
from local.simulators.faults import Misbehaviour
from local.simulators.processor.pan import new_pan
from local.simulators.serving import Setting, bearer, open_database

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS cards (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL UNIQUE, idempotency_key TEXT NOT NULL UNIQUE,
    request_digest TEXT NOT NULL, reference TEXT NOT NULL, program TEXT NOT NULL, pan TEXT NOT NULL UNIQUE,
    exp_month INTEGER NOT NULL, exp_year INTEGER NOT NULL, currency TEXT NOT NULL, state TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS cards_reference ON cards (reference, seq);
"""
_VALID_YEARS: Final = 3
_PAN_TRIES: Final = 20


class CardRequest(BaseModel):
    """A card to make."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reference: Annotated[str, Field(min_length=1, max_length=128)]
    program: Annotated[str, Field(min_length=1, max_length=128)]
    bin: Annotated[str, Field(pattern=r"^[0-9]{6,8}$")]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    expires_on: Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")] | None = None


class CardChange(BaseModel):
    """A state to set."""

    model_config = ConfigDict(extra="forbid", strict=True)

    state: Literal["ACTIVE", "PAUSED", "CLOSED"]


class Cards:
    """The cards of the processor, in its own storage."""

    def __init__(self, setting: Setting) -> None:
        """Open the storage."""
        self._database = open_database(setting.data / "cards.db", _SCHEMA)
        self._clock = setting.clock

    def make(self, key: str, request: CardRequest, currency: str) -> dict[str, Any]:
        """Make a card, or give back the one this idempotency key made; `currency` is what it really gets.

        Raises HTTPException 409 for a key used with another body, 422 for an expiry in the past.
        """
        digest = hashlib.sha256(json.dumps(request.model_dump(), sort_keys=True).encode()).hexdigest()
        made = self._row("idempotency_key", key)
        if made is not None:
            if made["request_digest"] != digest:
                raise HTTPException(409, "this Idempotency-Key was used with another body")
            return {**_shown(made), "pan": made["pan"]}
        now = self._clock.now()
        month, year = _expiry(request.expires_on, now)
        token = f"card_{secrets.token_urlsafe(15)}"
        for _ in range(_PAN_TRIES):
            try:
                self._database.execute(
                    "INSERT INTO cards (token, idempotency_key, request_digest, reference, program, pan, exp_month,"
                    " exp_year, currency, state, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'ACTIVE', ?)",
                    (
                        token,
                        key,
                        digest,
                        request.reference,
                        request.program,
                        new_pan(request.bin),
                        month,
                        year,
                        currency,
                        rfc3339(now),
                    ),
                )
            except sqlite3.IntegrityError:
                continue
            card = self.find(token)
            return {**_shown(card), "pan": card["pan"]}
        raise HTTPException(503, "no free card number under this BIN")

    def find(self, token: str) -> sqlite3.Row:
        """A card by token. Raises HTTPException 404."""
        row = self._row("token", token)
        if row is None:
            raise HTTPException(404, "no such card")
        return row

    def _row(self, column: Literal["token", "idempotency_key"], value: str) -> sqlite3.Row | None:
        query = {
            "token": "SELECT * FROM cards WHERE token = ?",
            "idempotency_key": "SELECT * FROM cards WHERE idempotency_key = ?",
        }[column]
        row: sqlite3.Row | None = self._database.execute(query, (value,)).fetchone()
        return row

    def list(self, reference: str | None, after: int, limit: int) -> dict[str, Any]:
        """Cards in the order they were made, without their numbers."""
        rows = self._database.execute(
            "SELECT * FROM cards WHERE (?1 IS NULL OR reference = ?1) AND seq > ?2 ORDER BY seq LIMIT ?3",
            (reference, after, limit + 1),
        ).fetchall()
        more = len(rows) > limit
        return {
            "data": [_shown(row) for row in rows[:limit]],
            "next_cursor": str(rows[limit - 1]["seq"]) if more else None,
            "has_more": more,
        }

    def set_state(self, token: str, state: str) -> dict[str, Any]:
        """Pause, reactivate or close a card; the state it has already is fine. Raises HTTPException 404 or 409."""
        row = self.find(token)
        if row["state"] == "CLOSED" and state != "CLOSED":
            raise HTTPException(409, "a closed card stays closed")
        self._database.execute("UPDATE cards SET state = ? WHERE token = ?", (state, token))
        return _shown(self.find(token))


def _shown(row: sqlite3.Row) -> dict[str, Any]:
    shown = {name: row[name] for name in ("token", "reference", "program", "currency", "state", "created_at")}
    return {**shown, "exp_month": row["exp_month"], "exp_year": row["exp_year"], "last_four": row["pan"][-4:]}


def _expiry(expires_on: str | None, now: datetime) -> tuple[int, int]:
    if expires_on is None:
        return now.month, now.year + _VALID_YEARS
    year, month = (int(part) for part in expires_on.split("-"))
    if (year, month) < (now.year, now.month):
        raise HTTPException(422, "expires_on is in the past")
    return month, year


def routes(setting: Setting, cards: Cards, misbehaviour: Misbehaviour) -> APIRouter:
    """The card API under /v1/cards."""
    router = APIRouter(prefix="/v1/cards", dependencies=[Depends(bearer(setting.api_key))])

    @router.post("", status_code=201)
    async def create_card(
        request: CardRequest, idempotency_key: Annotated[str, Header(min_length=1, max_length=255)]
    ) -> dict[str, Any]:
        """Make a card; the only answer that holds its number. The CVV is never given out."""
        currency = request.currency
        if misbehaviour.wrong_currency():
            currency = "EUR" if currency != "EUR" else "USD"
        return cards.make(idempotency_key, request, currency)

    @router.get("")
    async def list_cards(
        reference: str | None = None,
        cursor: Annotated[str, Query(pattern=r"^[0-9]{1,15}$")] = "0",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        """Cards, all or those of a reference."""
        return cards.list(reference, int(cursor), limit)

    @router.get("/{token}")
    async def get_card(token: str) -> dict[str, Any]:
        """One card, without its number."""
        return _shown(cards.find(token))

    @router.patch("/{token}")
    async def change_card(token: str, change: CardChange) -> dict[str, Any]:
        """Set a card's state."""
        return cards.set_state(token, change.state)

    return router
