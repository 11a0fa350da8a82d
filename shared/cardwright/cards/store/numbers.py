"""SQL of card numbers at rest: which are not under the current key, and putting a new ciphertext in place of an old one."""

from dataclasses import dataclass
from uuid import UUID

from cardwright.platform.postgres import Transaction


@dataclass(frozen=True, slots=True)
class StaleNumber:
    """A card's encrypted number with the name of the key it was noted under."""

    card_id: UUID
    vault_key: str
    card_number_encrypted: bytes


def stale(tx: Transaction, vault_key: str, after: UUID, limit: int) -> list[StaleNumber]:
    """Up to `limit` numbers that are not under the key, of cards after the one named, in the order of their ids."""
    rows = tx.fetch_all(
        "SELECT card_id, vault_key, card_number_encrypted FROM stale_card_numbers(%s, %s, %s)", (vault_key, after, limit)
    )
    return [StaleNumber(**row) for row in rows]


def replace(tx: Transaction, number: StaleNumber, ciphertext: bytes, vault_key: str) -> bool:
    """Put a ciphertext in place of the one that was read; False when that is no longer the card's."""
    row = tx.fetch_one(
        "SELECT replace_card_number(%s, %s, %s, %s) AS replaced",
        (number.card_id, number.card_number_encrypted, ciphertext, vault_key),
    )
    return row is not None and bool(row["replaced"])
