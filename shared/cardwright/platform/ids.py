"""New identifiers and random secrets from the operating system's entropy."""

import os
import secrets
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.ids import ENTROPY_BYTES, uuid7


class IdSource:
    """Makes UUIDv7 identifiers from the injected clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def new(self) -> UUID:
        """Return a new UUIDv7."""
        return uuid7(self._clock.now(), os.urandom(ENTROPY_BYTES))


def random_token(bytes_of_entropy: int = 32) -> str:
    """Return a URL-safe random string with that many bytes of entropy."""
    return secrets.token_urlsafe(bytes_of_entropy)


def random_bytes(count: int) -> bytes:
    """Return random bytes for keys."""
    return os.urandom(count)


def random_digits(count: int) -> str:
    """Return a decimal code with leading zeros kept."""
    return f"{secrets.randbelow(10**count):0{count}d}"
