"""Append an audit entry in the caller's transaction; who, why and the request come from the transaction's actor."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from cardwright.audit import store
from cardwright.platform.postgres import Transaction


def knows(tx: Transaction, subject_type: str, subject_id: UUID, operation_id: UUID) -> bool:
    """True when the subject's chain has an entry of this operation: it was done, whatever has been done since."""
    return store.knows(tx, subject_type, subject_id, operation_id)


def append(
    tx: Transaction,
    *,
    subject_type: str,
    subject_id: UUID,
    entry_id: UUID,
    action: str,
    occurred_at: datetime,
    old: Mapping[str, object] | None = None,
    new: Mapping[str, object] | None = None,
) -> None:
    """Append one entry to the chain of (subject_type, subject_id). Values are JSON, never a PAN, secret or a person's name.

    Changes of a card's status need no call: a trigger writes theirs.
    """
    store.append(tx, subject_type, subject_id, entry_id, action, old, new, occurred_at)
