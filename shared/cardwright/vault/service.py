"""Encrypt and recognise card numbers; nothing here keeps one."""

from collections.abc import Callable
from uuid import UUID

from cardwright.kernel.secret import Secret
from cardwright.platform.envelopes import EnvelopeKey
from cardwright.platform.keys import MacKey


class Vault:
    """A PAN is readable only with the KMS key and for the card it was encrypted for (PCI DSS 3.5.1).

    `mac` is asked for at the first fingerprint: who only encrypts anew needs no such key.
    """

    def __init__(self, envelope: EnvelopeKey, mac: Callable[[], MacKey]) -> None:
        self._envelope = envelope
        self._mac = mac

    @property
    def key_name(self) -> str:
        """Name of the key that encrypts now; it is kept beside each ciphertext."""
        return self._envelope.active

    def encrypt(self, card_id: UUID, pan: Secret[str]) -> bytes:
        """Return the ciphertext to store with the card. Raises UnavailableError keys_unavailable."""
        return self._envelope.encrypt(Secret(pan.reveal().encode()), _context(card_id))

    def decrypt(self, card_id: UUID, ciphertext: bytes) -> Secret[str]:
        """Return the PAN of this card. Raises UnavailableError; BrokenInvariantError for another card's ciphertext."""
        return Secret(self._envelope.decrypt(ciphertext, _context(card_id)).reveal().decode())

    def reencrypt(self, card_id: UUID, ciphertext: bytes) -> bytes | None:
        """Return the same PAN encrypted under the current key, None when it is under that one (PCI DSS 3.7.4).

        Raises UnavailableError keys_unavailable; BrokenInvariantError for what is no ciphertext of this card.
        """
        return self._envelope.reencrypt(ciphertext, _context(card_id))

    def fingerprint(self, pan: Secret[str]) -> bytes:
        """Return 32 octets that are equal for equal PANs and tell nothing else (PCI DSS 3.5.1.1). Raises UnavailableError."""
        return self._mac().mac("pan-fingerprint", Secret(pan.reveal().encode()))


def _context(card_id: UUID) -> dict[str, str]:
    return {"card_id": str(card_id)}
