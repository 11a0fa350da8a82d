"""SQL of replays, and of what was missed."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.webhooks.rules import WAITING_MAX, Replay, ReplayStatus, Subscription

_COLUMNS = (
    "user_id, replay_id, subscription_id, event_id, range_from, range_until, only_missed, asked, status, looked_until, "
    "position, done, total, moved_at, created_at, finished_at"
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


def widen(tx: Transaction, user_id: UUID, subscription_id: UUID, since: datetime, until: datetime) -> bool:
    """Have the open replay of what the subscription missed begin anew and go through this range as well. False without one.

    The caller holds the subscription's lock.
    """
    widened = tx.execute(
        "UPDATE webhook_replays SET status = 'QUEUED', range_from = least(range_from, %s), "
        "range_until = greatest(range_until, %s) WHERE user_id = %s AND subscription_id = %s "
        "AND status IN ('QUEUED', 'RUNNING') AND NOT asked",
        (since, until, user_id, subscription_id),
    )
    return widened > 0


def rounds_of(tx: Transaction, user_id: UUID, subscription_id: UUID, event_id: UUID) -> int:
    """How many rounds of attempts an event has had for a subscription, with the one under way."""
    row = tx.fetch_one(
        "SELECT rounds FROM webhook_deliveries WHERE user_id = %s AND subscription_id = %s AND event_id = %s",
        (user_id, subscription_id, event_id),
    )
    return 0 if row is None else int(row["rounds"])


def count_asked(tx: Transaction, user_id: UUID, subscription_id: UUID) -> int:
    """How many replays of a subscription that its owner asked for are not at their end."""
    row = tx.fetch_one(
        "SELECT count(*) AS n FROM webhook_replays WHERE user_id = %s AND subscription_id = %s "
        "AND status IN ('QUEUED', 'RUNNING') AND asked",
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


def limit_time(tx: Transaction, milliseconds: int) -> None:
    """Have each statement of this transaction given up after so long."""
    tx.execute("SELECT set_config('statement_timeout', %s, true)", (str(milliseconds),))


def pick(tx: Transaction, now: datetime) -> Replay | None:
    """The open replay that waited longest for a page, put behind the others; None when none can go on now.

    It goes on while the subscription is ACTIVE, its owner may still hear of everybody if it does, and not too much of it
    waits to be sent. No lock is waited for.
    """
    row = tx.fetch_one(
        "WITH next AS (SELECT r.user_id, r.replay_id FROM webhook_replays r "  # noqa: S608  # constant names
        "JOIN webhook_subscriptions s ON s.user_id = r.user_id AND s.subscription_id = r.subscription_id "
        "WHERE r.status IN ('QUEUED', 'RUNNING') AND s.status = 'ACTIVE' AND s.deleted_at IS NULL "
        "AND (s.scope = 'own' OR user_is_staff(s.user_id)) "
        "AND (SELECT count(*) FROM (SELECT FROM webhook_deliveries d WHERE d.user_id = s.user_id "
        "     AND d.subscription_id = s.subscription_id AND d.status = 'PENDING' LIMIT %s) AS waiting) < %s "
        "ORDER BY r.moved_at, r.replay_id LIMIT 1 FOR NO KEY UPDATE OF r SKIP LOCKED) "
        "UPDATE webhook_replays r SET moved_at = %s FROM next WHERE r.user_id = next.user_id AND r.replay_id = next.replay_id "
        f"RETURNING {', '.join(f'r.{name}' for name in _COLUMNS.split(', '))}",
        (WAITING_MAX, WAITING_MAX, now),
    )
    return None if row is None else _replay(row)


def lock(tx: Transaction, user_id: UUID, replay_id: UUID) -> Replay | None:
    """Lock a replay; None when it is at its end. The caller holds the subscription's lock, or wants no other."""
    row = tx.fetch_one(
        f"SELECT {_COLUMNS} FROM webhook_replays WHERE user_id = %s AND replay_id = %s "  # noqa: S608  # constant names
        "AND status IN ('QUEUED', 'RUNNING') FOR NO KEY UPDATE",
        (user_id, replay_id),
    )
    return None if row is None else _replay(row)


def move(tx: Transaction, replay: Replay) -> None:
    """Note how far a replay is; the caller holds its lock."""
    tx.execute(
        "UPDATE webhook_replays SET status = %s, looked_until = %s, position = %s, done = %s, total = %s, moved_at = %s, "
        "finished_at = %s WHERE user_id = %s AND replay_id = %s",
        (
            replay.status.value,
            replay.looked_until,
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
