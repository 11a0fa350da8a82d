"""SQL of subscriptions and their health."""

from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.webhooks.rules import Health, Scope, Subscription, SubscriptionStatus

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


def set_verified(tx: Transaction, subscription: Subscription, status: SubscriptionStatus, detail: str, now: datetime) -> bool:
    """Note how a verification went; False when somebody else has noted it or the subscription is gone."""
    touched = tx.execute(
        "UPDATE webhook_subscriptions SET status = %s, status_detail = %s, version = version + 1, updated_at = %s "
        "WHERE user_id = %s AND subscription_id = %s AND version = %s AND status = 'PENDING_VERIFICATION' AND deleted_at IS NULL",
        (status.value, detail, now, subscription.user_id, subscription.subscription_id, subscription.version),
    )
    return touched == 1


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
