"""Subscriptions as their owners handle them, and the sending of events to them."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Protocol
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import (
    ConflictError,
    FieldError,
    InvalidFieldsError,
    NotFoundError,
    StaleVersionError,
    UnavailableError,
)
from cardwright.kernel.rows import STAFF
from cardwright.kernel.secret import Secret
from cardwright.outbox import service as outbox
from cardwright.outbox.rules import EVENT_TYPES, VERIFICATION_REQUESTED, Event, envelope
from cardwright.platform.ids import IdSource, random_bytes
from cardwright.platform.keys import Sealer
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.webhooks import rules, store
from cardwright.webhooks.ports import Sender
from cardwright.webhooks.rules import Scope, SubscriptionStatus
from cardwright.webhooks.service.dispatch import Dispatcher, Job
from cardwright.webhooks.service.jobs import WORKER, DeliveryJob, Tools, VerificationJob, note, seal_context
from cardwright.webhooks.service.posting import Poster

# Longer than any post: while it runs nobody else may try.
LEASE = timedelta(seconds=60)


class CardDirectory(Protocol):
    """Knows whose cards are whose."""

    def unknown_cards(self, actor: Actor, card_ids: Sequence[UUID]) -> list[UUID]:
        """Those of the cards that do not exist for this actor."""
        ...


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """What a caller asks for. `card_ids` None means every card the caller may hear of."""

    url: str
    event_types: Sequence[str]
    card_ids: Sequence[UUID] | None = None


class WebhookService:
    """Subscriptions under role app; sending under role worker. `sender` is asked for when the first post is made."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: IdSource,
        sealer: Sealer,
        sender: Callable[[], Sender],
        *,
        local: bool,
        cards: CardDirectory | None = None,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._sealer = sealer
        self._sender = sender
        self._local = local
        self._cards = cards
        self._dispatcher = dispatcher or Dispatcher()

    @cached_property
    def _tools(self) -> Tools:
        return Tools(self._database, Poster(self._sender(), self._clock), self._sealer, self._clock, self._ids)

    def create_subscription(
        self, actor: Actor, wanted: NewSubscription, operation_id: UUID
    ) -> tuple[rules.Subscription, Secret[str]]:
        """Make a subscription PENDING_VERIFICATION and ask for its verification; return it with its secret.

        The same operation again returns the same. Raises InvalidFieldsError, ConflictError too_many_subscriptions.
        """
        user_id = _user(actor)
        self._check(actor, wanted)
        now = self._clock.now()
        secret = rules.secret_text(random_bytes(rules.SECRET_BYTES))
        context = seal_context(user_id, operation_id)
        new = rules.Subscription(
            user_id=user_id,
            subscription_id=operation_id,
            url=wanted.url,
            event_types=tuple(dict.fromkeys(wanted.event_types)),
            card_ids=None if wanted.card_ids is None else tuple(dict.fromkeys(wanted.card_ids)),
            scope=Scope.ALL if actor.role in STAFF else Scope.OWN,
            status=SubscriptionStatus.PENDING_VERIFICATION,
            status_detail=None,
            secrets_sealed=(self._sealer.seal(secret.reveal().encode(), context),),
            version=1,
            last_operation_id=operation_id,
            created_at=now,
            updated_at=now,
        )
        with self._database.transaction(actor) as tx:
            store.one_at_a_time(tx, user_id)
            earlier = store.load(tx, user_id, operation_id)
            if earlier is not None:
                return earlier, Secret(self._sealer.open(earlier.secrets_sealed[0], context).decode())
            if store.count(tx, user_id) >= rules.SUBSCRIPTIONS_MAX:
                raise ConflictError(f"There are {rules.SUBSCRIPTIONS_MAX} subscriptions already.", code="too_many_subscriptions")
            store.insert(tx, new)
            asked = {"subscription_id": str(operation_id)}
            outbox.append(tx, Event(self._ids.new(), VERIFICATION_REQUESTED, now, asked, user_id))
            self._note(tx, new, "webhook.created")
        return new, secret

    def _check(self, actor: Actor, wanted: NewSubscription) -> None:
        refused = rules.check_url(wanted.url, local=self._local)
        errors = [] if refused is None else [refused]
        errors += rules.check_event_types(wanted.event_types) + rules.check_card_ids(wanted.card_ids)
        if not errors and wanted.card_ids is not None and self._cards is not None:
            unknown = set(self._cards.unknown_cards(actor, wanted.card_ids))
            errors = [
                FieldError(f"card_ids.{position}", "card_not_found", "There is no such card.")
                for position, card_id in enumerate(wanted.card_ids)
                if card_id in unknown
            ]
        if errors:
            raise InvalidFieldsError(errors)

    def list_subscriptions(self, actor: Actor, limit: int, after: UUID | None = None) -> list[rules.Subscription]:
        """The caller's subscriptions, newest first."""
        with self._database.transaction(actor) as tx:
            return store.list_of(tx, _user(actor), limit, after)

    def get_subscription(self, actor: Actor, subscription_id: UUID) -> rules.Subscription:
        """One of the caller's subscriptions. Raises NotFoundError subscription_not_found."""
        with self._database.transaction(actor) as tx:
            return _found(store.load(tx, _user(actor), subscription_id))

    def delete_subscription(self, actor: Actor, subscription_id: UUID, operation_id: UUID, if_match: int | None = None) -> None:
        """End a subscription and cancel what is not delivered; the same operation again changes nothing.

        Raises NotFoundError subscription_not_found, StaleVersionError.
        """
        user_id, now = _user(actor), self._clock.now()
        with self._database.transaction(actor) as tx:
            if store.deleted_by(tx, user_id, subscription_id, operation_id):
                return
            subscription = _found(store.load(tx, user_id, subscription_id, lock=True))
            if if_match is not None and if_match != subscription.version:
                raise StaleVersionError("The subscription has changed since.")
            store.delete(tx, user_id, subscription_id, operation_id, now)
            store.cancel_pending(tx, user_id, subscription_id, now)
            self._note(tx, subscription, "webhook.deleted")

    def list_deliveries(self, actor: Actor, subscription_id: UUID, limit: int, after: UUID | None = None) -> list[rules.Delivery]:
        """Deliveries to one of the caller's subscriptions, newest event first. Raises NotFoundError subscription_not_found."""
        with self._database.transaction(actor) as tx:
            _found(store.load(tx, _user(actor), subscription_id))
            return store.deliveries_of(tx, _user(actor), subscription_id, limit, after)

    def send_event(self, event: Event) -> list[Job]:
        """Make one delivery for each subscription that wants the event; return the attempts to be made now.

        Events that are not for partners go nowhere. Raises UnavailableError.
        """
        if event.type not in EVENT_TYPES:
            return []
        now = self._clock.now()
        with self._database.transaction(WORKER) as tx:
            leases = store.fan_out(
                tx,
                event_id=event.event_id,
                event_type=event.type,
                user_id=event.user_id,
                card_id=event.card_id,
                payload=rules.compact(envelope(event)),
                now=now,
                token=self._ids.new(),
                lease_until=now + LEASE,
            )
        return [DeliveryJob(self._tools, lease) for lease in leases]

    def verification(self, event: Event) -> Job | None:
        """The post that verifies the subscription an internal event names; None when it needs none any more."""
        if event.user_id is None:
            raise ValueError("a verification concerns a user")
        with self._database.transaction(WORKER) as tx:
            subscription = store.load(tx, event.user_id, UUID(str(event.data["subscription_id"])))
        if subscription is None or subscription.status is not SubscriptionStatus.PENDING_VERIFICATION:
            return None
        return VerificationJob(self._tools, subscription, event.event_id)

    def attempt(self, jobs: Iterable[Job], time_left: Callable[[], float]) -> list[Job]:
        """Make the attempts and record them; return those without a recorded outcome. `time_left` is in seconds."""
        return self._dispatcher.run(jobs, time_left)

    def retry_failed(self, time_left: Callable[[], float], poll_s: float = 1.0) -> int:
        """Attempt what is due, and what becomes due, until too little time is left; return how many attempts were begun.

        Goes on after a database that did not answer. Raises UnavailableError when it did not answer at the last look either.
        """
        begun = 0
        failure: UnavailableError | None = None

        def due(room: int, busy: list[UUID]) -> list[Job]:
            nonlocal begun, failure
            now = self._clock.now()
            try:
                with self._database.transaction(WORKER) as tx:
                    leases = store.claim_due(
                        tx,
                        now=now,
                        token=self._ids.new(),
                        lease_until=now + LEASE,
                        limit=room,
                        per_subscription=self._dispatcher.per_subscription,
                        busy=busy,
                    )
            except UnavailableError as error:
                failure = error
                time.sleep(poll_s)
                return []
            failure = None
            begun += len(leases)
            return [DeliveryJob(self._tools, lease) for lease in leases]

        self._dispatcher.run([], time_left, refill=due, poll_s=poll_s)
        if failure is not None:
            raise failure
        return begun

    def _note(self, tx: Transaction, subscription: rules.Subscription, action: str) -> None:
        told = {"event_types": list(subscription.event_types), "scope": subscription.scope.value}
        note(tx, self._ids.new(), self._clock.now(), subscription.subscription_id, action, told)


def _user(actor: Actor) -> UUID:
    if actor.user_id is None:
        raise NotFoundError("There is no such subscription.", code="subscription_not_found")
    return actor.user_id


def _found(subscription: rules.Subscription | None) -> rules.Subscription:
    if subscription is None:
        raise NotFoundError("There is no such subscription.", code="subscription_not_found")
    return subscription
