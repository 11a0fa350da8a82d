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


def take_unpublished(tx: Transaction, limit: int, but: Sequence[UUID] = ()) -> list[Event]:
    """Lock and return the oldest events that are not published, that no other relay holds and that are not named in `but`."""
    rows = tx.fetch_all(
        f"SELECT {_COLUMNS} FROM outbox WHERE published_at IS NULL AND event_id <> ALL (%s) "  # noqa: S608  # as above
        "ORDER BY event_id LIMIT %s FOR UPDATE SKIP LOCKED",
        (list(but), limit),
    )
    return [_event(row) for row in rows]


def mark_published(tx: Transaction, event_ids: Sequence[UUID], at: datetime) -> None:
    """Note when the events went to the queues."""
    tx.execute("UPDATE outbox SET published_at = %s WHERE event_id = ANY(%s)", (at, list(event_ids)))


def waiting(tx: Transaction) -> tuple[int, datetime | None]:
    """How many events wait for the relay, and since when the oldest does; authorizations wait in their own table."""
    row = tx.fetch_one("SELECT count(*) AS waiting, min(created_at) AS oldest FROM outbox WHERE published_at IS NULL")
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
