"""Documents of cards: what is wished for, what is shown, why a state is changed."""

from datetime import date
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cardwright.cards.rules import Card, CardStatus, ReasonCode, Usage, WantedLimits
from cardwright.cards.rules import merchant_categories as checked_categories
from cardwright.cards.service import IssueCard, StateChange
from cardwright.compose.settings import Settings
from cardwright.http.fields import Amount, Currency, FreeText, StrictModel, Timestamp
from cardwright.identity.rules import Principal
from cardwright.kernel.errors import FieldValueError
from cardwright.kernel.rows import Role
from functions.cards.shapes.limits import CardBalanceResponse, Funding, MerchantCategoryList, funding_of


def _calendar_day(value: Any) -> Any:
    if not isinstance(value, str) or len(value) != len("2026-11-21"):
        raise FieldValueError("date_invalid", "A day is written YYYY-MM-DD.")
    return value


Day = Annotated[date, BeforeValidator(_calendar_day)]


class LimitsRequest(StrictModel):
    """Limits wished for; what is left out is the program's default."""

    per_transaction: Amount | None = None
    daily: Amount | None = Field(default=None, description="1.00 to 50000.00")
    monthly: Amount | None = None


class MerchantCategoriesRequest(StrictModel):
    """Merchant category codes (ISO 18245) and groups: with an allow list nothing else is accepted."""

    allow: MerchantCategoryList = Field(default_factory=list)
    deny: MerchantCategoryList = Field(default_factory=list)


class CardCreateRequest(StrictModel):
    """A card wished for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"currency": "USD"},
                {
                    "currency": "USD",
                    "label": "Office supplies",
                    "limits": {"per_transaction": "250.00", "daily": "500.00", "monthly": "2000.00"},
                    "merchant_categories": {"allow": [], "deny": ["7995"]},
                    "usage": "multi",
                },
            ]
        }
    )

    currency: Currency
    label: FreeText | None = None
    program_id: UUID | None = None
    limits: LimitsRequest | None = None
    merchant_categories: MerchantCategoriesRequest | None = None
    usage: Usage = Usage.MULTI
    expires_on: Day | None = Field(default=None, description="The card is good through the last day of this day's month.")

    def wish(self) -> IssueCard:
        """The request as the service takes it. Raises InvalidFieldsError for lists that contradict each other."""
        categories = self.merchant_categories or MerchantCategoriesRequest()
        limits = self.limits or LimitsRequest()
        return IssueCard(
            currency=self.currency,
            label=self.label,
            program_id=self.program_id,
            limits=WantedLimits(limits.per_transaction, limits.daily, limits.monthly),
            merchant_categories=checked_categories(categories.allow, categories.deny),
            usage=self.usage,
            expires_on=self.expires_on,
        )


class CardStateRequest(StrictModel):
    """Why a card's state is changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "left in a taxi", "reason_code": "lost"}]})

    reason: FreeText | None = Field(
        default=None, description="Words, kept in the audit log. A reason code written here counts as the code."
    )
    reason_code: ReasonCode | None = Field(
        default=None, description="Without one it is `user_request`, or `issuer_request` where staff acts."
    )

    def change(self, if_match: int | None) -> StateChange:
        """The request as the service takes it."""
        return StateChange(words=self.reason, code=self.reason_code, if_match=if_match)


class CardChangeRequest(StrictModel):
    """What of a card is changed; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"label": "Travel"}]})

    label: FreeText | None = Field(description="null takes the label away.")


class LimitsResponse(BaseModel):
    """Most the card may spend, in its currency."""

    per_transaction: Amount
    daily: Amount
    monthly: Amount


class MerchantCategoriesResponse(BaseModel):
    """Merchant category codes and groups the card is held to."""

    allow: list[str]
    deny: list[str]


class CardResponse(BaseModel):
    """A card. Its number is never part of this document."""

    id: UUID
    status: CardStatus
    status_reason_code: str | None = Field(description="Why the status is what it is; null for a new card.")
    last_four: str
    expiry_month: int
    expiry_year: int
    currency: str
    label: str | None
    limits: LimitsResponse
    velocity_per_hour: int | None = Field(description="Approvals in any hour; null is off.")
    merchant_categories: MerchantCategoriesResponse
    usage: Usage
    funding: Funding
    balance: CardBalanceResponse | None = Field(description="null where limits alone fund the card.")
    program_id: UUID
    replaces: UUID | None = Field(description="The card this one was issued in place of.")
    replaced_by: UUID | None = Field(description="The card that was issued in place of this one.")
    cancel_after: Timestamp | None = Field(description="Cancelled then at the latest, sooner when nothing is pending.")
    version: int
    created_at: Timestamp
    updated_at: Timestamp
    processor_card_token: str | None = Field(
        default=None,
        exclude_if=lambda token: token is None,
        description="Shown to roles admin and support, and on the local stage to the owner.",
    )

    @classmethod
    def of(cls, card: Card, principal: Principal | None, settings: Settings) -> Self:
        """The card as this caller may see it."""
        return cls(
            id=card.card_id,
            status=card.status,
            status_reason_code=card.status_reason_code,
            last_four=card.last_four,
            expiry_month=card.expiry.month,
            expiry_year=card.expiry.year,
            currency=card.currency,
            label=card.label,
            limits=LimitsResponse(
                per_transaction=card.limits.per_transaction, daily=card.limits.daily, monthly=card.limits.monthly
            ),
            velocity_per_hour=card.controls.velocity_per_hour,
            merchant_categories=MerchantCategoriesResponse(
                allow=list(card.merchant_categories.allow), deny=list(card.merchant_categories.deny)
            ),
            usage=card.usage,
            funding=funding_of(card),
            balance=CardBalanceResponse.of(card.funds),
            program_id=card.program_id,
            replaces=card.replaces_card_id,
            replaced_by=card.replaced_by_card_id,
            cancel_after=card.cancel_after,
            version=card.version,
            created_at=card.created_at,
            updated_at=card.updated_at,
            processor_card_token=card.processor_card_token if _sees_token(card, principal, settings) else None,
        )


def _sees_token(card: Card, principal: Principal | None, settings: Settings) -> bool:
    if principal is None:
        return False
    return principal.role in (Role.ADMIN, Role.SUPPORT) or (settings.local and principal.user_id == card.user_id)
