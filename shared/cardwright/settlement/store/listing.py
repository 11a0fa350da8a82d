"""SQL of the processor's list of transactions: what it said last, beside what we have."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.settlement.rules import OurTransaction, ProcessorTransaction, TheirState
from cardwright.transactions.rules.history import TransactionStatus

# What we have of an authorization: the network's advice counts over what was decided, and a voided approval is none.
_BOTH = (
    "SELECT wanted.card_id, wanted.authorization_id, p.state, p.approved_amount AS their_approved, "
    "p.cleared_amount AS their_cleared, p.currency AS their_currency, p.changed_at AS their_change, "
    "t.transaction_id, t.status::text AS status, CASE WHEN 'voided' = ANY (t.flags) THEN 0 "
    "ELSE coalesce(told.advised, t.approved_amount) END AS approved_amount, coalesce(told.cleared, 0) AS cleared_amount, "
    "t.currency, t.decided_at, coalesce(t.updated_at, t.decided_at) AS changed_at, t.confirmed_at "
    "FROM unnest(%s::uuid[], %s::text[]) AS wanted (card_id, authorization_id) "
    "LEFT JOIN processor_transactions p ON p.card_id = wanted.card_id AND p.authorization_id = wanted.authorization_id "
    "LEFT JOIN card_transactions t ON t.card_id = wanted.card_id AND t.authorization_id = wanted.authorization_id "
    "LEFT JOIN LATERAL (SELECT sum(e.amount) FILTER (WHERE e.type IN ('transaction.cleared', 'transaction.force_posted')) "
    "AS cleared, (array_agg(e.amount ORDER BY e.detail ->> 'occurred_at' DESC, e.event_id DESC) "
    "FILTER (WHERE e.type = 'authorization.advice'))[1] AS advised "
    "FROM transaction_events e WHERE e.card_id = t.card_id AND e.authorization_id = t.authorization_id AND e.state = 'APPLIED'"
    ") AS told ON true ORDER BY wanted.card_id, wanted.authorization_id"
)
_HOLDS = (
    "SELECT {what} FROM card_transactions t JOIN virtual_cards c ON c.card_id = t.card_id WHERE c.processor = %s "
    "AND t.held_amount > 0 AND t.status = 'AUTHORIZED' AND t.type = 'authorization' AND t.decided_at >= %s AND t.decided_at < %s "
)
_UNLISTED = (
    "NOT EXISTS (SELECT FROM processor_transactions p WHERE p.card_id = t.card_id AND p.authorization_id = t.authorization_id)"
)


@dataclass(frozen=True, slots=True)
class Compared:
    """One authorization of a card, as each side has it."""

    card_id: UUID
    authorization_id: str
    ours: OurTransaction | None
    theirs: ProcessorTransaction | None


def keep(tx: Transaction, processor: str, listed: Sequence[tuple[UUID, ProcessorTransaction]], now: datetime) -> None:
    """Keep what the processor said last of transactions of our cards."""
    last = {(card_id, theirs.authorization_id): theirs for card_id, theirs in listed}
    tx.execute(
        "INSERT INTO processor_transactions AS p (card_id, authorization_id, processor, state, approved_amount, cleared_amount, "
        "currency, changed_at, listed_at) "
        "SELECT card_id, authorization_id, %s, state, approved, cleared, currency, changed_at, %s FROM unnest(%s::uuid[], "
        "%s::text[], %s::text[], %s::numeric[], %s::numeric[], %s::text[], %s::timestamptz[]) "
        "AS told (card_id, authorization_id, state, approved, cleared, currency, changed_at) ORDER BY card_id, authorization_id "
        "ON CONFLICT (card_id, authorization_id) DO UPDATE SET state = excluded.state, "
        "approved_amount = excluded.approved_amount, cleared_amount = excluded.cleared_amount, "
        "currency = excluded.currency, changed_at = excluded.changed_at, "
        "listed_at = excluded.listed_at WHERE p.changed_at <= excluded.changed_at",
        (
            processor, now, [card_id for card_id, _ in last], [text for _, text in last],
            [theirs.state.value for theirs in last.values()], [theirs.approved_amount for theirs in last.values()],
            [theirs.cleared_amount for theirs in last.values()], [theirs.currency for theirs in last.values()],
            [theirs.changed_at for theirs in last.values()],
        ),
    )  # fmt: skip


def compare(tx: Transaction, wanted: Sequence[tuple[UUID, str]]) -> list[Compared]:
    """Authorizations by card and id, as each side has them by now."""
    pairs = list(dict.fromkeys(wanted))
    rows = tx.fetch_all(_BOTH, ([card_id for card_id, _ in pairs], [text for _, text in pairs]))
    return [Compared(row["card_id"], row["authorization_id"], _ours(row), _theirs(row)) for row in rows]


def missing_holds(
    tx: Transaction, processor: str, since: datetime, until: datetime, after: datetime | None, limit: int
) -> tuple[datetime | None, list[tuple[UUID, str]]]:
    """Holds decided in a time, and later than `after`, that the processor has never listed; and when the last was decided.

    Gives `limit` of them, the earliest first, and as many more as were decided at the very moment of the last one; with the last
    of all there is no such moment to go on from.
    """
    rows = tx.fetch_all(
        _HOLDS.format(what="t.card_id, t.authorization_id, t.decided_at")
        + f"AND {_UNLISTED} AND t.decided_at > coalesce(%s, '-infinity'::timestamptz) "
        "ORDER BY t.decided_at FETCH FIRST %s ROWS WITH TIES",
        (processor, since, until, after, limit),
    )
    return rows[-1]["decided_at"] if len(rows) >= limit else None, [(row["card_id"], row["authorization_id"]) for row in rows]


def forget(tx: Transaction, processor: str, listed_before: datetime, limit: int) -> int:
    """Forget what was listed so long ago that nobody compares it any more."""
    return tx.execute(
        "DELETE FROM processor_transactions WHERE (card_id, authorization_id) IN (SELECT card_id, authorization_id "
        "FROM processor_transactions WHERE processor = %s AND listed_at < %s ORDER BY listed_at LIMIT %s)",
        (processor, listed_before, limit),
    )


def _ours(row: Row) -> OurTransaction | None:
    if row["transaction_id"] is None:
        return None
    return OurTransaction(
        transaction_id=row["transaction_id"],
        status=TransactionStatus(row["status"]),
        approved_amount=row["approved_amount"],
        cleared_amount=row["cleared_amount"],
        currency=row["currency"],
        decided_at=row["decided_at"],
        changed_at=row["changed_at"],
        confirmed_at=row["confirmed_at"],
    )


def _theirs(row: Row) -> ProcessorTransaction | None:
    if row["state"] is None:
        return None
    return ProcessorTransaction(
        # The card is known by its id here.
        card_token="",
        authorization_id=row["authorization_id"],
        state=TheirState(row["state"]),
        approved_amount=row["their_approved"],
        cleared_amount=row["their_cleared"],
        currency=row["their_currency"],
        changed_at=row["their_change"],
    )
