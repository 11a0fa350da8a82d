"""The working off of replays, page by page."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.outbox import service as outbox
from cardwright.outbox.rules import Event, FeedFilter
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database, Transaction
from cardwright.platform.telemetry import logger
from cardwright.webhooks import rules
from cardwright.webhooks.rules import Replay, ReplayStatus, Scope
from cardwright.webhooks.service.jobs import WORKER, note
from cardwright.webhooks.store import deliveries, subscriptions
from cardwright.webhooks.store import replays as store

# Counting further would cost more than the number tells.
COUNTED_MAX = 100_000
PAGE = 200


def new_replay(
    subscription: rules.Subscription,
    replay_id: UUID,
    now: datetime,
    *,
    event_id: UUID | None = None,
    span: tuple[datetime, datetime] | None = None,
    only_missed: bool,
) -> Replay:
    """A replay that has not begun, of one event or of a range of time."""
    since, until = span or (None, None)
    return Replay(
        user_id=subscription.user_id,
        replay_id=replay_id,
        subscription_id=subscription.subscription_id,
        event_id=event_id,
        range_from=since,
        range_until=until,
        only_missed=only_missed,
        status=ReplayStatus.QUEUED,
        position=None,
        done=0,
        total=None,
        moved_at=now,
        created_at=now,
        finished_at=None,
    )


def replay_missed(tx: Transaction, stopped: rules.Subscription, replay_id: UUID, now: datetime) -> None:
    """Have a subscription that becomes ACTIVE in this transaction sent what it missed. `stopped` is as it was until now.

    Whoever hands an event out later sees it ACTIVE; all others are in the feed before the replay looks.
    """
    span = rules.missed_range(stopped, store.oldest_undelivered(tx, stopped), now)
    store.insert(tx, new_replay(stopped, replay_id, now, span=span, only_missed=True))


class Replays:
    """Works replays off, under role worker. Any number may run at once: each replay is moved on by one.

    A page's deliveries and the replay's new position commit together: whoever dies between pages skips and repeats nothing.
    """

    def __init__(self, database: Database, clock: Clock, ids: IdSource) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids

    def step(self, limit: int = PAGE) -> int:
        """Move the replay that waited longest on by up to `limit` events; return how many it was, 0 when none can go on.

        Raises UnavailableError.
        """
        claimed: Replay | None = None
        try:
            with self._database.transaction(WORKER) as tx:
                claimed = store.claim(tx)
                if claimed is None:
                    return 0
                return self._move(tx, claimed, limit)
        except UnavailableError:
            raise
        except Exception:
            if claimed is None:
                raise
            # A bug or damaged data: it ends, so that it does not hold up others for ever.
            logger.exception("a replay could not go on", extra={"replay_id": str(claimed.replay_id)})
            with self._database.transaction(WORKER) as tx:
                now = self._clock.now()
                store.move(tx, replace(claimed, status=ReplayStatus.FAILED, moved_at=now, finished_at=now))
            return 0

    def _move(self, tx: Transaction, replay: Replay, limit: int) -> int:
        now = self._clock.now()
        subscription = subscriptions.load(tx, replay.user_id, replay.subscription_id)
        if subscription is None:
            raise RuntimeError("a locked subscription is gone")
        total = replay.total
        if replay.event_id is not None:
            named = outbox.find_event(tx, replay.event_id)
            events, total, last = [] if named is None else [named], 1, True
        else:
            wanted = feed_filter(subscription, replay)
            if total is None:
                total = outbox.count_feed(tx, wanted, COUNTED_MAX)
            events = outbox.feed_page(tx, wanted, replay.position, limit)
            last = len(events) < limit
        self._deliver(tx, subscription, events, now, only_missed=replay.only_missed)
        done = replay.done + len(events)
        moved = replace(
            replay,
            status=ReplayStatus.DONE if last else ReplayStatus.RUNNING,
            position=events[-1].event_id if events else replay.position,
            done=done,
            total=done if last else max(total, done),
            moved_at=now,
            finished_at=now if last else None,
        )
        store.move(tx, moved)
        if last:
            told = {"replay_id": str(replay.replay_id), "events": done, "only_missed": replay.only_missed}
            note(tx, self._ids.new(), now, subscription.subscription_id, "webhook.replayed", told)
        return len(events)

    @staticmethod
    def _deliver(
        tx: Transaction, subscription: rules.Subscription, events: list[Event], now: datetime, *, only_missed: bool
    ) -> None:
        if not events:
            return
        # Those that have ended first: what is made anew waits already.
        event_ids = [event.event_id for event in events]
        deliveries.renew(tx, subscription.user_id, subscription.subscription_id, event_ids, now, missed_only=only_missed)
        deliveries.add(tx, subscription, events, now)


def feed_filter(subscription: rules.Subscription, replay: Replay) -> FeedFilter:
    """The part of the feed that a replay of a range goes through, by what the subscription wants now."""
    if replay.range_from is None or replay.range_until is None:
        raise ValueError("a replay of one event goes through no range")
    return FeedFilter(
        user_id=None if subscription.scope is Scope.ALL else subscription.user_id,
        types=rules.replayed_types(subscription),
        card_ids=subscription.card_ids,
        organization_id=subscription.organization_id,
        since=replay.range_from,
        until=replay.range_until,
    )
