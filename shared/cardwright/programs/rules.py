"""What a program is; plain values."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A BIN range with its network, currency and defaults. Amounts are in the program's currency, lifetime in months."""

    program_id: UUID
    name: str
    network: str
    bin: str
    currency: str
    created_at: datetime
    default_per_transaction: Decimal
    default_daily: Decimal
    default_monthly: Decimal
    default_velocity_per_hour: int | None = 5
    funding: str = "limits"
    is_default: bool = False
    max_open_cards: int = 10
    card_lifetime_months: int = 36
