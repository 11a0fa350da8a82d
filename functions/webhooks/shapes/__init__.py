"""Documents of the webhook doors."""

from functions.webhooks.shapes.deliveries import (
    AnyDeliveryResponse,
    DeliveryResponse,
    EventSentResponse,
    EventTypeResponse,
    ReplayCreateRequest,
    ReplayResponse,
)
from functions.webhooks.shapes.subscriptions import (
    SUBSCRIPTION_CODES,
    RotateSecretRequest,
    SubscriptionChangeRequest,
    SubscriptionCreatedResponse,
    SubscriptionCreateRequest,
    SubscriptionResponse,
)

__all__ = [
    "SUBSCRIPTION_CODES",
    "AnyDeliveryResponse",
    "DeliveryResponse",
    "EventSentResponse",
    "EventTypeResponse",
    "ReplayCreateRequest",
    "ReplayResponse",
    "RotateSecretRequest",
    "SubscriptionChangeRequest",
    "SubscriptionCreateRequest",
    "SubscriptionCreatedResponse",
    "SubscriptionResponse",
]
