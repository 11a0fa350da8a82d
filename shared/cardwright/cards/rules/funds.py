"""Money on cards that a balance funds: what there is, what is free, and how it is moved by hand."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from cardwright.kernel.errors import ConflictError, FieldError, InvalidFieldsError, UnprocessableError
from cardwright.kernel.money import MAX_AMOUNT, MoneyError, check_minor_digits


class Direction(StrEnum):
    """Which way money goes: onto the card or off it."""

    LOAD = "load"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Funds:
    """What was loaded onto a card and not spent (`balance`), and what of it is held for the network; in the card's currency."""

    balance: Decimal
    held: Decimal

    @property
    def available(self) -> Decimal:
        """What may still be spent; below zero when the network posted more than there was."""
        return self.balance - self.held


@dataclass(frozen=True, slots=True, kw_only=True)
class FundsMovement:
    """A wish to move money, above zero; `reference` is what the payer's side calls it."""

    direction: Direction
    amount: Decimal
    currency: str
    reference: str

    @property
    def signed(self) -> Decimal:
        """By how much the balance changes."""
        return self.amount if self.direction is Direction.LOAD else -self.amount


def check_funds_amount(movement: FundsMovement) -> None:
    """Raise InvalidFieldsError amount_not_whole, amount_out_of_range for an amount that cannot be moved in its currency."""
    try:
        check_minor_digits(movement.amount, movement.currency)
    except MoneyError as error:
        raise InvalidFieldsError([FieldError("amount", error.code, error.detail)]) from error
    if movement.amount <= 0:
        raise InvalidFieldsError([FieldError("amount", "amount_out_of_range", "The amount is above zero.")])


def moved(funds: Funds, movement: FundsMovement) -> Funds:
    """The funds after a movement. What is held stays for the network.

    Raises ConflictError insufficient_funds; UnprocessableError balance_too_large.
    """
    after = Funds(funds.balance + movement.signed, funds.held)
    if movement.direction is Direction.WITHDRAW and after.available < 0:
        raise ConflictError("Less than that is free on the card.", code="insufficient_funds")
    if after.balance > MAX_AMOUNT:
        raise UnprocessableError(f"A card holds at most {MAX_AMOUNT}.", code="balance_too_large")
    return after
