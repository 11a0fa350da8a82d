"""Batches of cards: their states, the keys of their items, when a failed attempt is made again, and when it is the last."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from cardwright.cards.rules.issuing import Expiry
from cardwright.cards.rules.states import CardStatus
from cardwright.kernel.errors import BrokenInvariantError, CardwrightError, FieldError, InvalidFieldsError

BATCH_MAX = 1000
BATCHES_QUOTA = "card_batches"
BATCHES_PER_HOUR = 10
BATCHES_WINDOW = timedelta(hours=1)
ITEM_KEY_MAX = 255
# What is told of one item's fields, so that a batch's result stays far below what an answer may hold.
FIELD_ERRORS_MAX = 10
# How long after each attempt without an answer the next one is due; after the one that follows the last pause it is given up.
_PAUSES = (timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10), timedelta(minutes=30))


class BatchStatus(StrEnum):
    """How far a job is. FAILED: not one item succeeded."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


class ItemState(StrEnum):
    """What became of one item."""

    PENDING = "PENDING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item failed, as a problem's code, detail and field errors."""

    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()

    def document(self) -> dict[str, Any]:
        """The failure as JSON."""
        return {"code": self.code, "detail": self.detail, "errors": [asdict(error) for error in self.errors]}


@dataclass(frozen=True, slots=True, kw_only=True)
class CardBatch:
    """A batch. `done` counts the items that are settled, those that failed among them."""

    user_id: UUID
    job_id: UUID
    status: BatchStatus
    total: int
    done: int
    created_at: datetime
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCard:
    """What the result of a batch tells of a card."""

    card_id: UUID
    status: CardStatus
    last_four: str
    expiry: Expiry
    currency: str
    label: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutcome:
    """What has become of an item: a card when it is DONE, a failure when it FAILED."""

    position: int
    key: str | None
    state: ItemState
    card: BatchCard | None = None
    failure: Failure | None = None


def read_failure(document: Mapping[str, Any]) -> Failure:
    """The failure that `Failure.document` made. Raises KeyError for anything else."""
    return Failure(document["code"], document["detail"], tuple(FieldError(**error) for error in document["errors"]))


def failure_of(error: Exception) -> Failure:
    """An error as the failure of an item; what is no error of ours, or a bug of ours, shows nothing of itself."""
    if not isinstance(error, CardwrightError) or isinstance(error, BrokenInvariantError):
        return Failure("internal_error", "Something went wrong on our side.")
    fields = error.errors if isinstance(error, InvalidFieldsError) else []
    return Failure(error.code, error.detail, tuple(fields[:FIELD_ERRORS_MAX]))


def repeated_keys(keys: Sequence[str | None]) -> list[FieldError]:
    """One error for each item whose key stands on an earlier item of the same batch."""
    seen: dict[str, int] = {}
    errors = []
    for position, key in enumerate(keys):
        if key is not None and seen.setdefault(key, position) != position:
            detail = f"Item {seen[key]} has the same key."
            errors.append(FieldError(f"items.{position}.idempotency_key", "duplicate_key", detail))
    return errors


def next_attempt(attempts: int, now: datetime) -> datetime | None:
    """When an item is due again that got no answer at its attempt number `attempts`; None when that was the last one."""
    return now + _PAUSES[attempts - 1] if attempts <= len(_PAUSES) else None


def first_status(failed: int, total: int) -> BatchStatus:
    """Status of a new batch, some of whose items may have failed already because they cannot be read."""
    return BatchStatus.FAILED if failed == total else BatchStatus.QUEUED
