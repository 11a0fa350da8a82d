"""The processor's card API: making, showing, listing and changing cards."""

import hashlib
import json
import secrets
import sqlite3
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from fastapi import APIRouter, Depends, Header, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from local.clock import ClockFile, rfc3339
from local.simulators.faults import Misbehaviour
from local.simulators.processor.pan import new_pan
from local.simulators.serving import Setting, add_column, bearer, open_database

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS cards (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL UNIQUE, idempotency_key TEXT NOT NULL UNIQUE,
    request_digest TEXT NOT NULL, reference TEXT NOT NULL, program TEXT NOT NULL, pan TEXT NOT NULL UNIQUE,
    exp_month INTEGER NOT NULL, exp_year INTEGER NOT NULL, currency TEXT NOT NULL, state TEXT NOT NULL,
    created_at TEXT NOT NULL, limits TEXT
);
CREATE INDEX IF NOT EXISTS cards_reference ON cards (reference, seq);
"""
_VALID_YEARS: Final = 3
_PAN_TRIES: Final = 20
_OUTSIDE: Final = "made outside the API"

State: TypeAlias = Literal["ACTIVE", "PAUSED", "CLOSED"]
Amount: TypeAlias = Annotated[str, Field(pattern=r"^[0-9]{1,10}(\.[0-9]{1,2})?$")]
Bin: TypeAlias = Annotated[str, Field(pattern=r"^[0-9]{6,8}$")]
Currency: TypeAlias = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Limits(BaseModel):
    """The most a card may spend, in its currency; kept and shown, the decision is the issuer's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    per_transaction: Amount
    daily: Amount
    monthly: Amount


class CardRequest(BaseModel):
    """A card to make."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reference: Annotated[str, Field(min_length=1, max_length=128)]
    program: Annotated[str, Field(min_length=1, max_length=128)]
    bin: Bin
    currency: Currency
    expires_on: Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")] | None = None
    limits: Limits | None = None


class CardChange(BaseModel):
    """A state, limits or both to set."""

    model_config = ConfigDict(extra="forbid", strict=True)

    state: State | None = None
    limits: Limits | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.state is None and self.limits is None:
            raise ValueError("give a state or limits")
        return self


def open_cards(setting: Setting) -> sqlite3.Connection:
    """The storage of the cards; one from an earlier version gets what it has not got yet."""
    database = open_database(setting.data / "cards.db", _SCHEMA)
    add_column(database, "cards", "limits", "TEXT")
    return database


class Cards:
    """The cards of the processor, in its own storage."""

    def __init__(self, database: sqlite3.Connection, clock: ClockFile) -> None:
        """Keep cards in the storage `open_cards` opened."""
        self._database = database
        self._clock = clock

    def make(self, key: str, request: CardRequest, *, bin_digits: str, currency: str) -> dict[str, Any]:
        """Make a card, or give back the one this idempotency key made; the last two are what it really gets.

        Raises HTTPException 409 for a key used with another body, 422 for an expiry in the past.
        """
        # Only what was sent: a field added to the API later does not change the digest of an earlier request.
        sent = request.model_dump(exclude_unset=True)
        digest = hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()
        made = self._row("idempotency_key", key)
        if made is None:
            made = self._insert(key, digest, request, bin_digits, currency)
        elif made["request_digest"] != digest:
            raise HTTPException(409, "this Idempotency-Key was used with another body")
        return {**_shown(made), "pan": made["pan"]}

    def make_unasked(self, reference: str, bin_digits: str, currency: str) -> dict[str, Any]:
        """Make a card no call of the API asked for; shown without its number."""
        request = CardRequest(reference=reference, program=_OUTSIDE, bin=bin_digits, currency=currency)
        return _shown(self._insert(f"outside_{secrets.token_hex(16)}", _OUTSIDE, request, bin_digits, currency))

    def _insert(self, key: str, digest: str, request: CardRequest, bin_digits: str, currency: str) -> sqlite3.Row:
        now = self._clock.now()
        month, year = _expiry(request.expires_on, now)
        values: dict[str, Any] = {
            "token": f"card_{secrets.token_urlsafe(15)}",
            "key": key,
            "digest": digest,
            "reference": request.reference,
            "program": request.program,
            "month": month,
            "year": year,
            "currency": currency,
            "limits": _limits_text(request.limits),
            "now": rfc3339(now),
        }
        for _ in range(_PAN_TRIES):
            try:
                rows = self._database.execute(
                    "INSERT INTO cards (token, idempotency_key, request_digest, reference, program, pan, exp_month,"
                    " exp_year, currency, state, limits, created_at) VALUES (:token, :key, :digest, :reference,"
                    " :program, :pan, :month, :year, :currency, 'ACTIVE', :limits, :now) RETURNING *",
                    {**values, "pan": new_pan(bin_digits)},
                ).fetchall()
            except sqlite3.IntegrityError:
                continue
            row: sqlite3.Row = rows[0]
            return row
        raise HTTPException(503, "no free card number under this BIN")

    def find(self, token: str) -> sqlite3.Row:
        """A card by token. Raises HTTPException 404."""
        row = self._row("token", token)
        if row is None:
            raise HTTPException(404, "no such card")
        return row

    def show(self, token: str) -> dict[str, Any]:
        """A card by token, without its number. Raises HTTPException 404."""
        return _shown(self.find(token))

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

    def change(self, token: str, change: CardChange) -> dict[str, Any]:
        """Set a card's state and limits; what it has already is fine.

        Raises HTTPException 404, and 409 for a closed card: it stays closed and keeps its limits.
        """
        row = self.find(token)
        if row["state"] == "CLOSED" and (change.state != "CLOSED" or change.limits is not None):
            raise HTTPException(409, "a closed card stays as it is")
        return self._write(token, change.state, change.limits)

    def force_state(self, token: str, state: str) -> dict[str, Any]:
        """Set a card's state, whatever it was. Raises HTTPException 404."""
        self.find(token)
        return self._write(token, state, None)

    def _write(self, token: str, state: str | None, limits: Limits | None) -> dict[str, Any]:
        self._database.execute(
            "UPDATE cards SET state = coalesce(?, state), limits = coalesce(?, limits) WHERE token = ?",
            (state, _limits_text(limits), token),
        )
        return self.show(token)

    def lose(self, token: str) -> dict[str, Any]:
        """Forget a card altogether, its idempotency key too; returns how it was. Raises HTTPException 404."""
        shown = self.show(token)
        self._database.execute("DELETE FROM cards WHERE token = ?", (token,))
        return shown


def _limits_text(limits: Limits | None) -> str | None:
    return None if limits is None else limits.model_dump_json()


def _shown(row: sqlite3.Row) -> dict[str, Any]:
    shown = {name: row[name] for name in ("token", "reference", "program", "currency", "state", "created_at")}
    limits = None if row["limits"] is None else json.loads(row["limits"])
    return {
        **shown,
        "limits": limits,
        "exp_month": row["exp_month"],
        "exp_year": row["exp_year"],
        "last_four": row["pan"][-4:],
    }


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
        """Make a card; the only answer that holds its number. The CVV is in none."""
        faults = misbehaviour.processor()
        bin_digits, currency = request.bin, request.currency
        if faults.wrong_currency:
            currency = "EUR" if currency != "EUR" else "USD"
        if faults.wrong_bin:
            bin_digits = bin_digits[:-1] + str(9 - int(bin_digits[-1]))
        return cards.make(idempotency_key, request, bin_digits=bin_digits, currency=currency)

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
        return cards.show(token)

    @router.patch("/{token}")
    async def change_card(token: str, change: CardChange) -> dict[str, Any]:
        """Set a card's state, its limits or both."""
        return cards.change(token, change)

    return router
