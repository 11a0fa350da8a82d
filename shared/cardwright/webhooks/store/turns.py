"""SQL of whose turn it is among what waits of a card, for subscriptions that want a card's events in order.

The first that waits of a (subscription, card) is never `blocked`, and what stands behind it is: claiming looks only at what is
not. What was on its way when an earlier one came stays as it is; that it goes no further is seen when it is claimed. Whoever
adds to what waits, or ends some of it, holds the card's lock and settles the card before it commits.
"""

from collections.abc import Sequence
from uuid import UUID

from cardwright.platform.postgres import Transaction

# True of a delivery `d` that nothing of its card stands before or is on its way. What is on its way is not blocked. The first
# of an order is read from an index however many there are of the card, and a bare truth makes the planner expect to find some
# soon: EXISTS would be looked for in the whole table, of an equation it thinks that hardly any row fulfils it.
IN_TURN = (
    "(NOT d.ordered OR (SELECT o.event_id = d.event_id FROM webhook_deliveries o WHERE o.user_id = d.user_id"
    "  AND o.subscription_id = d.subscription_id AND o.card_id = d.card_id AND o.status = 'PENDING' AND o.ordered"
    "  ORDER BY o.event_id LIMIT 1)"
    " AND coalesce((SELECT false FROM webhook_deliveries o WHERE o.user_id = d.user_id"
    "  AND o.subscription_id = d.subscription_id AND o.card_id = d.card_id AND o.status = 'PENDING' AND o.ordered"
    "  AND NOT o.blocked AND o.event_id > d.event_id AND o.lease_until > %(now)s ORDER BY o.event_id LIMIT 1), true))"
)


def lock_cards(tx: Transaction, card_ids: Sequence[UUID]) -> None:
    """Make others that claim, fan out or end events of these cards in order wait until this transaction ends.

    All at once and before any delivery is locked, so that nobody waits in a circle.
    """
    tx.fetch_all(
        "SELECT pg_advisory_xact_lock(lock) FROM ("
        "  SELECT DISTINCT hashtextextended('webhook_card:' || card_id, 0) AS lock FROM unnest(%s::uuid[]) AS card_id ORDER BY 1"
        ") AS locks",
        (list(card_ids),),
    )


def hold(tx: Transaction, user_id: UUID, subscription_id: UUID) -> None:
    """Make those who give up what waits for the subscription wait until this transaction ends; see what they have given up."""
    tx.execute(
        "SELECT FROM webhook_subscriptions WHERE user_id = %s AND subscription_id = %s FOR KEY SHARE", (user_id, subscription_id)
    )


def settle(tx: Transaction, user_id: UUID, subscription_id: UUID, card_ids: Sequence[UUID]) -> None:
    """Unblock the first of what waits of each of the cards, block what is behind it. The caller has locked the cards."""
    tx.execute(
        "WITH changes AS ("
        "  SELECT c.event_id, c.blocked FROM (SELECT DISTINCT unnest(%(cards)s::uuid[]) AS card_id) AS cards"
        "  CROSS JOIN LATERAL ("
        "    SELECT event_id, blocked FROM webhook_deliveries WHERE user_id = %(user)s AND subscription_id = %(subscription)s"
        "      AND card_id = cards.card_id AND status = 'PENDING' AND ordered ORDER BY event_id LIMIT 1"
        "  ) first CROSS JOIN LATERAL ("
        "    SELECT first.event_id, false AS blocked WHERE first.blocked"
        "    UNION ALL"
        "    SELECT o.event_id, true FROM webhook_deliveries o WHERE o.user_id = %(user)s"
        "      AND o.subscription_id = %(subscription)s AND o.card_id = cards.card_id AND o.status = 'PENDING' AND o.ordered"
        "      AND NOT o.blocked AND o.event_id > first.event_id AND o.lease_token IS NULL"
        "  ) c"
        ") UPDATE webhook_deliveries d SET blocked = changes.blocked FROM changes"
        "  WHERE d.user_id = %(user)s AND d.subscription_id = %(subscription)s AND d.event_id = changes.event_id",
        {"user": user_id, "subscription": subscription_id, "cards": list(card_ids)},
    )
