"""Keeps the words transactions are searched by; after the decision, so that it costs none."""

from collections.abc import Sequence
from uuid import UUID

from cardwright.platform.postgres import Transaction
from cardwright.transactions.store import searching as store


def keep_words(tx: Transaction, keys: Sequence[tuple[UUID, UUID]]) -> None:
    """Keep the words of transactions (card_id, transaction_id), in the transaction that publishes or makes them."""
    if keys:
        store.keep_words(tx, keys)
