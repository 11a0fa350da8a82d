"""SQL of issuances: cards on their way."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cardwright.cards.rules import CardWish, Expiry, Origin, read_wish
from cardwright.platform.postgres import Jsonb, Row, Transaction

_COLUMNS = (
    "card_id, user_id, program_id, state, failure_code, expiry_year, expiry_month, wish, origin, replaces_card_id, "
    "requested_at, lease_until"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuance:
    """A card on its way: REQUESTED, ISSUED, FAILED or ABANDONED, with what the processor was or will be asked for.

    `requested_at`: when the processor was first asked; `lease_until`: until then somebody is at it; None before it is noted.
    """

    card_id: UUID
    user_id: UUID
    program_id: UUID
    state: str = "REQUESTED"
    failure_code: str | None = None
    expiry: Expiry
    wish: CardWish
    origin: Origin = Origin.REQUEST
    replaces_card_id: UUID | None = None
    requested_at: datetime | None = None
    lease_until: datetime | None = None


def lock_issuing(tx: Transaction, user_id: UUID) -> None:
    """Let one transaction at a time count and add a user's cards."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('card_issuances:' || %s, 0))", (str(user_id),))


def get(tx: Transaction, user_id: UUID, card_id: UUID) -> Issuance | None:
    """Load a card's issuance and lock it."""
    row = tx.fetch_one(
        f"SELECT {_COLUMNS} FROM card_issuances WHERE user_id = %s AND card_id = %s FOR UPDATE",  # noqa: S608 - our own names
        (user_id, card_id),
    )
    return None if row is None else _issuance(row)


def count_open(tx: Transaction, user_id: UUID, program_id: UUID, card_id: UUID) -> int:
    """Count a user's open cards of a program and those that may yet become one, without the named one."""
    row = tx.fetch_one(
        "SELECT (SELECT count(*) FROM virtual_cards WHERE user_id = %(user_id)s AND program_id = %(program_id)s "
        "AND status IN ('ACTIVE', 'FROZEN')) + (SELECT count(*) FROM card_issuances WHERE user_id = %(user_id)s "
        "AND program_id = %(program_id)s AND state = 'REQUESTED' AND card_id <> %(card_id)s) AS open",
        {"user_id": user_id, "program_id": program_id, "card_id": card_id},
    )
    return 0 if row is None else int(row["open"])


def creations(tx: Transaction, user_id: UUID, card_id: UUID, origin: Origin, window: timedelta, now: datetime) -> list[datetime]:
    """For each card of this origin made within the window (without the named one): when it stops counting.

    One of which it is not known whether it was made counts too, or a processor that does not answer would lift the quota; the
    sweeper looks at it within the next minute.
    """
    rows = tx.fetch_all(
        "SELECT finished_at + %(window)s AS until FROM card_issuances WHERE user_id = %(user_id)s AND state = 'ISSUED' "
        "AND origin = %(origin)s AND finished_at > %(now)s - %(window)s UNION ALL "
        "SELECT %(now)s + interval '1 minute' FROM card_issuances WHERE user_id = %(user_id)s "
        "AND state = 'REQUESTED' AND origin = %(origin)s AND card_id <> %(card_id)s",
        {"user_id": user_id, "card_id": card_id, "origin": origin.value, "window": window, "now": now},
    )
    return [row["until"] for row in rows]


def request(tx: Transaction, issuance: Issuance, now: datetime, lease_until: datetime) -> None:
    """Note that the processor is about to be asked; for one noted before, that it is asked again."""
    tx.execute(
        "INSERT INTO card_issuances (user_id, card_id, program_id, state, expiry_year, expiry_month, wish, origin, "
        "replaces_card_id, requested_at, lease_until) VALUES (%s, %s, %s, 'REQUESTED', %s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (user_id, card_id) DO UPDATE SET state = 'REQUESTED', finished_at = NULL, "
        "requested_at = CASE card_issuances.state WHEN 'ABANDONED' THEN excluded.requested_at "
        "ELSE card_issuances.requested_at END, lease_until = excluded.lease_until",
        (
            issuance.user_id,
            issuance.card_id,
            issuance.program_id,
            issuance.expiry.year,
            issuance.expiry.month,
            Jsonb(issuance.wish.document()),
            issuance.origin.value,
            issuance.replaces_card_id,
            now,
            lease_until,
        ),
    )


def release(tx: Transaction, user_id: UUID, card_id: UUID, now: datetime) -> None:
    """Note that nobody is making this card at the moment, so that it does not count; one given up is looked at once more."""
    tx.execute(
        "UPDATE card_issuances SET state = 'REQUESTED', finished_at = NULL, lease_until = %s WHERE user_id = %s AND card_id = %s "
        "AND state IN ('REQUESTED', 'ABANDONED')",
        (now, user_id, card_id),
    )


def finish(tx: Transaction, user_id: UUID, card_id: UUID, failure_code: str | None, now: datetime) -> None:
    """Note the outcome: ISSUED without a failure code, else FAILED."""
    tx.execute(
        "UPDATE card_issuances SET state = %s, failure_code = %s, finished_at = %s "
        "WHERE user_id = %s AND card_id = %s AND state IN ('REQUESTED', 'ABANDONED')",
        ("ISSUED" if failure_code is None else "FAILED", failure_code, now, user_id, card_id),
    )


def abandon(tx: Transaction, issuance: Issuance, now: datetime) -> None:
    """Note that the processor never made this card, unless somebody has come back to it since it was read."""
    tx.execute(
        "UPDATE card_issuances SET state = 'ABANDONED', finished_at = %s WHERE user_id = %s AND card_id = %s "
        "AND state = 'REQUESTED' AND lease_until = %s",
        (now, issuance.user_id, issuance.card_id, issuance.lease_until),
    )


def mark_clean(tx: Transaction, user_id: UUID, card_id: UUID, now: datetime) -> None:
    """Note that a failed issuance has left no live card at the processor."""
    tx.execute("UPDATE card_issuances SET cleaned_at = %s WHERE user_id = %s AND card_id = %s", (now, user_id, card_id))


def take_unfinished(tx: Transaction, limit: int, now: datetime, lease_until: datetime) -> list[Issuance]:
    """Take issuances nobody is at, the longest waiting first, for the time of the lease."""
    rows = tx.fetch_all(
        f"UPDATE card_issuances i SET lease_until = %(lease_until)s FROM (SELECT user_id, card_id FROM card_issuances "  # noqa: S608 - our own names
        "WHERE state = 'REQUESTED' AND lease_until < %(now)s ORDER BY lease_until LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS due "
        f"WHERE i.user_id = due.user_id AND i.card_id = due.card_id RETURNING {_of('i')}",
        {"limit": limit, "now": now, "lease_until": lease_until},
    )
    return [_issuance(row) for row in rows]


def take_unclean(tx: Transaction, limit: int, now: datetime, lease_until: datetime) -> list[Issuance]:
    """Take failed issuances of which it is not known that they left no live card, for the time of the lease."""
    rows = tx.fetch_all(
        f"UPDATE card_issuances i SET lease_until = %(lease_until)s FROM (SELECT user_id, card_id FROM card_issuances "  # noqa: S608 - our own names
        "WHERE state = 'FAILED' AND cleaned_at IS NULL AND lease_until < %(now)s ORDER BY finished_at LIMIT %(limit)s "
        "FOR UPDATE SKIP LOCKED) AS due "
        f"WHERE i.user_id = due.user_id AND i.card_id = due.card_id RETURNING {_of('i')}",
        {"limit": limit, "now": now, "lease_until": lease_until},
    )
    return [_issuance(row) for row in rows]


def token_owner(tx: Transaction, processor_card_token: str) -> UUID | None:
    """The card a processor's token is kept for."""
    row = tx.fetch_one("SELECT card_id FROM card_tokens WHERE processor_card_token = %s", (processor_card_token,))
    return None if row is None else row["card_id"]


def _of(alias: str) -> str:
    return ", ".join(f"{alias}.{column}" for column in _COLUMNS.split(", "))


def _issuance(row: Row) -> Issuance:
    expiry = Expiry(row.pop("expiry_year"), row.pop("expiry_month"))
    return Issuance(**{**row, "expiry": expiry, "wish": read_wish(row["wish"]), "origin": Origin(row["origin"])})
