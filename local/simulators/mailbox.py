"""The mailbox: what was delivered, kept, and shown to people as a page."""

import json
import sqlite3
from collections.abc import Sequence
from html import escape
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, channel TEXT NOT NULL, recipient TEXT NOT NULL,
    subject TEXT, body TEXT NOT NULL, data TEXT NOT NULL, sent_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_recipient ON messages (recipient, seq);
CREATE TABLE IF NOT EXISTS taken (key TEXT PRIMARY KEY, id TEXT NOT NULL);
"""
# Scripts and anything from elsewhere are refused: what is shown was written by whoever sent it.
POLICY: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# So many messages the page lists at most.
PAGE: Final = 200
_STYLE: Final = (
    "body{font:15px system-ui;margin:2rem;max-width:70rem}table{border-collapse:collapse;width:100%}"
    "td{padding:.4rem 1rem .4rem 0;vertical-align:top}tr{border-top:1px solid #ccc}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font:inherit}form{margin:1rem 0}"
    "dt{color:#555}dd{margin:0 0 .6rem}input,select,button{font:inherit;padding:.2rem .4rem}"
)

Channel = Literal["email", "sms", "push"]


class MessageRequest(BaseModel):
    """A message to deliver."""

    model_config = ConfigDict(extra="forbid", strict=True)

    channel: Channel
    to: Annotated[str, Field(min_length=1, max_length=4096)]
    subject: Annotated[str, Field(max_length=998)] | None = None
    body: Annotated[str, Field(max_length=100_000)]
    data: dict[str, Any] = Field(default_factory=dict)


class Mailbox:
    """What was delivered, in order."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Keep messages in `database`."""
        self._database = database

    def taken(self, key: str) -> str | None:
        """The id of the message that was taken under an idempotency key, if one was."""
        row = self._database.execute("SELECT id FROM taken WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row["id"])

    def take(self, key: str | None, message_id: str, message: MessageRequest, sent_at: str, times: int) -> None:
        """Deliver a message, so many times; a key is remembered with it."""
        with self._database:
            self._database.execute("BEGIN")
            if key is not None:
                self._database.execute("INSERT INTO taken (key, id) VALUES (?, ?)", (key, message_id))
            values = (message_id, message.channel, message.to, message.subject, message.body, json.dumps(message.data), sent_at)
            self._database.executemany(
                "INSERT INTO messages (id, channel, recipient, subject, body, data, sent_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [values] * times,
            )

    def latest(
        self, limit: int, to: str | None = None, channel: str | None = None, text: str | None = None
    ) -> list[dict[str, Any]]:
        """The latest `limit` messages, newest first: to one recipient, over one channel, with a text in them."""
        rows = self._database.execute(
            "SELECT * FROM messages WHERE (?1 IS NULL OR recipient = ?1) AND (?2 IS NULL OR channel = ?2)"
            " AND (?3 IS NULL OR instr(lower(recipient || char(10) || coalesce(subject, '') || char(10) || body), lower(?3)))"
            " ORDER BY seq DESC LIMIT ?4",
            (to, channel, text, limit),
        ).fetchall()
        return [_document(row) for row in rows]

    def one(self, seq: int) -> dict[str, Any] | None:
        """One message by its place in the mailbox."""
        row = self._database.execute("SELECT * FROM messages WHERE seq = ?", (seq,)).fetchone()
        return None if row is None else _document(row)

    def clear(self) -> None:
        """Throw all messages away."""
        self._database.execute("DELETE FROM messages")


def _document(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "seq": row["seq"],
        "channel": row["channel"],
        "to": row["recipient"],
        "subject": row["subject"],
        "body": row["body"],
        "sent_at": row["sent_at"],
        "data": json.loads(row["data"]),
    }


def list_page(messages: Sequence[dict[str, Any]], to: str | None, channel: str | None, text: str | None) -> str:
    """The mailbox for people: a search, and what it found, newest first."""
    options = "".join(
        f"<option value='{name}'{' selected' if name == (channel or '') else ''}>{name or 'every channel'}</option>"
        for name in ("", "email", "sms", "push")
    )
    kept = f"<input type=hidden name=to value='{escape(to)}'>" if to else ""
    search = (
        f"<form action='/' method=get>{kept}<input type=search name=q value='{escape(text or '')}' placeholder='Search'> "
        f"<select name=channel>{options}</select> <button>Show</button></form>"
    )
    rows = "".join(
        f"<tr><td><a href='/view/{message['seq']}'>{escape(message['sent_at'])}</a></td><td>{escape(message['channel'])}</td>"
        f"<td><a href='/?{escape(urlencode({'to': message['to']}))}'>{escape(_short(message['to'], 60))}</a></td>"
        f"<td><b>{escape(message['subject'] or '')}</b><pre>{escape(_short(message['body'], 300))}</pre></td></tr>"
        for message in messages
    )
    whose = f" of {escape(_short(to, 60))}" if to else ""
    return _page(f"<h1>Mailbox{whose}</h1>{search}<table>{rows or '<tr><td>No message.'}</table>")


def message_page(message: dict[str, Any]) -> str:
    """One message, whole."""
    told = [("Channel", message["channel"]), ("To", message["to"]), ("Sent", message["sent_at"]), ("Id", message["id"])]
    told += [(f"Data: {name}", str(value)) for name, value in message["data"].items()]
    parts = "".join(f"<dt>{escape(name)}</dt><dd><pre>{escape(value)}</pre></dd>" for name, value in told)
    title = escape(message["subject"] or "No subject")
    return _page(f"<p><a href='/'>Mailbox</a></p><h1>{title}</h1><pre>{escape(message['body'])}</pre><hr><dl>{parts}</dl>")


def _page(content: str) -> str:
    return f"<!doctype html><html lang=en><meta charset=utf-8><title>Mailbox</title><style>{_STYLE}</style>{content}</html>"


def _short(text: str, at_most: int) -> str:
    return text if len(text) <= at_most else text[:at_most] + "..."
