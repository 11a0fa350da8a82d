"""SQL of the life of transactions: groups of rows under a held spend row, events, and what of them is parked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from cardwright.platform.postgres import Jsonb, Row, Transaction
from cardwright.transactions.rules.life import Life

# In the place of ids that only a card gives.
_NOBODY = UUID(int=0)
_ROW = (
    "SELECT transaction_id, authorization_id, original_authorization_id, root_authorization_id, type, status::text AS status, "
    "reason, amount, approved_amount, held_amount, spent_amount, cleared_amount, reversed_amount, refunded_amount, currency, "
    "merchant_category, detail, risk_score, hold_expires_at, decided_at, confirmed_at, chain_seq, flags FROM card_transactions "
)
_EVENT = (
    "SELECT card_id, event_id, record_id, user_id, transaction_id, type, authorization_id, amount, currency, final_clearing, "
    "merchant_category, detail, request_digest, state, parked_reason, due_at, tries, received_at, applied_at "
    "FROM transaction_events "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRow:
    """A transaction as its life is counted. Amounts are in its currency; `chain_seq` is its place in the card's chain."""

    transaction_id: UUID
    authorization_id: str | None
    original_authorization_id: str | None
    root_authorization_id: str | None
    type: str
    status: str
    reason: str
    amount: Decimal
    approved_amount: Decimal
    held_amount: Decimal
    spent_amount: Decimal
    cleared_amount: Decimal
    reversed_amount: Decimal
    refunded_amount: Decimal
    currency: str
    merchant_category: str
    detail: Mapping[str, Any]
    risk_score: int | None
    hold_expires_at: datetime | None
    decided_at: datetime
    confirmed_at: datetime | None
    chain_seq: int
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An event as it is kept."""

    card_id: UUID
    event_id: str
    record_id: UUID
    user_id: UUID
    transaction_id: UUID | None
    type: str
    authorization_id: str | None
    amount: Decimal
    currency: str
    final_clearing: bool
    merchant_category: str | None
    detail: Mapping[str, Any]
    request_digest: bytes
    state: str
    parked_reason: str | None
    due_at: datetime | None
    tries: int
    received_at: datetime
    applied_at: datetime | None


def get(tx: Transaction, card_id: UUID, transaction_id: UUID) -> TransactionRow | None:
    """Load one transaction."""
    return _transaction(tx.fetch_one(_ROW + "WHERE card_id = %s AND transaction_id = %s", (card_id, transaction_id)))


def by_authorization(tx: Transaction, card_id: UUID, authorization_id: str) -> TransactionRow | None:
    """Load an authorization by the network's id."""
    return _transaction(tx.fetch_one(_ROW + "WHERE card_id = %s AND authorization_id = %s", (card_id, authorization_id)))


def force_post_of(tx: Transaction, card_id: UUID, authorization_id: str) -> TransactionRow | None:
    """Load what was force posted under an id, the first if there are several."""
    row = tx.fetch_one(
        _ROW + "WHERE card_id = %s AND root_authorization_id = %s AND type = 'force_post' ORDER BY chain_seq LIMIT 1",
        (card_id, authorization_id),
    )
    return _transaction(row)


def move_refunds(tx: Transaction, card_id: UUID, authorization_id: str, to: UUID) -> bool:
    """Count the refunds that name an id with another transaction from now on; False when there were none."""
    moved = tx.execute(
        "UPDATE transaction_events SET transaction_id = %(to)s WHERE card_id = %(card_id)s AND authorization_id = %(id)s "
        "AND type = 'transaction.refunded' AND state = 'APPLIED' AND transaction_id <> %(to)s",
        {"to": to, "card_id": card_id, "id": authorization_id},
    )
    return moved > 0


def more_of(tx: Transaction, card_id: UUID, bearer: TransactionRow) -> list[TransactionRow]:
    """List the incrementals of an authorization, the oldest first; what was posted without asking has none."""
    if bearer.type in ("force_post", "refund"):
        return []
    rows = tx.fetch_all(
        _ROW + "WHERE card_id = %s AND root_authorization_id = %s AND type = 'incremental' AND transaction_id <> %s "
        "ORDER BY chain_seq",
        (card_id, bearer.root_authorization_id, bearer.transaction_id),
    )
    return [TransactionRow(**{**row, "flags": tuple(row["flags"])}) for row in rows]


def add_told(
    tx: Transaction,
    row: TransactionRow,
    card_id: UUID,
    digest: bytes,
    day_start: datetime,
    month_start: datetime,
) -> None:
    """Insert a transaction that the network made without asking, at the end of the card's chain; nothing is moved by it yet."""
    tx.execute(
        "SELECT record_told_transaction(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            card_id, row.transaction_id, row.type, row.authorization_id, row.original_authorization_id, row.amount, row.currency,
            row.merchant_category, Jsonb(dict(row.detail)), digest, day_start, month_start, row.hold_expires_at, row.decided_at,
        ),
    )  # fmt: skip


def write_bearer(
    tx: Transaction,
    card_id: UUID,
    bearer: TransactionRow,
    life: Life,
    flags: Sequence[str],
    hold_expires_at: datetime | None,
    now: datetime,
) -> None:
    """Write where a group stands to the row that bears its amounts."""
    tx.execute(
        "UPDATE card_transactions SET status = %s, held_amount = %s, spent_amount = %s, cleared_amount = %s, "
        "reversed_amount = %s, refunded_amount = %s, final = %s, expired = %s, flags = %s, hold_expires_at = %s, updated_at = %s "
        "WHERE card_id = %s AND transaction_id = %s",
        (
            life.status, life.held, life.spent[0], life.cleared, life.reversed, life.refunded, life.final, life.expired,
            list(flags), hold_expires_at, now, card_id, bearer.transaction_id,
        ),
    )  # fmt: skip


def write_incremental(
    tx: Transaction, card_id: UUID, transaction_id: UUID, status: str, spent: Decimal, flags: Sequence[str], now: datetime
) -> None:
    """Write a group's status to one of its incrementals, which holds nothing of its own any more."""
    tx.execute(
        "UPDATE card_transactions SET status = %s, held_amount = 0, spent_amount = %s, flags = %s, updated_at = %s "
        "WHERE card_id = %s AND transaction_id = %s",
        (status, spent, list(flags), now, card_id, transaction_id),
    )


def mark_voided(tx: Transaction, card_id: UUID, transaction_id: UUID) -> bool:
    """Mark an approval that nobody got for an answer, waiting for whoever gives it at this moment; False when somebody did."""
    return (
        tx.execute(
            "UPDATE card_transactions SET flags = array_append(flags, 'voided') WHERE card_id = %s AND transaction_id = %s "
            "AND confirmed_at IS NULL AND reason = 'approved' AND NOT 'voided' = ANY (flags)",
            (card_id, transaction_id),
        )
        == 1
    )


def told_of(tx: Transaction, card_id: UUID, authorization_id: str) -> bool:
    """Whether the network told anything of an authorization."""
    row = tx.fetch_one(
        "SELECT EXISTS (SELECT FROM transaction_events e WHERE e.card_id = %(card_id)s AND e.authorization_id = %(id)s "
        "AND NOT e.event_id LIKE 'cardwright:%%') AS told",
        {"card_id": card_id, "id": authorization_id},
    )
    return row is not None and bool(row["told"])


@dataclass(frozen=True, slots=True)
class Overdue:
    """A hold that should have ended, and when."""

    card_id: UUID
    transaction_id: UUID
    hold_expires_at: datetime


def overdue_holds(tx: Transaction, now: datetime, after: Overdue | None, limit: int) -> list[Overdue]:
    """List holds that should have ended, the most overdue first, from after one of them."""
    rows = tx.fetch_all(
        "SELECT card_id, transaction_id, hold_expires_at FROM card_transactions "
        "WHERE held_amount > 0 AND hold_expires_at <= %(now)s "
        "AND (%(at)s::timestamptz IS NULL OR (hold_expires_at, transaction_id) > (%(at)s, %(id)s::uuid)) "
        "ORDER BY hold_expires_at, transaction_id LIMIT %(limit)s",
        {
            "now": now,
            "at": None if after is None else after.hold_expires_at,
            "id": None if after is None else after.transaction_id,
            "limit": limit,
        },
    )
    return [Overdue(**row) for row in rows]


def lock_event(tx: Transaction, card_id: UUID, event_id: str) -> EventRow | None:
    """Hold an event and read it; the card's spend row is held already."""
    row = tx.fetch_one(_EVENT + "WHERE card_id = %s AND event_id = %s FOR NO KEY UPDATE", (card_id, event_id))
    return None if row is None else EventRow(**row)


def get_event(tx: Transaction, card_id: UUID, event_id: str) -> EventRow | None:
    """Load one event of a card."""
    row = tx.fetch_one(_EVENT + "WHERE card_id = %s AND event_id = %s", (card_id, event_id))
    return None if row is None else EventRow(**row)


def events_of(tx: Transaction, card_id: UUID, transaction_id: UUID) -> list[EventRow]:
    """List the events applied to the group that this transaction bears, as they were received."""
    rows = tx.fetch_all(
        _EVENT + "WHERE card_id = %s AND transaction_id = %s ORDER BY received_at, record_id", (card_id, transaction_id)
    )
    return [EventRow(**row) for row in rows]


def add_event(tx: Transaction, event: EventRow) -> None:
    """Insert an event."""
    tx.execute(
        "INSERT INTO transaction_events (card_id, event_id, record_id, user_id, transaction_id, type, authorization_id, amount, "
        "currency, final_clearing, merchant_category, detail, request_digest, state, parked_reason, due_at, tries, received_at, "
        "applied_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            event.card_id, event.event_id, event.record_id, event.user_id, event.transaction_id, event.type,
            event.authorization_id, event.amount, event.currency, event.final_clearing, event.merchant_category,
            Jsonb(dict(event.detail)), event.request_digest, event.state, event.parked_reason, event.due_at, event.tries,
            event.received_at, event.applied_at,
        ),
    )  # fmt: skip


def write_event(tx: Transaction, event: EventRow) -> None:
    """Write what became of an event."""
    tx.execute(
        "UPDATE transaction_events SET transaction_id = %s, state = %s, parked_reason = %s, due_at = %s, tries = %s, "
        "applied_at = %s WHERE card_id = %s AND event_id = %s",
        (
            event.transaction_id, event.state, event.parked_reason, event.due_at, event.tries, event.applied_at, event.card_id,
            event.event_id,
        ),
    )  # fmt: skip


def hurry_parked(tx: Transaction, card_id: UUID, authorization_id: str, now: datetime) -> None:
    """Make the parked events of an authorization due at once: it is known from now on."""
    tx.execute(
        "UPDATE transaction_events SET due_at = %s WHERE card_id = %s AND authorization_id = %s AND state = 'PARKED'",
        (now, card_id, authorization_id),
    )


def due_events(tx: Transaction, now: datetime, limit: int) -> list[tuple[UUID, str]]:
    """List (card, event) of parked events whose time has come."""
    rows = tx.fetch_all(
        "SELECT card_id, event_id FROM transaction_events WHERE state = 'PARKED' AND due_at <= %s ORDER BY due_at LIMIT %s",
        (now, limit),
    )
    return [(row["card_id"], row["event_id"]) for row in rows]


def put_off_event(tx: Transaction, card_id: UUID, event_id: str, now: datetime) -> bool:
    """Count one more try of a parked event and make it due later, six hours at most; False when it is parked no more."""
    tried = tx.execute(
        "UPDATE transaction_events SET tries = tries + 1, "
        "due_at = %s + least(interval '1 second' * power(2, least(tries + 1, 20)), interval '6 hours') "
        "WHERE card_id = %s AND event_id = %s AND state = 'PARKED'",
        (now, card_id, event_id),
    )
    return tried == 1


def parked_record(tx: Transaction, record_id: UUID) -> EventRow | None:
    """Load a parked event, named by its record."""
    row = tx.fetch_one(_EVENT + "WHERE record_id = %s AND state = 'PARKED'", (record_id,))
    return None if row is None else EventRow(**row)


def close_event(tx: Transaction, event: EventRow) -> None:
    """Try an event no more."""
    tx.execute(
        "UPDATE transaction_events SET state = 'CLOSED', due_at = NULL WHERE card_id = %s AND event_id = %s",
        (event.card_id, event.event_id),
    )


def parked(tx: Transaction, limit: int, after: UUID | None) -> list[EventRow]:
    """List parked events, the newest first."""
    rows = tx.fetch_all(
        _EVENT
        + "WHERE state = 'PARKED' AND (%(after)s::uuid IS NULL OR record_id < %(after)s) ORDER BY record_id DESC LIMIT %(limit)s",
        {"after": after, "limit": limit},
    )
    return [EventRow(**row) for row in rows]


def add_unmatched(tx: Transaction, digest_of_token: bytes, event: EventRow) -> bytes | None:
    """Keep an event for a token that names no card; returns the digest of what is kept under its id already, if anything is."""
    inserted = tx.execute(
        "INSERT INTO unmatched_processor_events (card_token_digest, event_id, type, authorization_id, amount, currency, "
        "final_clearing, detail, request_digest, due_at, received_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT DO NOTHING",
        (
            digest_of_token, event.event_id, event.type, event.authorization_id, event.amount, event.currency,
            event.final_clearing, Jsonb(dict(event.detail)), event.request_digest, event.due_at, event.received_at,
        ),
    )  # fmt: skip
    if inserted:
        return None
    row = tx.fetch_one(
        "SELECT request_digest FROM unmatched_processor_events WHERE card_token_digest = %s AND event_id = %s",
        (digest_of_token, event.event_id),
    )
    return None if row is None else row["request_digest"]


def due_unmatched(tx: Transaction, now: datetime, limit: int) -> list[tuple[bytes, EventRow]]:
    """List events without a card whose time has come, each with the digest of its token; ids that a card gives are all zero."""
    rows = tx.fetch_all("SELECT * FROM unmatched_processor_events WHERE due_at <= %s ORDER BY due_at LIMIT %s", (now, limit))
    return [(row["card_token_digest"], _unmatched(row)) for row in rows]


def _unmatched(row: Row) -> EventRow:
    merchant = row["detail"].get("merchant") or {}
    return EventRow(
        card_id=_NOBODY,
        event_id=row["event_id"],
        record_id=_NOBODY,
        user_id=_NOBODY,
        transaction_id=None,
        type=row["type"],
        authorization_id=row["authorization_id"],
        amount=row["amount"],
        currency=row["currency"],
        final_clearing=row["final_clearing"],
        merchant_category=merchant.get("category_code"),
        detail=row["detail"],
        request_digest=row["request_digest"],
        state="PARKED",
        parked_reason="card_unknown",
        due_at=row["due_at"],
        tries=row["tries"],
        received_at=row["received_at"],
        applied_at=None,
    )


def put_off_unmatched(tx: Transaction, digest_of_token: bytes, event_id: str, due_at: datetime) -> None:
    """Look for the card of an event again later."""
    tx.execute(
        "UPDATE unmatched_processor_events SET due_at = %s, tries = tries + 1 WHERE card_token_digest = %s AND event_id = %s",
        (due_at, digest_of_token, event_id),
    )


def drop_unmatched(tx: Transaction, digest_of_token: bytes, event_id: str) -> bool:
    """Forget an event without a card in the transaction that keeps it with its card; False when somebody else did."""
    deleted = tx.execute(
        "DELETE FROM unmatched_processor_events WHERE card_token_digest = %s AND event_id = %s", (digest_of_token, event_id)
    )
    return deleted == 1


def _transaction(row: Row | None) -> TransactionRow | None:
    return None if row is None else TransactionRow(**{**row, "flags": tuple(row["flags"])})
