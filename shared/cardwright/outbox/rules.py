"""What an event is (Standard Webhooks 1.0 envelope): id, type, created_at, api_version, data."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

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
# Ours alone: asks the delivery worker to verify a subscription's URL.
VERIFICATION_REQUESTED = "webhook.verification_requested"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `data` is JSON without PAN, CVV or a full name; user and card say whom it concerns."""

    event_id: UUID
    type: str
    created_at: datetime
    data: Mapping[str, object]
    user_id: UUID | None = None
    card_id: UUID | None = None


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
