"""What an event is (Standard Webhooks 1.0 envelope): id, type, created_at, api_version, data; and what is asked of the feed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cardwright.kernel import ids
from cardwright.kernel.clock import rfc3339

API_VERSION = "2026-11-21"

# Types partners can subscribe to (CONTRACT, events out).
EVENT_TYPES = frozenset(
    (
        "card.created card.frozen card.unfrozen card.cancelled card.expired card.replaced card.limits_updated "
        "transaction.authorized transaction.declined transaction.cleared transaction.reversed transaction.refunded "
        "transaction.expired transaction.force_posted card.fraud_detected kyc.verified kyc.rejected security.alert "
        "report.ready webhook.test"
    ).split()
)
# Goes to the one subscription it names, on its owner's request.
WEBHOOK_TEST = "webhook.test"
# Ours alone: asks the delivery worker to verify a subscription's URL.
VERIFICATION_REQUESTED = "webhook.verification_requested"
# Ours alone: tells the owner of a subscription that it was switched off.
WEBHOOK_DISABLED = "webhook.disabled"
# Ours alone: somebody of the staff lets a person be told by a template.
NOTIFICATION_REQUESTED = "notification.requested"
# How far the time in an event's id may stand before its own time (an operation's id is made at its first try and the operation
# may be repeated for a day) and after it (ids are drawn a moment later).
_ID_BEFORE = timedelta(days=1)
_ID_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `data` is JSON without PAN, CVV or a full name; user and card say whom it concerns."""

    event_id: UUID
    type: str
    created_at: datetime
    data: Mapping[str, object]
    user_id: UUID | None = None
    card_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedFilter:
    """Which events of the feed are asked for: `user_id` None means everybody's, `card_ids` None every card.

    `organization_id` keeps to events of people of that organization; times are [since, until). Test events are never among them.
    """

    user_id: UUID | None
    types: frozenset[str]
    card_ids: tuple[UUID, ...] | None
    organization_id: UUID | None
    since: datetime
    until: datetime

    @property
    def told_types(self) -> list[str]:
        """The types without test events, sorted."""
        return sorted(self.types - {WEBHOOK_TEST})

    @property
    def lowest_id(self) -> UUID:
        """No event of this time has a smaller id."""
        return ids.uuid7(self.since - _ID_BEFORE, bytes(ids.ENTROPY_BYTES))

    @property
    def highest_id(self) -> UUID:
        """No event of this time has a greater id."""
        return ids.uuid7(self.until + _ID_AFTER, b"\xff" * ids.ENTROPY_BYTES)


def for_partners(event_type: str) -> bool:
    """True for what the delivery worker takes from its queue: events partners subscribe to, and requests to verify."""
    return event_type in EVENT_TYPES or event_type == VERIFICATION_REQUESTED


def for_people(event_type: str) -> bool:
    """True for what cardholders and owners of subscriptions may be told of."""
    return event_type in (WEBHOOK_DISABLED, NOTIFICATION_REQUESTED) or (event_type in EVENT_TYPES and event_type != WEBHOOK_TEST)


def envelope(event: Event) -> dict[str, object]:
    """What partners see of an event."""
    return {
        "id": str(event.event_id),
        "type": event.type,
        "created_at": rfc3339(event.created_at),
        "api_version": API_VERSION,
        "data": dict(event.data),
    }


def message(event: Event) -> dict[str, object]:
    """The event as queued: the envelope partners see, and beside it whom it concerns."""
    return {
        "event": envelope(event),
        "user_id": str(event.user_id) if event.user_id else None,
        "card_id": str(event.card_id) if event.card_id else None,
    }


def from_message(document: Mapping[str, Any]) -> Event:
    """The event of a queued message. Raises ValueError for a document `message` did not make."""
    try:
        envelope = document["event"]
        user_id, card_id = document["user_id"], document["card_id"]
        if not isinstance(envelope["data"], dict) or not isinstance(envelope["type"], str):
            raise ValueError("an event has a type and data")
        return Event(
            event_id=UUID(envelope["id"]),
            type=envelope["type"],
            created_at=datetime.fromisoformat(envelope["created_at"]),
            data=envelope["data"],
            user_id=UUID(user_id) if user_id else None,
            card_id=UUID(card_id) if card_id else None,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a queued event") from error
