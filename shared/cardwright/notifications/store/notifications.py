"""SQL of the inbox."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.notifications.rules import Category
from cardwright.platform.postgres import Jsonb, Row, Transaction

_COLUMNS = "notification_id, template, category, params, repeats, created_at, read_at"


@dataclass(frozen=True, slots=True)
class NewNotification:
    """A notification to insert; one that repeats another names it."""

    user_id: UUID
    notification_id: UUID
    event_id: UUID
    template: str
    category: Category
    params: Mapping[str, str]
    collapse_key: str | None
    collapsed_into: UUID | None
    event_created_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """A notification as it is kept: its words are made when it is read."""

    notification_id: UUID
    template: str
    category: Category
    params: Mapping[str, str]
    repeats: int
    created_at: datetime
    read_at: datetime | None


def insert(tx: Transaction, new: NewNotification) -> bool:
    """Keep a notification; False when the event was told to the user by this template before."""
    inserted = tx.execute(
        "INSERT INTO notifications (user_id, notification_id, event_id, template, category, params, collapse_key, "
        "collapsed_into, event_created_at, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (
            new.user_id,
            new.notification_id,
            new.event_id,
            new.template,
            new.category.value,
            Jsonb(dict(new.params)),
            new.collapse_key,
            new.collapsed_into,
            new.event_created_at,
            new.created_at,
        ),
    )
    return inserted == 1


def alike(tx: Transaction, user_id: UUID, collapse_key: str, since: datetime) -> UUID | None:
    """A notification of the same thing since a time, that is shown by itself."""
    row = tx.fetch_one(
        "SELECT notification_id FROM notifications WHERE user_id = %s AND collapse_key = %s AND collapsed_into IS NULL "
        "AND created_at > %s ORDER BY created_at LIMIT 1",
        (user_id, collapse_key, since),
    )
    return None if row is None else row["notification_id"]


def count_repeat(tx: Transaction, user_id: UUID, notification_id: UUID) -> None:
    """Count the same thing once more."""
    tx.execute(
        "UPDATE notifications SET repeats = repeats + 1 WHERE user_id = %s AND notification_id = %s", (user_id, notification_id)
    )


def inbox(tx: Transaction, user_id: UUID, limit: int, after: UUID | None, *, unread: bool) -> list[Stored]:
    """What a user was told, newest first, what is older than `after`."""
    rows = tx.fetch_all(
        f"SELECT {_COLUMNS} FROM notifications WHERE user_id = %s AND collapsed_into IS NULL "  # noqa: S608 - our own column names
        "AND (%s::uuid IS NULL OR notification_id < %s) AND (NOT %s OR read_at IS NULL) ORDER BY notification_id DESC LIMIT %s",
        (user_id, after, after, unread, limit),
    )
    return [_stored(row) for row in rows]


def mark_read(tx: Transaction, user_id: UUID, notification_id: UUID, now: datetime) -> Stored | None:
    """Note that the user has read it; the first time counts. None when there is no such notification."""
    row = tx.fetch_one(
        "UPDATE notifications SET read_at = coalesce(read_at, %s) WHERE user_id = %s AND notification_id = %s "  # noqa: S608 - our own column names
        f"AND collapsed_into IS NULL RETURNING {_COLUMNS}",
        (now, user_id, notification_id),
    )
    return None if row is None else _stored(row)


def _stored(row: Row) -> Stored:
    return Stored(**{**row, "category": Category(row["category"])})
