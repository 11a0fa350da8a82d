"""SQL of claiming: which deliveries are due, fair between subscriptions, a card's in order where that is wanted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.webhooks.store.deliveries import Lease, lease_of

# The first entry of each subscription in webhook_deliveries_due, stepping from one to the next: its earliest due time among what
# goes in any order, which stands before what goes in order. Subscriptions with nothing to send cost nothing.
WAITING = (
    "waiting AS ("
    "  (SELECT user_id, subscription_id, ordered, next_attempt_at FROM webhook_deliveries WHERE status = 'PENDING'"
    "   ORDER BY user_id, subscription_id, ordered, next_attempt_at LIMIT 1)"
    "  UNION ALL"
    "  SELECT n.* FROM waiting w CROSS JOIN LATERAL ("
    "    SELECT user_id, subscription_id, ordered, next_attempt_at FROM webhook_deliveries WHERE status = 'PENDING'"
    "      AND (user_id, subscription_id) > (w.user_id, w.subscription_id)"
    "    ORDER BY user_id, subscription_id, ordered, next_attempt_at LIMIT 1) n"
    ")"
)
# The first entry of each (subscription, card) in webhook_deliveries_in_order: the only one of its card that may go.
HEADS = (
    "heads AS ("
    "  (SELECT user_id, subscription_id, card_id, event_id, next_attempt_at, lease_until FROM webhook_deliveries"
    "   WHERE status = 'PENDING' AND ordered ORDER BY user_id, subscription_id, card_id, event_id LIMIT 1)"
    "  UNION ALL"
    "  SELECT n.* FROM heads h CROSS JOIN LATERAL ("
    "    SELECT user_id, subscription_id, card_id, event_id, next_attempt_at, lease_until FROM webhook_deliveries"
    "    WHERE status = 'PENDING' AND ordered"
    "      AND (user_id, subscription_id, card_id) > (h.user_id, h.subscription_id, h.card_id)"
    "    ORDER BY user_id, subscription_id, card_id, event_id LIMIT 1) n"
    ")"
)
_FREE = "d.next_attempt_at <= %(now)s AND (d.lease_until IS NULL OR d.lease_until <= %(now)s)"
# Another one of the same subscription and card that is before `d`, or on its way.
_BEHIND = (
    "EXISTS (SELECT FROM webhook_deliveries o WHERE o.user_id = d.user_id AND o.subscription_id = d.subscription_id"
    "  AND o.card_id = d.card_id AND o.status = 'PENDING' AND o.ordered AND o.event_id <> d.event_id"
    "  AND (o.event_id < d.event_id OR o.lease_until > %(now)s))"
)
_RETURNED = (
    "w.user_id, w.subscription_id, w.event_id, w.card_id, w.ordered, w.lease_token, w.attempts, w.round_start, w.payload, "
    "w.event_created_at"
)


def subscription_of(alias: str) -> str:
    """The subscription of each row, if it may be sent events: looked up one by one, never all that there are."""
    return (
        "CROSS JOIN LATERAL (SELECT s.url, s.secrets_sealed, s.secrets_until FROM webhook_subscriptions s"  # noqa: S608  # constant text
        f"  WHERE s.user_id = {alias}.user_id AND s.subscription_id = {alias}.subscription_id AND s.status = 'ACTIVE'"
        "    AND s.deleted_at IS NULL AND (s.scope = 'own' OR user_is_staff(s.user_id)) OFFSET 0) s"
    )


def claim_due(
    tx: Transaction,
    *,
    now: datetime,
    token: UUID,
    lease_until: datetime,
    limit: int,
    per_subscription: int,
    flying: Mapping[UUID, int],
    but: Sequence[UUID] = (),
) -> list[Lease]:
    """Lease deliveries whose attempt is due, a few of each ACTIVE subscription, none of those named in `but`.

    `flying` says how many of a subscription are on their way already. Who has the fewest comes first, and among equals who waits
    longest, so that the backlog of one hides nobody. What waits for an owner who is staff no more stays where it is.
    """
    rows = tx.fetch_all(
        f"WITH RECURSIVE {WAITING}, {HEADS}, flying AS ("  # noqa: S608  # constant text
        "  SELECT * FROM unnest(%(busy)s::uuid[], %(counts)s::integer[]) AS f (subscription_id, n)"
        "), possible AS ("
        "  SELECT w.user_id, w.subscription_id, d.event_id, d.next_attempt_at FROM waiting w LEFT JOIN flying f"
        "    USING (subscription_id) CROSS JOIN LATERAL ("
        "    SELECT d.event_id, d.next_attempt_at FROM webhook_deliveries d"
        "    WHERE d.user_id = w.user_id AND d.subscription_id = w.subscription_id AND d.status = 'PENDING' AND NOT d.ordered"
        f"      AND {_FREE} ORDER BY d.next_attempt_at LIMIT greatest(0, %(each)s - coalesce(f.n, 0))) d"
        "  WHERE NOT w.ordered AND w.next_attempt_at <= %(now)s"
        "  UNION ALL"
        f"  SELECT user_id, subscription_id, event_id, next_attempt_at FROM heads d WHERE {_FREE} AND NOT {_BEHIND}"
        "), ranked AS ("
        "  SELECT p.*, coalesce(f.n, 0) + row_number() OVER ("
        "    PARTITION BY p.user_id, p.subscription_id ORDER BY p.next_attempt_at, p.event_id) AS rank"
        "  FROM possible p LEFT JOIN flying f USING (subscription_id)"
        "), chosen AS ("
        f"  SELECT r.*, s.url, s.secrets_sealed, s.secrets_until FROM ranked r {subscription_of('r')}"
        "  WHERE r.rank <= %(each)s AND r.subscription_id <> ALL (%(but)s)"
        "  ORDER BY r.rank, r.next_attempt_at, r.event_id LIMIT %(limit)s"
        "), held AS ("
        "  SELECT c.* FROM chosen c CROSS JOIN LATERAL ("
        "    SELECT FROM webhook_deliveries d WHERE d.user_id = c.user_id AND d.subscription_id = c.subscription_id"
        f"      AND d.event_id = c.event_id AND d.status = 'PENDING' AND {_FREE} FOR NO KEY UPDATE SKIP LOCKED) d"
        ") UPDATE webhook_deliveries w SET lease_token = %(token)s, lease_until = %(until)s FROM held"
        "  WHERE w.user_id = held.user_id AND w.subscription_id = held.subscription_id AND w.event_id = held.event_id"
        f"  RETURNING {_RETURNED}, held.url, held.secrets_sealed, held.secrets_until",
        {
            "now": now,
            "token": token,
            "until": lease_until,
            "limit": limit,
            "each": per_subscription,
            "busy": list(flying),
            "counts": list(flying.values()),
            "but": list(but),
        },
    )
    lost = _give_back(tx, [row for row in rows if row["ordered"]], now)
    return [lease_of(row) for row in rows if (row["subscription_id"], row["event_id"]) not in lost]


def lock_cards(tx: Transaction, card_ids: Sequence[UUID]) -> None:
    """Make others that claim or fan out events of these cards in order wait until this transaction ends."""
    tx.fetch_all(
        "SELECT pg_advisory_xact_lock(lock) FROM ("
        "  SELECT DISTINCT hashtextextended('webhook_card:' || card_id, 0) AS lock FROM unnest(%s::uuid[]) AS card_id ORDER BY 1"
        ") AS locks",
        (list(card_ids),),
    )


def _give_back(tx: Transaction, rows: Sequence[Row], now: datetime) -> set[tuple[UUID, UUID]]:
    """Give back what is not the first of its card any more, now that nobody else claims of it."""
    if not rows:
        return set()
    lock_cards(tx, [row["card_id"] for row in rows])
    lost = tx.fetch_all(
        "UPDATE webhook_deliveries d SET lease_token = NULL, lease_until = NULL "  # noqa: S608  # constant text
        "FROM unnest(%(users)s::uuid[], %(subscriptions)s::uuid[], %(events)s::uuid[]) AS c (user_id, subscription_id, event_id) "
        "WHERE d.user_id = c.user_id AND d.subscription_id = c.subscription_id AND d.event_id = c.event_id "
        f"AND {_BEHIND} RETURNING d.subscription_id, d.event_id",
        {
            "users": [row["user_id"] for row in rows],
            "subscriptions": [row["subscription_id"] for row in rows],
            "events": [row["event_id"] for row in rows],
            "now": now,
        },
    )
    return {(row["subscription_id"], row["event_id"]) for row in lost}


def claim_first_of_card(
    tx: Transaction, user_id: UUID, subscription_id: UUID, card_id: UUID, *, now: datetime, token: UUID, lease_until: datetime
) -> list[Lease]:
    """Lease the first waiting event of the card if it may go now and the subscription is not in the background.

    The caller has locked the card.
    """
    rows = tx.fetch_all(
        "WITH head AS ("  # noqa: S608  # constant text
        "  SELECT user_id, subscription_id, event_id, card_id, next_attempt_at, lease_until FROM webhook_deliveries"
        "  WHERE user_id = %(user)s AND subscription_id = %(subscription)s AND card_id = %(card)s"
        "    AND status = 'PENDING' AND ordered"
        "  ORDER BY event_id LIMIT 1"
        "), held AS ("
        "  SELECT w.user_id, w.subscription_id, w.event_id, s.url, s.secrets_sealed, s.secrets_until FROM head d"
        "  JOIN webhook_subscriptions s USING (user_id, subscription_id)"
        "  JOIN webhook_deliveries w USING (user_id, subscription_id, event_id)"
        f"  WHERE {_FREE} AND NOT {_BEHIND}"
        "    AND s.status = 'ACTIVE' AND s.deleted_at IS NULL AND NOT s.background FOR NO KEY UPDATE OF w SKIP LOCKED"
        ") UPDATE webhook_deliveries w SET lease_token = %(token)s, lease_until = %(until)s FROM held"
        "  WHERE w.user_id = held.user_id AND w.subscription_id = held.subscription_id AND w.event_id = held.event_id"
        f"  RETURNING {_RETURNED}, held.url, held.secrets_sealed, held.secrets_until",
        {
            "user": user_id,
            "subscription": subscription_id,
            "card": card_id,
            "now": now,
            "token": token,
            "until": lease_until,
        },
    )
    return [lease_of(row) for row in rows]
