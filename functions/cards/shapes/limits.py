"""Documents of limits: what is changed, what is shown, what remains; and the entries of their lists."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints, WithJsonSchema

from cardwright.cards.rules import (
    CATEGORY_GROUPS,
    LIST_MAX,
    VELOCITY_MAX,
    Card,
    Channel,
    Funds,
    LimitsChange,
    ListsChange,
    WindowUse,
    approvals_in_hour,
    day_window,
    known_merchant_category,
    known_time_zone,
    month_window,
    window_use,
)
from cardwright.cards.service import Spend
from cardwright.http.fields import Amount, StrictModel, Timestamp
from cardwright.kernel.countries import COUNTRIES
from cardwright.kernel.errors import FieldValueError


def _merchant_category(entry: str) -> str:
    if not known_merchant_category(entry):
        raise FieldValueError("merchant_category_unknown", "There is no such merchant category code or group.")
    return entry


def _country(code: str) -> str:
    if code not in COUNTRIES:
        raise FieldValueError("country_unknown", "This is not a country's code in ISO 3166-1 alpha-2.")
    return code


def _time_zone(name: str) -> str:
    if not known_time_zone(name):
        raise FieldValueError("time_zone_unknown", "The IANA time zone database has no such name.")
    return name


_CATEGORY_SCHEMA = {
    "type": "string",
    "pattern": "^([0-9]{4}|[a-z_]{3,32})$",
    "examples": ["5411", "airlines"],
    "description": f"A code of ISO 18245, or a group of them: {', '.join(CATEGORY_GROUPS)}.",
}
MerchantCategory = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9]{4}|[a-z_]{3,32})$"),
    AfterValidator(_merchant_category),
    WithJsonSchema(_CATEGORY_SCHEMA),
]
Country = Annotated[
    str,
    AfterValidator(_country),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{2}$", "examples": ["FR"], "description": "ISO 3166-1 alpha-2"}),
]
TimeZone = Annotated[
    str,
    AfterValidator(_time_zone),
    WithJsonSchema({"type": "string", "examples": ["Europe/Paris"], "description": "A name of the IANA time zone database."}),
]
MerchantCategoryList = Annotated[list[MerchantCategory], Field(max_length=LIST_MAX)]
CountryList = Annotated[list[Country], Field(max_length=LIST_MAX)]
ChannelList = Annotated[list[Channel], Field(max_length=LIST_MAX)]

# As an amount, and below zero where somebody owes.
SignedAmount = Annotated[
    Decimal,
    PlainSerializer(lambda value: f"{value:.2f}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?(0|[1-9][0-9]{0,11})\.[0-9]{2}$", "examples": ["-12.34"]}),
]


class _Partial(StrictModel):
    """A document of which what is left out stays as it is. Its defaults are never looked at, and null is no value of theirs."""

    def given(self, name: str) -> bool:
        """True for a field that the request names."""
        return name in self.model_fields_set

    def given_list(self, name: str, entries: Sequence[str]) -> tuple[str, ...] | None:
        """The entries, or None for a list that the request leaves out."""
        return tuple(entries) if self.given(name) else None


class MerchantCategoriesChange(_Partial):
    """With an allow list nothing else is accepted; a denied category is never accepted. An empty list bounds nothing."""

    allow: MerchantCategoryList = Field(default_factory=list)
    deny: MerchantCategoryList = Field(default_factory=list)

    def change(self) -> ListsChange:
        """The request as the service takes it."""
        return ListsChange(allow=self.given_list("allow", self.allow), deny=self.given_list("deny", self.deny))


class CountriesChange(_Partial):
    """Countries of merchants, as merchant categories. With an allow list a merchant whose country is not told is declined."""

    allow: CountryList = Field(default_factory=list)
    deny: CountryList = Field(default_factory=list)

    def change(self) -> ListsChange:
        """The request as the service takes it."""
        return ListsChange(allow=self.given_list("allow", self.allow), deny=self.given_list("deny", self.deny))


class ChannelsChange(_Partial):
    """How the card may not be presented."""

    deny: ChannelList = Field(default_factory=list)


class CardLimitsRequest(_Partial):
    """Limits and settings to change; what is left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"per_transaction": "100.00", "daily": "300.00", "monthly": "2000.00"},
                {
                    "velocity_per_hour": 10,
                    "time_zone": "Europe/Paris",
                    "merchant_categories": {"deny": ["gambling", "6051"]},
                    "countries": {"allow": ["FR", "DE"], "deny": []},
                    "channels": {"deny": ["atm", "magstripe"]},
                },
            ]
        }
    )

    per_transaction: Amount = Field(default_factory=Decimal)
    daily: Amount = Field(default_factory=Decimal, description="1.00 to 50000.00")
    monthly: Amount = Field(default_factory=Decimal)
    velocity_per_hour: int | None = Field(
        default=None, strict=True, ge=1, le=VELOCITY_MAX, description="Approvals in any hour; null is off."
    )
    time_zone: TimeZone = Field(default_factory=str, description="By its calendar days and months begin.")
    merchant_categories: MerchantCategoriesChange = Field(default_factory=MerchantCategoriesChange)
    countries: CountriesChange = Field(default_factory=CountriesChange)
    channels: ChannelsChange = Field(default_factory=ChannelsChange)

    def change(self) -> LimitsChange:
        """The request as the service takes it."""
        return LimitsChange(
            per_transaction=self.per_transaction if self.given("per_transaction") else None,
            daily=self.daily if self.given("daily") else None,
            monthly=self.monthly if self.given("monthly") else None,
            velocity_per_hour=self.velocity_per_hour,
            velocity_off=self.given("velocity_per_hour") and self.velocity_per_hour is None,
            time_zone=self.time_zone if self.given("time_zone") else None,
            merchant_categories=self.merchant_categories.change(),
            countries=self.countries.change(),
            channels_denied=self.channels.given_list("deny", self.channels.deny),
        )


class MerchantCategoriesLists(BaseModel):
    """Merchant category codes and groups as they were written."""

    allow: list[str]
    deny: list[str]


class CountriesLists(BaseModel):
    """Countries by their codes in ISO 3166-1 alpha-2."""

    allow: list[str]
    deny: list[str]


class ChannelsList(BaseModel):
    """Channels by their names."""

    deny: list[str]


class WindowResponse(BaseModel):
    """What of a limit is spent, pending authorizations included, and when it begins anew."""

    spent: Amount
    remaining: Amount
    resets_at: Timestamp

    @classmethod
    def of(cls, use: WindowUse) -> Self:
        """The document of a window."""
        return cls(spent=use.spent, remaining=use.remaining, resets_at=use.resets_at)


class WindowsResponse(BaseModel):
    """The running day and month of the card's time zone."""

    daily: WindowResponse
    monthly: WindowResponse


class VelocityResponse(BaseModel):
    """Approvals in the last hour."""

    used: int
    remaining: int


Funding = Annotated[
    Literal["limits", "balance"],
    Field(description="`limits`: they alone bound what is spent. `balance`: money loaded onto the card does too."),
]


class CardBalanceResponse(BaseModel):
    """Money on a card that a balance funds, in its currency."""

    loaded: SignedAmount = Field(description="Loaded and not spent; what is held is still in it.")
    held: Amount = Field(description="Held for authorizations that are pending.")
    available: SignedAmount = Field(description="Below zero when the network posted more than there was.")

    @classmethod
    def of(cls, funds: Funds | None) -> Self | None:
        """The document of a card's funds; none for a card that its limits alone fund."""
        return None if funds is None else cls(loaded=funds.balance, held=funds.held, available=funds.available)


def funding_of(card: Card) -> Literal["limits", "balance"]:
    """What funds a card."""
    return "limits" if card.funds is None else "balance"


class CardLimitsResponse(BaseModel):
    """Limits and settings of a card and what remains of them, in its currency."""

    per_transaction: Amount
    daily: Amount
    monthly: Amount
    velocity_per_hour: int | None = Field(description="Approvals in any hour; null is off.")
    time_zone: str
    merchant_categories: MerchantCategoriesLists
    countries: CountriesLists
    channels: ChannelsList
    currency: str
    version: int = Field(description="The card's.")
    windows: WindowsResponse
    velocity: VelocityResponse | None = Field(description="null where velocity is not limited.")
    funding: Funding
    balance: CardBalanceResponse | None = Field(description="null where limits alone fund the card.")

    @classmethod
    def of(cls, card: Card, spend: Spend, now: datetime) -> Self:
        """The document of a card's limits at a moment."""
        limits, controls = card.limits, card.controls
        zone = controls.time_zone
        daily = window_use(limits.daily, spend.day_spent, spend.day_start, now, zone, day_window)
        monthly = window_use(limits.monthly, spend.month_spent, spend.month_start, now, zone, month_window)
        return cls(
            per_transaction=limits.per_transaction,
            daily=limits.daily,
            monthly=limits.monthly,
            velocity_per_hour=controls.velocity_per_hour,
            time_zone=zone,
            merchant_categories=MerchantCategoriesLists(**controls.merchant_categories.document()),
            countries=CountriesLists(**controls.countries.document()),
            channels=ChannelsList(deny=list(controls.channels_denied)),
            currency=card.currency,
            version=card.version,
            windows=WindowsResponse(daily=WindowResponse.of(daily), monthly=WindowResponse.of(monthly)),
            velocity=_velocity(controls.velocity_per_hour, spend, now),
            funding=funding_of(card),
            balance=CardBalanceResponse.of(card.funds),
        )


def _velocity(limit: int | None, spend: Spend, now: datetime) -> VelocityResponse | None:
    if limit is None:
        return None
    used = approvals_in_hour(spend.recent_approvals, now)
    return VelocityResponse(used=used, remaining=max(0, limit - used))
