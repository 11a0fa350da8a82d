"""Keyset paging with opaque signed cursors: a tampered one, or another list's, is refused."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from cardwright.kernel.errors import InvalidRequestError
from cardwright.kernel.secret import Secret

T = TypeVar("T")
_SIGNATURE_BYTES = 16

Limit = Annotated[int, Query(ge=1, le=200, description="Items a page holds at most.")]
CursorText = Annotated[str | None, Query(description="`next_cursor` of the page before.")]


class Pagination(BaseModel):
    """Where the next page begins, if there is one."""

    next_cursor: str | None = Field(description="Opaque; null on the last page.")
    has_more: bool


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    data: list[T]
    pagination: Pagination


def sign(keys: Sequence[Secret[bytes]], list_name: str, position: UUID) -> str:
    """Make the cursor that points after `position` in the named list."""
    return base64.urlsafe_b64encode(position.bytes + _signature(keys[0], list_name, position.bytes)).decode().rstrip("=")


def read(keys: Sequence[Secret[bytes]], list_name: str, cursor: str) -> UUID:
    """Return the position of a cursor. Raises InvalidRequestError cursor_invalid."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestError("The cursor is not one of ours.", code="cursor_invalid") from error
    position, signature = raw[:16], raw[16:]
    if len(raw) != 16 + _SIGNATURE_BYTES or not any(
        hmac.compare_digest(signature, _signature(key, list_name, position)) for key in keys
    ):
        raise InvalidRequestError("The cursor is not one of this list's.", code="cursor_invalid")
    return UUID(bytes=position)


def page(
    items: Sequence[T], limit: int, key_of: Callable[[T], UUID], keys: Sequence[Secret[bytes]], list_name: str
) -> tuple[list[T], Pagination]:
    """Cut a list fetched with one item more than `limit` into a page."""
    shown = list(items[:limit])
    more = len(items) > limit
    return shown, Pagination(next_cursor=sign(keys, list_name, key_of(shown[-1])) if more else None, has_more=more)


def _signature(key: Secret[bytes], list_name: str, position: bytes) -> bytes:
    return hmac.new(key.reveal(), list_name.encode() + b"\x00" + position, hashlib.sha256).digest()[:_SIGNATURE_BYTES]
