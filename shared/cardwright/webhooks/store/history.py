"""SQL that shows deliveries and their attempts."""

from collections.abc import Sequence
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.webhooks.rules import Attempt, Delivery, DeliveryStatus

_COLUMNS = (
    "user_id, subscription_id, event_id, event_type, card_id, status, attempts AS attempted, next_attempt_at, event_created_at, "
    "created_at, finished_at"
)


def deliveries_of(
    tx: Transaction,
    user_id: UUID,
    subscription_id: UUID,
    limit: int,
    after: UUID | None = None,
    status: DeliveryStatus | None = None,
    event_type: str | None = None,
) -> list[Delivery]:
    """Deliveries to one subscription with their attempts, newest event first, those older than `after`."""
    rows = tx.fetch_all(
        f"SELECT {_COLUMNS} FROM webhook_deliveries WHERE user_id = %(user)s AND subscription_id = %(subscription)s "  # noqa: S608  # constant names
        "AND (%(after)s::uuid IS NULL OR event_id < %(after)s) AND (%(status)s::text IS NULL OR status = %(status)s) "
        "AND (%(type)s::text IS NULL OR event_type = %(type)s) ORDER BY event_id DESC LIMIT %(limit)s",
        {
            "user": user_id,
            "subscription": subscription_id,
            "after": after,
            "status": None if status is None else status.value,
            "type": event_type,
            "limit": limit,
        },
    )
    return _with_attempts(tx, rows)


def delivery(tx: Transaction, user_id: UUID, subscription_id: UUID, event_id: UUID) -> Delivery | None:
    """One event's way to one subscription, with its attempts."""
    rows = tx.fetch_all(
        f"SELECT {_COLUMNS} FROM webhook_deliveries WHERE user_id = %s AND subscription_id = %s AND event_id = %s",  # noqa: S608  # constant names
        (user_id, subscription_id, event_id),
    )
    shown = _with_attempts(tx, rows)
    return shown[0] if shown else None


def all_deliveries(tx: Transaction, limit: int, after: tuple[UUID, UUID] | None, status: DeliveryStatus | None) -> list[Delivery]:
    """Deliveries to all subscriptions the actor may see, newest event first, those after this event and subscription."""
    event_id, subscription_id = after or (None, None)
    rows = tx.fetch_all(
        f"SELECT {_COLUMNS} FROM webhook_deliveries WHERE "  # noqa: S608  # constant names
        "(%(event)s::uuid IS NULL OR (event_id, subscription_id) < (%(event)s, %(subscription)s)) "
        "AND (%(status)s::text IS NULL OR status = %(status)s) ORDER BY event_id DESC, subscription_id DESC LIMIT %(limit)s",
        {
            "event": event_id,
            "subscription": subscription_id,
            "status": None if status is None else status.value,
            "limit": limit,
        },
    )
    return _with_attempts(tx, rows)


def _with_attempts(tx: Transaction, rows: Sequence[Row]) -> list[Delivery]:
    keys = [(row["user_id"], row["subscription_id"], row["event_id"]) for row in rows]
    tried: dict[tuple[UUID, UUID, UUID], list[Attempt]] = {key: [] for key in keys}
    users, subscriptions, events = zip(*keys, strict=True) if keys else ((), (), ())
    found = tx.fetch_all(
        "SELECT a.user_id, a.subscription_id, a.event_id, number, started_at, latency_ms, status_code, outcome, response "
        "FROM webhook_attempts a JOIN unnest(%s::uuid[], %s::uuid[], %s::uuid[]) AS shown (user_id, subscription_id, event_id) "
        "USING (user_id, subscription_id, event_id) ORDER BY number",
        (list(users), list(subscriptions), list(events)),
    )
    for row in found:
        key = (row.pop("user_id"), row.pop("subscription_id"), row.pop("event_id"))
        tried[key].append(Attempt(**row))
    return [
        Delivery(**{**row, "status": DeliveryStatus(row["status"])}, attempts=tuple(tried[key]))
        for key, row in zip(keys, rows, strict=True)
    ]
