"""Failed attempts: counted, audited, and answered with a lock after too many."""

from datetime import datetime
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.identity import rules, store
from cardwright.identity.ports import IdentityTools
from cardwright.kernel.clock import rfc3339
from cardwright.outbox import service as outbox
from cardwright.outbox.rules import Event
from cardwright.platform.postgres import Actor, Transaction


def count_failure(tools: IdentityTools, user_id: UUID, *, known: bool, action: str, request_id: str | None) -> None:
    """Count one failed attempt; the last allowed one locks the account and alerts its owner.

    An address without an account costs the same work under an id made from the address.
    """
    now = tools.clock.now()
    until = now + rules.LOCK_AGE
    # Whoever tries is nobody yet; the user is named because the row and the alert are that user's.
    with tools.database.transaction(Actor(user_id, "nobody", request_id)) as tx:
        locked = store.count_failure(tx, user_id, now, rules.MAX_FAILED_LOGINS, until)
        audit.append(
            tx,
            subject_type="user" if known else "unknown_account",
            subject_id=user_id,
            entry_id=tools.ids.new(),
            action=action,
            occurred_at=now,
            new={"locked_until": rfc3339(until)} if locked else None,
        )
        if locked:
            alert(tx, tools, user_id, "account_locked", now, locked_until=rfc3339(until))


def alert(tx: Transaction, tools: IdentityTools, user_id: UUID, kind: str, now: datetime, **details: str) -> None:
    """Add a security alert for a user to the transaction."""
    data = {"kind": kind, "user_id": str(user_id), **details}
    outbox.append(tx, Event(tools.ids.new(), "security.alert", now, data, user_id=user_id))
