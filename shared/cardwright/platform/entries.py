"""Entries of the cache that only we can have written: a value followed by a MAC over its key and value.

Valkey is no authority: whoever can write to it must not be able to make a card's limits wider, an answer another one or a
cardholder an administrator. What has no MAC that holds counts as absent.
"""

import hmac
from collections.abc import Sequence
from functools import lru_cache

from cardwright.kernel.macs import hmac_sha256
from cardwright.kernel.secret import Secret

# Half of HMAC-SHA-256: enough where each guess is a request of its own (RFC 2104, section 5).
_MAC_BYTES = 16
# Entries up to this size are remembered; a few thousand larger ones would fill a function's memory.
_SMALL = 2_048


def seal(keys: Sequence[Secret[bytes]], key: str, value: bytes) -> bytes:
    """The entry to keep under a cache key, by the first of the keys."""
    return value + _mac(keys[0], key, value)


def unseal(keys: Sequence[Secret[bytes]], key: str, entry: bytes) -> bytes | None:
    """The value of an entry that one of the keys sealed for this cache key, else None."""
    return _opened_before(tuple(keys), key, entry) if len(entry) <= _SMALL else _opened(keys, key, entry)


@lru_cache(maxsize=4096)
def _opened_before(keys: tuple[Secret[bytes], ...], key: str, entry: bytes) -> bytes | None:
    """What is small and read again and again, such as a card's profile, is checked once: the same octets have the same answer."""
    return _opened(keys, key, entry)


def _opened(keys: Sequence[Secret[bytes]], key: str, entry: bytes) -> bytes | None:
    value, mac = entry[:-_MAC_BYTES], entry[-_MAC_BYTES:]
    held = False
    for one in keys:
        held |= hmac.compare_digest(mac, _mac(one, key, value))
    return value if held else None


def _mac(by: Secret[bytes], key: str, value: bytes) -> bytes:
    name = key.encode()
    # The length in front: no other key and value give the same octets.
    return hmac_sha256(by, b"%d:%b%b" % (len(name), name, value))[:_MAC_BYTES]
