"""The message channels: takes mail, SMS and push as a provider would, and shows them as a mailbox."""

import secrets
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Response
from fastapi.responses import HTMLResponse

from local.clock import rfc3339
from local.simulators import mailbox
from local.simulators.faults import Misbehaviour
from local.simulators.mailbox import Channel, Mailbox, MessageRequest
from local.simulators.serving import Setting, arguments, bearer, new_app, open_database, read_setting, serve

_LONGEST_HOLD_S = 1.0

Text = Annotated[str | None, Query(max_length=4096)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


def make_app(setting: Setting, misbehaviour: Misbehaviour) -> FastAPI:
    """The simulator's application."""
    box = Mailbox(open_database(setting.data / "messages.db", mailbox.SCHEMA))
    app = new_app("Message channels simulator")

    @app.post("/v1/messages", status_code=202, dependencies=[Depends(bearer(setting.api_key))])
    async def send_message(message: MessageRequest, key: Key = None) -> dict[str, str]:
        """Take a message; it is in the mailbox before the answer, and a repeat under the same key is not there twice."""
        faults = misbehaviour.messages()
        if message.to in faults.dead_addresses:
            raise HTTPException(410, "this address takes nothing any more")
        if message.to in faults.refused_addresses or message.channel in faults.refused_channels:
            raise HTTPException(422, "this message is not taken")
        await misbehaviour.hold_back(_LONGEST_HOLD_S)
        known = None if key is None else box.taken(key)
        if known is not None:
            return {"id": known}
        message_id = f"msg_{secrets.token_hex(12)}"
        box.take(key, message_id, message, rfc3339(setting.clock.now()), 2 if misbehaviour.twice() else 1)
        misbehaviour.gone_out()
        return {"id": message_id}

    _show(app, box)
    return app


def _show(app: FastAPI, box: Mailbox) -> None:
    @app.get("/messages")
    async def list_messages(
        to: Text = None,
        channel: Channel | None = None,
        q: Text = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    ) -> list[dict[str, Any]]:
        """The latest messages, oldest first."""
        return box.latest(limit, to, channel, q)[::-1]

    @app.delete("/messages", status_code=204)
    async def clear_messages() -> Response:
        """Empty the mailbox."""
        box.clear()
        return Response(status_code=204)

    @app.get("/", response_class=HTMLResponse)
    async def page(to: Text = None, channel: Text = None, q: Text = None) -> HTMLResponse:
        """The mailbox for people; fields of its form that are left empty ask for nothing."""
        to, channel, q = to or None, channel or None, q or None
        found = box.latest(mailbox.PAGE, to, channel, q)
        return HTMLResponse(mailbox.list_page(found, to, channel, q), headers=mailbox.POLICY)

    @app.get("/view/{seq}", response_class=HTMLResponse)
    async def view(seq: int) -> HTMLResponse:
        """One message for people."""
        message = box.one(seq) if seq.bit_length() < 63 else None
        if message is None:
            raise HTTPException(404, "there is no such message")
        return HTMLResponse(mailbox.message_page(message), headers=mailbox.POLICY)


def main() -> None:
    """Serve until SIGTERM."""
    parser = arguments("messages", "Message channels simulator.")
    setting = read_setting(parser, parser.parse_args())
    misbehaviour = Misbehaviour(setting.faults, "messages")
    serve(make_app(setting, misbehaviour), misbehaviour, setting.port)


if __name__ == "__main__":
    main()
