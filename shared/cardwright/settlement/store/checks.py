"""SQL of the cross-checks of our own records: spend rows beside transactions and ledger, events that wait."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cardwright.platform.postgres import Transaction
from cardwright.settlement.rules import CardSums


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event that waits: parked, or applied and not settled. Without `card_id` it is of a token that we do not know."""

    card_id: UUID | None
    event_id: str
    type: str
    authorization_id: str | None
    transaction_id: UUID | None
    amount: Decimal
    currency: str
    reason: str | None
    since: datetime
    card_token_digest: str | None = None


# One statement, so that all of it is of one moment.
_SUMS = (
    "SELECT l.card_id, c.currency, l.held, l.balance, coalesce(t.held, 0) AS held_by_transactions, "
    "coalesce(t.spent, 0) AS spent_by_transactions, coalesce(b.spend, 0) AS ledger_spend, coalesce(b.funds, 0) AS ledger_funds "
    "FROM {page} AS page JOIN card_limits l ON l.card_id = page.card_id JOIN virtual_cards c ON c.card_id = page.card_id "
    "LEFT JOIN LATERAL (SELECT sum(t.held_amount) AS held, sum(t.cleared_amount - t.refunded_amount) AS spent "
    "FROM card_transactions t WHERE t.card_id = page.card_id) AS t ON true "
    "LEFT JOIN LATERAL (SELECT sum(e.amount) FILTER (WHERE e.account = 'cardholder_spend') AS spend, "
    "sum(e.amount) FILTER (WHERE e.account = 'cardholder_funds') AS funds "
    "FROM ledger_entries e WHERE e.card_id = page.card_id AND e.currency = c.currency) AS b ON true ORDER BY l.card_id"
)


def sums_after(tx: Transaction, processor: str, after: UUID, limit: int) -> list[CardSums]:
    """What the next cards' records say, in the order of their ids."""
    page = "(SELECT card_id FROM virtual_cards WHERE processor = %s AND card_id > %s ORDER BY card_id LIMIT %s)"
    return [CardSums(**row) for row in tx.fetch_all(_SUMS.format(page=page), (processor, after, limit))]


def sums_of(tx: Transaction, card_ids: Sequence[UUID]) -> list[CardSums]:
    """What the records of these cards say."""
    page = "(SELECT unnest(%s::uuid[]) AS card_id)"
    return [CardSums(**row) for row in tx.fetch_all(_SUMS.format(page=page), (list(card_ids),))]


def parked(tx: Transaction, processor: str, received_before: datetime, limit: int) -> list[WaitingEvent]:
    """Events parked since before a time, the longest first."""
    rows = tx.fetch_all(
        "SELECT e.card_id, e.event_id, e.type, e.authorization_id, e.transaction_id, e.amount, e.currency, "
        "e.parked_reason AS reason, e.received_at AS since FROM transaction_events e "
        "JOIN virtual_cards c ON c.card_id = e.card_id "
        "WHERE e.state = 'PARKED' AND e.received_at < %s AND c.processor = %s ORDER BY e.received_at LIMIT %s",
        (received_before, processor, limit),
    )
    return [WaitingEvent(**row) for row in rows]


def unmatched(tx: Transaction, received_before: datetime, limit: int) -> list[WaitingEvent]:
    """Events of tokens we do not know since before a time, the longest first."""
    rows = tx.fetch_all(
        "SELECT NULL::uuid AS card_id, event_id, type, authorization_id, NULL::uuid AS transaction_id, amount, currency, "
        "'card_unknown' AS reason, received_at AS since, encode(card_token_digest, 'hex') AS card_token_digest "
        "FROM unmatched_processor_events WHERE received_at < %s ORDER BY received_at LIMIT %s",
        (received_before, limit),
    )
    return [WaitingEvent(**row) for row in rows]


def unsettled(
    tx: Transaction, processor: str, since: datetime, until: datetime, limit: int
) -> tuple[datetime, list[WaitingEvent]]:
    """Events applied in a time that no file has settled, the earliest first; and up to when they were looked for.

    Looks at `limit` events, and at as many more as were applied at the very moment of the last one.
    """
    rows = tx.fetch_all(
        "SELECT e.card_id, e.event_id, e.type, e.authorization_id, e.transaction_id, e.amount, e.currency, NULL AS reason, "
        "e.applied_at AS since, s.card_id IS NULL AND c.card_id IS NOT NULL AS waits FROM transaction_events e "
        "LEFT JOIN settled_events s ON s.card_id = e.card_id AND s.reference = e.event_id "
        "LEFT JOIN virtual_cards c ON c.card_id = e.card_id AND c.processor = %s "
        "WHERE e.state = 'APPLIED' AND e.type IN ('transaction.cleared', 'transaction.refunded', 'transaction.force_posted') "
        "AND e.amount > 0 AND e.applied_at > %s AND e.applied_at <= %s ORDER BY e.applied_at FETCH FIRST %s ROWS WITH TIES",
        (processor, since, until, limit),
    )
    waiting = [WaitingEvent(**{name: row[name] for name in row if name != "waits"}) for row in rows if row["waits"]]
    return rows[-1]["since"] if len(rows) >= limit else until, waiting
