"""Documents of subscriptions."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StrictInt, StringConstraints

from cardwright.http.fields import StrictModel, Timestamp, without_card_number
from cardwright.kernel.secret import Secret
from cardwright.outbox.rules import API_VERSION
from cardwright.webhooks.rules import (
    CARD_IDS_MAX,
    DESCRIPTION_LENGTH_MAX,
    OVERLAP_MAX_S,
    OVERLAP_S,
    URL_LENGTH_MAX,
    Subscription,
    SubscriptionStatus,
)
from cardwright.webhooks.service import NewSubscription, SubscriptionChanges

# What a subscription is refused for, for the documents of the doors that take one.
SUBSCRIPTION_CODES = [
    "url_invalid",
    "url_not_https",
    "url_has_credentials",
    "url_host_not_allowed",
    "url_port_not_allowed",
    "url_is_ours",
    "event_type_unknown",
    "card_not_found",
    "organization_not_found",
    "api_version_unknown",
    "card_number_not_allowed",
    "description_invalid",
    "too_few_items",
    "too_many_items",
]
EventType = Annotated[str, StringConstraints(min_length=1, max_length=100)]
EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=50, examples=[["card.created", "transaction.authorized"]])]
SubscriberUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=URL_LENGTH_MAX),
    Field(description="https, on a public host, port 443 or 8443.", examples=["https://hooks.example.com/cards"]),
]
CardIds = Annotated[list[UUID], Field(min_length=1, max_length=CARD_IDS_MAX)]
# The owner's own words: one line, no card number (PCI DSS 3.4.1).
Description = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=DESCRIPTION_LENGTH_MAX, pattern=r"^[^\x00-\x1f\x7f]*$"),
    AfterValidator(without_card_number),
]
ApiVersion = Annotated[str, StringConstraints(min_length=10, max_length=10), Field(examples=[API_VERSION])]

_CARD_IDS = "Only events of these cards; all cards without it."
_ORGANIZATION = "Only events of this organization's people; everybody the caller may hear of without it."
_ORDERED = "Each card's events one after the other, in the order in which they happened. Cards do not wait for each other."
_API_VERSION = "The version of the event schemas; it stays when newer ones come. The newest without it."
_DESCRIPTION = "A note of the owner's."


def _left_out() -> Any:
    # A field that may be left out but not be null: nobody reads this value, only which fields were sent.
    return None


class SubscriptionCreateRequest(StrictModel):
    """What a subscriber wants to hear of, and where."""

    url: SubscriberUrl
    event_types: EventTypes
    card_ids: CardIds | None = Field(default=None, description=_CARD_IDS)
    organization_id: UUID | None = Field(default=None, description=_ORGANIZATION)
    ordered: StrictBool = Field(default=False, description=_ORDERED)
    api_version: ApiVersion | None = Field(default=None, description=_API_VERSION)
    description: Description | None = Field(default=None, description=_DESCRIPTION)

    def wanted(self) -> NewSubscription:
        """The request as the service takes it."""
        return NewSubscription(
            url=self.url,
            event_types=self.event_types,
            card_ids=self.card_ids,
            organization_id=self.organization_id,
            ordered=self.ordered,
            api_version=self.api_version,
            description=self.description,
        )


class SubscriptionChangeRequest(StrictModel):
    """What of a subscription is changed; what is left out stays. Null lifts a filter or takes the note away."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"url": "https://hooks.example.com/v2/cards"},
                {"event_types": ["transaction.cleared"], "card_ids": None, "description": "Accounting"},
                {"ordered": True, "api_version": API_VERSION},
            ]
        }
    )

    url: SubscriberUrl = Field(default_factory=_left_out)
    event_types: EventTypes = Field(default_factory=_left_out)
    card_ids: CardIds | None = Field(default_factory=_left_out, description=_CARD_IDS)
    organization_id: UUID | None = Field(default_factory=_left_out, description=_ORGANIZATION)
    ordered: StrictBool = Field(default_factory=_left_out, description=_ORDERED)
    api_version: ApiVersion = Field(default_factory=_left_out, description=_API_VERSION)
    description: Description | None = Field(default_factory=_left_out, description=_DESCRIPTION)

    def changes(self) -> SubscriptionChanges:
        """The request as the service takes it: the fields that were sent."""
        return SubscriptionChanges(**{name: getattr(self, name) for name in self.model_fields_set})


class RotateSecretRequest(StrictModel):
    """How the secret is rotated."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_seconds": 3600}, {}]})

    overlap_seconds: StrictInt = Field(
        default=OVERLAP_S,
        json_schema_extra={"minimum": 0, "maximum": OVERLAP_MAX_S},
        description="How long the secrets of now sign too, so that nothing is refused while the new one is being put in place.",
    )


class SubscriptionResponse(StrictModel):
    """A subscription; only an ACTIVE one is sent events."""

    id: UUID
    url: str
    event_types: list[str]
    card_ids: list[UUID] | None
    organization_id: UUID | None
    ordered: bool
    api_version: str
    description: str | None
    status: SubscriptionStatus
    status_detail: str | None = Field(description="How the verification went, or what stopped it.")
    inactive_since: Timestamp | None = Field(description="What happened since then is sent when it is ACTIVE again.")
    consecutive_failures: int = Field(description="Events in a row whose attempts were all spent; five disable it.")
    previous_secrets_expire_at: list[Timestamp] = Field(description="Until when each secret but the newest still signs.")
    version: int
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, subscription: Subscription) -> "SubscriptionResponse":
        """The document of a subscription."""
        return cls(**_fields(subscription))


class SubscriptionCreatedResponse(SubscriptionResponse):
    """A subscription with its new signing secret, which is shown this once."""

    secret: str = Field(description="Verifies the `webhook-signature` header (Standard Webhooks 1.0).")

    @classmethod
    def with_secret(cls, subscription: Subscription, secret: Secret[str]) -> "SubscriptionCreatedResponse":
        """The document of a subscription whose secret is new."""
        return cls(**_fields(subscription), secret=secret.reveal())


def _fields(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.subscription_id,
        "url": subscription.url,
        "event_types": list(subscription.event_types),
        "card_ids": None if subscription.card_ids is None else list(subscription.card_ids),
        "organization_id": subscription.organization_id,
        "ordered": subscription.ordered,
        "api_version": subscription.api_version,
        "description": subscription.description,
        "status": subscription.status,
        "status_detail": subscription.status_detail,
        "inactive_since": subscription.inactive_since,
        "consecutive_failures": subscription.consecutive_failures,
        "previous_secrets_expire_at": list(subscription.secrets_until),
        "version": subscription.version,
        "created_at": subscription.created_at,
        "updated_at": subscription.updated_at,
    }
