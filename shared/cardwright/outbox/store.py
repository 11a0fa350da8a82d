"""SQL of the outbox table."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from cardwright.outbox.rules import Event, FeedFilter
from cardwright.platform.postgres import Jsonb, Row, Transaction

_COLUMNS = "event_id, type, user_id, card_id, data, created_at"
# Whose events, of which cards, types and time. People of an organization are those who are in it now.
_MATCHING = (
    "event_id BETWEEN %(lowest)s AND %(highest)s AND created_at >= %(since)s AND created_at < %(until)s "
    "AND type = ANY (%(types)s) AND (%(user)s::uuid IS NULL OR user_id = %(user)s) "
    "AND (%(cards)s::uuid[] IS NULL OR card_id = ANY (%(cards)s)) "
    "AND (%(organization)s::uuid IS NULL OR EXISTS ("
    "SELECT FROM users u WHERE u.user_id = outbox.user_id AND u.organization_id = %(organization)s))"
)


def append(tx: Transaction, event: Event) -> None:
    """Insert one event."""
    tx.execute(
        f"INSERT INTO outbox ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)",  # noqa: S608  # constant names
        (event.event_id, event.type, event.user_id, event.card_id, Jsonb(dict(event.data)), event.created_at),
    )


def copy(tx: Transaction, events: Sequence[Event]) -> None:
    """Insert events that another table's rows are; those that are here already stay as they are."""
    tx.execute(
        f"INSERT INTO outbox ({_COLUMNS}) SELECT * FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::uuid[], %s::jsonb[], "  # noqa: S608  # as above
        "%s::timestamptz[]) ON CONFLICT (event_id) DO NOTHING",
        (
            [event.event_id for event in events],
            [event.type for event in events],
            [event.user_id for event in events],
            [event.card_id for event in events],
            [Jsonb(dict(event.data)) for event in events],
            [event.created_at for event in events],
        ),
    )


def take_unpublished(tx: Transaction, limit: int) -> list[Event]:
    """Lock and return the oldest events that no relay has offered to the queues and that no other one holds."""
    rows = tx.fetch_all(
        f"SELECT {_COLUMNS} FROM outbox WHERE published_at IS NULL AND waits_for IS NULL "  # noqa: S608  # as above
        "ORDER BY event_id LIMIT %s FOR UPDATE SKIP LOCKED",
        (limit,),
    )
    return [_event(row) for row in rows]


def take_left(tx: Transaction, sets: Sequence[frozenset[str]], limit: int) -> list[tuple[Event, frozenset[str]]]:
    """Lock and return events that wait for one of these sets of queues and that no other relay holds.

    Those offered longest ago come first, so that what a queue refuses again and again hides nothing. The inner order names the
    whole index, for under row security the planner does not see that its first column is the same in all rows.
    """
    rows = tx.fetch_all(
        f"SELECT w.* FROM unnest(%(sets)s::text[]) AS names CROSS JOIN LATERAL (SELECT {_COLUMNS}, waits_for, left_at "  # noqa: S608  # as above
        "FROM outbox WHERE waits_for = names::text[] ORDER BY waits_for, left_at, event_id LIMIT %(limit)s "
        "FOR UPDATE SKIP LOCKED) AS w ORDER BY left_at, event_id LIMIT %(limit)s",
        {"sets": ["{" + ",".join(sorted(names)) + "}" for names in sets], "limit": limit},
    )
    return [(_event(row), frozenset(row["waits_for"])) for row in rows]


def mark_published(tx: Transaction, event_ids: Sequence[UUID], at: datetime) -> None:
    """Note when the last queue took the events."""
    tx.execute(
        "UPDATE outbox SET published_at = %s, waits_for = NULL, left_at = NULL WHERE event_id = ANY(%s)", (at, list(event_ids))
    )


def mark_left(tx: Transaction, event_ids: Sequence[UUID], names: frozenset[str], at: datetime) -> None:
    """Note which queues the events wait for and when they were offered to them."""
    tx.execute("UPDATE outbox SET waits_for = %s, left_at = %s WHERE event_id = ANY(%s)", (sorted(names), at, list(event_ids)))


def waiting(tx: Transaction) -> tuple[int, datetime | None]:
    """How many events wait for a queue, and since when the oldest does; authorizations wait in their own table.

    Asked for in two parts because each has an index of its own.
    """
    row = tx.fetch_one(
        "SELECT sum(n)::bigint AS waiting, min(oldest) AS oldest FROM ("
        "SELECT count(*) AS n, min(created_at) AS oldest FROM outbox WHERE published_at IS NULL AND waits_for IS NULL "
        "UNION ALL SELECT count(*), min(created_at) FROM outbox WHERE waits_for IS NOT NULL) AS parts"
    )
    return (0, None) if row is None else (row["waiting"], row["oldest"])


def page(tx: Transaction, wanted: FeedFilter, after: UUID | None, limit: int) -> list[Event]:
    """Matching events in the order of their ids, those after `after`."""
    rows = tx.fetch_all(
        f"SELECT {_COLUMNS} FROM outbox WHERE {_MATCHING} AND (%(after)s::uuid IS NULL OR event_id > %(after)s) "  # noqa: S608  # as above
        "ORDER BY event_id LIMIT %(limit)s",
        {**_parameters(wanted), "after": after, "limit": limit},
    )
    return [_event(row) for row in rows]


def count(tx: Transaction, wanted: FeedFilter, ceiling: int) -> int:
    """How many events match; no further than `ceiling` is counted."""
    row = tx.fetch_one(
        f"SELECT count(*) AS n FROM (SELECT FROM outbox WHERE {_MATCHING} LIMIT %(ceiling)s) AS found",  # noqa: S608  # as above
        {**_parameters(wanted), "ceiling": ceiling},
    )
    return 0 if row is None else int(row["n"])


def find(tx: Transaction, event_id: UUID) -> Event | None:
    """One event, if the one who asks may see it."""
    row = tx.fetch_one(f"SELECT {_COLUMNS} FROM outbox WHERE event_id = %s", (event_id,))  # noqa: S608  # as above
    return None if row is None else _event(row)


def _parameters(wanted: FeedFilter) -> dict[str, object]:
    return {
        "lowest": wanted.lowest_id,
        "highest": wanted.highest_id,
        "since": wanted.since,
        "until": wanted.until,
        "types": wanted.told_types,
        "user": wanted.user_id,
        "cards": None if wanted.card_ids is None else list(wanted.card_ids),
        "organization": wanted.organization_id,
    }


def _event(row: Row) -> Event:
    return Event(
        event_id=row["event_id"],
        type=row["type"],
        created_at=row["created_at"],
        data=row["data"],
        user_id=row["user_id"],
        card_id=row["card_id"],
    )
