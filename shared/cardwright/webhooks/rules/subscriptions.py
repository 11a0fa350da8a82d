"""Subscriptions: who hears of what, the secrets that sign, the challenge that is answered first."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from cardwright.kernel.errors import FieldError
from cardwright.kernel.secret import Secret
from cardwright.kernel.signatures import SECRET_PREFIX
from cardwright.outbox.rules import EVENT_TYPES

SUBSCRIPTIONS_MAX = 20
CARD_IDS_MAX = 100
# Standard Webhooks 1.0 asks for 24 to 64 bytes.
SECRET_BYTES = 32


class SubscriptionStatus(StrEnum):
    """Only an ACTIVE subscription is sent events."""

    PENDING_VERIFICATION = "PENDING_VERIFICATION"
    ACTIVE = "ACTIVE"
    VERIFICATION_FAILED = "VERIFICATION_FAILED"
    PAUSED = "PAUSED"
    DISABLED = "DISABLED"


class Scope(StrEnum):
    """Whose events a subscription hears: its owner's, or everybody's (staff)."""

    OWN = "own"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A URL and what it wants to hear of. `card_ids` None means every card; secrets are sealed, newest first."""

    user_id: UUID
    subscription_id: UUID
    url: str
    event_types: tuple[str, ...]
    card_ids: tuple[UUID, ...] | None
    scope: Scope
    status: SubscriptionStatus
    status_detail: str | None
    secrets_sealed: tuple[bytes, ...]
    version: int
    last_operation_id: UUID
    created_at: datetime
    updated_at: datetime


def check_event_types(event_types: Sequence[str]) -> list[FieldError]:
    """One error for each type that is not offered, or for an empty list."""
    if not event_types:
        return [FieldError("event_types", "required", "Name at least one event type.")]
    return [
        FieldError(f"event_types.{position}", "event_type_unknown", "There is no such event type.")
        for position, event_type in enumerate(event_types)
        if event_type not in EVENT_TYPES
    ]


def check_card_ids(card_ids: Sequence[UUID] | None) -> list[FieldError]:
    """Errors of the card filter: absent means all cards, so an empty list would be a trap."""
    if card_ids is None:
        return []
    if not card_ids:
        return [FieldError("card_ids", "too_few_items", "Leave card_ids out to hear of all cards.")]
    if len(card_ids) > CARD_IDS_MAX:
        return [FieldError("card_ids", "too_many_items", f"At most {CARD_IDS_MAX} cards can be named.")]
    return []


def secret_text(entropy: bytes) -> Secret[str]:
    """A signing secret as its owner sees it. Raises ValueError outside the 24 to 64 bytes of the specification."""
    if not 24 <= len(entropy) <= 64:
        raise ValueError("a webhook secret has 24 to 64 bytes")
    return Secret(SECRET_PREFIX + base64.b64encode(entropy).decode())
