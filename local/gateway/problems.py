"""Answers the gateway itself gives, shaped as the deployed API's GatewayResponses: RFC 9457 problems."""

import json
import re
from typing import Final

from local.gateway.asgi import Answer

_SANE_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

_TITLES: Final = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    413: "Payload too large",
    429: "Too many requests",
    431: "Request header fields too large",
    502: "Bad gateway",
    504: "Gateway timeout",
}


def request_id_of(headers: list[tuple[bytes, bytes]], generated: str) -> str:
    """The caller's X-Request-Id when it is a sane token, else the generated one."""
    for name, value in headers:
        if name == b"x-request-id" and _SANE_REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    return generated


def problem(status: int, code: str, detail: str, request_id: str, extra: dict[str, str] | None = None) -> Answer:
    """A problem+json answer; `extra` holds further headers, names in lower case."""
    document = {
        "type": f"urn:cardwright:problem:{code}",
        "title": _TITLES[status],
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    headers = {
        "content-type": "application/problem+json",
        "cache-control": "no-store",
        "x-request-id": request_id,
        **(extra or {}),
    }
    return Answer(
        status,
        [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        json.dumps(document, separators=(",", ":")).encode(),
    )
