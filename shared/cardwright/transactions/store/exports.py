"""SQL of exports as those who ask for them see them; how workers run them is in export_runs."""

from dataclasses import replace
from uuid import UUID

from cardwright.platform.postgres import Jsonb, Row, Transaction
from cardwright.transactions.rules.exports import ExportStatus, TransactionExport
from cardwright.transactions.rules.history import CardTransaction, HistoryFilters, Scope
from cardwright.transactions.store import history
from cardwright.transactions.store.listing import listing

_JOB = "user_id, job_id, card_id, status, total, done, size, sha256, failure, created_at, finished_at"


def page(tx: Transaction, card_id: UUID, filters: HistoryFilters, limit: int, after: UUID) -> list[CardTransaction]:
    """List up to `limit` transactions of a card older than `after` that pass the filters, newest first."""
    return history.newest(tx, Scope(card_id=card_id), filters, limit, after)


def count(tx: Transaction, card_id: UUID, filters: HistoryFilters, at_most: int, after: UUID) -> int:
    """Count, up to `at_most`, a card's transactions older than `after` that pass the filters, whatever their text."""
    statement, parameters = listing("1 AS one", Scope(card_id=card_id), replace(filters, text=None), at_most, after)
    row = tx.fetch_one(f"SELECT count(*) AS found FROM ({statement}) AS listed", parameters)  # noqa: S608 - our own statement
    return 0 if row is None else int(row["found"])


def lock_exports(tx: Transaction, user_id: UUID) -> None:
    """Let one transaction at a time count and add a user's jobs."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('transaction_exports:' || %s, 0))", (str(user_id),))


def find_open(tx: Transaction, user_id: UUID, digest: bytes) -> TransactionExport | None:
    """The user's open job of the same request."""
    row = tx.fetch_one(
        f"SELECT {_JOB} FROM transaction_exports "  # noqa: S608 - our own names
        "WHERE user_id = %s AND request_digest = %s AND finished_at IS NULL",
        (user_id, digest),
    )
    return None if row is None else _job(row)


def count_open(tx: Transaction, user_id: UUID) -> int:
    """Count a user's jobs that are not at their end."""
    row = tx.fetch_one("SELECT count(*) AS open FROM transaction_exports WHERE user_id = %s AND finished_at IS NULL", (user_id,))
    return 0 if row is None else int(row["open"])


def insert(tx: Transaction, job: TransactionExport, filters: HistoryFilters, digest: bytes, before_id: UUID) -> None:
    """Insert a job, due at once."""
    tx.execute(
        "INSERT INTO transaction_exports (user_id, job_id, card_id, filters, request_digest, status, total, before_id, due_at, "
        "created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            job.user_id,
            job.job_id,
            job.card_id,
            Jsonb(filters.document()),
            digest,
            job.status,
            job.total,
            before_id,
            job.created_at,
            job.created_at,
        ),
    )


def get(tx: Transaction, card_id: UUID, job_id: UUID) -> TransactionExport | None:
    """Load a job of a card that the actor may see."""
    row = tx.fetch_one(
        f"SELECT {_JOB} FROM transaction_exports WHERE job_id = %s AND card_id = %s",  # noqa: S608 - our own names
        (job_id, card_id),
    )
    return None if row is None else _job(row)


def _job(row: Row) -> TransactionExport:
    digest = row["sha256"]
    return TransactionExport(
        **{**row, "status": ExportStatus(row["status"]), "sha256": None if digest is None else bytes(digest)}
    )
