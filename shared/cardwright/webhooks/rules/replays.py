"""Replays: which events are sent again, on request or because they were missed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from cardwright.kernel.errors import FieldError
from cardwright.outbox.rules import EVENT_TYPES, WEBHOOK_TEST
from cardwright.webhooks.rules.subscriptions import Scope, Subscription

RANGE_MAX = timedelta(days=31)
AGE_MAX = timedelta(days=90)
OPEN_REPLAYS_MAX = 5
# One event is sent to one subscription in at most so many rounds of attempts: nobody replays it for ever.
ROUNDS_MAX = 100
# Everybody's events are looked through a slice of time after the other, so that rare ones are found in steps, too.
SLICE = timedelta(days=1)
# While so many deliveries of a subscription wait, its replays wait too: a receiver is not flooded, new events are not held up.
WAITING_MAX = 1000
# Events commit some time before they are handed out: what was on its way when a subscription stopped was missed too.
IN_FLIGHT_MAX = timedelta(days=1)
IN_FLIGHT = timedelta(hours=1)
# The clocks of functions differ, and a transaction takes a moment to commit.
CLOCK_RESERVE = timedelta(minutes=1)


class ReplayStatus(StrEnum):
    """Where a replay stands (CONTRACT, jobs)."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Replay:
    """Events sent again: the one named, or all of [range_from, range_until). `done` of `total` events have been looked at.

    `only_missed` leaves alone what was delivered before; `asked` tells the owner's wish from what was missed. What happened
    before `looked_until` has been looked at, and of what happened then all up to the event `position`. While it is QUEUED it
    begins at the beginning. `total` is None until it has begun, and where counting takes too long.
    """

    user_id: UUID
    replay_id: UUID
    subscription_id: UUID
    event_id: UUID | None
    range_from: datetime | None
    range_until: datetime | None
    only_missed: bool
    asked: bool
    status: ReplayStatus
    looked_until: datetime | None
    position: UUID | None
    done: int
    total: int | None
    moved_at: datetime
    created_at: datetime
    finished_at: datetime | None


def check_range(since: datetime, until: datetime, now: datetime) -> list[FieldError]:
    """Errors of a range of time that is to be replayed: at most 31 days, none of them over 90 days ago or to come."""
    errors = []
    if since >= until:
        errors.append(FieldError("from", "range_empty", "The range begins before it ends."))
    elif until - since > RANGE_MAX:
        errors.append(FieldError("from", "range_too_long", f"A range has at most {RANGE_MAX.days} days."))
    if since < now - AGE_MAX:
        errors.append(FieldError("from", "range_too_old", f"Events can be replayed for {AGE_MAX.days} days."))
    if until > now:
        errors.append(FieldError("to", "range_in_future", "The range ends in the future."))
    return errors


def next_slice(replay: Replay, subscription: Subscription) -> tuple[datetime, datetime]:
    """The part of its range that a replay looks through now; an owner's own events are one part. Not for one of one event."""
    if replay.range_from is None or replay.range_until is None:
        raise ValueError("a replay of one event goes through no range")
    since = replay.looked_until or replay.range_from
    if subscription.scope is Scope.ALL:
        return since, min(replay.range_until, since + SLICE)
    return since, replay.range_until


def replayed_types(subscription: Subscription) -> frozenset[str]:
    """The types a replay of a range goes through; never tests."""
    return EVENT_TYPES.intersection(subscription.event_types) - {WEBHOOK_TEST}


def may_hear(subscription: Subscription, event_type: str, user_id: UUID | None, named: object) -> bool:
    """True for an event its owner may be sent, whatever the filter. `named` is the subscription a test is meant for."""
    if event_type not in EVENT_TYPES or (event_type == WEBHOOK_TEST and named != str(subscription.subscription_id)):
        return False
    return subscription.scope is Scope.ALL or (user_id is not None and user_id == subscription.user_id)


def missed_range(subscription: Subscription, oldest_undelivered: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """The range of time in which a subscription that is to be ACTIVE again may have missed events.

    From a day before it stopped, or since it wants what it wants now, but an hour at least; or from the oldest event that
    was given up in the failures that stopped it. Never from before it was made, and not from over 90 days ago.
    """
    stopped = subscription.inactive_since or now
    since = min(stopped - IN_FLIGHT, max(stopped - IN_FLIGHT_MAX, subscription.filter_since or subscription.created_at))
    if oldest_undelivered is not None:
        since = min(since, oldest_undelivered)
    return max(since, subscription.created_at, now - AGE_MAX), now + CLOCK_RESERVE
