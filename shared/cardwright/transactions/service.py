"""Transactions of cards: what their owners see of them, and the events their rows are."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from cardwright.kernel.clock import rfc3339
from cardwright.outbox.rules import Event
from cardwright.platform.postgres import Actor, Database, Row, Transaction
from cardwright.transactions import store
from cardwright.transactions.rules import CardTransaction

if TYPE_CHECKING:
    # The relay imports this module too and has no use for what cards are made with.
    from cardwright.cards.service import CardService


class TransactionService:
    """Reads transactions; `record_authorization` and the processor's events write them."""

    def __init__(self, database: Database, cards: "CardService") -> None:
        self._database = database
        self._cards = cards

    def list_transactions(
        self, actor: Actor, *, card_id: UUID | None = None, limit: int, after: UUID | None = None
    ) -> list[CardTransaction]:
        """Return up to `limit` transactions older than `after`, newest first, declines included.

        Of one card the actor may see (staff: any), or of all the actor's own cards. Raises NotFoundError card_not_found.
        """
        if card_id is not None:
            self._cards.get_card(actor, card_id)
            with self._database.transaction(actor) as tx:
                return store.newest_of_card(tx, card_id, limit, after)
        if actor.user_id is None:
            return []
        with self._database.transaction(actor) as tx:
            return store.newest_of_user(tx, actor.user_id, limit, after)


class TransactionEvents:
    """The decisions as events: the row is its own event, and the transaction's id the event's."""

    def take(self, tx: Transaction, limit: int) -> list[Event]:
        """Lock and return the oldest unpublished decisions that no other relay holds."""
        return [_event(row) for row in store.take_unpublished(tx, limit)]

    def mark(self, tx: Transaction, events: Sequence[Event], at: datetime) -> None:
        """Note that these decisions are published."""
        store.mark_published(tx, [(event.card_id, event.event_id) for event in events if event.card_id is not None], at)


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
