"""The pieces of ASGI the gateway uses: types, reading a bounded body, sending an answer."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from local.gateway.limits import DRAIN_BYTES

# RFC 9110, 8.6: no Content-Length here.
_WITHOUT_LENGTH = (204, 304)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class BodyTooLargeError(Exception):
    """The request's body is over the limit."""


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


@dataclass(slots=True)
class Answer:
    """An HTTP answer: status, header pairs in lower case, body."""

    status: int
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


async def read_body(receive: Receive, limit: int) -> bytes:
    """Read the whole body. Raises BodyTooLargeError over `limit` bytes, ClientGoneError when the client leaves."""
    message = await receive()
    first: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(first) <= limit:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        return first
    chunks, size = [first], len(first)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif size > DRAIN_BYTES:
            break
    if size > limit:
        raise BodyTooLargeError
    return b"".join(chunks)


async def send_answer(send: Send, answer: Answer, *, close: bool = False) -> None:
    """Send `answer` with its length; `close` ends the connection after it."""
    headers = list(answer.headers)
    if answer.status not in _WITHOUT_LENGTH:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
