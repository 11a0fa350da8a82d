"""The processor's own view: its list of authorizations, and the settlement files it cuts of what was cleared and given back."""

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from local.clock import ClockFile, rfc3339
from local.simulators.processor.settlement_file import CREDIT, FEE, SALE, Line, write_file
from local.simulators.serving import Setting, bearer, open_database

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS settled_events (event_id TEXT PRIMARY KEY, file_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS settlement_files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, file_id TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL, sha256 TEXT NOT NULL,
    content BLOB NOT NULL
);
"""
_TYPES: Final = {"transaction.cleared": SALE, "transaction.force_posted": SALE, "transaction.refunded": CREDIT}
# What the network charges for a sale: 0.13 %, a cent at least.
_FEE_RATE: Final = Decimal("0.0013")
_PIECE: Final = 64 * 1024
_WHOLE: Final = frozenset({"JPY", "KRW", "CLP", "ISK", "VND", "XAF", "XOF", "XPF"})

Fault = Literal["cut", "total", "checksum", "changed"]


class SettleNow(BaseModel):
    """A file to cut; `fault` breaks it: its end missing, a wrong sum, a wrong byte, or other bytes under the last file's id."""

    model_config = ConfigDict(extra="forbid", strict=True)

    fault: Fault | None = None


class Settlement:
    """Lists authorizations as the network remembers them, and cuts a file of a day's events once that day is over."""

    def __init__(self, setting: Setting) -> None:
        """Read the network's storage, and keep what was cut in it."""
        self._database = open_database(setting.data / "network.db", _SCHEMA)
        self._clock: ClockFile = setting.clock

    def close(self) -> None:
        """Close the storage."""
        self._database.close()

    def transactions(self, since: datetime, after: int, limit: int) -> dict[str, Any]:
        """Authorizations that changed at a time or later, in the order of their last request."""
        rows = self._database.execute(
            "SELECT a.seq, a.authorization_id, a.card_token, a.request, a.answer, "
            "max(a.sent_at, coalesce(max(e.occurred_at), '')) AS changed_at FROM authorizations a "
            "LEFT JOIN events e ON e.card_token = a.card_token "
            "AND e.authorization_id = a.authorization_id WHERE a.seq > ? "
            "AND (a.http_status IS NULL OR a.http_status < 400 OR a.http_status >= 500) "
            "AND NOT EXISTS (SELECT 1 FROM authorizations later "
            "WHERE later.card_token = a.card_token AND later.authorization_id = a.authorization_id AND later.seq > a.seq) "
            "GROUP BY a.seq HAVING changed_at >= ? ORDER BY a.seq LIMIT ?",
            (after, rfc3339(since), limit + 1),
        ).fetchall()
        more = len(rows) > limit
        return {
            "data": [self._shown(row) for row in rows[:limit]],
            "next_cursor": str(rows[limit - 1]["seq"]) if more else None,
            "has_more": more,
        }

    def _shown(self, row: sqlite3.Row) -> dict[str, Any]:
        request, answer = json.loads(row["request"]), json.loads(row["answer"])
        told = self._database.execute(
            "SELECT event_id, type, amount FROM events WHERE card_token = ? AND authorization_id = ? AND given_up = 0 "
            "GROUP BY event_id ORDER BY seq",
            (row["card_token"], row["authorization_id"]),
        ).fetchall()
        approved = Decimal(answer.get("approved_amount") or request["amount"]) if answer.get("decision") == "APPROVE" else None
        # What the network decided elsewhere counts over what the issuer answered.
        advised = [Decimal(event["amount"]) for event in told if event["type"] == "authorization.advice"]
        if advised:
            approved = advised[-1]
        cleared = [Decimal(event["amount"]) for event in told if _TYPES.get(event["type"]) == SALE]
        return {
            "authorization_id": row["authorization_id"],
            "card_token": row["card_token"],
            "state": "DECLINED" if approved is None else "APPROVED",
            "approved_amount": f"{approved or Decimal(0):.2f}",
            "cleared_amount": f"{sum(cleared, Decimal(0)):.2f}",
            "currency": request["currency"],
            "changed_at": row["changed_at"],
        }

    def files(self, since: datetime) -> list[dict[str, Any]]:
        """The files made since a time, the earliest first; what happened before today is in one of them from here on."""
        midnight = datetime.combine(self._clock.now().astimezone(UTC).date(), time(), UTC)
        if self._waiting(midnight):
            self.cut(midnight)
        rows = self._database.execute(
            "SELECT file_id, created_at, sha256 FROM settlement_files WHERE created_at >= ? ORDER BY seq", (rfc3339(since),)
        ).fetchall()
        return [dict(row) for row in rows]

    def content(self, file_id: str) -> bytes:
        """A file. Raises HTTPException 404."""
        row = self._database.execute("SELECT content FROM settlement_files WHERE file_id = ?", (file_id,)).fetchone()
        if row is None:
            raise HTTPException(404, "no such file")
        content: bytes = row["content"]
        return content

    def cut_now(self, fault: Fault | None) -> dict[str, Any]:
        """Make a file of all that happened until now and is in none yet. Raises HTTPException as `cut` does."""
        return self.cut(self._clock.now() + timedelta(milliseconds=1), fault)

    def cut(self, before: datetime, fault: Fault | None = None) -> dict[str, Any]:
        """Make a file of all that happened before a time and is in none yet.

        Raises HTTPException 409 where there is no file to change.
        """
        now = self._clock.now()
        file_id = f"set_{now:%Y%m%d}_{secrets.token_hex(4)}"
        if fault == "changed":
            last = self._database.execute("SELECT file_id FROM settlement_files ORDER BY seq DESC LIMIT 1").fetchone()
            if last is None:
                raise HTTPException(409, "there is no file yet")
            file_id = str(last["file_id"])
        events = self._waiting(before)
        batches = [
            (currency, [line for event in group for line in _lines(event)])
            for currency, group in groupby(events, key=lambda event: str(event["currency"]))
        ]
        content = _broken(b"".join(write_file(file_id, now, batches)), fault)
        digest = hashlib.sha256(content).hexdigest()
        self._database.execute(
            "INSERT INTO settlement_files (file_id, created_at, sha256, content) VALUES (?, ?, ?, ?) ON CONFLICT (file_id)"
            " DO UPDATE SET sha256 = excluded.sha256, content = excluded.content",
            (file_id, rfc3339(now), digest, content),
        )
        self._database.executemany(
            "INSERT INTO settled_events (event_id, file_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [(event["event_id"], file_id) for event in events],
        )
        return {"file_id": file_id, "sha256": digest, "events": len(events)}

    def _waiting(self, before: datetime) -> list[sqlite3.Row]:
        """Events that money moves for, once each, whether or not the issuer took them; by currency."""
        return self._database.execute(
            "SELECT event_id, type, card_token, authorization_id, amount, currency, occurred_at, request FROM events "
            "WHERE type IN ('transaction.cleared', 'transaction.force_posted', 'transaction.refunded') AND occurred_at < ? "
            "AND given_up = 0 AND amount NOT IN ('0', '0.0', '0.00') AND event_id NOT IN (SELECT event_id FROM settled_events) "
            "GROUP BY event_id ORDER BY currency, seq",
            (rfc3339(before),),
        ).fetchall()


def _lines(event: sqlite3.Row) -> Iterator[Line]:
    """An event's line, and for a sale the fee that the network charges."""
    request = json.loads(event["request"])
    category = (request.get("merchant") or {}).get("category_code") or ""
    occurred_at = datetime.fromisoformat(event["occurred_at"])
    told = {"card_token": event["card_token"], "authorization_id": event["authorization_id"] or "", "currency": event["currency"]}
    amount, kind = Decimal(event["amount"]), _TYPES[event["type"]]
    yield Line(
        type=kind,
        reference=event["event_id"],
        amount=amount,
        occurred_at=occurred_at,
        merchant_category=category,
        final=bool(request.get("final_clearing")),
        **told,
    )
    if kind == SALE:
        unit = Decimal(1) if event["currency"] in _WHOLE else Decimal("0.01")
        fee = max((amount * _FEE_RATE).quantize(unit), unit)
        yield Line(type=FEE, reference=f"fee_{event['event_id']}", amount=fee, occurred_at=occurred_at, **told)


def _broken(content: bytes, fault: Fault | None) -> bytes:
    """The file as a fault leaves it."""
    width = content.index(b"\n") + 1
    if fault == "cut":
        return content[:-width]
    if fault == "total":
        # The batch trailer's last digit of the debits.
        place = content.rindex(b"\n91") + 1 + 2 + 8 + 6 + 8 + 17
        return content[:place] + (b"1" if content[place : place + 1] != b"1" else b"2") + content[place + 1 :]
    if fault == "checksum":
        place = len(content) - width + 24
        return content[:place] + (b"0" if content[place : place + 1] != b"0" else b"1") + content[place + 1 :]
    return content


def routes(setting: Setting, settlement: Settlement) -> APIRouter:
    """GET /v1/transactions, /v1/settlement-files and /v1/settlement-files/{file_id}; POST /simulate/settlement-file."""
    router = APIRouter()
    known = [Depends(bearer(setting.api_key))]

    @router.get("/v1/transactions", dependencies=known)
    async def list_transactions(
        since: datetime,
        cursor: Annotated[str, Query(pattern=r"^[0-9]{1,15}$")] = "0",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        """Authorizations that changed since a time, each as it stands."""
        return settlement.transactions(since, int(cursor), limit)

    @router.get("/v1/settlement-files", dependencies=known)
    async def list_files(since: datetime) -> dict[str, Any]:
        """Settlement files made since a time, the earliest first."""
        return {"data": settlement.files(since)}

    @router.get("/v1/settlement-files/{file_id}", dependencies=known)
    async def get_file(file_id: str) -> StreamingResponse:
        """One file, as it was cut."""
        content = settlement.content(file_id)
        pieces = (content[start : start + _PIECE] for start in range(0, len(content), _PIECE))
        return StreamingResponse(pieces, media_type="text/plain; charset=us-ascii")

    @router.post("/simulate/settlement-file")
    async def settle_now(wanted: SettleNow) -> dict[str, Any]:
        """Cut a file now of all that is in none yet, broken if so wanted."""
        return settlement.cut_now(wanted.fault)

    return router
