"""Identifiers: UUID version 7 (RFC 9562, section 5.7), made from a time and entropy given by the caller."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

ENTROPY_BYTES = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
# Where the version (4 bits), the fraction of the millisecond (12 bits) and the variant (2 bits) stand among the 80 that follow
# the time.
_MARKED = ~(0xFFFF << 64 | 0x3 << 62)
_MARKS = 0x7 << 76 | 0x2 << 62
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def uuid7(moment: datetime, entropy: bytes) -> UUID:
    """Build a UUIDv7 from an aware time and 10 random bytes. Raises ValueError on other lengths.

    Microseconds take the place of the first random bits (RFC 9562, section 6.2, method 3): what one process makes one after the
    other sorts in that order, and so do the events of a card.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError("uuid7 takes 10 bytes of entropy")
    milliseconds, rest = divmod(moment - _EPOCH, _MILLISECOND)
    fraction = (rest // _MICROSECOND << 12) // 1000
    return UUID(int=milliseconds << 80 | fraction << 64 | int.from_bytes(entropy, "big") & _MARKED | _MARKS)


def sane_request_id(value: str | None) -> str | None:
    """A caller's own request id, when it is a plain token that may go into logs and headers."""
    return value if value is not None and _SANE_ID.fullmatch(value) else None
