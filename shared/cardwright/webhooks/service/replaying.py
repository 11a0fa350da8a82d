"""The working off of replays, page by page."""

from contextlib import suppress
from dataclasses import dataclass, replace
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
from cardwright.webhooks.rules import Replay, ReplayStatus, Scope, SubscriptionStatus
from cardwright.webhooks.service.jobs import WORKER, note
from cardwright.webhooks.store import deliveries, subscriptions, turns
from cardwright.webhooks.store import replays as store

# Counting further would cost more than the number tells.
COUNTED_MAX = 100_000
PAGE = 200
# The feed is read for no longer than this, counted for no longer than that: what the schedule does beside it waits meanwhile.
_READ_MS = 10_000
_COUNT_MS = 2_000


@dataclass(frozen=True, slots=True)
class _Page:
    """What was read for one step: events to deliver, and how the replay stands when they are."""

    subscription: rules.Subscription
    events: list[Event]
    moved: Replay


def new_replay(
    subscription: rules.Subscription,
    replay_id: UUID,
    now: datetime,
    *,
    event_id: UUID | None = None,
    span: tuple[datetime, datetime] | None = None,
    only_missed: bool,
    asked: bool = True,
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
        asked=asked,
        status=ReplayStatus.QUEUED,
        looked_until=None,
        position=None,
        done=0,
        total=None,
        moved_at=now,
        created_at=now,
        finished_at=None,
    )


def replay_missed(tx: Transaction, stopped: rules.Subscription, replay_id: UUID, now: datetime) -> None:
    """Have a subscription that becomes ACTIVE in this transaction sent what it missed. `stopped` is as it was until now.

    Whoever hands an event out later sees it ACTIVE; all others are in the feed before the replay looks. Where what was missed
    before is still being replayed, that replay goes through both: however often it stops, one is open.
    """
    since, until = rules.missed_range(stopped, store.oldest_undelivered(tx, stopped), now)
    if not store.widen(tx, stopped.user_id, stopped.subscription_id, since, until):
        store.insert(tx, new_replay(stopped, replay_id, now, span=(since, until), only_missed=True, asked=False))


class Replays:
    """Works replays off, under role worker. Any number may run at once: each page of a replay is delivered by one.

    A page's deliveries and the replay's new position commit together: whoever dies between pages skips and repeats nothing.
    """

    def __init__(self, database: Database, clock: Clock, ids: IdSource) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids

    def step(self, limit: int = PAGE) -> int | None:
        """Move the replay that waited longest on by up to `limit` events; return how many it was, None when none can go on.

        It is put behind the others first, so that one that fails holds up none of them, and nothing is locked while the feed is
        read. Raises UnavailableError.
        """
        with self._database.transaction(WORKER) as tx:
            store.limit_time(tx, _READ_MS)
            picked = store.pick(tx, self._clock.now())
        if picked is None:
            return None
        try:
            page = self._read(picked, limit)
            return 0 if page is None else self._deliver(picked, page)
        except UnavailableError:
            raise
        except Exception:
            # A bug or damaged data: it ends, so that it does not come up for ever.
            logger.exception("a replay could not go on", extra={"replay_id": str(picked.replay_id)})
            self._fail(picked)
            return 0

    def _read(self, replay: Replay, limit: int) -> _Page | None:
        """Read the next page; None when the subscription is no more."""
        if replay.status is ReplayStatus.QUEUED:
            replay = replace(replay, looked_until=None, position=None, done=0, total=self._count(replay))
        with self._database.transaction(WORKER) as tx:
            store.limit_time(tx, _READ_MS)
            subscription = subscriptions.load(tx, replay.user_id, replay.subscription_id)
            if subscription is None:
                return None
            if replay.event_id is not None:
                named = outbox.find_event(tx, replay.event_id)
                events, until, short = [] if named is None else [named], None, True
            else:
                since, until = rules.next_slice(replay, subscription)
                events = outbox.feed_page(tx, feed_filter(subscription, since, until), replay.position, limit)
                short = len(events) < limit
        now, done = self._clock.now(), replay.done + len(events)
        if short and until == replay.range_until:
            moved = replace(replay, status=ReplayStatus.DONE, done=done, total=done, moved_at=now, finished_at=now)
        else:
            total = None if replay.total is None else max(replay.total, done)
            moved = replace(replay, status=ReplayStatus.RUNNING, done=done, total=total, moved_at=now)
        if short:
            return _Page(subscription, events, replace(moved, looked_until=until, position=None))
        return _Page(subscription, events, replace(moved, position=events[-1].event_id))

    def _count(self, replay: Replay) -> int | None:
        """How many events it will look at; None when that cannot be told in time."""
        if replay.event_id is not None:
            return 1
        if replay.range_from is None or replay.range_until is None:
            raise ValueError("a replay has an event or a range")
        with suppress(UnavailableError), self._database.transaction(WORKER) as tx:
            store.limit_time(tx, _COUNT_MS)
            subscription = subscriptions.load(tx, replay.user_id, replay.subscription_id)
            if subscription is not None:
                return outbox.count_feed(tx, feed_filter(subscription, replay.range_from, replay.range_until), COUNTED_MAX)
        return None

    def _deliver(self, picked: Replay, page: _Page) -> int:
        """Make the page's deliveries and move the replay on; 0 when it or its subscription is not as it was when it was read."""
        wanted, moved = page.subscription, page.moved
        with self._database.transaction(WORKER) as tx:
            subscription = subscriptions.load(tx, wanted.user_id, wanted.subscription_id, lock=True)
            current = store.lock(tx, picked.user_id, picked.replay_id)
            if subscription is None or current is None or replace(current, moved_at=picked.moved_at) != picked:
                return 0
            if subscription.status is not SubscriptionStatus.ACTIVE or subscription.version != wanted.version:
                return 0
            self._make(tx, subscription, page.events, moved.moved_at, only_missed=picked.only_missed)
            store.move(tx, moved)
            if moved.finished_at is not None:
                told = {"replay_id": str(moved.replay_id), "events": moved.done, "only_missed": moved.only_missed}
                note(tx, self._ids.new(), moved.finished_at, subscription.subscription_id, "webhook.replayed", told)
        return len(page.events)

    def _fail(self, replay: Replay) -> None:
        with self._database.transaction(WORKER) as tx:
            current, now = store.lock(tx, replay.user_id, replay.replay_id), self._clock.now()
            if current is not None:
                store.move(tx, replace(current, status=ReplayStatus.FAILED, moved_at=now, finished_at=now))

    @staticmethod
    def _make(
        tx: Transaction, subscription: rules.Subscription, events: list[Event], now: datetime, *, only_missed: bool
    ) -> None:
        if not events:
            return
        # Those that have ended first: what is made anew waits already.
        event_ids = [event.event_id for event in events]
        turns.lock_cards(tx, [event.card_id for event in events if event.card_id is not None])
        deliveries.renew(tx, subscription, event_ids, now, missed_only=only_missed)
        deliveries.add(tx, subscription, events, now, replayed=True)


def feed_filter(subscription: rules.Subscription, since: datetime, until: datetime) -> FeedFilter:
    """The events of [since, until) that the subscription wants now."""
    return FeedFilter(
        user_id=None if subscription.scope is Scope.ALL else subscription.user_id,
        types=rules.replayed_types(subscription),
        card_ids=subscription.card_ids,
        organization_id=subscription.organization_id,
        since=since,
        until=until,
    )
