"""The processor's own view of a card: its number, expiry and CVV on a page, once, for whoever holds the page's address."""

import base64
import hashlib
import hmac
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from local.clock import ClockFile, rfc3339
from local.simulators.processor.cards import Cards
from local.simulators.serving import Setting, bearer

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS embeds (
    digest TEXT PRIMARY KEY, card_token TEXT NOT NULL, origins TEXT NOT NULL, expires_at TEXT NOT NULL, shown_at TEXT
);
CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""
_STYLE: Final = (
    "body{font:16px system-ui;margin:1rem}dt{color:#666;font-size:12px}dd{margin:0 0 .6rem;font-variant-numeric:tabular-nums}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_NOBODY: Final = "'none'"
_GROUP: Final = 4
_LONGEST_VIEW: Final = timedelta(days=1)


class EmbedRequest(BaseModel):
    """A view to open: until when, and the origins whose pages may hold it in a frame."""

    model_config = ConfigDict(extra="forbid")

    expires_at: AwareDatetime
    # An origin and no more: it goes into a header of the page.
    origins: Annotated[
        list[Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$")]], Field(max_length=20)
    ]


@dataclass(frozen=True, slots=True)
class View:
    """What one view shows, and the origins that may frame it."""

    pan: str
    exp_month: int
    exp_year: int
    cvv: str
    origins: str


class Embeds:
    """Views of cards. The address's secret is kept as a digest; the CVV is derived when it is shown and kept nowhere."""

    def __init__(self, database: sqlite3.Connection, clock: ClockFile) -> None:
        """Keep views beside the cards, and make the key of the CVVs if there is none yet."""
        database.executescript(_SCHEMA)
        database.execute("INSERT OR IGNORE INTO keys (name, value) VALUES ('cvv', ?)", (secrets.token_bytes(32),))
        self._key: bytes = database.execute("SELECT value FROM keys WHERE name = 'cvv'").fetchone()["value"]
        self._database = database
        self._clock = clock

    def open(self, token: str, origins: list[str], expires_at: datetime) -> str:
        """Make a view of a card and return the secret in its address.

        Raises HTTPException 422 unless the time lies within the day to come.
        """
        if not timedelta(0) < expires_at - self._clock.now() <= _LONGEST_VIEW:
            raise HTTPException(422, "expires_at is not within the day to come")
        secret = secrets.token_urlsafe(32)
        self._database.execute(
            "INSERT INTO embeds (digest, card_token, origins, expires_at) VALUES (?, ?, ?, ?)",
            (_digest(secret), token, " ".join(origins), rfc3339(expires_at)),
        )
        return secret

    def show(self, secret: str) -> View | None:
        """Use a view up; None when it was used, has expired or was never made, or the card is closed or gone by now.

        Of two at once one gets it: the same statement that finds the view takes it.
        """
        now = rfc3339(self._clock.now())
        taken = self._database.execute(
            "UPDATE embeds SET shown_at = ?1 WHERE digest = ?2 AND shown_at IS NULL AND expires_at > ?1"
            " AND EXISTS (SELECT 1 FROM cards WHERE token = card_token AND state <> 'CLOSED') RETURNING card_token, origins",
            (now, _digest(secret)),
        ).fetchall()
        if not taken:
            return None
        card = self._database.execute("SELECT * FROM cards WHERE token = ?", (taken[0]["card_token"],)).fetchone()
        return View(card["pan"], card["exp_month"], card["exp_year"], self._cvv(card), taken[0]["origins"])

    def origins(self, secret: str) -> str:
        """The origins of a view, used or not; none for one that was never made."""
        row = self._database.execute("SELECT origins FROM embeds WHERE digest = ?", (_digest(secret),)).fetchone()
        return "" if row is None else str(row["origins"])

    def _cvv(self, card: sqlite3.Row) -> str:
        face = f"{card['token']} {card['exp_year']:04d}-{card['exp_month']:02d}".encode()
        return f"{int.from_bytes(hmac.digest(self._key, face, 'sha256')) % 1_000:03d}"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _page(body: str, status: int, origins: str) -> HTMLResponse:
    """A page that runs nothing, fetches nothing, is kept by no cache and is framed by these origins alone."""
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors {origins or _NOBODY};"
        " base-uri 'none'; form-action 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>Card</title><style>{_STYLE}</style>"
    return HTMLResponse(f"{head}{body}</html>", status, headers)


def _face(view: View) -> str:
    number = " ".join(view.pan[start : start + _GROUP] for start in range(0, len(view.pan), _GROUP))
    expiry = f"{view.exp_month:02d}/{view.exp_year % 100:02d}"
    return (
        f"<dl><dt>Card number<dd id=number>{number}<dt>Expires<dd id=expiry>{expiry}<dt>Security code<dd id=cvv>{view.cvv}</dl>"
    )


def routes(setting: Setting, cards: Cards, embeds: Embeds) -> APIRouter:
    """POST /v1/cards/{token}/embed for the issuer, and GET /embed/{secret} for the cardholder's browser."""
    router = APIRouter()

    @router.post("/v1/cards/{token}/embed", dependencies=[Depends(bearer(setting.api_key))])
    async def open_view(token: str, wanted: EmbedRequest, request: Request) -> dict[str, str]:
        """Make a view of a card that is not closed, to be seen once; the address is under the one that was called."""
        if cards.find(token)["state"] == "CLOSED":
            raise HTTPException(409, "a closed card is not shown")
        secret = embeds.open(token, wanted.origins, wanted.expires_at)
        return {"url": f"{request.base_url}embed/{secret}"}

    @router.get("/embed/{secret}")
    async def show_view(secret: str) -> HTMLResponse:
        """The card, to the first who asks in time; to all others a page that says it is gone."""
        view = embeds.show(secret)
        if view is None:
            return _page("<p>This view has been used or has expired.</p>", 410, embeds.origins(secret))
        return _page(_face(view), 200, view.origins)

    return router
