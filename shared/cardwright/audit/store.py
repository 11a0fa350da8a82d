"""SQL of the audit log: the writing function."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Jsonb, Transaction


def knows(tx: Transaction, subject_type: str, subject_id: UUID, entry_id: UUID) -> bool:
    """Ask for one entry by its id; the log itself is not the app's to read."""
    row = tx.fetch_one("SELECT audit_knows(%s, %s, %s) AS known", (subject_type, subject_id, entry_id))
    return row is not None and bool(row["known"])


def append(
    tx: Transaction,
    subject_type: str,
    subject_id: UUID,
    entry_id: UUID,
    action: str,
    old: Mapping[str, object] | None,
    new: Mapping[str, object] | None,
    occurred_at: datetime,
) -> None:
    """Call append_audit, which locks the chain's head, hashes and inserts."""
    tx.execute(
        "SELECT append_audit(%s, %s, %s, %s, %s, %s, %s)",
        (
            subject_type,
            subject_id,
            entry_id,
            action,
            None if old is None else Jsonb(dict(old)),
            None if new is None else Jsonb(dict(new)),
            occurred_at,
        ),
    )
