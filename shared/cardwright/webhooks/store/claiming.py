"""SQL of claiming: which deliveries are due, fair between subscriptions, a card's in order where that is wanted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.webhooks.store.deliveries import Lease, lease_of
from cardwright.webhooks.store.turns import IN_TURN, lock_cards

# A subscription's place in the walk.
Place = tuple[UUID, UUID]
BEGIN = (UUID(int=0), UUID(int=0))
END = (UUID(int=2**128 - 1), UUID(int=2**128 - 1))

# How many deliveries a look weighs at most, unless more are wanted, and how many subscriptions it steps over to find them.
WINDOW = 100
STEPS = 2000

# The first entry of each subscription in webhook_deliveries_due, stepping from one to the next: what it has due earliest.
# Subscriptions with nothing to send cost nothing, and those with much of it no more than those with little.
WAITING = (
    "waiting AS ("
    "  (SELECT user_id, subscription_id, next_attempt_at, 1 AS step FROM webhook_deliveries"
    "   WHERE status = 'PENDING' AND NOT blocked"
    "     AND (user_id, subscription_id) > (%(after_user)s, %(after)s)"
    "     AND (user_id, subscription_id) <= (%(last_user)s, %(last)s)"
    "   ORDER BY user_id, subscription_id, next_attempt_at LIMIT 1)"
    "  UNION ALL"
    "  SELECT n.* FROM waiting w CROSS JOIN LATERAL ("
    "    SELECT user_id, subscription_id, next_attempt_at, w.step + 1 FROM webhook_deliveries"
    "    WHERE status = 'PENDING' AND NOT blocked"
    "      AND (user_id, subscription_id) > (w.user_id, w.subscription_id)"
    "      AND (user_id, subscription_id) <= (%(last_user)s, %(last)s)"
    "    ORDER BY user_id, subscription_id, next_attempt_at LIMIT 1) n"
    "  WHERE %(steps)s::integer IS NULL OR w.step < %(steps)s"
    ")"
)
_FREE = "d.next_attempt_at <= %(now)s AND (d.lease_until IS NULL OR d.lease_until <= %(now)s)"
_RETURNED = (
    "w.user_id, w.subscription_id, w.event_id, w.card_id, w.ordered, w.lease_token, w.attempts, w.round_start, w.payload, "
    "w.event_created_at, w.replayed"
)


@dataclass(slots=True)
class Walk:
    """Where a worker's next look begins: behind the last subscription it came to, when there were more than one look takes in."""

    after: Place = BEGIN


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
    per_owner: int | None = None,
    owners: Mapping[UUID, int] | None = None,
    but: Sequence[UUID] = (),
    walk: Walk | None = None,
) -> list[Lease]:
    """Lease deliveries whose attempt is due, a few of each ACTIVE subscription and owner, none of those named in `but`.

    `flying` and `owners` say how many of a subscription and of an owner are on their way already. The owner who has the fewest
    comes first, of an owner's subscriptions the one that has, and among equals who waits longest: so the backlog of one, and
    receivers that hang, keep nobody else waiting. Where more subscriptions wait than one look takes in, `walk` goes on from
    look to look, so that each is come to. What waits for an owner who is staff no more stays where it is.
    """
    walk = walk or Walk()
    window = max(WINDOW, limit * per_subscription)
    asked = {
        "now": now,
        "each": per_subscription,
        "busy": list(flying),
        "counts": list(flying.values()),
        "but": list(but),
    }
    begun = walk.after
    due, stopped = _due(tx, asked, begun, END, window)
    if stopped is None and begun != BEGIN:
        more, stopped = _due(tx, asked, BEGIN, begun, window - len(due))
        due += more
    walk.after = stopped or BEGIN
    ranks: Counter[UUID] = Counter(flying)
    ranked: list[tuple[int, datetime, UUID, Row]] = []
    for row in due:
        ranked.append((ranks[row["subscription_id"]], row["next_attempt_at"], row["event_id"], row))
        ranks[row["subscription_id"]] += 1
    ranked.sort(key=lambda one: one[:3])
    chosen = _in_shares(ranked, owners or {}, per_owner)[:limit]
    return _lease(tx, chosen, now=now, token=token, lease_until=lease_until) if chosen else []


def _in_shares(ranked: Sequence[tuple[int, datetime, UUID, Row]], owners: Mapping[UUID, int], per_owner: int | None) -> list[Row]:
    """The owners' rows, each owner's in its order, one of each by turns; nothing over an owner's share."""
    turns: Counter[UUID] = Counter(owners)
    taken: list[tuple[int, int, datetime, UUID, Row]] = []
    for rank, due_at, event_id, row in ranked:
        if per_owner is None or turns[row["user_id"]] < per_owner:
            taken.append((turns[row["user_id"]], rank, due_at, event_id, row))
            turns[row["user_id"]] += 1
    taken.sort(key=lambda one: one[:4])
    return [row for *_, row in taken]


def span(after: Place = BEGIN, last: Place = END) -> dict[str, UUID]:
    """What WAITING is asked: subscriptions behind one place, up to another."""
    return {"after_user": after[0], "after": after[1], "last_user": last[0], "last": last[1]}


def _due(tx: Transaction, asked: Mapping[str, object], after: Place, last: Place, window: int) -> tuple[list[Row], Place | None]:
    """What may go now of the subscriptions behind one place and up to another, of each what has waited longest first.

    Returns besides where it stopped when it did not come to the last place.
    """
    rows = tx.fetch_all(
        f"WITH RECURSIVE {WAITING}, flying AS ("  # noqa: S608  # constant text
        "  SELECT * FROM unnest(%(busy)s::uuid[], %(counts)s::integer[]) AS f (subscription_id, n)"
        ") (SELECT w.user_id, w.subscription_id, d.* FROM waiting w"
        f" {subscription_of('w')}"
        " CROSS JOIN LATERAL ("
        "   SELECT d.event_id, d.next_attempt_at, CASE WHEN d.ordered THEN d.card_id END AS card_id FROM webhook_deliveries d"
        "   WHERE d.user_id = w.user_id AND d.subscription_id = w.subscription_id AND d.status = 'PENDING' AND NOT d.blocked"
        f"     AND {_FREE} AND {IN_TURN} ORDER BY d.next_attempt_at"
        "   LIMIT greatest(0, %(each)s - coalesce((SELECT n FROM flying f WHERE f.subscription_id = w.subscription_id), 0))) d"
        " WHERE w.next_attempt_at <= %(now)s AND w.subscription_id <> ALL (%(but)s))"
        " UNION ALL SELECT user_id, subscription_id, NULL, NULL, NULL FROM waiting WHERE step = %(steps)s LIMIT %(window)s",
        {**asked, **span(after, last), "steps": STEPS, "window": window},
    )
    stopped = (rows[-1]["user_id"], rows[-1]["subscription_id"]) if rows else None
    if rows and rows[-1]["event_id"] is None:
        return rows[:-1], stopped
    return rows, stopped if len(rows) == window else None


def _lease(tx: Transaction, chosen: Sequence[Row], *, now: datetime, token: UUID, lease_until: datetime) -> list[Lease]:
    """Lease those that may still go, now that nobody else claims of their cards."""
    cards = [row["card_id"] for row in chosen if row["card_id"] is not None]
    if cards:
        lock_cards(tx, cards)
    rows = tx.fetch_all(
        "WITH held AS ("  # noqa: S608  # constant text
        "  SELECT c.*, s.url, s.secrets_sealed, s.secrets_until FROM unnest(%(users)s::uuid[], %(subscriptions)s::uuid[],"
        "    %(events)s::uuid[]) AS c (user_id, subscription_id, event_id)"
        f"  {subscription_of('c')} CROSS JOIN LATERAL ("
        "    SELECT FROM webhook_deliveries d WHERE d.user_id = c.user_id AND d.subscription_id = c.subscription_id"
        f"      AND d.event_id = c.event_id AND d.status = 'PENDING' AND NOT d.blocked AND {_FREE} AND {IN_TURN}"
        "    FOR NO KEY UPDATE SKIP LOCKED) d"
        ") UPDATE webhook_deliveries w SET lease_token = %(token)s, lease_until = %(until)s FROM held"
        "  WHERE w.user_id = held.user_id AND w.subscription_id = held.subscription_id AND w.event_id = held.event_id"
        f"  RETURNING {_RETURNED}, held.url, held.secrets_sealed, held.secrets_until",
        {
            "users": [row["user_id"] for row in chosen],
            "subscriptions": [row["subscription_id"] for row in chosen],
            "events": [row["event_id"] for row in chosen],
            "now": now,
            "token": token,
            "until": lease_until,
        },
    )
    return [lease_of(row) for row in rows]


def claim_first_of_card(
    tx: Transaction, user_id: UUID, subscription_id: UUID, card_id: UUID, *, now: datetime, token: UUID, lease_until: datetime
) -> list[Lease]:
    """Lease the first waiting event of the card if it may go now and the subscription is not in the background.

    The caller has locked the card.
    """
    rows = tx.fetch_all(
        "WITH head AS ("  # noqa: S608  # constant text
        "  SELECT user_id, subscription_id, event_id, card_id, ordered, next_attempt_at, lease_until FROM webhook_deliveries"
        "  WHERE user_id = %(user)s AND subscription_id = %(subscription)s AND card_id = %(card)s"
        "    AND status = 'PENDING' AND ordered"
        "  ORDER BY event_id LIMIT 1"
        "), held AS ("
        "  SELECT w.user_id, w.subscription_id, w.event_id, s.url, s.secrets_sealed, s.secrets_until FROM head d"
        "  JOIN webhook_subscriptions s USING (user_id, subscription_id)"
        "  JOIN webhook_deliveries w USING (user_id, subscription_id, event_id)"
        f"  WHERE {_FREE} AND {IN_TURN}"
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
