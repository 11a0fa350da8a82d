"""Documents of the program doors."""

from typing import Annotated, Any, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StringConstraints

from cardwright.http.fields import Amount, Currency, FreeText, StrictModel, Timestamp
from cardwright.programs.rules import (
    LIFETIME_MONTHS_MAX,
    OPEN_CARDS_MAX,
    VELOCITY_MAX,
    Funding,
    Limits,
    Network,
    Program,
    ProgramChanges,
    ProgramStatus,
)
from cardwright.programs.service import NewProgram

# Their ranges are the domain's to check; here they are told to whoever reads the documents.
Velocity = Annotated[StrictInt, Field(json_schema_extra={"minimum": 1, "maximum": VELOCITY_MAX})]
OpenCards = Annotated[StrictInt, Field(json_schema_extra={"minimum": 1, "maximum": OPEN_CARDS_MAX})]
LifetimeMonths = Annotated[StrictInt, Field(json_schema_extra={"minimum": 1, "maximum": LIFETIME_MONTHS_MAX})]
_THRESHOLD = "Raising a card's limit above it needs a fresh second factor; null: above the default daily limit."
_VELOCITY = "Approvals in any hour; null is off."
_OPEN_CARDS = "Open cards one user may hold in the program."
_DEFAULT = "Cards of the currency are issued in it unless another is named. The former default is one no more."


class DefaultsRequest(StrictModel):
    """What a card has that asks for nothing else."""

    per_transaction: Amount
    daily: Amount = Field(description="1.00 to 50000.00")
    monthly: Amount
    velocity_per_hour: Velocity | None = Field(default=5, description=_VELOCITY)


class ProgramCreateRequest(StrictModel):
    """A program wished for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Travel EUR",
                    "network": "mastercard",
                    "bin": "52009910",
                    "currency": "EUR",
                    "defaults": {"per_transaction": "500.00", "daily": "1000.00", "monthly": "5000.00"},
                    "max_open_cards": 25,
                }
            ]
        }
    )

    name: FreeText
    network: Network
    bin: Annotated[str, StringConstraints(max_length=8)] = Field(
        description="6 to 8 digits in a range of the network: Visa 4; Mastercard 51 to 55, 2221 to 2720.", examples=["40009910"]
    )
    currency: Currency
    defaults: DefaultsRequest
    funding: Funding = Funding.LIMITS
    max_open_cards: OpenCards = Field(default=10, description=_OPEN_CARDS)
    card_lifetime_months: LifetimeMonths = 36
    step_up_above: Amount | None = Field(default=None, description=_THRESHOLD)
    is_default: StrictBool = Field(default=False, description=_DEFAULT)

    def wish(self) -> NewProgram:
        """The request as the service takes it."""
        return NewProgram(
            name=self.name,
            network=self.network,
            bin=self.bin,
            currency=self.currency,
            defaults=Limits(self.defaults.per_transaction, self.defaults.daily, self.defaults.monthly),
            default_velocity_per_hour=self.defaults.velocity_per_hour,
            funding=self.funding,
            is_default=self.is_default,
            max_open_cards=self.max_open_cards,
            card_lifetime_months=self.card_lifetime_months,
            step_up_above=self.step_up_above,
        )


def _left_out() -> Any:
    # A field that may be left out but not be null: nobody reads this value, only which fields were sent.
    return None


class DefaultsChangeRequest(StrictModel):
    """Defaults to change; what is left out stays."""

    per_transaction: Amount = Field(default_factory=_left_out)
    daily: Amount = Field(default_factory=_left_out, description="1.00 to 50000.00")
    monthly: Amount = Field(default_factory=_left_out)
    velocity_per_hour: Velocity | None = Field(default_factory=_left_out, description=_VELOCITY)


class ProgramChangeRequest(StrictModel):
    """What of a program is changed; what is left out stays, as do the cards it has issued."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"defaults": {"daily": "2000.00"}, "max_open_cards": 50}, {"is_default": True}, {"status": "RETIRED"}]
        }
    )

    name: FreeText = Field(default_factory=_left_out)
    defaults: DefaultsChangeRequest = Field(default_factory=DefaultsChangeRequest)
    max_open_cards: OpenCards = Field(default_factory=_left_out, description=_OPEN_CARDS)
    card_lifetime_months: LifetimeMonths = Field(default_factory=_left_out)
    step_up_above: Amount | None = Field(default_factory=_left_out, description=_THRESHOLD)
    is_default: StrictBool = Field(default_factory=_left_out, description=_DEFAULT)
    status: ProgramStatus = Field(default_factory=_left_out, description="A retired program issues no more cards.")

    def changes(self) -> ProgramChanges:
        """The request as the service takes it: the fields that were sent."""
        sent = {name: getattr(self, name) for name in self.model_fields_set - {"defaults"}}
        sent |= {f"default_{name}": getattr(self.defaults, name) for name in self.defaults.model_fields_set}
        return cast(ProgramChanges, sent)


class DefaultsResponse(BaseModel):
    """What a card has that asks for nothing else, in the program's currency."""

    per_transaction: Amount
    daily: Amount
    monthly: Amount
    velocity_per_hour: int | None = Field(description=_VELOCITY)


class ProgramResponse(BaseModel):
    """A program: what its cards are, and what they have by default."""

    id: UUID
    name: str
    network: Network
    bin: str
    currency: str
    funding: Funding
    defaults: DefaultsResponse
    max_open_cards: int = Field(description=_OPEN_CARDS)
    card_lifetime_months: int
    step_up_above: Amount | None = Field(description=_THRESHOLD)
    is_default: bool = Field(description="Cards of the currency are issued in it unless another is named.")
    status: ProgramStatus
    version: int
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, program: Program) -> "ProgramResponse":
        """The document of a program."""
        return cls(
            id=program.program_id,
            name=program.name,
            network=Network(program.network),
            bin=program.bin,
            currency=program.currency,
            funding=Funding(program.funding),
            defaults=DefaultsResponse(
                per_transaction=program.default_per_transaction,
                daily=program.default_daily,
                monthly=program.default_monthly,
                velocity_per_hour=program.default_velocity_per_hour,
            ),
            max_open_cards=program.max_open_cards,
            card_lifetime_months=program.card_lifetime_months,
            step_up_above=program.step_up_above,
            is_default=program.is_default,
            status=ProgramStatus(program.status),
            version=program.version,
            created_at=program.created_at,
            updated_at=program.updated_at or program.created_at,
        )
