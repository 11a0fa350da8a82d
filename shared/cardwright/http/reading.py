"""Reading requests: target, query, size, media type."""

from typing import Any
from urllib.parse import urlencode

from fastapi import params
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from starlette.requests import Request
from starlette.types import Message

from cardwright.kernel.errors import FieldError, InvalidFieldsError, PayloadTooLargeError, UnsupportedMediaTypeError


def target(request: Request) -> str:
    """Path and query of a request, the same for parameters in another order; values of one name keep theirs."""
    pairs = sorted(request.query_params.multi_items(), key=lambda pair: pair[0])
    return f"{request.url.path}?{urlencode(pairs)}" if pairs else request.url.path


def query_names(dependant: Dependant) -> frozenset[str]:
    """The query parameters a route declares."""
    others = (params.Path, params.Header, params.Cookie)
    return frozenset(field.alias for field in get_flat_params(dependant) if not isinstance(field.field_info, others))


def check_query(request: Request, known: frozenset[str]) -> None:
    """Raise InvalidFieldsError unknown_field for parameters the endpoint does not read: a misspelt filter filters nothing."""
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        # A client chose these names: no more of one is shown than is needed to find it, as with fields of a body.
        raise InvalidFieldsError([FieldError(name[:64], "unknown_field", "This field is not known.") for name in unknown])


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
