"""SQL of deliveries and attempts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.outbox.rules import WEBHOOK_TEST, Event
from cardwright.platform.postgres import Row, Transaction
from cardwright.webhooks.rules import ROUNDS_MAX, Attempt, DeliveryStatus, Subscription, compact, render
from cardwright.webhooks.store.turns import lock_cards, settle


@dataclass(frozen=True, slots=True)
class Lease:
    """A delivery this worker may attempt now, with what an attempt needs.

    `attempts` counts all that were made, `round_start` those of earlier rounds. `card_id` is the card whose events go in order,
    None where they go in any.
    """

    user_id: UUID
    subscription_id: UUID
    event_id: UUID
    card_id: UUID | None
    token: UUID
    attempts: int
    round_start: int
    payload: bytes
    event_created_at: datetime
    url: str
    secrets_sealed: tuple[bytes, ...]
    secrets_until: tuple[datetime, ...]
    replayed: bool


@dataclass(frozen=True, slots=True)
class FannedOut:
    """What one event came to: attempts to be made now, and who (user, subscription) wants the events of its card in order."""

    leases: list[Lease]
    in_order: list[tuple[UUID, UUID]]


def lease_of(row: Row) -> Lease:
    """The lease of a row that holds all of it."""
    return Lease(
        user_id=row["user_id"],
        subscription_id=row["subscription_id"],
        event_id=row["event_id"],
        card_id=row["card_id"] if row.get("ordered") else None,
        token=row["lease_token"],
        attempts=row["attempts"],
        round_start=row["round_start"],
        payload=row["payload"].encode(),
        event_created_at=row["event_created_at"],
        url=row["url"],
        secrets_sealed=tuple(row["secrets_sealed"]),
        secrets_until=tuple(row["secrets_until"]),
        replayed=bool(row.get("replayed")),
    )


def cancel_pending(tx: Transaction, user_id: UUID, subscription_id: UUID, now: datetime) -> None:
    """Give up what has not been delivered; a worker that is sending loses its lease.

    Waits for those who are adding to it, so that nothing they add stands behind what is given up here.
    """
    tx.execute(
        "SELECT FROM webhook_subscriptions WHERE user_id = %s AND subscription_id = %s FOR UPDATE", (user_id, subscription_id)
    )
    tx.execute(
        "UPDATE webhook_deliveries SET status = 'CANCELLED', next_attempt_at = NULL, lease_token = NULL, lease_until = NULL, "
        "finished_at = %s WHERE user_id = %s AND subscription_id = %s AND status = 'PENDING'",
        (now, user_id, subscription_id),
    )


def fan_out(
    tx: Transaction,
    event: Event,
    payloads: Mapping[str, bytes],
    *,
    now: datetime,
    token: UUID,
    lease_until: datetime,
) -> FannedOut:
    """Make a delivery for each subscription that wants the event and has none; return those to attempt now, leased.

    `payloads` are the bytes for each version of the schemas that knows the event. A subscription to everybody's events hears them
    while its owner is staff. Subscriptions in the background get theirs without a lease: the schedule takes them. Those that
    want the card's events in order get nothing here and are told. A test goes to the subscription it names.
    """
    named = event.data.get("subscription_id") if event.type == WEBHOOK_TEST else None
    rows = tx.fetch_all(
        "WITH wanting AS ("
        "  SELECT user_id, subscription_id, url, secrets_sealed, secrets_until, background, v.payload,"
        "    ordered AND %(card)s::uuid IS NOT NULL AS in_order"
        "  FROM webhook_subscriptions JOIN unnest(%(versions)s::text[], %(payloads)s::text[]) AS v (version, payload)"
        "    ON v.version = api_version"
        "  WHERE status = 'ACTIVE' AND deleted_at IS NULL AND CASE WHEN %(test)s"
        "    THEN user_id = %(user)s AND subscription_id::text = %(named)s"
        "    ELSE %(type)s = ANY (event_types) AND (card_ids IS NULL OR %(card)s = ANY (card_ids))"
        "      AND (organization_id IS NULL OR organization_id = user_organization(%(user)s)) END"
        "    AND (scope = 'own' AND user_id = %(user)s OR scope = 'all' AND user_is_staff(user_id))"
        "), made AS ("
        "  INSERT INTO webhook_deliveries (user_id, subscription_id, event_id, event_type, card_id, payload, status,"
        "    next_attempt_at, lease_token, lease_until, event_created_at, created_at)"
        "  SELECT user_id, subscription_id, %(event)s, %(type)s, %(card)s, payload, 'PENDING', %(now)s,"
        "    CASE WHEN background THEN NULL ELSE %(token)s::uuid END,"
        "    CASE WHEN background THEN NULL ELSE %(until)s::timestamptz END, %(created)s, %(now)s"
        "  FROM wanting WHERE NOT in_order"
        "  ON CONFLICT DO NOTHING"
        "  RETURNING user_id, subscription_id, event_id, lease_token, attempts, round_start, payload, event_created_at"
        ") SELECT w.user_id, w.subscription_id, w.in_order, w.url, w.secrets_sealed, w.secrets_until, made.event_id,"
        "  made.lease_token, made.attempts, made.round_start, made.payload, made.event_created_at"
        "  FROM wanting w LEFT JOIN made USING (user_id, subscription_id)"
        "  WHERE w.in_order OR made.lease_token IS NOT NULL",
        {
            "user": event.user_id,
            "type": event.type,
            "test": event.type == WEBHOOK_TEST,
            "named": None if named is None else str(named),
            "card": event.card_id,
            "event": event.event_id,
            "versions": list(payloads),
            "payloads": [payload.decode() for payload in payloads.values()],
            "created": event.created_at,
            "now": now,
            "token": token,
            "until": lease_until,
        },
    )
    return FannedOut(
        [lease_of(row) for row in rows if not row["in_order"]],
        [(row["user_id"], row["subscription_id"]) for row in rows if row["in_order"]],
    )


def add(tx: Transaction, subscription: Subscription, events: Sequence[Event], now: datetime, *, replayed: bool = False) -> int:
    """Make deliveries of the events to one subscription, due now; return how many it had not. Its filter is not asked.

    Events of a type that the subscription's version does not know are left out. Where it wants them in order the caller has
    locked their cards, and the subscription at least by `turns.hold`.
    """
    rendered = [(event, render(event, subscription.api_version)) for event in events]
    told = [(event, compact(document).decode()) for event, document in rendered if document is not None]
    if not told:
        return 0
    made = tx.execute(
        "INSERT INTO webhook_deliveries (user_id, subscription_id, event_id, event_type, card_id, ordered, blocked, replayed, "
        "payload, status, next_attempt_at, event_created_at, created_at) "
        "SELECT %s, %s, e.event_id, e.type, e.card_id, e.ordered, e.ordered, %s, e.payload, 'PENDING', %s, e.created_at, %s "
        "FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::boolean[], %s::text[], %s::timestamptz[]) "
        "AS e (event_id, type, card_id, ordered, payload, created_at) ORDER BY e.event_id ON CONFLICT DO NOTHING",
        (
            subscription.user_id,
            subscription.subscription_id,
            replayed,
            now,
            now,
            [event.event_id for event, _ in told],
            [event.type for event, _ in told],
            [event.card_id for event, _ in told],
            [subscription.ordered and event.card_id is not None for event, _ in told],
            [payload for _, payload in told],
            [event.created_at for event, _ in told],
        ),
    )
    if made and subscription.ordered:
        cards = [event.card_id for event, _ in told if event.card_id is not None]
        settle(tx, subscription.user_id, subscription.subscription_id, cards)
    return made


def cancel_of_deleted(tx: Transaction, since: datetime, now: datetime) -> int:
    """Give up what waits for subscriptions that were deleted since then; return how many deliveries it was."""
    return tx.execute(
        "UPDATE webhook_deliveries d SET status = 'CANCELLED', next_attempt_at = NULL, lease_token = NULL, "
        "lease_until = NULL, finished_at = %s FROM webhook_subscriptions s WHERE s.deleted_at >= %s "
        "AND d.user_id = s.user_id AND d.subscription_id = s.subscription_id AND d.status = 'PENDING'",
        (now, since),
    )


def renew(tx: Transaction, subscription: Subscription, event_ids: Sequence[UUID], now: datetime, *, missed_only: bool) -> int:
    """Begin a new round of attempts, due now, for those of the events whose delivery has ended; return how many.

    With `missed_only` what was delivered stays so; what had ROUNDS_MAX rounds has no more. The caller has
    locked the subscription and the events' cards.
    """
    renewed = tx.fetch_all(
        "UPDATE webhook_deliveries SET status = 'PENDING', ordered = %s AND card_id IS NOT NULL, "
        "blocked = %s AND card_id IS NOT NULL, replayed = true, round_start = attempts, rounds = rounds + 1, "
        "next_attempt_at = %s, finished_at = NULL "
        "WHERE user_id = %s AND subscription_id = %s AND event_id = ANY (%s) AND status <> 'PENDING' "
        "AND NOT (%s AND status = 'DELIVERED') AND rounds < %s RETURNING card_id, ordered",
        (
            subscription.ordered,
            subscription.ordered,
            now,
            subscription.user_id,
            subscription.subscription_id,
            list(event_ids),
            missed_only,
            ROUNDS_MAX,
        ),
    )
    cards = [row["card_id"] for row in renewed if row["ordered"]]
    if cards:
        settle(tx, subscription.user_id, subscription.subscription_id, cards)
    return len(renewed)


def newest_in_order(tx: Transaction, user_id: UUID, subscription_id: UUID, card_id: UUID, before: UUID) -> UUID | None:
    """The newest event of the card, older than `before`, that the subscription got or gets in order."""
    row = tx.fetch_one(
        "SELECT event_id FROM webhook_deliveries WHERE user_id = %s AND subscription_id = %s AND card_id = %s AND ordered "
        "AND event_id < %s ORDER BY event_id DESC LIMIT 1",
        (user_id, subscription_id, card_id, before),
    )
    return None if row is None else row["event_id"]


def replayed_since(tx: Transaction, user_id: UUID, subscription_id: UUID) -> datetime | None:
    """From when on the subscription is still being sent what it missed; None when it has all of that."""
    row = tx.fetch_one(
        "SELECT min(range_from) AS since FROM webhook_replays WHERE user_id = %s AND subscription_id = %s "
        "AND status IN ('QUEUED', 'RUNNING') AND only_missed",
        (user_id, subscription_id),
    )
    return None if row is None else row["since"]


def release(tx: Transaction, lease: Lease, next_attempt_at: datetime | None = None) -> None:
    """Give a lease back unused; with `next_attempt_at` the delivery is due then."""
    tx.execute(
        "UPDATE webhook_deliveries SET lease_token = NULL, lease_until = NULL, "
        "next_attempt_at = coalesce(%s, next_attempt_at) "
        "WHERE user_id = %s AND subscription_id = %s AND event_id = %s AND lease_token = %s",
        (next_attempt_at, lease.user_id, lease.subscription_id, lease.event_id, lease.token),
    )


def record_attempt(
    tx: Transaction, lease: Lease, attempt: Attempt, status: DeliveryStatus, next_attempt_at: datetime | None, now: datetime
) -> bool:
    """Record an attempt and where the delivery stands. False, and nothing written, when the lease is lost."""
    finished_at = None if status is DeliveryStatus.PENDING else now
    # The next of the card goes when this one has ended.
    ended_card = None if finished_at is None else lease.card_id
    if ended_card is not None:
        lock_cards(tx, [ended_card])
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
    if ended_card is not None:
        settle(tx, lease.user_id, lease.subscription_id, [ended_card])
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
