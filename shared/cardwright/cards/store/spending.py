"""SQL of the spend row as the network's events move it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from cardwright.platform.postgres import Transaction


@dataclass(frozen=True, slots=True)
class SpendRow:
    """A card's spend row while it is held, with what of the card an event needs.

    Amounts are in `currency`; `balance` is what was loaded and not spent, holds still in it, and None for a card that its limits
    alone fund.
    """

    card_id: UUID
    user_id: UUID
    program_id: UUID
    currency: str
    time_zone: str
    held: Decimal
    balance: Decimal | None


@dataclass(frozen=True, slots=True)
class Movement:
    """What one transaction, at its place in the card's chain, takes more or, negative, gives back."""

    chain_seq: int
    spent: Decimal


def card_of_token(tx: Transaction, processor_card_token: str) -> UUID | None:
    """The card that a processor's token names."""
    row = tx.fetch_one("SELECT card_id FROM card_tokens WHERE processor_card_token = %s", (processor_card_token,))
    return None if row is None else row["card_id"]


def token_of_digest(tx: Transaction, digest: bytes) -> str | None:
    """The token with this SHA-256, if it names a card by now."""
    row = tx.fetch_one(
        "SELECT processor_card_token FROM card_tokens WHERE card_token_digest(processor_card_token) = %s", (digest,)
    )
    return None if row is None else row["processor_card_token"]


def lock(tx: Transaction, card_id: UUID) -> SpendRow:
    """Hold the spend row until the transaction ends, then read it. Raises LookupError."""
    # Two statements: a lock that waited would else come with the row as it was before the wait.
    tx.execute("SELECT FROM card_limits WHERE card_id = %s FOR NO KEY UPDATE", (card_id,))
    row = tx.fetch_one(
        "SELECT l.card_id, l.user_id, c.program_id, c.currency, l.time_zone, l.held, l.balance "
        "FROM card_limits l JOIN virtual_cards c ON c.card_id = l.card_id WHERE l.card_id = %s",
        (card_id,),
    )
    if row is None:
        raise LookupError("the card has no spend row")
    return SpendRow(**row)


def move(tx: Transaction, card_id: UUID, held: Decimal, balance: Decimal, movements: Sequence[Movement]) -> None:
    """Move a spend row that is held: by how much holds and balance change, and what transactions take or give back."""
    tx.execute(
        "SELECT move_spend(%s, %s, %s, %s::bigint[], %s::numeric[])",
        (card_id, held, balance, [one.chain_seq for one in movements], [one.spent for one in movements]),
    )
