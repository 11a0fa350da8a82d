"""SQL of the outbox table."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from cardwright.outbox.rules import Event
from cardwright.platform.postgres import Jsonb, Transaction


def append(tx: Transaction, event: Event) -> None:
    """Insert one event."""
    tx.execute(
        "INSERT INTO outbox (event_id, type, user_id, card_id, data, created_at) VALUES (%s, %s, %s, %s, %s, %s)",
        (event.event_id, event.type, event.user_id, event.card_id, Jsonb(dict(event.data)), event.created_at),
    )


def take_unpublished(tx: Transaction, limit: int) -> list[Event]:
    """Lock and return the oldest events that are not published and that no other relay holds."""
    rows = tx.fetch_all(
        "SELECT event_id, type, user_id, card_id, data, created_at FROM outbox WHERE published_at IS NULL "
        "ORDER BY event_id LIMIT %s FOR UPDATE SKIP LOCKED",
        (limit,),
    )
    return [
        Event(
            event_id=row["event_id"],
            type=row["type"],
            created_at=row["created_at"],
            data=row["data"],
            user_id=row["user_id"],
            card_id=row["card_id"],
        )
        for row in rows
    ]


def mark_published(tx: Transaction, event_ids: Sequence[UUID], at: datetime) -> None:
    """Note when the events went to the queue."""
    tx.execute("UPDATE outbox SET published_at = %s WHERE event_id = ANY(%s)", (at, list(event_ids)))


def waiting(tx: Transaction) -> tuple[int, datetime | None]:
    """How many events wait for the relay, and since when the oldest does; authorizations wait in their own table."""
    row = tx.fetch_one("SELECT count(*) AS waiting, min(created_at) AS oldest FROM outbox WHERE published_at IS NULL")
    return (0, None) if row is None else (row["waiting"], row["oldest"])
