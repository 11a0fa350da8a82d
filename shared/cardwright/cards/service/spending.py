"""The spend row for those who move it beside the decision: the network's events and money that is loaded.

Whoever holds the row decides alone: authorizations of the card wait for the end of the transaction.
"""

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from cardwright.cards.store import spending as store
from cardwright.cards.store.spending import Movement, SpendRow
from cardwright.platform.postgres import Transaction

__all__ = ["Movement", "SpendRow", "card_of_token", "digest_of_token", "lock", "move", "token_of_digest"]


def card_of_token(tx: Transaction, processor_card_token: str) -> UUID | None:
    """The card that a processor's token names, or None."""
    return store.card_of_token(tx, processor_card_token)


def digest_of_token(processor_card_token: str) -> bytes:
    """SHA-256 of a token, under which what names no card of ours is kept."""
    return hashlib.sha256(processor_card_token.encode()).digest()


def token_of_digest(tx: Transaction, digest: bytes) -> str | None:
    """The token with this SHA-256, if it names a card by now."""
    return store.token_of_digest(tx, digest)


def lock(tx: Transaction, card_id: UUID) -> SpendRow:
    """Hold a card's spend row until the transaction ends and return it. Raises LookupError."""
    return store.lock(tx, card_id)


def move(
    tx: Transaction,
    card_id: UUID,
    *,
    held: Decimal = Decimal(0),
    balance: Decimal = Decimal(0),
    movements: Sequence[Movement] = (),
) -> None:
    """Move a locked spend row: the change of its holds, of its balance, and what transactions take or give back.

    What is given back goes to the window it was taken from, while that one runs, and to the card that goes on with its sums when
    this one was replaced. Only for the network (actor `system`) and administrators.
    """
    store.move(tx, card_id, held, balance, movements)
