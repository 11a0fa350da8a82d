"""SQL of replays, and of what was missed."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.webhooks.rules import WAITING_MAX, Replay, ReplayStatus, Subscription

_COLUMNS = (
    "user_id, replay_id, subscription_id, event_id, range_from, range_until, only_missed, status, position, done, total, "
    "moved_at, created_at, finished_at"
)
_PLACES = ", ".join(f"%({name})s" for name in _COLUMNS.split(", "))


def _replay(row: Row) -> Replay:
    return Replay(**{**row, "status": ReplayStatus(row["status"])})


def insert(tx: Transaction, replay: Replay) -> None:
    """Insert a replay."""
    values = asdict(replay) | {"status": replay.status.value}
    tx.execute(f"INSERT INTO webhook_replays ({_COLUMNS}) VALUES ({_PLACES})", values)  # noqa: S608  # constant names


def load(tx: Transaction, user_id: UUID, subscription_id: UUID, replay_id: UUID) -> Replay | None:
    """One replay of a subscription."""
    row = tx.fetch_one(
        f"SELECT {_COLUMNS} FROM webhook_replays WHERE user_id = %s AND subscription_id = %s AND replay_id = %s",  # noqa: S608  # constant names
        (user_id, subscription_id, replay_id),
    )
    return None if row is None else _replay(row)


def list_of(tx: Transaction, user_id: UUID, subscription_id: UUID, limit: int, after: UUID | None) -> list[Replay]:
    """Replays of a subscription, newest first, those older than `after`."""
    rows = tx.fetch_all(
        f"SELECT {_COLUMNS} FROM webhook_replays WHERE user_id = %s AND subscription_id = %s "  # noqa: S608  # constant names
        "AND (%s::uuid IS NULL OR replay_id < %s) ORDER BY replay_id DESC LIMIT %s",
        (user_id, subscription_id, after, after, limit),
    )
    return [_replay(row) for row in rows]


def count_open(tx: Transaction, user_id: UUID, subscription_id: UUID) -> int:
    """How many replays of a subscription are not at their end."""
    row = tx.fetch_one(
        "SELECT count(*) AS n FROM webhook_replays WHERE user_id = %s AND subscription_id = %s "
        "AND status IN ('QUEUED', 'RUNNING')",
        (user_id, subscription_id),
    )
    return 0 if row is None else int(row["n"])


def end_all(tx: Transaction, user_id: UUID, subscription_id: UUID, now: datetime) -> None:
    """End the open replays of a subscription that is no more."""
    tx.execute(
        "UPDATE webhook_replays SET status = 'FAILED', finished_at = %s "
        "WHERE user_id = %s AND subscription_id = %s AND status IN ('QUEUED', 'RUNNING')",
        (now, user_id, subscription_id),
    )


def claim(tx: Transaction) -> Replay | None:
    """Lock, with its subscription, the open replay that waited longest for a page; None when none can go on now.

    It goes on while the subscription is ACTIVE, its owner may still hear of everybody if it does, and not too much of it
    waits to be sent. Nothing is waited for, so the order of the two locks cannot matter.
    """
    row = tx.fetch_one(
        f"SELECT {', '.join(f'r.{name}' for name in _COLUMNS.split(', '))} FROM webhook_replays r "  # noqa: S608  # constant names
        "JOIN webhook_subscriptions s ON s.user_id = r.user_id AND s.subscription_id = r.subscription_id "
        "WHERE r.status IN ('QUEUED', 'RUNNING') AND s.status = 'ACTIVE' AND s.deleted_at IS NULL "
        "AND (s.scope = 'own' OR user_is_staff(s.user_id)) "
        "AND (SELECT count(*) FROM (SELECT FROM webhook_deliveries d WHERE d.user_id = s.user_id "
        "     AND d.subscription_id = s.subscription_id AND d.status = 'PENDING' LIMIT %s) AS waiting) < %s "
        "ORDER BY r.moved_at, r.replay_id LIMIT 1 FOR NO KEY UPDATE OF r, s SKIP LOCKED",
        (WAITING_MAX, WAITING_MAX),
    )
    return None if row is None else _replay(row)


def move(tx: Transaction, replay: Replay) -> None:
    """Note how far a replay is; the caller holds its lock."""
    tx.execute(
        "UPDATE webhook_replays SET status = %s, position = %s, done = %s, total = %s, moved_at = %s, finished_at = %s "
        "WHERE user_id = %s AND replay_id = %s",
        (
            replay.status.value,
            replay.position,
            replay.done,
            replay.total,
            replay.moved_at,
            replay.finished_at,
            replay.user_id,
            replay.replay_id,
        ),
    )


def oldest_undelivered(tx: Transaction, subscription: Subscription) -> datetime | None:
    """When the oldest event happened that was given up since the subscription's failures began; None without failures."""
    if subscription.failing_since is None:
        return None
    row = tx.fetch_one(
        "SELECT min(event_created_at) AS oldest FROM webhook_deliveries WHERE user_id = %s AND subscription_id = %s "
        "AND status IN ('FAILED', 'CANCELLED') AND finished_at >= %s",
        (subscription.user_id, subscription.subscription_id, subscription.failing_since),
    )
    return None if row is None else row["oldest"]
