"""Documents of the transaction doors."""

from collections.abc import Mapping
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field

from cardwright.http.fields import Amount, Timestamp
from cardwright.transactions.rules import CardTransaction, TransactionStatus


class MerchantResponse(BaseModel):
    """Where the card was used, as the network told."""

    id: str | None
    name: str | None
    category_code: str
    city: str | None
    country: str | None


class TransactionResponse(BaseModel):
    """One use of a card; declines are among them."""

    id: UUID
    authorization_id: str
    original_authorization_id: str | None
    card_id: UUID
    type: str
    status: TransactionStatus
    amount: Amount
    approved_amount: Amount
    cleared_amount: Amount
    currency: str
    # As the network told it: a merchant's currency may have three minor digits.
    merchant_amount: str | None = Field(description="In the merchant's currency, where the network told it.", examples=["39.00"])
    merchant_currency: str | None
    merchant: MerchantResponse
    channel: str | None
    reason: str
    risk_score: int | None
    created_at: Timestamp

    @classmethod
    def of(cls, transaction: CardTransaction) -> Self:
        """The transaction as its owner sees it."""
        detail = transaction.detail
        told = detail.get("merchant")
        merchant: Mapping[str, object] = told if isinstance(told, Mapping) else {}
        return cls.model_validate(
            {
                "id": transaction.transaction_id,
                "authorization_id": transaction.authorization_id,
                "original_authorization_id": transaction.original_authorization_id,
                "card_id": transaction.card_id,
                "type": transaction.type,
                "status": transaction.status,
                "amount": transaction.amount,
                "approved_amount": transaction.approved_amount,
                "cleared_amount": transaction.cleared_amount,
                "currency": transaction.currency,
                "merchant_amount": detail.get("merchant_amount"),
                "merchant_currency": detail.get("merchant_currency"),
                "merchant": {
                    "id": merchant.get("id"),
                    "name": merchant.get("name"),
                    "category_code": transaction.merchant_category,
                    "city": merchant.get("city"),
                    "country": merchant.get("country"),
                },
                "channel": detail.get("channel"),
                "reason": transaction.reason,
                "risk_score": transaction.risk_score,
                "created_at": transaction.decided_at,
            }
        )
