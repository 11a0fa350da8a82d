"""Subscriptions as their owners handle them."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from cardwright.kernel.errors import ConflictError, NotFoundError, StaleVersionError
from cardwright.kernel.rows import STAFF
from cardwright.kernel.secret import Secret
from cardwright.platform.ids import random_bytes
from cardwright.platform.postgres import Actor
from cardwright.webhooks import rules
from cardwright.webhooks.rules import DeliveryStatus, Scope, SubscriptionStatus, versions
from cardwright.webhooks.service.changes import ChangingDesk
from cardwright.webhooks.service.desk import check_organization, found, refuse, user_of
from cardwright.webhooks.service.jobs import seal_context
from cardwright.webhooks.service.replays import ReplayDesk
from cardwright.webhooks.store import deliveries, history, replays
from cardwright.webhooks.store import subscriptions as store


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """What a caller asks for. `card_ids` None means every card the caller may hear of; `api_version` None today's.

    `ordered` asks for the events of a card one after the other; `organization_id` for those of its people alone.
    """

    url: str
    event_types: Sequence[str]
    card_ids: Sequence[UUID] | None = None
    organization_id: UUID | None = None
    ordered: bool = False
    api_version: str | None = None
    description: str | None = None


class WebhookSubscriptions(ChangingDesk, ReplayDesk):
    """Subscriptions as their owners handle them, under role app; what posts to them is WebhookService."""

    def create_subscription(
        self, actor: Actor, wanted: NewSubscription, operation_id: UUID
    ) -> tuple[rules.Subscription, Secret[str]]:
        """Make a subscription PENDING_VERIFICATION and ask for its verification; return it with its secret.

        The same operation again returns the same. Raises InvalidFieldsError, ConflictError too_many_subscriptions.
        """
        user_id = user_of(actor)
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
            organization_id=wanted.organization_id,
            ordered=wanted.ordered,
            api_version=wanted.api_version or versions.CURRENT,
            description=wanted.description,
            scope=Scope.ALL if actor.role in STAFF else Scope.OWN,
            status=SubscriptionStatus.PENDING_VERIFICATION,
            status_detail=None,
            secrets_sealed=(self._sealer.seal(secret.reveal().encode(), context),),
            secrets_until=(),
            verified_at=None,
            verification_due_at=now + rules.VERIFICATION_PATIENCE,
            inactive_since=now,
            failing_since=None,
            filter_since=None,
            consecutive_failures=0,
            background=False,
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
            check_organization(tx, actor, wanted.organization_id)
            store.insert(tx, new)
            self._ask_verification(tx, new, now)
            self._note(tx, new, "webhook.created")
        return new, secret

    def _check(self, actor: Actor, wanted: NewSubscription) -> None:
        errors = self._check_url(wanted.url)
        errors += rules.check_event_types(wanted.event_types) + rules.check_card_ids(wanted.card_ids)
        errors += rules.check_description(wanted.description)
        if wanted.api_version is not None:
            errors += rules.check_api_version(wanted.api_version)
        refuse(errors)
        self._check_cards(actor, wanted.card_ids)

    def list_subscriptions(self, actor: Actor, limit: int, after: UUID | None = None) -> list[rules.Subscription]:
        """The caller's subscriptions, newest first."""
        with self._database.transaction(actor) as tx:
            return store.list_of(tx, user_of(actor), limit, after)

    def get_subscription(self, actor: Actor, subscription_id: UUID) -> rules.Subscription:
        """One of the caller's subscriptions. Raises NotFoundError subscription_not_found."""
        with self._database.transaction(actor) as tx:
            return found(store.load(tx, user_of(actor), subscription_id))

    def delete_subscription(self, actor: Actor, subscription_id: UUID, operation_id: UUID, if_match: int | None = None) -> None:
        """End a subscription and cancel what is not delivered; the same operation again changes nothing.

        Raises NotFoundError subscription_not_found, StaleVersionError.
        """
        user_id, now = user_of(actor), self._clock.now()
        with self._database.transaction(actor) as tx:
            if store.deleted_by(tx, user_id, subscription_id, operation_id):
                return
            subscription = found(store.load(tx, user_id, subscription_id, lock=True))
            if if_match is not None and if_match != subscription.version:
                raise StaleVersionError("The subscription has changed since.")
            store.delete(tx, user_id, subscription_id, operation_id, now)
            deliveries.cancel_pending(tx, user_id, subscription_id, now)
            replays.end_all(tx, user_id, subscription_id, now)
            self._note(tx, subscription, "webhook.deleted")

    def list_deliveries(
        self,
        actor: Actor,
        subscription_id: UUID,
        limit: int,
        after: UUID | None = None,
        status: DeliveryStatus | None = None,
        event_type: str | None = None,
    ) -> list[rules.Delivery]:
        """Deliveries to one of the caller's subscriptions, newest event first. Raises NotFoundError subscription_not_found."""
        user_id = user_of(actor)
        with self._database.transaction(actor) as tx:
            found(store.load(tx, user_id, subscription_id))
            return history.deliveries_of(tx, user_id, subscription_id, limit, after, status, event_type)

    def get_delivery(self, actor: Actor, subscription_id: UUID, event_id: UUID) -> rules.Delivery:
        """One event's way to a subscription of the caller's. Raises NotFoundError subscription_not_found, delivery_not_found."""
        user_id = user_of(actor)
        with self._database.transaction(actor) as tx:
            found(store.load(tx, user_id, subscription_id))
            delivery = history.delivery(tx, user_id, subscription_id, event_id)
        if delivery is None:
            raise NotFoundError("The event was not sent to this subscription.", code="delivery_not_found")
        return delivery

    def list_all_deliveries(
        self,
        actor: Actor,
        limit: int,
        after: tuple[UUID, UUID] | None = None,
        status: DeliveryStatus | None = None,
    ) -> list[rules.Delivery]:
        """Everybody's deliveries, newest event first, for staff; of others' their own alone.

        `after` is the event and subscription of the last one seen.
        """
        with self._database.transaction(actor) as tx:
            return history.all_deliveries(tx, limit, after, status)
