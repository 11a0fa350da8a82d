"""Documents of transactions in lists, and of one with its story."""

from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field

from cardwright.http.fields import Amount, Timestamp
from cardwright.transactions.rules.enrichment import enrich
from cardwright.transactions.rules.explaining import TimelineEntry
from cardwright.transactions.rules.history import CardTransaction, TransactionStatus
from cardwright.transactions.service import TransactionStory
from functions.transactions.shapes.places import Latitude, Longitude


class MerchantResponse(BaseModel):
    """Where the card was used: as the network told, and as people know it."""

    id: str | None
    name: str | None = Field(description="As the merchant's bank sends it.", examples=["SQ *CORNER SHOP 0042 LYON"])
    clean_name: str | None = Field(description="The name in it.", examples=["Corner Shop"])
    category_code: str
    category: str | None = Field(description="What the code means (ISO 18245); null for a code that is none.")
    city: str | None
    country: str | None
    latitude: Latitude | None
    longitude: Longitude | None

    @classmethod
    def of(cls, transaction: CardTransaction) -> Self:
        """The merchant of a transaction."""
        return cls.model_validate(enrich(transaction.merchant, transaction.merchant_category), from_attributes=True)


class TransactionResponse(BaseModel):
    """One use of a card; declines are among them."""

    id: UUID
    authorization_id: str | None = Field(description="Null for what the network posted without asking.")
    original_authorization_id: str | None
    card_id: UUID
    type: str
    status: TransactionStatus
    amount: Amount = Field(description="What was asked for.")
    approved_amount: Amount
    held_amount: Amount = Field(description="Reserved and not charged yet. Of an authorization and its incrementals together.")
    cleared_amount: Amount
    reversed_amount: Amount
    refunded_amount: Amount
    flags: list[str] = Field(description="What is odd about it; `notes` of the transaction itself says it in words.")
    currency: str
    # As the network told it: a merchant's currency may have three minor digits.
    merchant_amount: str | None = Field(description="In the merchant's currency, where the network told it.", examples=["39.00"])
    merchant_currency: str | None
    merchant: MerchantResponse
    channel: str | None
    reason: str
    risk_score: int | None
    hold_expires_at: Timestamp | None = Field(description="When what is held then is given back, if nobody charges it.")
    created_at: Timestamp
    updated_at: Timestamp | None = Field(description="When the network last told of it; null when it has not yet.")

    @classmethod
    def of(cls, transaction: CardTransaction) -> Self:
        """The transaction as its owner sees it."""
        return cls.model_validate(_told(transaction))


class TimelineResponse(BaseModel):
    """One thing that happened to a transaction."""

    at: Timestamp
    type: str = Field(description="The type of the request (`authorization`, `incremental`, ...) or of the event.")
    amount: Amount
    currency: str
    status: TransactionStatus | None = Field(
        description="Where the transaction stood after it; null when it changed nothing yet."
    )
    detail: str = Field(description="In plain words.")

    @classmethod
    def of(cls, entry: TimelineEntry) -> Self:
        """The entry."""
        return cls.model_validate(entry, from_attributes=True)


class TransactionStoryResponse(TransactionResponse):
    """One transaction with all that happened to it."""

    timeline: list[TimelineResponse] = Field(description="Oldest first.")
    explanation: str = Field(description="Why it was decided so and where it stands, in plain words.")
    next_step: str = Field(description="What the cardholder can do.")
    notes: list[str] = Field(description="The flags in plain words.")

    @classmethod
    def telling(cls, story: TransactionStory) -> Self:
        """The transaction with its story as its owner sees it."""
        return cls.model_validate(
            {
                **_told(story.transaction),
                "timeline": [TimelineResponse.of(entry) for entry in story.timeline],
                "explanation": story.advice.explanation,
                "next_step": story.advice.next_step,
                "notes": story.notes,
            }
        )


def _told(transaction: CardTransaction) -> dict[str, object]:
    detail = transaction.detail
    return {
        "id": transaction.transaction_id,
        "authorization_id": transaction.authorization_id,
        "original_authorization_id": transaction.original_authorization_id,
        "card_id": transaction.card_id,
        "type": transaction.type,
        "status": transaction.status,
        "amount": transaction.amount,
        "approved_amount": transaction.approved_amount,
        "held_amount": transaction.held_amount,
        "cleared_amount": transaction.cleared_amount,
        "reversed_amount": transaction.reversed_amount,
        "refunded_amount": transaction.refunded_amount,
        "flags": list(transaction.flags),
        "currency": transaction.currency,
        "merchant_amount": detail.get("merchant_amount"),
        "merchant_currency": detail.get("merchant_currency"),
        "merchant": MerchantResponse.of(transaction),
        "channel": detail.get("channel"),
        "reason": transaction.reason,
        "risk_score": transaction.risk_score,
        "hold_expires_at": transaction.hold_expires_at,
        "created_at": transaction.decided_at,
        "updated_at": transaction.updated_at,
    }
