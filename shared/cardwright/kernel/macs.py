"""HMAC-SHA-256 (RFC 2104) by keys that are used again and again."""

import hmac
from functools import lru_cache

from cardwright.kernel.secret import Secret


def hmac_sha256(key: Secret[bytes], message: bytes) -> bytes:
    """The 32 octets of the MAC. What a key begins with is computed once a process: every decision makes several MACs."""
    begun = _begun(key).copy()
    begun.update(message)
    return begun.digest()


@lru_cache(maxsize=256)
def _begun(key: Secret[bytes]) -> hmac.HMAC:
    return hmac.new(key.reveal(), digestmod="sha256")
