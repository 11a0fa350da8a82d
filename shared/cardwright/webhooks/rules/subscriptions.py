"""Subscriptions: who hears of what, the secrets that sign, the challenge that is answered first."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from cardwright.kernel.errors import ConflictError, FieldError, InvalidFieldsError
from cardwright.kernel.secret import Secret
from cardwright.kernel.signatures import SECRET_PREFIX
from cardwright.outbox.rules import EVENT_TYPES
from cardwright.webhooks.rules import versions

SUBSCRIPTIONS_MAX = 20
CARD_IDS_MAX = 100
# Standard Webhooks 1.0 asks for 24 to 64 bytes.
SECRET_BYTES = 32
# As many as are sent beside one another in a signature header.
SECRETS_MAX = 5
OVERLAP_S = 86400
OVERLAP_MAX_S = 604800
DESCRIPTION_LENGTH_MAX = 200
# A verification nobody has heard of after this is asked for again.
VERIFICATION_PATIENCE = timedelta(seconds=60)


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
    """A URL and what it wants to hear of. `card_ids` None means every card; secrets are sealed, newest first.

    `secrets_until` says until when each secret but the newest still signs. `inactive_since` is None while it is ACTIVE;
    `failing_since` is when the first of `consecutive_failures` was given up. `filter_since` is when what it wants last changed,
    None if never. `verified_at` belongs to this URL.
    """

    user_id: UUID
    subscription_id: UUID
    url: str
    event_types: tuple[str, ...]
    card_ids: tuple[UUID, ...] | None
    organization_id: UUID | None
    ordered: bool
    api_version: str
    description: str | None
    scope: Scope
    status: SubscriptionStatus
    status_detail: str | None
    secrets_sealed: tuple[bytes, ...]
    secrets_until: tuple[datetime, ...]
    verified_at: datetime | None
    verification_due_at: datetime | None
    inactive_since: datetime | None
    failing_since: datetime | None
    filter_since: datetime | None
    consecutive_failures: int
    background: bool
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


def check_description(description: str | None) -> list[FieldError]:
    """Errors of the note an owner may keep beside a subscription."""
    if description is None or (1 <= len(description) <= DESCRIPTION_LENGTH_MAX and description.isprintable()):
        return []
    detail = f"A description has 1 to {DESCRIPTION_LENGTH_MAX} printable characters."
    return [FieldError("description", "description_invalid", detail)]


def check_api_version(api_version: str) -> list[FieldError]:
    """An error for a version of the event schemas that was never published."""
    if api_version in versions.SUPPORTED:
        return []
    return [FieldError("api_version", "api_version_unknown", "There is no such version of the events.")]


def rotated(subscription: Subscription, secret_sealed: bytes, now: datetime, overlap_s: int) -> Subscription:
    """The subscription with a new secret first. The others sign `overlap_s` seconds longer, but never longer than they had.

    What signs no more is forgotten, and of more than SECRETS_MAX the oldest. Raises InvalidFieldsError outside
    0..OVERLAP_MAX_S.
    """
    if not 0 <= overlap_s <= OVERLAP_MAX_S:
        detail = f"The secrets overlap by 0 to {OVERLAP_MAX_S} seconds."
        raise InvalidFieldsError([FieldError("overlap_seconds", "overlap_out_of_range", detail)])
    latest = now + timedelta(seconds=overlap_s)
    ends = (latest, *(min(until, latest) for until in subscription.secrets_until))
    kept = [(sealed, until) for sealed, until in zip(subscription.secrets_sealed, ends, strict=True) if until > now]
    kept = kept[: SECRETS_MAX - 1]
    return replace(
        subscription,
        secrets_sealed=(secret_sealed, *(sealed for sealed, _ in kept)),
        secrets_until=tuple(until for _, until in kept),
    )


def signing(secrets_sealed: Sequence[bytes], secrets_until: Sequence[datetime], now: datetime) -> tuple[bytes, ...]:
    """Those of the sealed secrets that sign now: the newest, and the others until their time."""
    still = (sealed for sealed, until in zip(secrets_sealed[1:], secrets_until, strict=True) if until > now)
    return (*secrets_sealed[:1], *still)


def filtered(before: Subscription, after: Subscription, now: datetime) -> Subscription:
    """The subscription after a change, with the time of it if it wants other events now."""
    same = (before.event_types, before.card_ids, before.organization_id) == (
        after.event_types,
        after.card_ids,
        after.organization_id,
    )
    return after if same else replace(after, filter_since=now)


def moved(subscription: Subscription, url: str, now: datetime) -> Subscription:
    """The subscription at another URL: nothing goes there before it has answered the challenge.

    What its owner or its failures stopped stays stopped, and is verified when it is reactivated.
    """
    there = replace(subscription, url=url, verified_at=None)
    if subscription.status in (SubscriptionStatus.PAUSED, SubscriptionStatus.DISABLED):
        return there
    return asking(there, now)


def asking(subscription: Subscription, now: datetime) -> Subscription:
    """The subscription as it waits for the answer to a new challenge."""
    return replace(
        subscription,
        status=SubscriptionStatus.PENDING_VERIFICATION,
        status_detail=None,
        verified_at=None,
        verification_due_at=now + VERIFICATION_PATIENCE,
        inactive_since=subscription.inactive_since or now,
    )


def activated(subscription: Subscription, detail: str, now: datetime) -> Subscription:
    """The subscription as it hears of events from now on, its failures forgotten."""
    return replace(
        subscription,
        status=SubscriptionStatus.ACTIVE,
        status_detail=detail,
        verified_at=subscription.verified_at or now,
        verification_due_at=None,
        inactive_since=None,
        failing_since=None,
        consecutive_failures=0,
        background=False,
    )


def unverified(subscription: Subscription, detail: str) -> Subscription:
    """The subscription after its URL did not answer the challenge."""
    return replace(subscription, status=SubscriptionStatus.VERIFICATION_FAILED, status_detail=detail, verification_due_at=None)


def paused(subscription: Subscription, now: datetime) -> Subscription:
    """The subscription as its owner stops it. Raises ConflictError already_paused, subscription_not_active."""
    if subscription.status is SubscriptionStatus.PAUSED:
        raise ConflictError("The subscription is paused already.", code="already_paused")
    check_active(subscription)
    return replace(subscription, status=SubscriptionStatus.PAUSED, status_detail="paused", inactive_since=now)


def reactivated(subscription: Subscription, now: datetime) -> Subscription:
    """The subscription as its owner starts it again: ACTIVE if its URL is verified, else waiting for the challenge's answer.

    Raises ConflictError already_active, verification_pending.
    """
    if subscription.status is SubscriptionStatus.ACTIVE:
        raise ConflictError("The subscription is active already.", code="already_active")
    if subscription.status is SubscriptionStatus.PENDING_VERIFICATION:
        raise ConflictError("The URL is being verified.", code="verification_pending")
    if subscription.status is SubscriptionStatus.VERIFICATION_FAILED or subscription.verified_at is None:
        return asking(subscription, now)
    return activated(subscription, "reactivated", now)


def check_active(subscription: Subscription) -> None:
    """Raise ConflictError subscription_not_active for one that hears nothing."""
    if subscription.status is not SubscriptionStatus.ACTIVE:
        raise ConflictError("Only an active subscription is sent events.", code="subscription_not_active")
