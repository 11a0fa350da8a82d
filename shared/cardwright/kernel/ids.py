"""Identifiers: UUID version 7 (RFC 9562, section 5.7), made from a time and entropy given by the caller."""

import re
from datetime import UTC, datetime
from uuid import UUID

ENTROPY_BYTES = 10
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def uuid7(moment: datetime, entropy: bytes) -> UUID:
    """Build a UUIDv7 from an aware time (millisecond precision) and 10 random bytes. Raises ValueError on other lengths."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError("uuid7 takes 10 bytes of entropy")
    since_epoch = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    milliseconds = since_epoch.days * 86_400_000 + since_epoch.seconds * 1000 + since_epoch.microseconds // 1000
    raw = bytearray(milliseconds.to_bytes(6, "big") + entropy)
    raw[6] = (raw[6] & 0x0F) | 0x70
    raw[8] = (raw[8] & 0x3F) | 0x80
    return UUID(bytes=bytes(raw))


def sane_request_id(value: str | None) -> str | None:
    """A caller's own request id, when it is a plain token that may go into logs and headers."""
    return value if value is not None and _SANE_ID.fullmatch(value) else None
