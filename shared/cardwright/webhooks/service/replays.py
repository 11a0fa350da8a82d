"""Replays as the owners of subscriptions ask for them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.kernel.errors import ConflictError, FieldError, NotFoundError
from cardwright.outbox import service as outbox
from cardwright.platform.postgres import Actor, Transaction
from cardwright.webhooks import rules
from cardwright.webhooks.service.desk import Desk, found, refuse, user_of
from cardwright.webhooks.service.replaying import new_replay
from cardwright.webhooks.store import replays as store
from cardwright.webhooks.store import subscriptions


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """One event, or all from `since` until `until` (None: now). `only_missed` leaves alone what was delivered before."""

    event_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    only_missed: bool = False


class ReplayDesk(Desk):
    """Asks for replays and tells how far they are; a worker makes them."""

    def replay(self, actor: Actor, subscription_id: UUID, wanted: ReplayRequest, operation_id: UUID) -> rules.Replay:
        """Have one event, or those of a range of time, sent again; the same operation again returns the same.

        A range goes by the subscription's filter; an event that is named is sent whatever the filter. Raises NotFoundError
        subscription_not_found, event_not_found, InvalidFieldsError, ConflictError subscription_not_active, too_many_rounds,
        too_many_replays.
        """
        user_id = user_of(actor)
        with self._database.transaction(actor) as tx:
            subscription = found(subscriptions.load(tx, user_id, subscription_id, lock=True))
            earlier = store.load(tx, user_id, subscription_id, operation_id)
            if earlier is not None:
                return earlier
            now = self._clock.now()
            span = _span(wanted, now)
            rules.check_active(subscription)
            if wanted.event_id is not None:
                _check_event(tx, subscription, wanted.event_id)
            if store.count_asked(tx, user_id, subscription_id) >= rules.OPEN_REPLAYS_MAX:
                raise ConflictError(f"{rules.OPEN_REPLAYS_MAX} replays are not at their end yet.", code="too_many_replays")
            made = new_replay(
                subscription, operation_id, now, event_id=wanted.event_id, span=span, only_missed=wanted.only_missed
            )
            store.insert(tx, made)
            self._note(tx, subscription, "webhook.replay_requested")
        return made

    def get_replay(self, actor: Actor, subscription_id: UUID, replay_id: UUID) -> rules.Replay:
        """One replay of one of the caller's subscriptions. Raises NotFoundError subscription_not_found, replay_not_found."""
        user_id = user_of(actor)
        with self._database.transaction(actor) as tx:
            found(subscriptions.load(tx, user_id, subscription_id))
            replay = store.load(tx, user_id, subscription_id, replay_id)
        if replay is None:
            raise NotFoundError("There is no such replay.", code="replay_not_found")
        return replay

    def list_replays(self, actor: Actor, subscription_id: UUID, limit: int, after: UUID | None = None) -> list[rules.Replay]:
        """Replays of one of the caller's subscriptions, newest first. Raises NotFoundError subscription_not_found."""
        user_id = user_of(actor)
        with self._database.transaction(actor) as tx:
            found(subscriptions.load(tx, user_id, subscription_id))
            return store.list_of(tx, user_id, subscription_id, limit, after)


def _span(wanted: ReplayRequest, now: datetime) -> tuple[datetime, datetime] | None:
    if wanted.event_id is not None:
        if wanted.since is not None or wanted.until is not None:
            refuse([FieldError("event_id", "event_or_range", "Name an event, or a range of time.")])
        return None
    if wanted.since is None:
        refuse([FieldError("from", "required", "Name an event, or the time to begin from.")])
        return None
    until = now if wanted.until is None else wanted.until
    refuse(rules.check_range(wanted.since, until, now))
    return wanted.since, until


def _check_event(tx: Transaction, subscription: rules.Subscription, event_id: UUID) -> None:
    """Raise NotFoundError event_not_found, ConflictError too_many_rounds."""
    event = outbox.find_event(tx, event_id)
    if event is None or not rules.may_hear(subscription, event.type, event.user_id, event.data.get("subscription_id")):
        raise NotFoundError("There is no such event.", code="event_not_found")
    if store.rounds_of(tx, subscription.user_id, subscription.subscription_id, event_id) >= rules.ROUNDS_MAX:
        raise ConflictError(f"The event was sent in {rules.ROUNDS_MAX} rounds.", code="too_many_rounds")
