"""SQL of reveals: permissions to see one card's number once."""

from datetime import datetime, timedelta
from uuid import UUID

from cardwright.cards.rules import RevealTicket
from cardwright.platform.postgres import Transaction

_GOOD = "user_id = %(user_id)s AND reveal_id = %(reveal_id)s AND digest = %(digest)s AND used_at IS NULL AND expires_at > %(now)s"


def lock_revealing(tx: Transaction, user_id: UUID) -> None:
    """Let one transaction at a time count and add a user's permissions."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('card_reveals:' || %s, 0))", (str(user_id),))


def counted(tx: Transaction, user_id: UUID, window: timedelta, now: datetime) -> list[datetime]:
    """For each permission a user was given within the window: when it stops counting."""
    rows = tx.fetch_all(
        "SELECT created_at + %(window)s AS until FROM card_reveals "
        "WHERE user_id = %(user_id)s AND created_at > %(now)s - %(window)s",
        {"user_id": user_id, "window": window, "now": now},
    )
    return [row["until"] for row in rows]


def add(tx: Transaction, ticket: RevealTicket, card_id: UUID, now: datetime, expires_at: datetime) -> None:
    """Insert a permission."""
    tx.execute(
        "INSERT INTO card_reveals (user_id, reveal_id, card_id, digest, created_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s)",
        (ticket.user_id, ticket.reveal_id, card_id, ticket.digest, now, expires_at),
    )


def card_of(tx: Transaction, ticket: RevealTicket, now: datetime) -> UUID | None:
    """The card that a permission is for, while it can be used."""
    row = tx.fetch_one(f"SELECT card_id FROM card_reveals WHERE {_GOOD}", _named(ticket, now))  # noqa: S608 - our own names
    return None if row is None else row["card_id"]


def use(tx: Transaction, ticket: RevealTicket, now: datetime) -> bool:
    """Use a permission up; False when it cannot be used any more. Of two at once one gets True."""
    return tx.execute(f"UPDATE card_reveals SET used_at = %(now)s WHERE {_GOOD}", _named(ticket, now)) == 1  # noqa: S608 - ours


def _named(ticket: RevealTicket, now: datetime) -> dict[str, object]:
    return {"user_id": ticket.user_id, "reveal_id": ticket.reveal_id, "digest": ticket.digest, "now": now}
