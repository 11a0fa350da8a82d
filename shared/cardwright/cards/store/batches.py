"""SQL of batches: jobs, and an item for each card they are to make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cardwright.cards.rules import (
    BatchCard,
    BatchOutcome,
    BatchStatus,
    CardBatch,
    CardStatus,
    Expiry,
    Failure,
    ItemState,
    read_failure,
)
from cardwright.platform.postgres import Jsonb, Row, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """An item as it is taken: which card it makes, from which wish (as JSON), or why it failed already."""

    card_id: UUID
    key: str | None
    digest: bytes
    wish: Mapping[str, Any]
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DueItem:
    """An item a worker has taken for the time of a lease; by `attempts`, which counts this one, it knows its own again."""

    user_id: UUID
    job_id: UUID
    position: int
    card_id: UUID
    item_key: str | None
    wish: Mapping[str, Any]
    attempts: int
    request_id: str | None


def recent(tx: Transaction, user_id: UUID, since: datetime) -> list[datetime]:
    """When the user's batches of the time since were taken."""
    rows = tx.fetch_all("SELECT created_at FROM card_batches WHERE user_id = %s AND created_at > %s", (user_id, since))
    return [row["created_at"] for row in rows]


def used_keys(tx: Transaction, user_id: UUID, keys: Sequence[str]) -> dict[str, tuple[bytes, UUID]]:
    """For each of the keys that is in use: digest of its wish and its card. An item that failed has set its key free."""
    rows = tx.fetch_all(
        "SELECT item_key, request_digest, card_id FROM card_batch_items "
        "WHERE user_id = %s AND item_key = ANY (%s) AND state <> 'FAILED'",
        (user_id, list(keys)),
    )
    return {row["item_key"]: (bytes(row["request_digest"]), row["card_id"]) for row in rows}


def insert(tx: Transaction, batch: CardBatch, items: Sequence[NewItem], request_id: str | None) -> None:
    """Insert a batch with its items, due at once but for those that failed already."""
    tx.execute(
        "INSERT INTO card_batches (user_id, job_id, status, total, request_id, created_at, finished_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (batch.user_id, batch.job_id, batch.status, batch.total, request_id, batch.created_at, batch.finished_at),
    )
    tx.execute(
        "INSERT INTO card_batch_items (user_id, job_id, position, card_id, item_key, request_digest, wish, failure, state, "
        "due_at, finished_at) SELECT %(user_id)s, %(job_id)s, l.position - 1, l.card_id, l.item_key, l.request_digest, l.wish, "
        "l.failure, CASE WHEN l.failure IS NULL THEN 'PENDING' ELSE 'FAILED' END, %(now)s, "
        "CASE WHEN l.failure IS NOT NULL THEN %(now)s END "
        "FROM unnest(%(card_ids)s::uuid[], %(keys)s::text[], %(digests)s::bytea[], %(wishes)s::jsonb[], %(failures)s::jsonb[]) "
        "WITH ORDINALITY AS l (card_id, item_key, request_digest, wish, failure, position)",
        {
            "user_id": batch.user_id,
            "job_id": batch.job_id,
            "now": batch.created_at,
            "card_ids": [item.card_id for item in items],
            "keys": [item.key for item in items],
            "digests": [item.digest for item in items],
            "wishes": [Jsonb(item.wish) for item in items],
            "failures": [None if item.failure is None else Jsonb(item.failure.document()) for item in items],
        },
    )


def get(tx: Transaction, job_id: UUID) -> CardBatch | None:
    """Load a batch the actor may see."""
    row = tx.fetch_one(
        "SELECT b.user_id, b.job_id, b.status, b.total, b.created_at, b.finished_at, (SELECT count(*) FROM card_batch_items i "
        "WHERE i.user_id = b.user_id AND i.job_id = b.job_id AND i.state <> 'PENDING') AS done "
        "FROM card_batches b WHERE b.job_id = %s",
        (job_id,),
    )
    return None if row is None else CardBatch(**{**row, "status": BatchStatus(row["status"])})


def outcomes(tx: Transaction, batch: CardBatch) -> list[BatchOutcome]:
    """What has become of each item, in their order."""
    rows = tx.fetch_all(
        "SELECT i.position, i.item_key, i.state, i.failure, c.card_id, c.status::text AS status, c.last_four, c.expiry_year, "
        "c.expiry_month, c.currency, c.label FROM card_batch_items i "
        "LEFT JOIN virtual_cards c ON c.card_id = i.card_id AND i.state = 'DONE' "
        "WHERE i.user_id = %s AND i.job_id = %s ORDER BY i.position",
        (batch.user_id, batch.job_id),
    )
    return [_outcome(row) for row in rows]


def take_due(tx: Transaction, limit: int, now: datetime, lease_until: datetime) -> list[DueItem]:
    """Take up to `limit` items that are due for the time of a lease; their batches are RUNNING from then on.

    In turn: the first of each user, then the second of each, and of one user the first of each batch, then the second, so
    that who sends many holds up nobody who sends few.
    """
    rows = tx.fetch_all(
        "WITH due AS (SELECT i.*, row_number() OVER (PARTITION BY i.job_id ORDER BY i.due_at, i.position) AS turn "
        "FROM card_batches b CROSS JOIN LATERAL (SELECT user_id, job_id, position, due_at FROM card_batch_items "
        "WHERE user_id = b.user_id AND job_id = b.job_id AND state = 'PENDING' AND due_at <= %(now)s "
        "ORDER BY due_at, position LIMIT %(limit)s) AS i WHERE b.finished_at IS NULL), "
        "ordered AS (SELECT d.*, row_number() OVER (PARTITION BY d.user_id ORDER BY d.turn, d.due_at, d.job_id) AS user_turn "
        "FROM due d), "
        "next AS (SELECT o.* FROM ordered o ORDER BY o.user_turn, o.due_at, o.job_id LIMIT %(limit)s), "
        # Another worker may have read the same: what it has taken is locked, or no longer due.
        "taken AS (SELECT n.* FROM card_batch_items i JOIN next n USING (user_id, job_id, position) "
        "WHERE i.state = 'PENDING' AND i.due_at <= %(now)s FOR NO KEY UPDATE OF i SKIP LOCKED) "
        "UPDATE card_batch_items i SET due_at = %(lease_until)s, attempts = i.attempts + 1 "
        "FROM taken t JOIN card_batches b USING (user_id, job_id) "
        "WHERE i.user_id = t.user_id AND i.job_id = t.job_id AND i.position = t.position "
        "RETURNING i.user_id, i.job_id, i.position, i.card_id, i.item_key, i.wish, i.attempts, b.request_id, t.user_turn",
        {"limit": limit, "now": now, "lease_until": lease_until},
    )
    tx.execute(
        # In one order, so that two workers do not wait for each other.
        "UPDATE card_batches b SET status = 'RUNNING' FROM (SELECT user_id, job_id FROM card_batches "
        "WHERE job_id = ANY (%s) AND status = 'QUEUED' ORDER BY job_id FOR NO KEY UPDATE) AS queued "
        "WHERE b.user_id = queued.user_id AND b.job_id = queued.job_id AND b.status = 'QUEUED'",
        (sorted({row["job_id"] for row in rows}),),
    )
    rows.sort(key=lambda row: (row.pop("user_turn"), row["job_id"]))
    return [DueItem(**row) for row in rows]


def give_back(tx: Transaction, items: Sequence[DueItem], now: datetime) -> None:
    """Let others take items that were taken and not begun."""
    tx.execute(
        "UPDATE card_batch_items i SET due_at = %s, attempts = i.attempts - 1 "
        "FROM unnest(%s::uuid[], %s::uuid[], %s::integer[], %s::integer[]) AS mine (user_id, job_id, position, attempts) "
        "WHERE i.user_id = mine.user_id AND i.job_id = mine.job_id AND i.position = mine.position "
        "AND i.attempts = mine.attempts AND i.state = 'PENDING'",
        (
            now,
            [item.user_id for item in items],
            [item.job_id for item in items],
            [item.position for item in items],
            [item.attempts for item in items],
        ),
    )


def postpone(tx: Transaction, item: DueItem, due_at: datetime) -> None:
    """Let an item that is still this worker's be tried again then."""
    tx.execute(
        "UPDATE card_batch_items SET due_at = %s WHERE user_id = %s AND job_id = %s AND position = %s AND attempts = %s "
        "AND state = 'PENDING'",
        (due_at, item.user_id, item.job_id, item.position, item.attempts),
    )


def wanted_elsewhere(tx: Transaction, item: DueItem) -> bool:
    """True when an item of another batch is still to make the same card."""
    if item.item_key is None:
        return False
    row = tx.fetch_one(
        "SELECT 1 AS one FROM card_batch_items WHERE user_id = %s AND item_key = %s AND card_id = %s AND job_id <> %s "
        "AND state = 'PENDING' LIMIT 1",
        (item.user_id, item.item_key, item.card_id, item.job_id),
    )
    return row is not None


def settle(tx: Transaction, item: DueItem, failure: Failure | None, now: datetime) -> bool:
    """Note what became of an item, once; a failure only as long as the item is this worker's. Returns whether it was noted."""
    state = ItemState.DONE if failure is None else ItemState.FAILED
    return bool(
        tx.execute(
            "UPDATE card_batch_items SET state = %(state)s::text, failure = %(failure)s, finished_at = %(now)s "
            "WHERE user_id = %(user_id)s AND job_id = %(job_id)s AND position = %(position)s AND state = 'PENDING' "
            "AND (%(state)s::text = 'DONE' OR attempts = %(attempts)s)",
            {
                "state": state.value,
                "failure": None if failure is None else Jsonb(failure.document()),
                "now": now,
                "user_id": item.user_id,
                "job_id": item.job_id,
                "position": item.position,
                "attempts": item.attempts,
            },
        )
    )


def finish_settled(tx: Transaction, user_id: UUID, job_id: UUID, now: datetime) -> None:
    """End a batch none of whose items is pending: DONE, or FAILED when not one of them succeeded."""
    # Two that settle the last two items at once: the second looks only when the first has committed.
    tx.execute("SELECT 1 FROM card_batches WHERE user_id = %s AND job_id = %s FOR NO KEY UPDATE", (user_id, job_id))
    tx.execute(
        "UPDATE card_batches b SET finished_at = %(now)s, status = CASE WHEN EXISTS (SELECT FROM card_batch_items "
        "WHERE user_id = %(user_id)s AND job_id = %(job_id)s AND state = 'DONE') THEN 'DONE' ELSE 'FAILED' END "
        "WHERE b.user_id = %(user_id)s AND b.job_id = %(job_id)s AND b.finished_at IS NULL AND NOT EXISTS (SELECT "
        "FROM card_batch_items WHERE user_id = %(user_id)s AND job_id = %(job_id)s AND state = 'PENDING')",
        {"user_id": user_id, "job_id": job_id, "now": now},
    )


def _outcome(row: Row) -> BatchOutcome:
    card = None
    if row["card_id"] is not None:
        card = BatchCard(
            card_id=row["card_id"],
            status=CardStatus(row["status"]),
            last_four=row["last_four"],
            expiry=Expiry(row["expiry_year"], row["expiry_month"]),
            currency=row["currency"],
            label=row["label"],
        )
    return BatchOutcome(
        position=row["position"],
        key=row["item_key"],
        state=ItemState(row["state"]),
        card=card,
        failure=None if row["failure"] is None else read_failure(row["failure"]),
    )
