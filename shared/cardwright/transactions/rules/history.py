"""What a transaction is to those who may read it, and which of them a list holds."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Self
from uuid import UUID

from cardwright.kernel import ids

# An id is made a moment before or after its decision is dated, on machines whose clocks differ.
ID_SLACK = timedelta(minutes=1)


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
    """One use of a card. Amounts are in its currency; `detail` is what the network told beyond the columns.

    Of an authorization with incrementals the first one's row has the amounts held, cleared, reversed and refunded of them all.
    """

    transaction_id: UUID
    card_id: UUID
    authorization_id: str | None
    original_authorization_id: str | None
    root_authorization_id: str | None
    type: str
    status: TransactionStatus
    reason: str
    amount: Decimal
    approved_amount: Decimal
    held_amount: Decimal
    cleared_amount: Decimal
    reversed_amount: Decimal
    refunded_amount: Decimal
    flags: tuple[str, ...]
    currency: str
    merchant_category: str
    detail: Mapping[str, object]
    risk_score: int | None
    hold_expires_at: datetime | None
    decided_at: datetime
    updated_at: datetime | None

    @property
    def merchant(self) -> Mapping[str, object]:
        """Where the card was used, as the network told; empty when it told nothing."""
        told = self.detail.get("merchant")
        return told if isinstance(told, Mapping) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilters:
    """Which transactions a list holds; None filters nothing.

    `since` is the first moment of decision, `until` the first one that is no longer meant; amounts bound what was asked for;
    `text` is searched for in the words of a transaction (`search_text`).
    """

    since: datetime | None = None
    until: datetime | None = None
    status: TransactionStatus | None = None
    merchant_category: str | None = None
    min_amount: Decimal | None = None
    max_amount: Decimal | None = None
    text: str | None = None

    def document(self) -> dict[str, str]:
        """The filters that are set, as JSON that `of` reads; the same filters give the same document."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
            for name, value in told.items()
            if value is not None
        }

    @classmethod
    def of(cls, document: Mapping[str, str]) -> Self:
        """The filters of a document that `document()` made. Raises ValueError, ArithmeticError or TypeError for others."""
        told: dict[str, object] = dict(document)
        for name in ("since", "until"):
            if name in document:
                told[name] = datetime.fromisoformat(document[name])
        for name in ("min_amount", "max_amount"):
            if name in document:
                told[name] = Decimal(document[name])
        if "status" in document:
            told["status"] = TransactionStatus(document["status"])
        return cls(**told)  # type: ignore[arg-type]  # names and types are those of the fields above

    @property
    def lowest_id(self) -> UUID | None:
        """No transaction decided at `since` or later has an id below this one (ids begin with their time)."""
        return None if self.since is None else _first_id(self.since, -ID_SLACK)

    @property
    def highest_id(self) -> UUID | None:
        """Every transaction decided before `until` has an id below this one."""
        return None if self.until is None else _first_id(self.until, ID_SLACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose transactions a list holds: those of one card, or of all the cards of one user."""

    card_id: UUID | None = None
    user_id: UUID | None = None

    def __post_init__(self) -> None:
        if (self.card_id is None) == (self.user_id is None):
            raise ValueError("a list is one card's or one user's")


def _first_id(moment: datetime, slack: timedelta) -> UUID:
    """The smallest id of a time; far ends of the calendar, where ids have no time, stand for the first and the last."""
    try:
        return ids.uuid7(max(moment + slack, datetime(1970, 1, 1, tzinfo=UTC)), bytes(ids.ENTROPY_BYTES))
    except OverflowError:
        return UUID(int=0) if slack < timedelta(0) else UUID(int=2**128 - 1)
