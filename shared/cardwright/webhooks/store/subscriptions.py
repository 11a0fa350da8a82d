"""SQL of subscriptions and their health."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.webhooks.rules import VERIFICATION_PATIENCE, Health, Scope, Subscription, SubscriptionStatus

_COLUMNS = (
    "user_id, subscription_id, url, event_types, card_ids, organization_id, ordered, api_version, description, scope, status, "
    "status_detail, secrets_sealed, secrets_until, verified_at, verification_due_at, inactive_since, failing_since, "
    "filter_since, consecutive_failures, background, version, last_operation_id, created_at, updated_at"
)
_PLACES = ", ".join(f"%({name})s" for name in _COLUMNS.split(", "))
# What is never changed: whose it is, whose events it hears, when it was made.
_FIXED = frozenset(("user_id", "subscription_id", "scope", "created_at"))
_CHANGES = ", ".join(f"{name} = %({name})s" for name in _COLUMNS.split(", ") if name not in _FIXED)
# The worker changes what verifications and attempts teach, nothing its owner wished.
_STANDING = (
    "status = %(status)s, status_detail = %(status_detail)s, verified_at = %(verified_at)s, "
    "verification_due_at = %(verification_due_at)s, inactive_since = %(inactive_since)s, failing_since = %(failing_since)s, "
    "consecutive_failures = %(consecutive_failures)s, background = %(background)s, version = %(version)s, "
    "updated_at = %(updated_at)s"
)


def _subscription(row: Row) -> Subscription:
    values = dict(row)
    values["event_types"] = tuple(row["event_types"])
    values["card_ids"] = None if row["card_ids"] is None else tuple(row["card_ids"])
    values["scope"] = Scope(row["scope"])
    values["status"] = SubscriptionStatus(row["status"])
    values["secrets_sealed"] = tuple(row["secrets_sealed"])
    values["secrets_until"] = tuple(row["secrets_until"])
    return Subscription(**values)


def _values(subscription: Subscription) -> dict[str, object]:
    values = asdict(subscription)
    for name in ("event_types", "secrets_sealed", "secrets_until"):
        values[name] = list(values[name])
    values["card_ids"] = None if subscription.card_ids is None else list(subscription.card_ids)
    values["scope"], values["status"] = subscription.scope.value, subscription.status.value
    return values


def one_at_a_time(tx: Transaction, user_id: UUID) -> None:
    """Make other creations of this user wait until this transaction ends, so that counting holds."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"webhook_subscriptions:{user_id}",))


def count(tx: Transaction, user_id: UUID) -> int:
    """How many subscriptions the user has."""
    row = tx.fetch_one("SELECT count(*) AS n FROM webhook_subscriptions WHERE user_id = %s AND deleted_at IS NULL", (user_id,))
    return 0 if row is None else int(row["n"])


def insert(tx: Transaction, subscription: Subscription) -> None:
    """Insert a subscription."""
    tx.execute(f"INSERT INTO webhook_subscriptions ({_COLUMNS}) VALUES ({_PLACES})", _values(subscription))  # noqa: S608  # constant names


def save(tx: Transaction, subscription: Subscription) -> None:
    """Write what its owner changed; the caller holds its lock."""
    tx.execute(
        f"UPDATE webhook_subscriptions SET {_CHANGES} WHERE user_id = %(user_id)s AND subscription_id = %(subscription_id)s",  # noqa: S608  # constant names
        _values(subscription),
    )


def save_standing(tx: Transaction, subscription: Subscription) -> None:
    """Write how a verification went; the caller holds its lock."""
    tx.execute(
        f"UPDATE webhook_subscriptions SET {_STANDING} WHERE user_id = %(user_id)s AND subscription_id = %(subscription_id)s",  # noqa: S608  # constant names
        _values(subscription),
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
        "UPDATE webhook_subscriptions SET deleted_at = %s, updated_at = %s, secrets_sealed = '{}', secrets_until = '{}', "
        "version = version + 1, last_operation_id = %s WHERE user_id = %s AND subscription_id = %s",
        (now, now, operation_id, user_id, subscription_id),
    )


def claim_unverified(tx: Transaction, now: datetime, limit: int) -> list[Subscription]:
    """Subscriptions whose verification nobody has heard of in time; nobody else asks for them before the same time again."""
    rows = tx.fetch_all(
        "WITH due AS ("  # noqa: S608  # constant names
        "  SELECT user_id, subscription_id FROM webhook_subscriptions"
        "  WHERE status = 'PENDING_VERIFICATION' AND deleted_at IS NULL AND verification_due_at <= %(now)s"
        "  ORDER BY verification_due_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED"
        ") UPDATE webhook_subscriptions s SET verification_due_at = %(later)s FROM due"
        "  WHERE s.user_id = due.user_id AND s.subscription_id = due.subscription_id RETURNING "
        + ", ".join(f"s.{name}" for name in _COLUMNS.split(", ")),
        {"now": now, "later": now + VERIFICATION_PATIENCE, "limit": limit},
    )
    return [_subscription(row) for row in rows]


def organization_of(tx: Transaction, user_id: UUID) -> UUID | None:
    """The organization a user belongs to."""
    row = tx.fetch_one("SELECT user_organization(%s) AS organization_id", (user_id,))
    return None if row is None else row["organization_id"]


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


def move_to_background(tx: Transaction, user_id: UUID, subscription_id: UUID) -> None:
    """Have the schedule alone serve a subscription."""
    tx.execute(
        "UPDATE webhook_subscriptions SET background = true WHERE user_id = %s AND subscription_id = %s AND NOT background",
        (user_id, subscription_id),
    )


def save_health(tx: Transaction, user_id: UUID, subscription_id: UUID, health: Health, detail: str | None, now: datetime) -> None:
    """Save what an attempt has taught; `detail` tells what disabled it. Its time of change moves with the version only."""
    tx.execute(
        "UPDATE webhook_subscriptions SET status = %(status)s, status_detail = coalesce(%(detail)s, status_detail), "
        "consecutive_failures = %(failures)s, background = %(background)s, version = %(version)s, "
        "inactive_since = CASE WHEN %(status)s = 'ACTIVE' THEN NULL ELSE coalesce(inactive_since, %(now)s) END, "
        "failing_since = CASE WHEN %(failures)s = 0 THEN NULL ELSE coalesce(failing_since, %(now)s) END, "
        "updated_at = CASE WHEN version = %(version)s THEN updated_at ELSE %(now)s END "
        "WHERE user_id = %(user)s AND subscription_id = %(subscription)s",
        {
            "status": health.status.value,
            "detail": detail,
            "failures": health.consecutive_failures,
            "background": health.background,
            "version": health.version,
            "now": now,
            "user": user_id,
            "subscription": subscription_id,
        },
    )
