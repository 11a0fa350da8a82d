"""What the owners of subscriptions are served with, whatever they ask for."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import FieldError, InvalidFieldsError, NotFoundError, StaleVersionError
from cardwright.kernel.rows import STAFF
from cardwright.outbox import service as outbox
from cardwright.outbox.rules import VERIFICATION_REQUESTED, Event
from cardwright.platform.ids import IdSource
from cardwright.platform.keys import Sealer
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.webhooks import rules
from cardwright.webhooks.service.jobs import note
from cardwright.webhooks.store import subscriptions as store

# Makes the subscription as it shall be of the locked one as it is.
Change = Callable[[Transaction, rules.Subscription, datetime], rules.Subscription]


class CardDirectory(Protocol):
    """Knows whose cards are whose."""

    def unknown_cards(self, actor: Actor, card_ids: Sequence[UUID]) -> list[UUID]:
        """Those of the cards that do not exist for this actor."""
        ...


class Desk:
    """Subscriptions under role app. `own_urls` are our own, where no event is sent to."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: IdSource,
        sealer: Sealer,
        *,
        local: bool,
        own_urls: Sequence[str] = (),
        cards: CardDirectory | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._sealer = sealer
        self._local = local
        self._own_urls = own_urls
        self._cards = cards

    def _change(
        self,
        actor: Actor,
        subscription_id: UUID,
        operation_id: UUID,
        if_match: int | None,
        action: str,
        change: Change,
    ) -> rules.Subscription:
        """Change one of the caller's subscriptions under its lock; the same operation again changes nothing."""
        with self._database.transaction(actor) as tx:
            current = found(store.load(tx, user_of(actor), subscription_id, lock=True))
            if current.last_operation_id == operation_id:
                return current
            if if_match is not None and if_match != current.version:
                raise StaleVersionError("The subscription has changed since.")
            now = self._clock.now()
            changed = change(tx, current, now)
            if changed == current:
                return current
            saved = replace(changed, version=current.version + 1, last_operation_id=operation_id, updated_at=now)
            store.save(tx, saved)
            if saved.verification_due_at is not None and saved.verification_due_at != current.verification_due_at:
                self._ask_verification(tx, saved, now)
            self._note(tx, saved, action)
        return saved

    def _ask_verification(self, tx: Transaction, subscription: rules.Subscription, now: datetime) -> None:
        asked = {"subscription_id": str(subscription.subscription_id)}
        outbox.append(tx, Event(self._ids.new(), VERIFICATION_REQUESTED, now, asked, subscription.user_id))

    def _check_url(self, url: str) -> list[FieldError]:
        refused = rules.check_url(url, local=self._local, ours=self._own_urls)
        return [] if refused is None else [refused]

    def _check_cards(self, actor: Actor, card_ids: Sequence[UUID] | None) -> None:
        if card_ids is None or self._cards is None:
            return
        unknown = set(self._cards.unknown_cards(actor, card_ids))
        refuse(
            [
                FieldError(f"card_ids.{position}", "card_not_found", "There is no such card.")
                for position, card_id in enumerate(card_ids)
                if card_id in unknown
            ]
        )

    def _note(self, tx: Transaction, subscription: rules.Subscription, action: str) -> None:
        told = {
            "event_types": list(subscription.event_types),
            "scope": subscription.scope.value,
            "status": subscription.status.value,
            "version": subscription.version,
        }
        note(tx, self._ids.new(), self._clock.now(), subscription.subscription_id, action, told)


def user_of(actor: Actor) -> UUID:
    """Whose subscriptions are asked for. Raises NotFoundError subscription_not_found for nobody's."""
    if actor.user_id is None:
        raise NotFoundError("There is no such subscription.", code="subscription_not_found")
    return actor.user_id


def found(subscription: rules.Subscription | None) -> rules.Subscription:
    """The subscription. Raises NotFoundError subscription_not_found for None."""
    if subscription is None:
        raise NotFoundError("There is no such subscription.", code="subscription_not_found")
    return subscription


def refuse(errors: list[FieldError]) -> None:
    """Raise InvalidFieldsError if there are errors."""
    if errors:
        raise InvalidFieldsError(errors)


def check_organization(tx: Transaction, actor: Actor, organization_id: UUID | None) -> None:
    """Raise InvalidFieldsError organization_not_found for one that is not the caller's; staff may name any."""
    if organization_id is None or actor.role in STAFF:
        return
    if store.organization_of(tx, user_of(actor)) != organization_id:
        refuse([FieldError("organization_id", "organization_not_found", "There is no such organization.")])
