"""Reading requests: request id, size, media type."""

import re
from typing import Any

from starlette.requests import Request
from starlette.types import Message

from cardwright.kernel.errors import PayloadTooLargeError, UnsupportedMediaTypeError

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def sane_request_id(value: str | None) -> str | None:
    """A caller's own request id, when it is a plain token that may go into logs and headers."""
    return value if value is not None and _SANE_ID.fullmatch(value) else None


def check_size(body: bytes, limit: int) -> None:
    """Raise PayloadTooLargeError over the row's limit."""
    if len(body) > limit:
        raise PayloadTooLargeError(f"A body holds at most {limit} bytes.")


def check_media_type(content_type: str | None) -> None:
    """Raise UnsupportedMediaTypeError for anything but JSON in UTF-8."""
    media_type, _, parameters = (content_type or "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if media_type.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise UnsupportedMediaTypeError("Send application/json in UTF-8.")


class ParsedRequest(Request):
    """A request whose body was read and parsed before FastAPI looks at it."""

    def __init__(self, request: Request, body: bytes, value: Any) -> None:
        super().__init__(request.scope, _nothing_more)
        self._body = body
        self._value = value

    async def json(self) -> Any:
        """The value parsed before."""
        return self._value


async def _nothing_more() -> Message:
    return {"type": "http.disconnect"}
