"""SQL of subscriptions, deliveries and attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.webhooks.rules import Attempt, Delivery, DeliveryStatus, Health, Scope, Subscription, SubscriptionStatus


@dataclass(frozen=True, slots=True)
class Lease:
    """A delivery this worker may attempt now, with what an attempt needs."""

    user_id: UUID
    subscription_id: UUID
    event_id: UUID
    token: UUID
    attempts: int
    payload: bytes
    url: str
    secrets_sealed: tuple[bytes, ...]


_COLUMNS = (
    "user_id, subscription_id, url, event_types, card_ids, scope, status, status_detail, secrets_sealed, version, "
    "last_operation_id, created_at, updated_at"
)


def _subscription(row: Row) -> Subscription:
    values = dict(row)
    values["event_types"] = tuple(row["event_types"])
    values["card_ids"] = None if row["card_ids"] is None else tuple(row["card_ids"])
    values["scope"] = Scope(row["scope"])
    values["status"] = SubscriptionStatus(row["status"])
    values["secrets_sealed"] = tuple(row["secrets_sealed"])
    return Subscription(**values)


def one_at_a_time(tx: Transaction, user_id: UUID) -> None:
    """Make other creations of this user wait until this transaction ends, so that counting holds."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"webhook_subscriptions:{user_id}",))


def count(tx: Transaction, user_id: UUID) -> int:
    """How many subscriptions the user has."""
    row = tx.fetch_one("SELECT count(*) AS n FROM webhook_subscriptions WHERE user_id = %s AND deleted_at IS NULL", (user_id,))
    return 0 if row is None else int(row["n"])


def insert(tx: Transaction, subscription: Subscription) -> None:
    """Insert a subscription."""
    tx.execute(
        f"INSERT INTO webhook_subscriptions ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",  # noqa: S608  # constant names
        (
            subscription.user_id,
            subscription.subscription_id,
            subscription.url,
            list(subscription.event_types),
            None if subscription.card_ids is None else list(subscription.card_ids),
            subscription.scope.value,
            subscription.status.value,
            subscription.status_detail,
            list(subscription.secrets_sealed),
            subscription.version,
            subscription.last_operation_id,
            subscription.created_at,
            subscription.updated_at,
        ),
    )


def load(tx: Transaction, user_id: UUID, subscription_id: UUID, *, lock: bool = False) -> Subscription | None:
    """One subscription of the user that is not deleted; locked against other writers when asked."""
    row = tx.fetch_one(
        f"SELECT {_COLUMNS} FROM webhook_subscriptions "  # noqa: S608  # constant names
        f"WHERE user_id = %s AND subscription_id = %s AND deleted_at IS NULL {'FOR NO KEY UPDATE' if lock else ''}",
        (user_id, subscription_id),
    )
    return None if row is None else _subscription(row)


def list_of(tx: Transaction, user_id: UUID, limit: int, after: UUID | None) -> list[Subscription]:
    """The user's subscriptions, newest first, those older than `after`."""
    rows = tx.fetch_all(
        f"SELECT {_COLUMNS} FROM webhook_subscriptions WHERE user_id = %s AND deleted_at IS NULL "  # noqa: S608  # constant names
        "AND (%s::uuid IS NULL OR subscription_id < %s) ORDER BY subscription_id DESC LIMIT %s",
        (user_id, after, after, limit),
    )
    return [_subscription(row) for row in rows]


def deleted_by(tx: Transaction, user_id: UUID, subscription_id: UUID, operation_id: UUID) -> bool:
    """True when exactly this operation has deleted the subscription before."""
    row = tx.fetch_one(
        "SELECT 1 AS found FROM webhook_subscriptions WHERE user_id = %s AND subscription_id = %s AND deleted_at IS NOT NULL "
        "AND last_operation_id = %s",
        (user_id, subscription_id, operation_id),
    )
    return row is not None


def delete(tx: Transaction, user_id: UUID, subscription_id: UUID, operation_id: UUID, now: datetime) -> None:
    """End a subscription: its secrets are forgotten, its history stays."""
    tx.execute(
        "UPDATE webhook_subscriptions SET deleted_at = %s, updated_at = %s, secrets_sealed = '{}', version = version + 1, "
        "last_operation_id = %s WHERE user_id = %s AND subscription_id = %s",
        (now, now, operation_id, user_id, subscription_id),
    )


def cancel_pending(tx: Transaction, user_id: UUID, subscription_id: UUID, now: datetime) -> None:
    """Give up what has not been delivered; a worker that is sending loses its lease."""
    tx.execute(
        "UPDATE webhook_deliveries SET status = 'CANCELLED', next_attempt_at = NULL, lease_token = NULL, lease_until = NULL, "
        "finished_at = %s WHERE user_id = %s AND subscription_id = %s AND status = 'PENDING'",
        (now, user_id, subscription_id),
    )


def set_verified(tx: Transaction, subscription: Subscription, status: SubscriptionStatus, detail: str, now: datetime) -> bool:
    """Note how a verification went; False when somebody else has noted it or the subscription is gone."""
    touched = tx.execute(
        "UPDATE webhook_subscriptions SET status = %s, status_detail = %s, version = version + 1, updated_at = %s "
        "WHERE user_id = %s AND subscription_id = %s AND version = %s AND status = 'PENDING_VERIFICATION' AND deleted_at IS NULL",
        (status.value, detail, now, subscription.user_id, subscription.subscription_id, subscription.version),
    )
    return touched == 1


def fan_out(
    tx: Transaction,
    *,
    event_id: UUID,
    event_type: str,
    user_id: UUID | None,
    card_id: UUID | None,
    payload: bytes,
    now: datetime,
    token: UUID,
    lease_until: datetime,
) -> list[Lease]:
    """Make a delivery for each subscription that wants the event and has none; return those to attempt now, leased.

    A subscription to everybody's events hears them while its owner is staff. Subscriptions in the background get theirs
    without a lease: the schedule takes them.
    """
    rows = tx.fetch_all(
        "WITH wanting AS ("
        "  SELECT user_id, subscription_id, url, secrets_sealed, background FROM webhook_subscriptions"
        "  WHERE status = 'ACTIVE' AND deleted_at IS NULL"
        "  AND (scope = 'own' AND user_id = %(user)s OR scope = 'all' AND user_is_staff(user_id))"
        "  AND %(type)s = ANY (event_types) AND (card_ids IS NULL OR %(card)s = ANY (card_ids))"
        "), made AS ("
        "  INSERT INTO webhook_deliveries (user_id, subscription_id, event_id, event_type, payload, status, next_attempt_at,"
        "    lease_token, lease_until, created_at)"
        "  SELECT user_id, subscription_id, %(event)s, %(type)s, %(payload)s, 'PENDING', %(now)s,"
        "    CASE WHEN background THEN NULL ELSE %(token)s::uuid END,"
        "    CASE WHEN background THEN NULL ELSE %(until)s::timestamptz END, %(now)s FROM wanting"
        "  ON CONFLICT DO NOTHING RETURNING user_id, subscription_id, event_id, lease_token, attempts, payload"
        ") SELECT made.*, url, secrets_sealed FROM made JOIN wanting USING (user_id, subscription_id) WHERE NOT background",
        {
            "user": user_id,
            "type": event_type,
            "card": card_id,
            "event": event_id,
            "payload": payload.decode(),
            "now": now,
            "token": token,
            "until": lease_until,
        },
    )
    return [_lease(row) for row in rows]


def claim_due(
    tx: Transaction,
    *,
    now: datetime,
    token: UUID,
    lease_until: datetime,
    limit: int,
    per_subscription: int,
    busy: Sequence[UUID],
) -> list[Lease]:
    """Lease deliveries whose attempt is due, a few of each ACTIVE subscription, none of the `busy` ones.

    What waits for an owner who is staff no more stays where it is. Goes subscription by subscription (one index probe
    each), so that the backlog of one does not hide the others.
    """
    rows = tx.fetch_all(
        "WITH due AS ("
        "  SELECT s.url, s.secrets_sealed, d.* FROM webhook_subscriptions s CROSS JOIN LATERAL ("
        "    SELECT user_id, subscription_id, event_id, next_attempt_at FROM webhook_deliveries"
        "    WHERE user_id = s.user_id AND subscription_id = s.subscription_id AND status = 'PENDING'"
        "      AND next_attempt_at <= %(now)s AND (lease_until IS NULL OR lease_until <= %(now)s)"
        "    ORDER BY next_attempt_at LIMIT %(each)s FOR NO KEY UPDATE SKIP LOCKED) d"
        "  WHERE s.status = 'ACTIVE' AND s.deleted_at IS NULL AND s.subscription_id <> ALL (%(busy)s)"
        "  AND (s.scope = 'own' OR user_is_staff(s.user_id))"
        "  ORDER BY d.next_attempt_at LIMIT %(limit)s"
        ") UPDATE webhook_deliveries w SET lease_token = %(token)s, lease_until = %(until)s FROM due"
        "  WHERE w.user_id = due.user_id AND w.subscription_id = due.subscription_id AND w.event_id = due.event_id"
        "  RETURNING w.user_id, w.subscription_id, w.event_id, w.lease_token, w.attempts, w.payload, due.url, due.secrets_sealed",
        {
            "now": now,
            "token": token,
            "until": lease_until,
            "limit": limit,
            "each": per_subscription,
            "busy": list(busy),
        },
    )
    return [_lease(row) for row in rows]


def _lease(row: Row) -> Lease:
    return Lease(
        user_id=row["user_id"],
        subscription_id=row["subscription_id"],
        event_id=row["event_id"],
        token=row["lease_token"],
        attempts=row["attempts"],
        payload=row["payload"].encode(),
        url=row["url"],
        secrets_sealed=tuple(row["secrets_sealed"]),
    )


def release(tx: Transaction, lease: Lease) -> None:
    """Give a lease back unused."""
    tx.execute(
        "UPDATE webhook_deliveries SET lease_token = NULL, lease_until = NULL "
        "WHERE user_id = %s AND subscription_id = %s AND event_id = %s AND lease_token = %s",
        (lease.user_id, lease.subscription_id, lease.event_id, lease.token),
    )


def lock_health(tx: Transaction, user_id: UUID, subscription_id: UUID) -> Health | None:
    """Lock a subscription before its deliveries (everybody locks in this order) and return its health."""
    row = tx.fetch_one(
        "SELECT status, consecutive_failures, background, version FROM webhook_subscriptions "
        "WHERE user_id = %s AND subscription_id = %s FOR NO KEY UPDATE",
        (user_id, subscription_id),
    )
    if row is None:
        return None
    return Health(SubscriptionStatus(row["status"]), row["consecutive_failures"], row["background"], row["version"])


def save_health(tx: Transaction, user_id: UUID, subscription_id: UUID, health: Health, detail: str | None, now: datetime) -> None:
    """Save what an attempt has taught; `detail` tells what disabled it. Its time of change moves with the version only."""
    tx.execute(
        "UPDATE webhook_subscriptions SET status = %s, status_detail = coalesce(%s, status_detail), consecutive_failures = %s, "
        "background = %s, version = %s, updated_at = CASE WHEN version = %s THEN updated_at ELSE %s END "
        "WHERE user_id = %s AND subscription_id = %s",
        (
            health.status.value,
            detail,
            health.consecutive_failures,
            health.background,
            health.version,
            health.version,
            now,
            user_id,
            subscription_id,
        ),
    )


def record_attempt(
    tx: Transaction, lease: Lease, attempt: Attempt, status: DeliveryStatus, next_attempt_at: datetime | None, now: datetime
) -> bool:
    """Record an attempt and where the delivery stands. False, and nothing written, when the lease is lost."""
    finished_at = None if status is DeliveryStatus.PENDING else now
    held = tx.execute(
        "UPDATE webhook_deliveries SET status = %s, attempts = %s, next_attempt_at = %s, finished_at = %s, lease_token = NULL, "
        "lease_until = NULL WHERE user_id = %s AND subscription_id = %s AND event_id = %s AND lease_token = %s",
        (
            status.value,
            attempt.number,
            next_attempt_at,
            finished_at,
            lease.user_id,
            lease.subscription_id,
            lease.event_id,
            lease.token,
        ),
    )
    if held == 0:
        return False
    tx.execute(
        "INSERT INTO webhook_attempts (user_id, subscription_id, event_id, number, started_at, latency_ms, status_code, outcome, "
        "response) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            lease.user_id,
            lease.subscription_id,
            lease.event_id,
            attempt.number,
            attempt.started_at,
            attempt.latency_ms,
            attempt.status_code,
            attempt.outcome,
            attempt.response,
        ),
    )
    return True


def deliveries_of(tx: Transaction, user_id: UUID, subscription_id: UUID, limit: int, after: UUID | None) -> list[Delivery]:
    """Deliveries to one subscription with their attempts, newest event first, those older than `after`."""
    rows = tx.fetch_all(
        "SELECT event_id, event_type, status, next_attempt_at, created_at, finished_at FROM webhook_deliveries "
        "WHERE user_id = %s AND subscription_id = %s AND (%s::uuid IS NULL OR event_id < %s) ORDER BY event_id DESC LIMIT %s",
        (user_id, subscription_id, after, after, limit),
    )
    tried: dict[UUID, list[Attempt]] = {row["event_id"]: [] for row in rows}
    for row in tx.fetch_all(
        "SELECT event_id, number, started_at, latency_ms, status_code, outcome, response FROM webhook_attempts "
        "WHERE user_id = %s AND subscription_id = %s AND event_id = ANY (%s) ORDER BY event_id, number",
        (user_id, subscription_id, list(tried)),
    ):
        tried[row.pop("event_id")].append(Attempt(**row))
    return [Delivery(**{**row, "status": DeliveryStatus(row["status"])}, attempts=tuple(tried[row["event_id"]])) for row in rows]
