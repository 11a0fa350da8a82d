"""Password hashes: Argon2id with the parameters of the OWASP Password Storage Cheat Sheet."""

import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.secret import Secret

# 19 MiB, two passes, one lane: OWASP's first choice; RFC 9106 asks for more only where memory is no matter.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16, type=Type.ID)


def hash_password(password: Secret[str]) -> str:
    """Return the encoded hash, salt and parameters included."""
    return _HASHER.hash(_bytes(password))


def verify_password(encoded: str | None, password: Secret[str]) -> bool:
    """True when the password is the hash's. Without a hash the same work is done and the answer is False."""
    try:
        _HASHER.verify(encoded or _nobodys_hash(), _bytes(password))
    except VerificationError:
        return False
    except InvalidHashError as error:
        raise BrokenInvariantError("A password hash cannot be read.") from error
    return encoded is not None


def outdated(encoded: str) -> bool:
    """True when the hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(encoded)


@cache
def _nobodys_hash() -> str:
    return _HASHER.hash(b"no account has this")


def _bytes(password: Secret[str]) -> bytes:
    # The same password typed on two keyboards may arrive in two Unicode forms (NIST SP 800-63B, 5.1.1.2).
    return unicodedata.normalize("NFKC", password.reveal()).encode()
