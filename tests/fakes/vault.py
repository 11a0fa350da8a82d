"""A vault without KMS: it seals under a key of its own."""

import hashlib
import hmac
from uuid import UUID

from cardwright.kernel.errors import CardwrightError
from cardwright.kernel.secret import Secret
from cardwright.platform.keys import open_with, seal_with


class FakeVault:
    """Encrypts for one card id and fingerprints; `fault` is raised by the next encryption."""

    def __init__(self) -> None:
        self._key = Secret(b"k" * 32)
        self.fault: CardwrightError | None = None

    def encrypt(self, card_id: UUID, pan: Secret[str]) -> bytes:
        """Seal a PAN for its card."""
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return seal_with(self._key, pan.reveal().encode().ljust(64), str(card_id))

    def decrypt(self, card_id: UUID, ciphertext: bytes) -> Secret[str]:
        """Open a PAN."""
        return Secret(open_with(self._key, ciphertext, str(card_id)).decode().strip())

    def fingerprint(self, pan: Secret[str]) -> bytes:
        """Return 32 octets that are equal for equal PANs."""
        return hmac.digest(self._key.reveal(), pan.reveal().encode(), hashlib.sha256)
