"""A vault without KMS: it seals under keys of its own, each by its name."""

import hashlib
import hmac
from uuid import UUID

from cardwright.kernel.errors import BrokenInvariantError, CardwrightError
from cardwright.kernel.secret import Secret
from cardwright.platform.keys import open_with, seal_with


class FakeVault:
    """Encrypts for one card id and fingerprints; the first key encrypts, all decrypt.

    `fault` is raised by the next encryption.
    """

    def __init__(self, *key_names: str) -> None:
        self._names = key_names or ("vault-key-1",)
        self._keys = {name: Secret(hashlib.sha256(name.encode()).digest()) for name in self._names}
        self.fault: CardwrightError | None = None

    @property
    def key_name(self) -> str:
        """Name of the key that encrypts."""
        return self._names[0]

    def encrypt(self, card_id: UUID, pan: Secret[str]) -> bytes:
        """Seal a PAN for its card."""
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        sealed = seal_with(self._keys[self.key_name], pan.reveal().encode().ljust(64), str(card_id))
        return self.key_name.encode() + b":" + sealed

    def decrypt(self, card_id: UUID, ciphertext: bytes) -> Secret[str]:
        """Open a PAN, under whichever key it was sealed."""
        name, _, sealed = ciphertext.partition(b":")
        key = self._keys.get(name.decode(errors="replace"))
        if key is None:
            raise BrokenInvariantError("An encrypted value does not open.")
        return Secret(open_with(key, sealed, str(card_id)).decode().strip())

    def reencrypt(self, card_id: UUID, ciphertext: bytes) -> bytes | None:
        """Seal anew under the current key; None when it is under that one."""
        pan = self.decrypt(card_id, ciphertext)
        return None if ciphertext.startswith(self.key_name.encode() + b":") else self.encrypt(card_id, pan)

    def fingerprint(self, pan: Secret[str]) -> bytes:
        """Return 32 octets that are equal for equal PANs."""
        return hmac.digest(b"k" * 32, pan.reveal().encode(), hashlib.sha256)
