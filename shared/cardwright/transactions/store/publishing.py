"""SQL of the rows as events."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction

_COLUMNS = "card_id, transaction_id, user_id, authorization_id, type, reason, amount, currency, detail, risk_score, decided_at"


def take_unpublished(tx: Transaction, limit: int) -> list[Row]:
    """Lock and return the oldest transactions whose event is not in the feed and that no other relay holds."""
    return tx.fetch_all(
        f"SELECT {_COLUMNS} FROM card_transactions WHERE published_at IS NULL ORDER BY transaction_id LIMIT %s "  # noqa: S608  # constant names
        "FOR NO KEY UPDATE SKIP LOCKED",
        (limit,),
    )


def take_unpublished_of(tx: Transaction, card_id: UUID) -> list[Row]:
    """Lock and return a card's transactions whose event is not in the feed, waiting for who holds them."""
    return tx.fetch_all(
        f"SELECT {_COLUMNS} FROM card_transactions WHERE card_id = %s AND published_at IS NULL ORDER BY transaction_id "  # noqa: S608  # as above
        "FOR NO KEY UPDATE",
        (card_id,),
    )


def mark_published(tx: Transaction, keys: Sequence[tuple[UUID, UUID]], at: datetime) -> None:
    """Note when the events of the transactions (card_id, transaction_id) were copied into the feed."""
    tx.execute(
        "UPDATE card_transactions t SET published_at = %s FROM unnest(%s::uuid[], %s::uuid[]) AS sent (card_id, transaction_id) "
        "WHERE t.card_id = sent.card_id AND t.transaction_id = sent.transaction_id",
        (at, [card_id for card_id, _ in keys], [transaction_id for _, transaction_id in keys]),
    )
