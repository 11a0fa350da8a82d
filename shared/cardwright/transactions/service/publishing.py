"""The rows as events."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from cardwright.kernel.clock import rfc3339
from cardwright.outbox.rules import Event
from cardwright.platform.postgres import Row, Transaction
from cardwright.transactions.service.searching import keep_words
from cardwright.transactions.store import publishing as store


class TransactionEvents:
    """The decisions as events: the row is its own event, and the transaction's id the event's.

    The hot path writes no second row: the relay copies decisions into the feed.
    """

    def take(self, tx: Transaction, limit: int) -> list[Event]:
        """Lock and return the oldest decisions that are not in the feed and that no other relay holds."""
        return [_event(row) for row in store.take_unpublished(tx, limit)]

    def take_of_card(self, tx: Transaction, card_id: UUID) -> list[Event]:
        """Lock and return a card's decisions that are not in the feed, waiting for who holds them."""
        return [_event(row) for row in store.take_unpublished_of(tx, card_id)]

    def mark(self, tx: Transaction, events: Sequence[Event], at: datetime) -> None:
        """Note that these decisions are in the feed, and keep the words they are searched by."""
        keys = [(event.card_id, event.event_id) for event in events if event.card_id is not None]
        store.mark_published(tx, keys, at)
        keep_words(tx, keys)


def _event(row: Row) -> Event:
    # The reason tells what was decided; the status may have moved on since.
    approved = row["reason"] == "approved"
    detail = row["detail"]
    return Event(
        event_id=row["transaction_id"],
        type="transaction.authorized" if approved else "transaction.declined",
        created_at=row["decided_at"],
        user_id=row["user_id"],
        card_id=row["card_id"],
        data={
            "id": str(row["transaction_id"]),
            "authorization_id": row["authorization_id"],
            "card_id": str(row["card_id"]),
            "type": row["type"],
            "status": "AUTHORIZED" if approved else "DECLINED",
            "amount": f"{row['amount']:.2f}",
            "currency": row["currency"],
            "merchant": detail.get("merchant"),
            "channel": detail.get("channel"),
            "reason": row["reason"],
            "risk_score": row["risk_score"],
            "created_at": rfc3339(row["decided_at"]),
        },
    )
