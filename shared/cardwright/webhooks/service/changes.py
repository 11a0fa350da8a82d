"""What becomes of a subscription after it was made: edits, new secrets, a test, a pause and its end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Final
from uuid import UUID

from cardwright.kernel.secret import Secret
from cardwright.outbox import service as outbox
from cardwright.outbox.rules import WEBHOOK_TEST, Event
from cardwright.platform.ids import random_bytes
from cardwright.platform.postgres import Actor, Transaction
from cardwright.webhooks import rules
from cardwright.webhooks.rules import SubscriptionStatus
from cardwright.webhooks.service.desk import Desk, check_organization, found, refuse, user_of
from cardwright.webhooks.service.jobs import seal_context
from cardwright.webhooks.service.replaying import replay_missed
from cardwright.webhooks.store import subscriptions as store


class Keep(Enum):
    """Says that a field stays as it is."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True)
class SubscriptionChanges:
    """What is to be changed; fields left out stay. None lifts a filter, or the description."""

    url: str | Keep = KEEP
    event_types: Sequence[str] | Keep = KEEP
    card_ids: Sequence[UUID] | Keep | None = KEEP
    organization_id: UUID | Keep | None = KEEP
    ordered: bool | Keep = KEEP
    api_version: str | Keep = KEEP
    description: str | Keep | None = KEEP


class ChangingDesk(Desk):
    """Changes of subscriptions."""

    def update_subscription(
        self,
        actor: Actor,
        subscription_id: UUID,
        changes: SubscriptionChanges,
        operation_id: UUID,
        if_match: int | None = None,
    ) -> rules.Subscription:
        """Change the named fields. A new URL has to answer a challenge before it is sent anything; what is missed follows.

        Raises NotFoundError subscription_not_found, StaleVersionError, InvalidFieldsError.
        """
        self._check_changes(actor, changes)

        def change(tx: Transaction, current: rules.Subscription, now: datetime) -> rules.Subscription:
            if not isinstance(changes.organization_id, Keep):
                check_organization(tx, actor, changes.organization_id)
            changed = rules.filtered(current, _applied(current, changes), now)
            return changed if changed.url == current.url else rules.moved(changed, changed.url, now)

        return self._change(actor, subscription_id, operation_id, if_match, "webhook.updated", change)

    def _check_changes(self, actor: Actor, changes: SubscriptionChanges) -> None:
        errors = [] if isinstance(changes.url, Keep) else self._check_url(changes.url)
        if not isinstance(changes.event_types, Keep):
            errors += rules.check_event_types(changes.event_types)
        if not isinstance(changes.card_ids, Keep):
            errors += rules.check_card_ids(changes.card_ids)
        if not isinstance(changes.api_version, Keep):
            errors += rules.check_api_version(changes.api_version)
        if not isinstance(changes.description, Keep):
            errors += rules.check_description(changes.description)
        refuse(errors)
        if not isinstance(changes.card_ids, Keep):
            self._check_cards(actor, changes.card_ids)

    def rotate_secret(
        self,
        actor: Actor,
        subscription_id: UUID,
        operation_id: UUID,
        if_match: int | None = None,
        overlap_s: int = rules.OVERLAP_S,
    ) -> tuple[rules.Subscription, Secret[str]]:
        """Sign with a new secret, beside it for `overlap_s` seconds with those of now; return it, shown this once.

        The same operation again returns the same. Raises NotFoundError subscription_not_found, StaleVersionError,
        InvalidFieldsError overlap_out_of_range.
        """
        context = seal_context(user_of(actor), subscription_id)
        sealed = self._sealer.seal(rules.secret_text(random_bytes(rules.SECRET_BYTES)).reveal().encode(), context)

        def change(_tx: Transaction, current: rules.Subscription, now: datetime) -> rules.Subscription:
            return rules.rotated(current, sealed, now, overlap_s)

        changed = self._change(actor, subscription_id, operation_id, if_match, "webhook.secret_rotated", change)
        return changed, Secret(self._sealer.open(changed.secrets_sealed[0], context).decode())

    def send_test(self, actor: Actor, subscription_id: UUID, operation_id: UUID) -> Event:
        """Send a `webhook.test` to this subscription alone, whatever its filter; the same operation again sends nothing more.

        Raises NotFoundError subscription_not_found, ConflictError subscription_not_active.
        """
        user_id = user_of(actor)
        with self._database.transaction(actor) as tx:
            subscription = found(store.load(tx, user_id, subscription_id, lock=True))
            earlier = outbox.find_event(tx, operation_id)
            if earlier is not None:
                return earlier
            rules.check_active(subscription)
            data = {"subscription_id": str(subscription_id), "message": "This is a test."}
            event = Event(operation_id, WEBHOOK_TEST, self._clock.now(), data, user_id)
            outbox.append(tx, event)
            self._note(tx, subscription, "webhook.test_sent")
        return event

    def pause(self, actor: Actor, subscription_id: UUID, operation_id: UUID, if_match: int | None = None) -> rules.Subscription:
        """Send nothing until it is reactivated; what happens meanwhile follows then.

        Raises NotFoundError subscription_not_found, StaleVersionError, ConflictError already_paused, subscription_not_active.
        """

        def change(_tx: Transaction, current: rules.Subscription, now: datetime) -> rules.Subscription:
            return rules.paused(current, now)

        return self._change(actor, subscription_id, operation_id, if_match, "webhook.paused", change)

    def reactivate(
        self, actor: Actor, subscription_id: UUID, operation_id: UUID, if_match: int | None = None
    ) -> rules.Subscription:
        """Send again, beginning with what was missed; a URL that has not answered is sent a challenge first.

        Raises NotFoundError subscription_not_found, StaleVersionError, ConflictError already_active, verification_pending.
        """

        def change(tx: Transaction, current: rules.Subscription, now: datetime) -> rules.Subscription:
            again = rules.reactivated(current, now)
            if again.status is SubscriptionStatus.ACTIVE:
                replay_missed(tx, current, self._ids.new(), now)
            return again

        return self._change(actor, subscription_id, operation_id, if_match, "webhook.reactivated", change)


def _applied(current: rules.Subscription, changes: SubscriptionChanges) -> rules.Subscription:
    url, card_ids, event_types = changes.url, changes.card_ids, changes.event_types
    return replace(
        current,
        url=current.url if isinstance(url, Keep) else url,
        event_types=current.event_types if isinstance(event_types, Keep) else tuple(dict.fromkeys(event_types)),
        card_ids=(
            current.card_ids if isinstance(card_ids, Keep) else None if card_ids is None else tuple(dict.fromkeys(card_ids))
        ),
        organization_id=current.organization_id if isinstance(changes.organization_id, Keep) else changes.organization_id,
        ordered=current.ordered if isinstance(changes.ordered, Keep) else changes.ordered,
        api_version=current.api_version if isinstance(changes.api_version, Keep) else changes.api_version,
        description=current.description if isinstance(changes.description, Keep) else changes.description,
    )
