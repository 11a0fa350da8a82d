"""A card's events one after the other, for subscriptions that want them so."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from cardwright.outbox import service as outbox
from cardwright.outbox.ports import EventSource
from cardwright.outbox.rules import Event, FeedFilter
from cardwright.platform.postgres import Transaction
from cardwright.webhooks.rules import Scope, Subscription
from cardwright.webhooks.store import claiming, subscriptions, turns
from cardwright.webhooks.store import deliveries as store

_PAGE = 500
# The clocks of functions differ.
_RESERVE = timedelta(minutes=1)


def fan_out_in_order(
    tx: Transaction,
    sources: Sequence[EventSource],
    event: Event,
    wanting: Sequence[tuple[UUID, UUID]],
    *,
    now: datetime,
    token: UUID,
    lease_until: datetime,
) -> list[store.Lease]:
    """Make the event's deliveries, and before them those of the card's earlier events that have none yet; return what may go now.

    Messages of a queue come in any order. Whoever sees the later event first makes the earlier one's delivery too, so that a
    delivery is never there without those before it. Only the first of a card that waits is attempted.
    """
    if event.card_id is None:
        raise ValueError("only events of a card have an order")
    turns.lock_cards(tx, [event.card_id])
    outbox.collect_card(tx, sources, event.card_id, now)
    leases: list[store.Lease] = []
    for user_id, subscription_id in wanting:
        turns.hold(tx, user_id, subscription_id)
        subscription = subscriptions.load(tx, user_id, subscription_id)
        if subscription is None:
            continue
        store.add(tx, subscription, [*_earlier(tx, subscription, event, event.card_id, now), event], now)
        leases += claiming.claim_first_of_card(
            tx, user_id, subscription_id, event.card_id, now=now, token=token, lease_until=lease_until
        )
    return leases


def _earlier(tx: Transaction, subscription: Subscription, event: Event, card_id: UUID, now: datetime) -> list[Event]:
    """Events of the card before this one which the subscription wants and which came after the newest it has.

    Not from before its filter was last changed: what it wanted then is not known. What it missed while it was inactive is
    replayed.
    """
    replayed = store.replayed_since(tx, subscription.user_id, subscription.subscription_id)
    since = subscription.filter_since or subscription.created_at
    wanted = FeedFilter(
        user_id=None if subscription.scope is Scope.ALL else subscription.user_id,
        types=frozenset(subscription.event_types),
        card_ids=(card_id,),
        organization_id=None,
        since=since if replayed is None else min(since, replayed),
        until=max(event.created_at, now) + _RESERVE,
    )
    after = store.newest_in_order(tx, subscription.user_id, subscription.subscription_id, card_id, event.event_id)
    found: list[Event] = []
    while True:
        page = outbox.feed_page(tx, wanted, after, _PAGE)
        found += [one for one in page if one.event_id < event.event_id]
        if len(page) < _PAGE or page[-1].event_id >= event.event_id:
            return found
        after = page[-1].event_id
