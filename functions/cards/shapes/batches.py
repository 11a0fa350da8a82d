"""Documents of batches: many wishes in one request, and the job that grants them one by one."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SkipValidation, StringConstraints, TypeAdapter, ValidationError

from cardwright.cards.rules import (
    BATCH_MAX,
    ITEM_KEY_MAX,
    BatchCard,
    BatchOutcome,
    BatchStatus,
    CardBatch,
    CardStatus,
    Failure,
    ItemState,
    failure_of,
)
from cardwright.cards.service import BatchItem
from cardwright.http.fields import StrictModel, Timestamp, without_card_number
from cardwright.http.problems import from_validation
from cardwright.kernel.errors import FieldError, FieldValueError, InvalidFieldsError
from functions.cards.shapes.cards import CardCreateRequest


def _keepable(text: str) -> str:
    # As the header of the same name, and kept.
    if not text.isprintable() or not text.strip():
        raise FieldValueError("idempotency_key_invalid", f"An idempotency key holds 1 to {ITEM_KEY_MAX} printable characters.")
    return without_card_number(text)


ItemKey = Annotated[str, StringConstraints(min_length=1, max_length=ITEM_KEY_MAX), AfterValidator(_keepable)]
_KEY: TypeAdapter[str] = TypeAdapter(ItemKey)


class CardBatchItemRequest(CardCreateRequest):
    """A card wished for, with a key of its own: the same key and wish in any batch of the same user is the same card."""

    idempotency_key: ItemKey | None = None


class CardBatchRequest(StrictModel):
    """Cards wished for. Each item is read by itself: one that is not valid fails and leaves the others as they are."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [{"currency": "USD", "label": "Team 1", "idempotency_key": "team-1"}, {"currency": "USD"}]}]
        }
    )

    items: Annotated[list[SkipValidation[CardBatchItemRequest]], Field(min_length=1, max_length=BATCH_MAX)]

    def wanted(self) -> list[BatchItem]:
        """The items as the service takes them."""
        return [_item(raw) for raw in self.items]


def _item(raw: object) -> BatchItem:
    if not isinstance(raw, dict):
        return BatchItem(failure=_refused([FieldError("item", "invalid_type", "An item is a JSON object.")]))
    try:
        read = CardBatchItemRequest.model_validate(raw)
        return BatchItem(key=read.idempotency_key, wish=read.wish())
    except ValidationError as error:
        return BatchItem(key=_key_of(raw), failure=failure_of(from_validation(_located(error))))
    except InvalidFieldsError as error:
        return BatchItem(key=_key_of(raw), failure=failure_of(error))


def _located(error: ValidationError) -> Sequence[Mapping[str, Any]]:
    # Places as in a body: a field that is called `body` or `query` is a field here.
    return [{**found, "loc": ("body", *found["loc"])} for found in error.errors(include_url=False, include_input=False)]


def _refused(errors: list[FieldError]) -> Failure:
    return failure_of(InvalidFieldsError(errors))


def _key_of(raw: Mapping[str, Any]) -> str | None:
    """The key of an item that is otherwise not valid; None when there is none that may be shown."""
    try:
        return _KEY.validate_python(raw.get("idempotency_key"))
    except ValidationError:
        return None


class ItemStatus(StrEnum):
    """What has become of an item."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


_STATUSES = {
    ItemState.PENDING: ItemStatus.PENDING,
    ItemState.DONE: ItemStatus.SUCCEEDED,
    ItemState.FAILED: ItemStatus.FAILED,
}


class JobProgressResponse(BaseModel):
    """How far a job is, in items."""

    done: int = Field(description="Items that are settled, those that failed among them.")
    total: int


class BatchCardResponse(BaseModel):
    """A card that was made, as it is now; all of it is at `/cards/{card_id}`."""

    id: UUID
    status: CardStatus
    last_four: str
    expiry_month: int
    expiry_year: int
    currency: str
    label: str | None

    @classmethod
    def of(cls, card: BatchCard) -> Self:
        """The card in short."""
        return cls(
            id=card.card_id,
            status=card.status,
            last_four=card.last_four,
            expiry_month=card.expiry.month,
            expiry_year=card.expiry.year,
            currency=card.currency,
            label=card.label,
        )


class ItemFieldErrorResponse(BaseModel):
    """One rejected field of an item."""

    field: str
    code: str
    detail: str


class ItemErrorResponse(BaseModel):
    """Why an item failed, with the code its own request would have been answered."""

    code: str
    detail: str
    errors: list[ItemFieldErrorResponse] | None = Field(
        default=None, exclude_if=lambda errors: errors is None, description="The first of its rejected fields."
    )

    @classmethod
    def of(cls, failure: Failure) -> Self:
        """The failure as a problem tells it."""
        errors = [ItemFieldErrorResponse(field=e.field, code=e.code, detail=e.detail) for e in failure.errors]
        return cls(code=failure.code, detail=failure.detail, errors=errors or None)


class CardBatchItemResponse(BaseModel):
    """One item, at its place in the request."""

    index: int
    idempotency_key: str | None
    status: ItemStatus
    card: BatchCardResponse | None
    error: ItemErrorResponse | None

    @classmethod
    def of(cls, outcome: BatchOutcome) -> Self:
        """The item as it is now."""
        return cls(
            index=outcome.position,
            idempotency_key=outcome.key,
            status=_STATUSES[outcome.state],
            card=None if outcome.card is None else BatchCardResponse.of(outcome.card),
            error=None if outcome.failure is None else ItemErrorResponse.of(outcome.failure),
        )


class CardBatchResultResponse(BaseModel):
    """What has become of every item, in the order of the request."""

    succeeded: int
    failed: int
    items: list[CardBatchItemResponse]


class CardBatchResponse(BaseModel):
    """The job of a batch. It is FAILED only when not one item succeeded."""

    id: UUID
    status: BatchStatus
    progress: JobProgressResponse
    created_at: Timestamp
    finished_at: Timestamp | None
    result: CardBatchResultResponse | None = Field(default=None, exclude_if=lambda result: result is None)

    @classmethod
    def of(cls, batch: CardBatch, outcomes: Sequence[BatchOutcome] | None = None) -> Self:
        """The job, with its items where they are given."""
        result = None
        if outcomes is not None:
            items = [CardBatchItemResponse.of(outcome) for outcome in outcomes]
            result = CardBatchResultResponse(
                succeeded=sum(item.status is ItemStatus.SUCCEEDED for item in items),
                failed=sum(item.status is ItemStatus.FAILED for item in items),
                items=items,
            )
        return cls(
            id=batch.job_id,
            status=batch.status,
            progress=JobProgressResponse(done=batch.done, total=batch.total),
            created_at=batch.created_at,
            finished_at=batch.finished_at,
            result=result,
        )
