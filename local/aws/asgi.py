"""The little of ASGI the emulator needs: read a bounded body, send one answer."""

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LARGEST_BODY_BYTES: Final = 64 * 1024 * 1024


class BodyTooLargeError(Exception):
    """More body than the emulator takes."""


class ClientGoneError(Exception):
    """The client hung up before its body was complete."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One whole request."""

    method: str
    path: str
    raw_path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    named: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Index the headers by lower-case name; the last of a name counts."""
        object.__setattr__(self, "named", {name.lower(): value for name, value in self.headers})


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One whole answer."""

    status: int
    headers: Iterable[tuple[str, str]]
    body: bytes


def json_answer(status: int, value: object, headers: Iterable[tuple[str, str]] = ()) -> HttpAnswer:
    """An answer in JSON."""
    return HttpAnswer(status, [("Content-Type", "application/json"), *headers], json.dumps(value).encode())


async def read_request(scope: Scope, receive: Receive) -> HttpRequest:
    """Read a request to its end. Raises BodyTooLargeError and ClientGoneError."""
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > LARGEST_BODY_BYTES:
            raise BodyTooLargeError
        chunks.append(chunk)
        if not message.get("more_body", False):
            break
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    raw_path = scope["raw_path"].split(b"?", 1)[0].decode("latin-1")
    return HttpRequest(
        scope["method"], scope["path"], raw_path, scope["query_string"].decode("latin-1"), headers, b"".join(chunks)
    )


async def send_answer(send: Send, answer: HttpAnswer) -> None:
    """Send an answer, its length stated unless it states one itself."""
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if not any(name == b"content-length" for name, _ in headers):
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
