"""SQL of exports as workers run them: taken for a lease, kept part by part."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cardwright.platform.objects import Part
from cardwright.platform.postgres import Jsonb, Row, Transaction
from cardwright.transactions.rules.history import HistoryFilters

_TAKEN = "user_id, job_id, card_id, filters, total, done, before_id, upload_id, parts, written, runs, tries, created_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenExport:
    """A job a worker has taken for the time of a lease; by `runs`, which counts this one, it knows its own again.

    What is still to be written lies before `before_id`, and nothing does once it is `written`.
    """

    user_id: UUID
    job_id: UUID
    card_id: UUID
    filters: HistoryFilters
    total: int
    done: int
    before_id: UUID
    upload_id: str | None
    parts: tuple[Part, ...]
    written: bool
    runs: int
    tries: int
    created_at: datetime


def lock_taking(tx: Transaction) -> None:
    """Let one worker at a time choose a job: two would take two of one user."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('transaction_exports', 0))")


def find_spent(tx: Transaction, tries: int, now: datetime) -> TakenExport | None:
    """A job whose every try ended without a word: its lease is over and there is no further try."""
    row = tx.fetch_one(
        f"SELECT {_TAKEN} FROM transaction_exports "  # noqa: S608 - our own names
        "WHERE finished_at IS NULL AND due_at <= %s AND tries >= %s ORDER BY due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED",
        (now, tries),
    )
    return None if row is None else _taken(row)


def take_due(tx: Transaction, now: datetime, lease_until: datetime) -> TakenExport | None:
    """Take the job that has been due longest for the time of a lease; of a user one at a time."""
    row = tx.fetch_one(
        "UPDATE transaction_exports SET status = 'RUNNING', due_at = %(lease_until)s, runs = runs + 1, tries = tries + 1 "  # noqa: S608 - our own names
        "FROM (SELECT user_id AS whose, job_id AS next FROM transaction_exports d "
        "WHERE d.finished_at IS NULL AND d.due_at <= %(now)s "
        "AND (d.status = 'RUNNING' OR NOT EXISTS (SELECT FROM transaction_exports r "
        "WHERE r.user_id = d.user_id AND r.status = 'RUNNING')) "
        "ORDER BY d.due_at, d.job_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) AS due "
        f"WHERE user_id = whose AND job_id = next RETURNING {_TAKEN}",
        {"now": now, "lease_until": lease_until},
    )
    return None if row is None else _taken(row)


def others_due(tx: Transaction, user_id: UUID, now: datetime) -> bool:
    """True when another user's job waits for a worker."""
    row = tx.fetch_one(
        "SELECT 1 AS one FROM transaction_exports WHERE finished_at IS NULL AND due_at <= %s AND user_id <> %s LIMIT 1",
        (now, user_id),
    )
    return row is not None


def save(tx: Transaction, job: TakenExport, lease_until: datetime) -> bool:
    """Keep how far a job is and hold it for another lease; False when it is this worker's no more."""
    return bool(
        tx.execute(
            "UPDATE transaction_exports SET total = %s, done = %s, before_id = %s, upload_id = %s, parts = %s, written = %s, "
            "due_at = %s WHERE user_id = %s AND job_id = %s AND runs = %s AND status = 'RUNNING'",
            (
                job.total,
                job.done,
                job.before_id,
                job.upload_id,
                Jsonb([asdict(part) for part in job.parts]),
                job.written,
                lease_until,
                job.user_id,
                job.job_id,
                job.runs,
            ),
        )
    )


def hand_on(tx: Transaction, job: TakenExport, due_at: datetime, *, failed: bool) -> None:
    """Let a job that is still this worker's be taken again then; a run that did not fail is no try."""
    tx.execute(
        "UPDATE transaction_exports SET status = 'QUEUED', due_at = %s, tries = %s "
        "WHERE user_id = %s AND job_id = %s AND runs = %s AND status = 'RUNNING'",
        (due_at, job.tries if failed else job.tries - 1, job.user_id, job.job_id, job.runs),
    )


def finish(tx: Transaction, job: TakenExport, size: int, sha256: bytes, now: datetime) -> bool:
    """End a job that is still this worker's with its file."""
    return bool(
        tx.execute(
            "UPDATE transaction_exports SET status = 'DONE', size = %s, sha256 = %s, total = done, finished_at = %s "
            "WHERE user_id = %s AND job_id = %s AND runs = %s AND status = 'RUNNING'",
            (size, sha256, now, job.user_id, job.job_id, job.runs),
        )
    )


def fail(tx: Transaction, job: TakenExport, failure: str, now: datetime) -> TakenExport | None:
    """End a job that nobody has taken since without a file; return it as it is kept, None when somebody has."""
    row = tx.fetch_one(
        "UPDATE transaction_exports SET status = 'FAILED', failure = %s, finished_at = %s "  # noqa: S608 - our own names
        f"WHERE user_id = %s AND job_id = %s AND runs = %s AND finished_at IS NULL RETURNING {_TAKEN}",
        (failure, now, job.user_id, job.job_id, job.runs),
    )
    return None if row is None else _taken(row)


def _taken(row: Row) -> TakenExport:
    parts: Sequence[dict[str, Any]] = row["parts"]
    return TakenExport(
        **{**row, "filters": HistoryFilters.of(row["filters"]), "parts": tuple(Part(**part) for part in parts)},
    )
