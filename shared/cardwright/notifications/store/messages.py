"""SQL of messages: planned, leased, sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cardwright.notifications.rules import OUTGOING, Because, Cap, Category, Channel, MessageStatus, Outcome, Preferences, Told
from cardwright.notifications.store.preferences import preferences_of
from cardwright.platform.postgres import Row, Transaction

DIGEST_LINES_MAX = 200
# Longer than any quiet hours, with what a schedule may be late: older rows need not be looked through.
_HELD_MOST = timedelta(days=2)
_WITH_CONTENT = (
    "SELECT m.user_id, m.message_id, m.notification_id, m.category, m.channel, m.device_id, m.attempts, m.lease_token, "
    "m.due_at, m.created_at, n.template, n.params, n.event_created_at, d.address_sealed, d.address_digest, "
    "p.locale, p.time_zone, p.quiet_from, p.quiet_until, p.digest, p.digest_hour, p.choices, p.version, p.last_operation_id "
    "FROM notification_messages m "
    "JOIN notification_preferences p USING (user_id) "
    "LEFT JOIN notifications n USING (user_id, notification_id) "
    "LEFT JOIN notification_devices d ON d.user_id = m.user_id AND d.device_id = m.device_id AND d.status = 'ACTIVE' "
    "WHERE m.lease_token = %s AND (m.user_id, m.message_id) IN (SELECT * FROM unnest(%s::uuid[], %s::uuid[])) "
    "ORDER BY m.due_at, n.event_id"
)


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to insert. `due_at` while it is PENDING, `digest_id` when a digest tells it.

    One that `waits` is left to the schedule although it is due: others go before it.
    """

    message_id: UUID
    channel: Channel
    device_id: UUID | None
    status: MessageStatus
    due_at: datetime | None = None
    outcome: str | None = None
    digest_id: UUID | None = None
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A message this worker may send now, with what it is made of. Without a template it is a digest.

    `address_sealed` and `address_digest` are those of the device, None when it takes no messages any more.
    """

    user_id: UUID
    message_id: UUID
    token: UUID
    notification_id: UUID | None
    category: Category
    channel: Channel
    device_id: UUID | None
    address_sealed: bytes | None
    address_digest: bytes | None
    attempts: int
    due_at: datetime
    created_at: datetime
    event_created_at: datetime | None
    template: str | None
    params: Mapping[str, str]
    preferences: Preferences


def counts(tx: Transaction, user_id: UUID, caps: Mapping[Channel, Cap], now: datetime, *, security: bool) -> dict[Channel, int]:
    """How many notifications went, or will go, to a user by each channel within its cap's window."""
    rows = tx.fetch_all(
        "SELECT c.channel, (SELECT count(DISTINCT coalesce(m.notification_id, m.message_id)) FROM notification_messages m"
        "  WHERE m.user_id = %s AND m.channel = c.channel AND m.created_at > c.since"
        "  AND m.status IN ('PENDING', 'SENT', 'FAILED')"
        "  AND (m.category = 'security') = %s) AS n FROM unnest(%s::text[], %s::timestamptz[]) AS c (channel, since)",
        (user_id, security, [channel.value for channel in caps], [now - cap.window for cap in caps.values()]),
    )
    return {Channel(row["channel"]): int(row["n"]) for row in rows}


def insert(
    tx: Transaction,
    user_id: UUID,
    notification_id: UUID | None,
    category: Category,
    new: Sequence[NewMessage],
    now: datetime,
    *,
    token: UUID,
    lease_until: datetime,
) -> list[Lease]:
    """Keep messages; return those that are due now, leased."""
    for message in new:
        pending = message.status is MessageStatus.PENDING
        held = pending and not message.waits and message.due_at is not None and message.due_at <= now
        tx.execute(
            "INSERT INTO notification_messages (user_id, message_id, notification_id, category, channel, device_id, status, "
            "digest_id, due_at, lease_token, lease_until, outcome, created_at, finished_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                user_id,
                message.message_id,
                notification_id,
                category.value,
                message.channel.value,
                message.device_id,
                message.status.value,
                message.digest_id,
                message.due_at if pending else None,
                token if held else None,
                lease_until if held else None,
                message.outcome,
                now,
                None if pending else now,
            ),
        )
    return _leased(tx, token, [(user_id, message.message_id) for message in new])


def open_digest(tx: Transaction, user_id: UUID, now: datetime) -> UUID | None:
    """The digest that is still to go to a user, held until the transaction ends so that nobody sends it meanwhile."""
    row = tx.fetch_one(
        "SELECT message_id FROM notification_messages WHERE user_id = %s AND status = 'PENDING' AND notification_id IS NULL "
        "AND due_at > %s AND attempts = 0 AND lease_token IS NULL ORDER BY due_at LIMIT 1 FOR NO KEY UPDATE",
        (user_id, now),
    )
    return None if row is None else row["message_id"]


def held_back(tx: Transaction, user_id: UUID, now: datetime) -> set[Channel]:
    """The channels by which quiet hours that have ended still owe a user something."""
    rows = tx.fetch_all(
        "SELECT DISTINCT channel FROM notification_messages WHERE user_id = %s AND channel = ANY (%s) AND status = 'PENDING' "
        "AND created_at > %s AND created_at < due_at - interval '1 second' AND due_at <= %s AND attempts = 0 "
        "AND notification_id IS NOT NULL",
        (user_id, [channel.value for channel in OUTGOING], now - _HELD_MOST, now),
    )
    return {Channel(row["channel"]) for row in rows}


def claim_due(tx: Transaction, *, now: datetime, token: UUID, lease_until: datetime, limit: int) -> list[Lease]:
    """Lease messages that are due and that nobody holds, those that wait longest first.

    While somebody sends a user's messages by a channel, those that follow wait; warnings wait for nothing.
    """
    # One claims at a time: another would not see what this one leases, and take what follows it.
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('notification_messages', 0))")
    rows = tx.fetch_all(
        "WITH due AS ("
        "  SELECT user_id, message_id FROM notification_messages m WHERE status = 'PENDING' AND due_at <= %(now)s"
        "  AND (lease_until IS NULL OR lease_until <= %(now)s) AND (category = 'security' OR NOT EXISTS ("
        "    SELECT FROM notification_messages f WHERE f.user_id = m.user_id AND f.channel = m.channel AND f.status = 'PENDING'"
        "    AND f.created_at > %(since)s AND f.category <> 'security' AND f.due_at <= m.due_at AND f.lease_until > %(now)s))"
        "  ORDER BY due_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED"
        ") UPDATE notification_messages m SET lease_token = %(token)s, lease_until = %(until)s FROM due"
        "  WHERE m.user_id = due.user_id AND m.message_id = due.message_id RETURNING m.user_id, m.message_id",
        {"now": now, "since": now - _HELD_MOST, "token": token, "until": lease_until, "limit": limit},
    )
    return _leased(tx, token, [(row["user_id"], row["message_id"]) for row in rows])


def digested(tx: Transaction, user_id: UUID, digest_id: UUID) -> list[Told]:
    """What a digest tells, the oldest first, DIGEST_LINES_MAX at most."""
    rows = tx.fetch_all(
        "SELECT n.notification_id, n.template, n.params FROM notification_messages m "
        "JOIN notifications n USING (user_id, notification_id) WHERE m.user_id = %s AND m.digest_id = %s "
        "ORDER BY n.event_id LIMIT %s",
        (user_id, digest_id, DIGEST_LINES_MAX),
    )
    return [Told(row["template"], row["params"], row["notification_id"]) for row in rows]


def count_digested(tx: Transaction, user_id: UUID, digest_id: UUID) -> int:
    """How much a digest has to tell."""
    row = tx.fetch_one(
        "SELECT count(*) AS n FROM notification_messages WHERE user_id = %s AND digest_id = %s", (user_id, digest_id)
    )
    return 0 if row is None else int(row["n"])


def record(
    tx: Transaction, lease: Lease, status: MessageStatus, outcome: Outcome, attempts: int, due_at: datetime | None, now: datetime
) -> bool:
    """Record what became of a message. False, and nothing written, when the lease is lost."""
    held = tx.execute(
        "UPDATE notification_messages SET status = %s, outcome = %s, attempts = %s, due_at = %s, finished_at = %s, "
        "provider = %s, provider_message_id = %s, lease_token = NULL, lease_until = NULL "
        "WHERE user_id = %s AND message_id = %s AND lease_token = %s",
        (
            status.value,
            outcome.name,
            attempts,
            due_at,
            None if status is MessageStatus.PENDING else now,
            outcome.provider,
            None if outcome.provider_message_id is None else outcome.provider_message_id[:200],
            lease.user_id,
            lease.message_id,
            lease.token,
        ),
    )
    return held == 1


def release(tx: Transaction, lease: Lease) -> None:
    """Give a lease back unused."""
    tx.execute(
        "UPDATE notification_messages SET lease_token = NULL, lease_until = NULL "
        "WHERE user_id = %s AND message_id = %s AND lease_token = %s",
        (lease.user_id, lease.message_id, lease.token),
    )


def suppress(tx: Transaction, digest: bytes, because: Because, now: datetime) -> None:
    """Note that an e-mail address takes nothing more. An unsubscription stays one only until something worse is known."""
    tx.execute(
        "INSERT INTO notification_suppressions (address_digest, because, created_at) VALUES (%s, %s, %s) "
        "ON CONFLICT (address_digest) DO UPDATE SET because = EXCLUDED.because "
        "WHERE notification_suppressions.because = 'unsubscribed'",
        (digest, because.value, now),
    )


def suppressed(tx: Transaction, digests: Sequence[bytes]) -> Because | None:
    """Why an e-mail address takes nothing more; None when it does."""
    row = tx.fetch_one(
        "SELECT because FROM notification_suppressions WHERE address_digest = ANY (%s) ORDER BY because LIMIT 1", (list(digests),)
    )
    return None if row is None else Because(row["because"])


def waiting(tx: Transaction, now: datetime) -> tuple[int, datetime | None]:
    """How many messages are due, and since when the oldest is."""
    row = tx.fetch_one(
        "SELECT count(*) AS n, min(due_at) AS oldest FROM notification_messages WHERE status = 'PENDING' AND due_at <= %s", (now,)
    )
    return (0, None) if row is None else (int(row["n"]), row["oldest"])


def _leased(tx: Transaction, token: UUID, keys: Sequence[tuple[UUID, UUID]]) -> list[Lease]:
    if not keys:
        return []
    users, messages = [user_id for user_id, _ in keys], [message_id for _, message_id in keys]
    return [_lease(row) for row in tx.fetch_all(_WITH_CONTENT, (token, users, messages))]


def _lease(row: Row) -> Lease:
    return Lease(
        user_id=row["user_id"],
        message_id=row["message_id"],
        token=row["lease_token"],
        notification_id=row["notification_id"],
        category=Category(row["category"]),
        channel=Channel(row["channel"]),
        device_id=row["device_id"],
        address_sealed=row["address_sealed"],
        address_digest=row["address_digest"],
        attempts=row["attempts"],
        due_at=row["due_at"],
        created_at=row["created_at"],
        event_created_at=row["event_created_at"],
        template=row["template"],
        params=row["params"] or {},
        preferences=preferences_of(row),
    )
