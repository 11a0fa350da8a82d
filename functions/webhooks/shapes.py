"""Documents of the webhook doors."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, StringConstraints

from cardwright.http.fields import StrictModel, Timestamp
from cardwright.kernel.secret import Secret
from cardwright.webhooks.rules import URL_LENGTH_MAX, Delivery, DeliveryStatus, Subscription, SubscriptionStatus

EventType = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class SubscriptionCreateRequest(StrictModel):
    """What a subscriber wants to hear of, and where."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=URL_LENGTH_MAX)] = Field(
        description="https, on a public host, port 443 or 8443.", examples=["https://hooks.example.com/cards"]
    )
    event_types: list[EventType] = Field(min_length=1, max_length=50, examples=[["card.created", "transaction.authorized"]])
    card_ids: list[UUID] | None = Field(
        default=None, min_length=1, max_length=100, description="Only events of these cards; all cards without it."
    )


class SubscriptionResponse(StrictModel):
    """A subscription; only an ACTIVE one is sent events."""

    id: UUID
    url: str
    event_types: list[str]
    card_ids: list[UUID] | None
    status: SubscriptionStatus
    status_detail: str | None = Field(description="How the verification went, or what disabled it.")
    version: int
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, subscription: Subscription) -> "SubscriptionResponse":
        """The document of a subscription."""
        return cls(**_fields(subscription))


class SubscriptionCreatedResponse(SubscriptionResponse):
    """A new subscription with its signing secret, which is shown this once."""

    secret: str = Field(description="Verifies the `webhook-signature` header (Standard Webhooks 1.0).")

    @classmethod
    def with_secret(cls, subscription: Subscription, secret: Secret[str]) -> "SubscriptionCreatedResponse":
        """The document of a new subscription."""
        return cls(**_fields(subscription), secret=secret.reveal())


class AttemptResponse(StrictModel):
    """One try to deliver; `response` is the beginning of what the receiver answered."""

    number: int
    started_at: Timestamp
    latency_ms: int
    status_code: int | None
    outcome: str
    response: str | None


class DeliveryResponse(StrictModel):
    """One event's way to the subscription."""

    event_id: UUID
    event_type: str
    status: DeliveryStatus
    next_attempt_at: Timestamp | None
    created_at: Timestamp
    finished_at: Timestamp | None
    attempts: list[AttemptResponse]

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryResponse":
        """The document of a delivery."""
        attempts = [
            AttemptResponse(
                number=attempt.number,
                started_at=attempt.started_at,
                latency_ms=attempt.latency_ms,
                status_code=attempt.status_code,
                outcome=attempt.outcome,
                response=attempt.response,
            )
            for attempt in delivery.attempts
        ]
        return cls(
            event_id=delivery.event_id,
            event_type=delivery.event_type,
            status=delivery.status,
            next_attempt_at=delivery.next_attempt_at,
            created_at=delivery.created_at,
            finished_at=delivery.finished_at,
            attempts=attempts,
        )


def _fields(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.subscription_id,
        "url": subscription.url,
        "event_types": list(subscription.event_types),
        "card_ids": None if subscription.card_ids is None else list(subscription.card_ids),
        "status": subscription.status,
        "status_detail": subscription.status_detail,
        "version": subscription.version,
        "created_at": subscription.created_at,
        "updated_at": subscription.updated_at,
    }
