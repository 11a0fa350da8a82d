"""The message channels: takes mail, SMS and push as a provider would, and shows them as a mailbox."""

import json
import secrets
import sqlite3
from html import escape
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from local.clock import rfc3339
from local.simulators.faults import Misbehaviour
from local.simulators.serving import Setting, arguments, bearer, new_app, open_database, read_setting, serve

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, channel TEXT NOT NULL, recipient TEXT NOT NULL,
    subject TEXT, body TEXT NOT NULL, data TEXT NOT NULL, sent_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_recipient ON messages (recipient, seq);
"""
_LONGEST_HOLD_S = 1.0


class MessageRequest(BaseModel):
    """A message to deliver."""

    model_config = ConfigDict(extra="forbid", strict=True)

    channel: Literal["email", "sms", "push"]
    to: Annotated[str, Field(min_length=1, max_length=512)]
    subject: Annotated[str, Field(max_length=998)] | None = None
    body: Annotated[str, Field(max_length=100_000)]
    data: dict[str, Any] = Field(default_factory=dict)


class Mailbox:
    """What was delivered, in order."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Keep messages in `database`."""
        self._database = database

    def add(self, message_id: str, message: MessageRequest, sent_at: str) -> None:
        """Deliver a message."""
        self._database.execute(
            "INSERT INTO messages (id, channel, recipient, subject, body, data, sent_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                message_id,
                message.channel,
                message.to,
                message.subject,
                message.body,
                json.dumps(message.data),
                sent_at,
            ),
        )

    def latest(self, to: str | None, limit: int) -> list[dict[str, Any]]:
        """The latest `limit` messages, to one recipient or to all, the oldest of them first."""
        rows = self._database.execute(
            "SELECT * FROM messages WHERE ?1 IS NULL OR recipient = ?1 ORDER BY seq DESC LIMIT ?2", (to, limit)
        ).fetchall()
        return [
            {
                "id": row["id"],
                "channel": row["channel"],
                "to": row["recipient"],
                "subject": row["subject"],
                "body": row["body"],
                "sent_at": row["sent_at"],
                "data": json.loads(row["data"]),
            }
            for row in reversed(rows)
        ]

    def clear(self) -> None:
        """Throw all messages away."""
        self._database.execute("DELETE FROM messages")


def make_app(setting: Setting, misbehaviour: Misbehaviour) -> FastAPI:
    """The simulator's application."""
    mailbox = Mailbox(open_database(setting.data / "messages.db", _SCHEMA))
    app = new_app("Message channels simulator")

    @app.post("/v1/messages", status_code=202, dependencies=[Depends(bearer(setting.api_key))])
    async def send_message(message: MessageRequest) -> dict[str, str]:
        """Take a message; it is in the mailbox before the answer."""
        message_id = f"msg_{secrets.token_hex(12)}"
        await misbehaviour.hold_back(_LONGEST_HOLD_S)
        for _ in range(2 if misbehaviour.twice() else 1):
            mailbox.add(message_id, message, rfc3339(setting.clock.now()))
        misbehaviour.gone_out()
        return {"id": message_id}

    @app.get("/messages")
    async def list_messages(to: str | None = None, limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000) -> list[dict[str, Any]]:
        """The latest messages, oldest first."""
        return mailbox.latest(to, limit)

    @app.delete("/messages", status_code=204)
    async def clear_messages() -> Response:
        """Empty the mailbox."""
        mailbox.clear()
        return Response(status_code=204)

    @app.get("/", response_class=HTMLResponse)
    async def page(to: str | None = None) -> HTMLResponse:
        """The mailbox for people."""
        policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(_page(mailbox.latest(to, 200)), headers=policy)

    return app


def _page(messages: list[dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{escape(message['sent_at'])}</td><td>{message['channel']}</td><td>{escape(message['to'])}</td>"
        f"<td><b>{escape(message['subject'] or '')}</b><pre>{escape(message['body'])}</pre></td></tr>"
        for message in reversed(messages)
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Mailbox</title>"
        "<style>body{font:15px system-ui;margin:2rem}td{padding:.4rem 1rem;vertical-align:top}tr{border-top:1px solid}"
        "pre{white-space:pre-wrap;margin:0;font:inherit}</style>"
        f"<h1>Mailbox</h1><table>{rows or '<tr><td>No message yet.'}</table></html>"
    )


def main() -> None:
    """Serve until SIGTERM."""
    parser = arguments("messages", "Message channels simulator.")
    setting = read_setting(parser, parser.parse_args())
    misbehaviour = Misbehaviour(setting.faults, "messages")
    serve(make_app(setting, misbehaviour), misbehaviour, setting.port)


if __name__ == "__main__":
    main()
