"""SQL of cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cardwright.platform.postgres import Jsonb, Row, Transaction
from cardwright.settlement.rules import Case, CaseKind, CaseState, Finding, Source

_CASE = (
    "SELECT case_id, kind, card_id, transaction_id, authorization_id, event_id, file_id, line, our_amount, their_amount, "
    "difference, currency, their_currency, found_at, seen_at, closed_at, closed_how, note FROM settlement_cases "
)
# Closed by hand it stays closed while it is the same; what was mended, or is another difference by now, is open again.
_STAYS = (
    "CASE WHEN k.closed_how = 'by_hand' AND k.our_amount IS NOT DISTINCT FROM excluded.our_amount "
    "AND k.their_amount IS NOT DISTINCT FROM excluded.their_amount THEN "
)
_BEFORE = (
    "WITH before AS (SELECT closed_at FROM settlement_cases "
    "WHERE processor = %(processor)s AND subject_digest = %(digest)s AND kind = %(kind)s) "
)
# Open by now, and either not there before or closed then.
_OPENED = "RETURNING k.closed_at IS NULL AND NOT EXISTS (SELECT FROM before WHERE before.closed_at IS NULL) AS opened"
_NOTE = (
    "INSERT INTO settlement_cases AS k (processor, case_id, kind, source, subject_digest, card_id, transaction_id, "
    "authorization_id, event_id, file_id, line, our_amount, their_amount, currency, their_currency, detail, found_at, seen_at) "
    "VALUES (%(processor)s, %(case_id)s, %(kind)s, %(source)s, %(digest)s, %(card_id)s, %(transaction_id)s, "
    "%(authorization_id)s, %(event_id)s, %(file_id)s, %(line)s, %(our_amount)s, %(their_amount)s, %(currency)s, "
    "%(their_currency)s, %(detail)s, %(now)s, %(now)s) ON CONFLICT (processor, subject_digest, kind) DO UPDATE SET "
    "seen_at = excluded.seen_at, our_amount = excluded.our_amount, their_amount = excluded.their_amount, "
    "detail = excluded.detail, closed_at = " + _STAYS + "k.closed_at END, closed_how = " + _STAYS + "k.closed_how END, "
    "closed_by = " + _STAYS + "k.closed_by END, note = " + _STAYS + "k.note END "
)


@dataclass(frozen=True, slots=True)
class OpenCase:
    """An open case with what has to be compared again."""

    case_id: UUID
    source: Source
    kind: CaseKind
    card_id: UUID | None
    authorization_id: str | None
    file_id: str | None
    line: int | None
    detail: Mapping[str, Any]


def note(tx: Transaction, processor: str, case_id: UUID, finding: Finding, now: datetime) -> bool:
    """Keep a finding, or note that it is still true; returns whether it opened a case: a new one, or one that was closed.

    The note of a case that opens again stays in the audit log, where its closing by hand put it.
    """
    row = tx.fetch_one(
        _BEFORE + _NOTE + _OPENED,
        {
            "processor": processor,
            "case_id": case_id,
            "kind": finding.kind,
            "source": finding.source,
            "digest": finding.digest,
            "card_id": finding.card_id,
            "transaction_id": finding.transaction_id,
            "authorization_id": finding.authorization_id,
            "event_id": finding.event_id,
            "file_id": finding.file_id,
            "line": finding.line,
            "our_amount": finding.our_amount,
            "their_amount": finding.their_amount,
            "currency": finding.currency,
            "their_currency": finding.their_currency,
            "detail": Jsonb(dict(finding.detail)),
            "now": now,
        },
    )
    return row is not None and bool(row["opened"])


def mend(tx: Transaction, processor: str, settled: Sequence[tuple[bytes, CaseKind | None]], now: datetime) -> int:
    """Close the open cases of subjects but for the kind that is still true of each; returns how many."""
    return tx.execute(
        "UPDATE settlement_cases k SET closed_at = %s, closed_how = 'mended' FROM unnest(%s::bytea[], %s::text[]) "
        "AS still (digest, kind) WHERE k.processor = %s AND k.subject_digest = still.digest "
        "AND k.kind IS DISTINCT FROM still.kind AND k.closed_at IS NULL",
        (now, [digest for digest, _ in settled], [None if kind is None else kind.value for _, kind in settled], processor),
    )


def mend_events(tx: Transaction, processor: str, case_ids: Sequence[UUID], now: datetime) -> int:
    """Close those of these open cases whose events are parked no more, or settled by now; returns how many."""
    return tx.execute(
        "UPDATE settlement_cases k SET closed_at = %(now)s, closed_how = 'mended' WHERE k.processor = %(processor)s "
        "AND k.case_id = ANY (%(case_ids)s) AND k.closed_at IS NULL AND CASE k.kind WHEN 'parked_event' THEN "
        "NOT EXISTS (SELECT FROM transaction_events e WHERE e.card_id = k.card_id AND e.event_id = k.event_id "
        "AND e.state = 'PARKED') AND NOT EXISTS (SELECT FROM unmatched_processor_events u WHERE k.card_id IS NULL "
        "AND u.card_token_digest = decode(k.detail ->> 'card_token_digest', 'hex') AND u.event_id = k.event_id) "
        "ELSE EXISTS (SELECT FROM settled_events s WHERE s.card_id = k.card_id AND s.reference = k.event_id) END",
        {"now": now, "processor": processor, "case_ids": list(case_ids)},
    )


def open_after(tx: Transaction, processor: str, after: UUID, limit: int) -> list[OpenCase]:
    """A page of the open cases, the oldest first."""
    rows = tx.fetch_all(
        "SELECT case_id, source, kind, card_id, authorization_id, file_id, line, detail FROM settlement_cases "
        "WHERE processor = %s AND closed_at IS NULL AND case_id > %s ORDER BY case_id LIMIT %s",
        (processor, after, limit),
    )
    return [OpenCase(**{**row, "source": Source(row["source"]), "kind": CaseKind(row["kind"])}) for row in rows]


def count_open(tx: Transaction) -> int:
    """How many cases wait for somebody to look at them."""
    row = tx.fetch_one("SELECT count(*) AS waiting FROM settlement_cases WHERE closed_at IS NULL")
    return 0 if row is None else int(row["waiting"])


def newest(tx: Transaction, *, kind: CaseKind | None, state: CaseState, limit: int, after: UUID | None) -> list[Case]:
    """List up to `limit` cases the actor may see, of a state and of a kind or any, older than `after`, newest first."""
    rows = tx.fetch_all(
        _CASE + "WHERE (closed_at IS NULL) = %(is_open)s AND (%(kind)s::text IS NULL OR kind = %(kind)s) "
        "AND (%(after)s::uuid IS NULL OR case_id < %(after)s) ORDER BY case_id DESC LIMIT %(limit)s",
        {"is_open": state is CaseState.OPEN, "kind": kind, "after": after, "limit": limit},
    )
    return [_case(row) for row in rows]


def lock(tx: Transaction, case_id: UUID) -> Case | None:
    """Hold a case the actor may close until the transaction ends and return it."""
    row = tx.fetch_one(_CASE + "WHERE case_id = %s FOR UPDATE", (case_id,))
    return None if row is None else _case(row)


def close_by_hand(tx: Transaction, case_id: UUID, closed_by: UUID, text: str, now: datetime) -> Case:
    """Close a held case and return it. Raises LookupError."""
    row = tx.fetch_one(
        "UPDATE settlement_cases SET closed_at = %s, closed_how = 'by_hand', closed_by = %s, note = %s WHERE case_id = %s "
        "RETURNING case_id, kind, card_id, transaction_id, authorization_id, event_id, file_id, line, our_amount, their_amount, "
        "difference, currency, their_currency, found_at, seen_at, closed_at, closed_how, note",
        (now, closed_by, text, case_id),
    )
    if row is None:
        raise LookupError("the case is gone")
    return _case(row)


def _case(row: Row) -> Case:
    return Case(**{**row, "kind": CaseKind(row["kind"])})
