"""SQL of the spend row: limits, holds and window counters in one."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cardwright.cards.rules import Controls
from cardwright.platform.postgres import Jsonb, Row, Transaction

_SELECT = "SELECT held, day_start, day_spent, month_start, month_spent, recent_approvals FROM card_limits WHERE card_id = %s"


@dataclass(frozen=True, slots=True)
class Spend:
    """What a card has spent in its windows and holds for pending authorizations, in its currency.

    `day_start` and `month_start` tell from when on the sums are counted; they are over with the first window that starts later.
    `recent_approvals` are kept while velocity is limited, no more than its limit, the latest last.
    """

    held: Decimal
    day_start: datetime
    day_spent: Decimal
    month_start: datetime
    month_spent: Decimal
    recent_approvals: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """Starts of the running day and month, and from when on their sums are counted after a change."""

    day_start: datetime
    month_start: datetime
    new_day_start: datetime
    new_month_start: datetime


def get(tx: Transaction, card_id: UUID) -> Spend:
    """Load the spend row of a card the actor may see. Raises LookupError."""
    return _spend(tx.fetch_one(_SELECT, (card_id,)))


def lock(tx: Transaction, card_id: UUID) -> Spend:
    """Load the spend row and hold it: no authorization is recorded until the transaction ends. Lock the card's row first."""
    return _spend(tx.fetch_one(_SELECT + " FOR NO KEY UPDATE", (card_id,)))


def change(tx: Transaction, card_id: UUID, controls: Controls, counting: Counting, now: datetime) -> None:
    """Change a locked card's controls on its locked spend row; no decision made on the former ones is recorded afterwards.

    Raises LookupError.
    """
    row = tx.fetch_one(
        "SELECT set_card_limits(%s, %s, %s, %s, %s::smallint, %s, %s, %s, %s, %s, %s, %s, %s, %s) AS version",
        (
            card_id, controls.limits.per_transaction, controls.limits.daily, controls.limits.monthly, controls.velocity_per_hour,
            controls.time_zone, Jsonb(controls.merchant_categories.document()), Jsonb(controls.countries.document()),
            Jsonb({"deny": list(controls.channels_denied)}), counting.day_start, counting.new_day_start, counting.month_start,
            counting.new_month_start, now,
        ),
    )  # fmt: skip
    if row is None or row["version"] is None:
        raise LookupError("the card has no limits")


def raise_versions(tx: Transaction, card_id: UUID, operation_id: UUID, now: datetime, *, amounts: bool) -> None:
    """Note a change of controls on the locked card; only one of amounts is one the processor is to be told."""
    tx.execute(
        "UPDATE virtual_cards SET limits_version = limits_version + %s, last_operation_id = %s, updated_at = %s, "
        "version = version + 1 WHERE card_id = %s",
        (int(amounts), operation_id, now, card_id),
    )


def carry_funds(tx: Transaction, card_id: UUID, replaced_card_id: UUID) -> Decimal:
    """Move what is free on a replaced card to the one in its place; return how much, below zero where the old one owed."""
    row = tx.fetch_one("SELECT carry_funds(%s, %s) AS carried", (card_id, replaced_card_id))
    return Decimal(0) if row is None else Decimal(row["carried"])


def _spend(row: Row | None) -> Spend:
    if row is None:
        raise LookupError("the card has no limits")
    return Spend(**{**row, "recent_approvals": tuple(row["recent_approvals"])})
