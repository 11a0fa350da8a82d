"""SQL of KYC cases and of the events taken."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kyc.rules import KycStatus
from cardwright.platform.postgres import Row, Transaction

_SELECT = (
    "SELECT user_id, status, submission_id, provider_reference, submitted_at, decided_at, version "
    "FROM kyc_cases WHERE user_id = %s"
)


@dataclass(frozen=True, slots=True)
class KycCase:
    """How far one person's check is."""

    user_id: UUID
    status: KycStatus
    submission_id: UUID | None = None
    provider_reference: str | None = None
    submitted_at: datetime | None = None
    decided_at: datetime | None = None
    version: int = 0

    @property
    def taken(self) -> bool:
        """True when the provider has confirmed that it has the submission."""
        return self.provider_reference is not None


def load(tx: Transaction, user_id: UUID) -> KycCase:
    """The case; NOT_STARTED when there is none."""
    row = tx.fetch_one(_SELECT, (user_id,))
    return KycCase(user_id, KycStatus.NOT_STARTED) if row is None else _case(row)


def lock(tx: Transaction, user_id: UUID) -> KycCase:
    """The case, made when there is none, and locked until the transaction ends."""
    tx.execute("INSERT INTO kyc_cases (user_id, status) VALUES (%s, 'NOT_STARTED') ON CONFLICT DO NOTHING", (user_id,))
    found = lock_existing(tx, user_id)
    if found is None:
        raise BrokenInvariantError("A KYC case was made and is not seen.")
    return found


def lock_existing(tx: Transaction, user_id: UUID) -> KycCase | None:
    """The case locked until the transaction ends; None when there is none."""
    row = tx.fetch_one(f"{_SELECT} FOR UPDATE", (user_id,))
    return None if row is None else _case(row)


def begin(tx: Transaction, user_id: UUID, submission_id: UUID, now: datetime) -> None:
    """Make a submission the current one, not confirmed by the provider yet."""
    tx.execute(
        "UPDATE kyc_cases SET status = 'PENDING', submission_id = %s, provider_reference = NULL, submitted_at = %s, "
        "decided_at = NULL, version = version + 1 WHERE user_id = %s",
        (submission_id, now, user_id),
    )


def confirm_taken(tx: Transaction, user_id: UUID, submission_id: UUID, provider_reference: str) -> None:
    """Note the provider's name of the submission, whatever has been decided meanwhile."""
    tx.execute(
        "UPDATE kyc_cases SET provider_reference = %s WHERE user_id = %s AND submission_id = %s",
        (provider_reference, user_id, submission_id),
    )


def take_back(tx: Transaction, user_id: UUID, submission_id: UUID, status: KycStatus) -> None:
    """Undo a submission the provider refused, unless it was decided or replaced meanwhile."""
    tx.execute(
        "UPDATE kyc_cases SET status = %s, submission_id = NULL, submitted_at = NULL, version = version + 1 "
        "WHERE user_id = %s AND submission_id = %s AND status = 'PENDING'",
        (status.value, user_id, submission_id),
    )


def decide(tx: Transaction, user_id: UUID, status: KycStatus, now: datetime) -> None:
    """Put an outcome."""
    tx.execute(
        "UPDATE kyc_cases SET status = %s, decided_at = %s, version = version + 1 WHERE user_id = %s",
        (status.value, now, user_id),
    )


def record_event(tx: Transaction, user_id: UUID, event_id: str, status: KycStatus, *, applied: bool, now: datetime) -> bool:
    """Note that an event was taken; False when it was before."""
    sql = (
        "INSERT INTO kyc_events (user_id, event_id, status, applied, received_at) VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT DO NOTHING"
    )
    return tx.execute(sql, (user_id, event_id, status.value, applied, now)) == 1


def _case(row: Row) -> KycCase:
    return KycCase(**{**row, "status": KycStatus(row["status"])})
