"""What is posted: accounts, entries, and when a posting balances. Amounts are signed; a debit is positive.

Holds are not posted: they live in the card's spend row, and reversals and expiries post nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.money import CENT, CURRENCIES, MAX_AMOUNT, ZERO_DIGIT

# Width of the columns, in characters.
KIND_MAX = 40
REFERENCE_MAX = 255


class Account(StrEnum):
    """Accounts of the ledger, kept per card and currency."""

    CARD_HOLDS = "card_holds"
    """What was cleared and is owed to the network until it is settled."""
    CARDHOLDER_SPEND = "cardholder_spend"
    """What cardholders have spent and not been given back."""
    CARDHOLDER_FUNDS = "cardholder_funds"
    """Money loaded onto cards funded by balance."""
    SETTLEMENT = "settlement"
    """Money that has moved at the bank."""
    FEES = "fees"
    """What the network and the processor charge."""
    ADJUSTMENTS = "adjustments"
    """Money that goes from one card over to another."""


class PostingKind(StrEnum):
    """Kinds of postings that have one debit and one credit."""

    CLEARING = "clearing"
    FORCE_POST = "force_post"
    REFUND = "refund"
    SETTLED = "settled"
    FEE = "fee"
    LOAD = "load"
    WITHDRAWAL = "withdrawal"
    CARRIED_OUT = "carried_out"
    CARRIED_IN = "carried_in"


# Which account each kind debits, and which it credits.
SIDES: Mapping[PostingKind, tuple[Account, Account]] = MappingProxyType(
    {
        PostingKind.CLEARING: (Account.CARDHOLDER_SPEND, Account.CARD_HOLDS),
        PostingKind.FORCE_POST: (Account.CARDHOLDER_SPEND, Account.CARD_HOLDS),
        PostingKind.REFUND: (Account.CARD_HOLDS, Account.CARDHOLDER_SPEND),
        PostingKind.SETTLED: (Account.CARD_HOLDS, Account.SETTLEMENT),
        PostingKind.FEE: (Account.FEES, Account.SETTLEMENT),
        PostingKind.LOAD: (Account.SETTLEMENT, Account.CARDHOLDER_FUNDS),
        PostingKind.WITHDRAWAL: (Account.CARDHOLDER_FUNDS, Account.SETTLEMENT),
        PostingKind.CARRIED_OUT: (Account.CARDHOLDER_FUNDS, Account.ADJUSTMENTS),
        PostingKind.CARRIED_IN: (Account.ADJUSTMENTS, Account.CARDHOLDER_FUNDS),
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a posting: an amount above zero debits the account, one below credits it."""

    account: Account
    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Posting:
    """What one event means in money, for one card. Its id names it for good: posted again it changes nothing.

    `occurred_at` is when it was posted, `reference` what the outside world calls it.
    """

    posting_id: UUID
    kind: str
    card_id: UUID
    user_id: UUID
    program_id: UUID
    occurred_at: datetime
    entries: tuple[Entry, ...]
    transaction_id: UUID | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Something in the ledger that cannot be: `unbalanced` or `incomplete` a posting, `nonzero` a currency's sum.

    `amount` is by how much it is off, in `currency`; both are None for a posting that has other entries than it says.
    """

    kind: str
    card_id: UUID | None = None
    posting_id: UUID | None = None
    currency: str | None = None
    amount: Decimal | None = None


def sides(kind: PostingKind, amount: Decimal, currency: str) -> tuple[Entry, Entry]:
    """The two entries of a kind for an amount; below zero it goes the other way, as a settlement of refunds does."""
    debited, credited = SIDES[kind]
    return Entry(debited, amount, currency), Entry(credited, -amount, currency)


def totals(entries: Iterable[Entry]) -> dict[str, Decimal]:
    """The sum of the entries in each of their currencies."""
    found: dict[str, Decimal] = {}
    for entry in entries:
        found[entry.currency] = found.get(entry.currency, Decimal(0)) + entry.amount
    return found


def check_posting(posting: Posting) -> None:
    """Raise BrokenInvariantError for a posting that does not balance or cannot be kept as it stands."""
    for entry in posting.entries:
        _check_entry(entry)
    if len(posting.entries) < 2:
        raise BrokenInvariantError("A posting has two entries or more.")
    if any(totals(posting.entries).values()):
        raise BrokenInvariantError("A posting does not sum to zero.")
    if not 1 < len(posting.kind) <= KIND_MAX:
        raise BrokenInvariantError("The kind of a posting is not one.")
    if posting.reference is not None and not 1 <= len(posting.reference) <= REFERENCE_MAX:
        raise BrokenInvariantError("The reference of a posting is empty or too long.")


def _check_entry(entry: Entry) -> None:
    amount = entry.amount
    if not amount.is_finite() or amount == 0:
        raise BrokenInvariantError("The amount of an entry is zero or no number.")
    if abs(amount) > MAX_AMOUNT or amount != amount.quantize(CENT):
        raise BrokenInvariantError("The amount of an entry is too large or too fine.")
    if entry.currency not in CURRENCIES:
        raise BrokenInvariantError("The currency of an entry is none we hold.")
    if entry.currency in ZERO_DIGIT and amount != amount.to_integral_value():
        raise BrokenInvariantError("The amount of an entry has minor digits that its currency has not.")
