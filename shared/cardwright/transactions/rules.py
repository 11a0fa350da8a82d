"""What a transaction is to those who may read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


class TransactionStatus(StrEnum):
    """Where a transaction stands (CONTRACT, transactions)."""

    AUTHORIZED = "AUTHORIZED"
    DECLINED = "DECLINED"
    CLEARED = "CLEARED"
    PARTIALLY_CLEARED = "PARTIALLY_CLEARED"
    REVERSED = "REVERSED"
    EXPIRED = "EXPIRED"
    REFUNDED = "REFUNDED"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED"
    FORCE_POSTED = "FORCE_POSTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTransaction:
    """One use of a card. Amounts are in its currency; `detail` is what the network told beyond the columns."""

    transaction_id: UUID
    card_id: UUID
    authorization_id: str
    original_authorization_id: str | None
    type: str
    status: TransactionStatus
    reason: str
    amount: Decimal
    approved_amount: Decimal
    cleared_amount: Decimal
    currency: str
    merchant_category: str
    detail: Mapping[str, object]
    risk_score: int | None
    decided_at: datetime
