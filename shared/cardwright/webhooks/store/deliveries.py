"""SQL of deliveries and attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.webhooks.rules import Attempt, Delivery, DeliveryStatus


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


def cancel_pending(tx: Transaction, user_id: UUID, subscription_id: UUID, now: datetime) -> None:
    """Give up what has not been delivered; a worker that is sending loses its lease."""
    tx.execute(
        "UPDATE webhook_deliveries SET status = 'CANCELLED', next_attempt_at = NULL, lease_token = NULL, lease_until = NULL, "
        "finished_at = %s WHERE user_id = %s AND subscription_id = %s AND status = 'PENDING'",
        (now, user_id, subscription_id),
    )


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
