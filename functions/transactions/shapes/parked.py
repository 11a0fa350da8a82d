"""Documents of the processor's events that wait."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field

from cardwright.http.fields import Amount, StrictModel, Timestamp
from cardwright.transactions.service.parked import EventRow


class ParkedEventResponse(BaseModel):
    """An event of the processor that belongs to nothing we know."""

    id: UUID
    event_id: str
    type: str
    card_id: UUID
    authorization_id: str | None
    amount: Amount
    currency: str
    state: str
    reason: str | None = Field(description="`authorization_unknown` or `currency_mismatch`.")
    tries: int
    next_try_at: Timestamp | None
    received_at: Timestamp

    @classmethod
    def of(cls, event: EventRow) -> Self:
        """The event as staff sees it."""
        return cls(
            id=event.record_id,
            event_id=event.event_id,
            type=event.type,
            card_id=event.card_id,
            authorization_id=event.authorization_id,
            amount=event.amount,
            currency=event.currency,
            state=event.state,
            reason=event.parked_reason,
            tries=event.tries,
            next_try_at=event.due_at,
            received_at=event.received_at,
        )


class CloseEventRequest(StrictModel):
    """Why an event is closed, in words for the audit; no personal data."""

    note: Annotated[str, Field(min_length=1, max_length=500)]
