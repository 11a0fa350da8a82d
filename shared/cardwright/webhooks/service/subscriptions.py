"""Subscriptions as their owners handle them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import ConflictError, FieldError, InvalidFieldsError, NotFoundError, StaleVersionError
from cardwright.kernel.rows import STAFF
from cardwright.kernel.secret import Secret
from cardwright.outbox import service as outbox
from cardwright.outbox.rules import VERIFICATION_REQUESTED, Event
from cardwright.platform.ids import IdSource, random_bytes
from cardwright.platform.keys import Sealer
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.webhooks import rules
from cardwright.webhooks.rules import Scope, SubscriptionStatus
from cardwright.webhooks.service.jobs import note, seal_context
from cardwright.webhooks.store import deliveries
from cardwright.webhooks.store import subscriptions as store


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


class WebhookSubscriptions:
    """Subscriptions under role app; what posts to them is WebhookService."""

    def __init__(
        self, database: Database, clock: Clock, ids: IdSource, sealer: Sealer, *, local: bool, cards: CardDirectory | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._sealer = sealer
        self._local = local
        self._cards = cards

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
            deliveries.cancel_pending(tx, user_id, subscription_id, now)
            self._note(tx, subscription, "webhook.deleted")

    def list_deliveries(self, actor: Actor, subscription_id: UUID, limit: int, after: UUID | None = None) -> list[rules.Delivery]:
        """Deliveries to one of the caller's subscriptions, newest event first. Raises NotFoundError subscription_not_found."""
        with self._database.transaction(actor) as tx:
            _found(store.load(tx, _user(actor), subscription_id))
            return deliveries.deliveries_of(tx, _user(actor), subscription_id, limit, after)

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
