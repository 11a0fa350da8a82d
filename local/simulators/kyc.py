"""The KYC provider: takes a verification, decides it a second later and calls back at least once."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from datetime import date
from typing import Annotated, Any, Final

import httpx
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from local.clock import rfc3339
from local.simulators.faults import Misbehaviour
from local.simulators.serving import (
    Setting,
    arguments,
    bearer,
    new_app,
    open_database,
    read_setting,
    required,
    serve,
)
from local.simulators.signing import Signer

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS verifications (
    id TEXT PRIMARY KEY, event_id TEXT NOT NULL, reference TEXT NOT NULL, outcome TEXT NOT NULL,
    callback_url TEXT NOT NULL, created_at TEXT NOT NULL, decided_at TEXT, delivered INTEGER NOT NULL DEFAULT 0
);
"""
_DECISION_S: Final = 1.0
_RETRIES_S: Final = (0.3, 0.6, 1.2, 2.4, 4.8)
_LONGEST_HOLD_S: Final = 2.0
_CALLBACK_TIMEOUT_S: Final = 5.0
_OUTCOMES: Final = {"reject": "declined", "review": "review"}
log = logging.getLogger("local.simulators.kyc")


class Document(BaseModel):
    """An identity document."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Annotated[str, Field(min_length=1, max_length=40)]
    number: Annotated[str, Field(min_length=1, max_length=64)]


class VerificationRequest(BaseModel):
    """A person to verify."""

    model_config = ConfigDict(extra="forbid")

    reference: Annotated[str, Field(min_length=1, max_length=128)]
    first_name: Annotated[str, Field(min_length=1, max_length=100)]
    last_name: Annotated[str, Field(min_length=1, max_length=100)]
    date_of_birth: date
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    document: Document
    callback_url: HttpUrl


class Verifications:
    """Verifications and their callbacks. Of the person only the outcome is kept."""

    def __init__(self, setting: Setting, signer: Signer, misbehaviour: Misbehaviour) -> None:
        """Open the storage."""
        self._database = open_database(setting.data / "kyc.db", _SCHEMA)
        self._clock = setting.clock
        self._signer = signer
        self._misbehaviour = misbehaviour
        self._http = httpx.AsyncClient(timeout=_CALLBACK_TIMEOUT_S, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, request: VerificationRequest) -> str:
        """Take a verification and begin with it."""
        verification_id = f"ver_{secrets.token_hex(12)}"
        outcome = _OUTCOMES.get(request.last_name.strip().lower(), "approved")
        self._database.execute(
            "INSERT INTO verifications (id, event_id, reference, outcome, callback_url, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            (
                verification_id,
                f"evt_{secrets.token_hex(12)}",
                request.reference,
                outcome,
                str(request.callback_url),
                rfc3339(self._clock.now()),
            ),
        )
        self._begin(verification_id)
        return verification_id

    def resume(self) -> None:
        """Go on with every verification whose outcome was not delivered before the last stop."""
        for row in self._database.execute("SELECT id FROM verifications WHERE NOT delivered").fetchall():
            self._begin(row["id"])

    def find(self, verification_id: str) -> sqlite3.Row | None:
        """A verification."""
        row: sqlite3.Row | None = self._database.execute(
            "SELECT * FROM verifications WHERE id = ?", (verification_id,)
        ).fetchone()
        return row

    async def close(self) -> None:
        """Stop; undelivered callbacks are resumed by the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()
        self._database.close()

    def _begin(self, verification_id: str) -> None:
        task = asyncio.create_task(self._work(verification_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, verification_id: str) -> None:
        await asyncio.sleep(_DECISION_S)
        self._database.execute(
            "UPDATE verifications SET decided_at = ? WHERE id = ? AND decided_at IS NULL",
            (rfc3339(self._clock.now()), verification_id),
        )
        await self._misbehaviour.hold_back(_LONGEST_HOLD_S)
        row = self.find(verification_id)
        if row is None:
            return
        delivered = await self._deliver(row)
        if delivered and self._misbehaviour.twice():
            await self._post(row)
        self._misbehaviour.gone_out()

    async def _deliver(self, row: sqlite3.Row) -> bool:
        for pause_s in (*_RETRIES_S, None):
            if await self._post(row):
                self._database.execute("UPDATE verifications SET delivered = 1 WHERE id = ?", (row["id"],))
                return True
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        log.warning("callback for %s not taken after %d attempts; the next start tries again", row["id"], len(_RETRIES_S) + 1)
        return False

    async def _post(self, row: sqlite3.Row) -> bool:
        body = json.dumps(
            {
                "event_id": row["event_id"],
                "type": "verification.completed",
                "id": row["id"],
                "reference": row["reference"],
                "status": row["outcome"],
                "occurred_at": row["decided_at"],
            }
        )
        headers = self._signer.headers(body, row["event_id"])
        try:
            answer = await self._http.post(row["callback_url"], content=body, headers=headers)
        except httpx.HTTPError:
            return False
        return answer.is_success


def make_app(setting: Setting, signer: Signer, misbehaviour: Misbehaviour) -> FastAPI:
    """The simulator's application."""
    verifications = Verifications(setting, signer, misbehaviour)

    @contextlib.asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        verifications.resume()
        yield
        await verifications.close()

    app = new_app("KYC provider simulator", life)
    guard = [Depends(bearer(setting.api_key))]

    @app.post("/v1/verifications", status_code=202, dependencies=guard)
    async def create_verification(request: VerificationRequest) -> dict[str, str]:
        """Begin a verification."""
        return {"id": verifications.start(request), "status": "pending"}

    @app.get("/v1/verifications/{verification_id}", dependencies=guard)
    async def get_verification(verification_id: str) -> dict[str, Any]:
        """How a verification stands."""
        row = verifications.find(verification_id)
        if row is None:
            raise HTTPException(404, "no such verification")
        status = row["outcome"] if row["decided_at"] else "pending"
        return {"id": row["id"], "reference": row["reference"], "status": status, "created_at": row["created_at"]}

    return app


def main() -> None:
    """Serve until SIGTERM."""
    parser = arguments("kyc", "KYC provider simulator.")
    parser.add_argument("--secret", help="what callbacks are signed with, whsec_...; or KYC_SECRET")
    options = parser.parse_args()
    setting = read_setting(parser, options)
    signer = Signer(required(parser, options.secret or os.environ.get("KYC_SECRET"), "--secret"), setting.clock)
    misbehaviour = Misbehaviour(setting.faults, "kyc")
    serve(make_app(setting, signer, misbehaviour), misbehaviour, setting.port)


if __name__ == "__main__":
    main()
