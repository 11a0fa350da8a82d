"""How a simulator is served: command line, storage, API key, health, and a stop within two seconds."""

import argparse
import contextlib
import hmac
import os
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from local import serving as local_serving
from local.clock import ClockFile
from local.simulators.faults import Application, FaultFile, FaultyApi, Misbehaviour

_LONGEST_LOG_PAGES: Final = 16_384
_CARRY_OVER_S: Final = 0.5

Life: TypeAlias = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Setting:
    """What every simulator is started with."""

    port: int
    data: Path
    clock: ClockFile
    faults: FaultFile
    # Several are separated by commas, and each of them opens: so keys are rotated.
    api_key: str


def arguments(party: str, description: str) -> argparse.ArgumentParser:
    """A parser of the options all simulators have; keys and secrets may come from the environment instead."""
    parser = argparse.ArgumentParser(prog=f"python -m local.simulators.{party}", description=description)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder for this simulator's own storage")
    parser.add_argument("--clock", type=Path, help="the shared clock file; default clock in the folder above --data")
    parser.add_argument("--faults", type=Path, help="the shared faults file; default faults.json beside the clock")
    variable = f"{party.upper()}_API_KEY"
    parser.add_argument("--api-key", default=os.environ.get(variable), help=f"one, or several with commas; or {variable}")
    return parser


def required(parser: argparse.ArgumentParser, value: str | None, option: str) -> str:
    """The value of an option that must be given one way or the other; ends the program if it is not."""
    if not value:
        parser.error(f"{option} is missing")
    return value


def read_setting(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Setting:
    """What the common options say."""
    data: Path = options.data
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    clock = options.clock or data.parent / "clock"
    faults = options.faults or clock.parent / "faults.json"
    api_key = required(parser, options.api_key, "--api-key")
    return Setting(options.port, data, ClockFile.create(clock), FaultFile(faults), api_key)


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """A simulator's own storage: what was committed survives the death of the process.

    What waits in the log is carried over into the file by a thread of its own, for as long as the process lives.
    """
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.row_factory = sqlite3.Row
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    # Only if that thread is left behind: to carry over waits for the disk, and all requests would wait with it.
    database.execute(f"PRAGMA wal_autocheckpoint={_LONGEST_LOG_PAGES}")
    database.executescript(schema)
    threading.Thread(target=_carry_over, args=(path,), daemon=True).start()
    return database


def _carry_over(path: Path) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    while True:
        time.sleep(_CARRY_OVER_S)
        with contextlib.suppress(sqlite3.OperationalError):
            database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def add_column(database: sqlite3.Connection, table: str, column: str, kind: str) -> None:
    """Give a table of a storage from an earlier version a column it has not got yet. Names come from code, never from outside."""
    known = {row["name"] for row in database.execute(f"PRAGMA table_info({table})").fetchall()}
    if column not in known:
        database.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")


def bearer(api_key: str) -> Callable[[str], Awaitable[None]]:
    """A dependency that lets only the holder of an API key in; `api_key` is one, or several with commas."""
    wanted = [f"Bearer {key.strip()}".encode() for key in api_key.split(",") if key.strip()]

    # A coroutine, because a plain function would cost each call a turn in the thread pool.
    async def check(authorization: Annotated[str, Header()] = "") -> None:
        given = authorization.encode()
        fits = [hmac.compare_digest(given, key) for key in wanted]
        if not any(fits):
            raise HTTPException(401, "the API key is missing or wrong", {"WWW-Authenticate": "Bearer"})

    return check


def serve(app: FastAPI, misbehaviour: Misbehaviour, port: int) -> None:
    """Serve until SIGTERM, the party's faults in front."""
    faulty: Application = FaultyApi(app, misbehaviour)
    local_serving.serve(faulty, port)


def new_app(title: str, life: Life | None = None) -> FastAPI:
    """An application with GET /healthz, whose refusals do not repeat what was sent: it may be a name or a document."""
    app = FastAPI(title=title, docs_url=None, redoc_url=None, lifespan=life)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.exception_handler(RequestValidationError)
    async def refuse(_request: Request, error: RequestValidationError) -> JSONResponse:
        return unprocessable(error.errors())

    return app


def unprocessable(found: Sequence[Any]) -> JSONResponse:
    """A 422 that says where and why, from pydantic's list of errors."""
    errors = [{"field": ".".join(str(part) for part in error["loc"]), "detail": error["msg"]} for error in found]
    return JSONResponse({"error": {"code": "invalid_request", "errors": errors}}, 422)
