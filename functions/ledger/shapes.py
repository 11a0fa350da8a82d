"""Documents of the ledger: balances, postings, money moved by hand. They name cards by their ids, and nobody."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Self
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from cardwright.cards.rules import Direction, Funds, FundsMovement
from cardwright.http.fields import Amount, Currency, FreeText, StrictModel, Timestamp
from cardwright.ledger.rules import Account, Entry, Posting
from functions.cards.shapes import SignedAmount

CardId = Annotated[UUID, Query(description="The card whose accounts are told.")]


class AccountBalance(BaseModel):
    """What stands on one account in one currency."""

    account: Account
    currency: str
    balance: SignedAmount = Field(description="Debits less credits.")


class LedgerBalancesResponse(BaseModel):
    """A card's accounts that something was posted to. In each currency they sum to zero."""

    card_id: UUID
    balances: list[AccountBalance]

    @classmethod
    def of(cls, card_id: UUID, balances: Mapping[Account, Mapping[str, Decimal]]) -> Self:
        """The document of a card's balances, by account and currency."""
        found = [
            AccountBalance(account=account, currency=currency, balance=balance)
            for account, by_currency in sorted(balances.items())
            for currency, balance in sorted(by_currency.items())
        ]
        return cls(card_id=card_id, balances=found)


class EntryResponse(BaseModel):
    """One line of a posting."""

    account: Account
    amount: SignedAmount = Field(description="A debit is above zero, a credit below.")
    currency: str

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """The document of an entry."""
        return cls(account=entry.account, amount=entry.amount, currency=entry.currency)


class PostingResponse(BaseModel):
    """What one event meant in money. Its entries sum to zero in each currency."""

    id: UUID
    kind: str
    card_id: UUID
    program_id: UUID
    transaction_id: UUID | None = Field(description="The transaction it belongs to; null for money moved by hand.")
    reference: str | None = Field(description="What the outside world calls it.")
    entries: list[EntryResponse]
    occurred_at: Timestamp

    @classmethod
    def of(cls, posting: Posting) -> Self:
        """The document of a posting."""
        return cls(
            id=posting.posting_id,
            kind=posting.kind,
            card_id=posting.card_id,
            program_id=posting.program_id,
            transaction_id=posting.transaction_id,
            reference=posting.reference,
            entries=[EntryResponse.of(entry) for entry in posting.entries],
            occurred_at=posting.occurred_at,
        )


class CardFundsRequest(StrictModel):
    """Money to move."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"amount": "250.00", "currency": "USD", "reference": "transfer 2026-11-21/17"},
                {"direction": "withdraw", "amount": "40.00", "currency": "USD", "reference": "employee left"},
            ]
        }
    )

    direction: Direction = Direction.LOAD
    amount: Amount = Field(description="Above zero.")
    currency: Currency = Field(description="The card's.")
    reference: FreeText = Field(description="What the payer's side calls it; kept in the ledger and the audit log.")

    def movement(self) -> FundsMovement:
        """The request as the service takes it."""
        return FundsMovement(direction=self.direction, amount=self.amount, currency=self.currency, reference=self.reference)


class CardFundsResponse(BaseModel):
    """Money that was moved, and what is on the card now."""

    id: UUID = Field(description="The ledger posting's.")
    card_id: UUID
    direction: Direction
    amount: Amount
    currency: str
    reference: str
    balance: SignedAmount = Field(description="Loaded and not spent; what is held is still in it.")
    held: Amount
    available: SignedAmount

    @classmethod
    def of(cls, posting_id: UUID, card_id: UUID, movement: FundsMovement, funds: Funds) -> Self:
        """The document of a movement and of the card's funds after it."""
        return cls(
            id=posting_id,
            card_id=card_id,
            direction=movement.direction,
            amount=movement.amount,
            currency=movement.currency,
            reference=movement.reference,
            balance=funds.balance,
            held=funds.held,
            available=funds.available,
        )
