"""SQL of idempotency keys."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.platform.postgres import Transaction


@dataclass(frozen=True, slots=True)
class Claim:
    """A key's row: `status` is None while the request runs, until `lease_until`."""

    operation_id: UUID
    request_digest: bytes
    lease_until: datetime
    status: int | None
    response_sealed: bytes | None


def insert(
    tx: Transaction, user_id: UUID, key: str, digest: bytes, operation_id: UUID, lease_until: datetime, now: datetime
) -> bool:
    """Claim a key nobody holds; False when it is held."""
    return (
        tx.execute(
            "INSERT INTO idempotency_keys (user_id, key, request_digest, operation_id, lease_until, created_at) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (user_id, key, digest, operation_id, lease_until, now),
        )
        == 1
    )


def lock(tx: Transaction, user_id: UUID, key: str) -> Claim | None:
    """Load a key's row and lock it."""
    row = tx.fetch_one(
        "SELECT operation_id, request_digest, lease_until, status, response_sealed FROM idempotency_keys "
        "WHERE user_id = %s AND key = %s FOR UPDATE",
        (user_id, key),
    )
    return None if row is None else Claim(**row)


def extend(tx: Transaction, user_id: UUID, key: str, lease_until: datetime) -> None:
    """Take over or give up the running claim by moving its lease."""
    tx.execute(
        "UPDATE idempotency_keys SET lease_until = %s WHERE user_id = %s AND key = %s AND status IS NULL",
        (lease_until, user_id, key),
    )


def complete(tx: Transaction, user_id: UUID, key: str, status: int, sealed: bytes) -> None:
    """Keep the answer."""
    tx.execute(
        "UPDATE idempotency_keys SET status = %s, response_sealed = %s WHERE user_id = %s AND key = %s AND status IS NULL",
        (status, sealed, user_id, key),
    )


def release(tx: Transaction, user_id: UUID, key: str) -> None:
    """Forget a claim whose request was refused and changed nothing."""
    tx.execute("DELETE FROM idempotency_keys WHERE user_id = %s AND key = %s AND status IS NULL", (user_id, key))
