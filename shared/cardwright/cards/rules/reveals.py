"""Reveals: how long and how often a card's number may be seen, and the token that is the permission to see it once."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from cardwright.kernel.secret import Secret

REVEALS_QUOTA = "card_reveals"
REVEALS_PER_HOUR = 10
REVEALS_WINDOW = timedelta(hours=1)
# From the permission to its use; the view that the processor then serves lives as long again.
REVEAL_LIFE = timedelta(seconds=60)
REVEAL_SECRET_BYTES = 32
_IDS_BYTES = 32
_TOKEN_LENGTH = (_IDS_BYTES + REVEAL_SECRET_BYTES) * 4 // 3 + 1


@dataclass(frozen=True, slots=True)
class RevealTicket:
    """What a token says: whose permission it is, which one, and the SHA-256 of its secret, which is kept nowhere."""

    user_id: UUID
    reveal_id: UUID
    digest: bytes


def reveal_digest(secret: Secret[bytes]) -> bytes:
    """SHA-256 of a token's secret; enough for 32 random bytes."""
    return hashlib.sha256(secret.reveal()).digest()


def reveal_token(user_id: UUID, reveal_id: UUID, secret: Secret[bytes]) -> Secret[str]:
    """The token of a permission: user, id and secret in base64url without padding (RFC 4648, section 5)."""
    return Secret(_encode(user_id.bytes + reveal_id.bytes + secret.reveal()))


def read_reveal_token(token: Secret[str]) -> RevealTicket | None:
    """What a token says, whether it is good or not; None for anything not written as we write it."""
    text = token.reveal()
    if len(text) != _TOKEN_LENGTH or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # One token has one spelling: bits that the last character leaves over are not ignored.
    if len(raw) != _IDS_BYTES + REVEAL_SECRET_BYTES or _encode(raw) != text:
        return None
    return RevealTicket(UUID(bytes=raw[:16]), UUID(bytes=raw[16:32]), reveal_digest(Secret(raw[_IDS_BYTES:])))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
