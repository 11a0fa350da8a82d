"""SQL of runs: whose turn it is, how far the comparison is, and what each run did."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Transaction
from cardwright.settlement.rules import Run


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the comparison with a processor is, in somebody's hands: `lease_until` names whose.

    The pass over the processor's list goes on while `listed_from` is before `listed_to`; `list_read`: its end was reached, and
    what it should have held is looked for from `missing_after` on.
    """

    processor: str
    lease_until: datetime
    listed_from: datetime | None
    listed_to: datetime | None
    list_cursor: str | None
    list_read: bool
    missing_after: datetime | None
    rechecked_after: UUID | None
    checked_after: UUID | None
    unsettled_after: datetime | None


def claim(tx: Transaction, processor: str, now: datetime, lease_until: datetime) -> Progress | None:
    """Take the comparison with a processor; None while somebody else is at it."""
    tx.execute(
        "INSERT INTO settlement_sources (processor, lease_until) VALUES (%s, %s) ON CONFLICT (processor) DO NOTHING",
        (processor, now),
    )
    row = tx.fetch_one(
        "UPDATE settlement_sources SET lease_until = %s WHERE processor = %s AND lease_until <= %s "
        "RETURNING processor, lease_until, listed_from, listed_to, list_cursor, list_read, missing_after, rechecked_after, "
        "checked_after, unsettled_after",
        (lease_until, processor, now),
    )
    return None if row is None else Progress(**row)


def advance(tx: Transaction, held: Progress, reached: Progress) -> bool:
    """Note how far it is and until when it is held; False when it is in other hands by now."""
    touched = tx.execute(
        "UPDATE settlement_sources SET lease_until = %s, listed_from = %s, listed_to = %s, list_cursor = %s, list_read = %s, "
        "missing_after = %s, rechecked_after = %s, checked_after = %s, unsettled_after = %s "
        "WHERE processor = %s AND lease_until = %s",
        (
            reached.lease_until, reached.listed_from, reached.listed_to, reached.list_cursor, reached.list_read,
            reached.missing_after, reached.rechecked_after, reached.checked_after, reached.unsettled_after,
            held.processor, held.lease_until,
        ),
    )  # fmt: skip
    return touched == 1


def release(tx: Transaction, held: Progress, now: datetime) -> None:
    """Let go; whoever comes next goes on."""
    tx.execute(
        "UPDATE settlement_sources SET lease_until = %s WHERE processor = %s AND lease_until = %s",
        (now, held.processor, held.lease_until),
    )


def begin_run(tx: Transaction, processor: str, run_id: UUID, now: datetime) -> None:
    """Note that a run is under way."""
    tx.execute("INSERT INTO settlement_runs (processor, run_id, started_at) VALUES (%s, %s, %s)", (processor, run_id, now))


def end_run(tx: Transaction, processor: str, run: Run) -> None:
    """Note what a run did."""
    tx.execute(
        "UPDATE settlement_runs SET finished_at = %s, failure = %s, transactions = %s, lines = %s, settled = %s, mended = %s, "
        "cases_opened = %s, cases_closed = %s WHERE processor = %s AND run_id = %s",
        (
            run.finished_at, run.failure, run.transactions, run.lines, run.settled, run.mended, run.cases_opened,
            run.cases_closed, processor, run.run_id,
        ),
    )  # fmt: skip


def newest_runs(tx: Transaction, *, limit: int, after: UUID | None) -> list[Run]:
    """List up to `limit` runs the actor may see, older than `after`, newest first."""
    rows = tx.fetch_all(
        "SELECT run_id, started_at, finished_at, failure, transactions, lines, settled, mended, cases_opened, cases_closed "
        "FROM settlement_runs WHERE (%(after)s::uuid IS NULL OR run_id < %(after)s) ORDER BY run_id DESC LIMIT %(limit)s",
        {"after": after, "limit": limit},
    )
    return [Run(**row) for row in rows]
