"""What a posting is: balanced in each currency, whole, and of amounts that can be kept."""

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.errors import BrokenInvariantError
from cardwright.ledger.rules import Account, Entry, Posting, PostingKind, check_posting, sides, totals
from tests.builders import NOW

ID = UUID(int=1)
cents = st.integers(1, 10**12 - 1).map(lambda number: Decimal(number) / 100)


def posting(*entries: Entry) -> Posting:
    """A posting of these entries."""
    return Posting(ID, "clearing", ID, ID, ID, NOW, entries)


def entry(amount: str, account: Account = Account.FEES, currency: str = "USD") -> Entry:
    """An entry."""
    return Entry(account, Decimal(amount), currency)


@given(moves=st.lists(st.tuples(st.sampled_from(PostingKind), cents, st.sampled_from(["USD", "EUR", "GBP"])), max_size=60))
def test_any_sequence_of_postings_sums_to_zero_in_every_currency(moves: list[tuple[PostingKind, Decimal, str]]) -> None:
    entries: list[Entry] = []
    for kind, amount, currency in moves:
        lines = sides(kind, amount, currency)
        check_posting(posting(*lines))
        entries += lines
    assert totals(entries) == dict.fromkeys({currency for _, _, currency in moves}, Decimal(0))


@given(amounts=st.lists(cents, min_size=1, max_size=20), tilt=cents)
def test_a_posting_that_is_off_by_anything_is_refused(amounts: list[Decimal], tilt: Decimal) -> None:
    lines = [line for amount in amounts for line in sides(PostingKind.CLEARING, amount, "USD")]
    check_posting(posting(*lines))
    with pytest.raises(BrokenInvariantError):
        check_posting(posting(*lines, Entry(Account.FEES, tilt, "USD")))


def test_what_is_cleared_refunded_and_settled_leaves_nothing_owed() -> None:
    lines = [
        *sides(PostingKind.CLEARING, Decimal("40.00"), "USD"),
        *sides(PostingKind.REFUND, Decimal("15.00"), "USD"),
        *sides(PostingKind.SETTLED, Decimal("25.00"), "USD"),
    ]
    by_account = {account: sum(line.amount for line in lines if line.account is account) for account in Account}
    assert by_account[Account.CARD_HOLDS] == 0
    assert by_account[Account.CARDHOLDER_SPEND] == Decimal("25.00")
    assert by_account[Account.SETTLEMENT] == Decimal("-25.00")


def test_a_settlement_of_refunds_goes_the_other_way() -> None:
    assert sides(PostingKind.SETTLED, Decimal("-5.00"), "EUR") == (
        Entry(Account.CARD_HOLDS, Decimal("-5.00"), "EUR"),
        Entry(Account.SETTLEMENT, Decimal("5.00"), "EUR"),
    )


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (entry("0"),),
        (entry("0.00"), entry("0.00")),
        (entry("1.00"),),
        (entry("1.00"), entry("-1.01")),
        (entry("1.00", currency="USD"), entry("-1.00", currency="EUR")),
        (entry("0.001"), entry("-0.001")),
        (entry("10000000000.00"), entry("-10000000000.00")),
        (entry("NaN"), entry("NaN")),
        (entry("Infinity"), entry("-Infinity")),
        (entry("1.50", currency="JPY"), entry("-1.50", currency="JPY")),
        (entry("1.00", currency="KWD"), entry("-1.00", currency="KWD")),
        (entry("1.00", currency="usd"), entry("-1.00", currency="usd")),
    ],
)
def test_what_cannot_stand_in_the_ledger_is_refused(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(BrokenInvariantError):
        check_posting(posting(*entries))


@pytest.mark.parametrize("change", [{"kind": ""}, {"kind": "x" * 41}, {"reference": ""}, {"reference": "x" * 256}])
def test_words_that_the_columns_do_not_take_are_refused(change: dict[str, str]) -> None:
    good = posting(*sides(PostingKind.FEE, Decimal("0.30"), "USD"))
    check_posting(replace(good, reference="line 7"))
    with pytest.raises(BrokenInvariantError):
        check_posting(replace(good, **change))  # type: ignore[arg-type]  # a field of each


def test_a_posting_may_have_several_currencies_each_at_zero() -> None:
    lines = (*sides(PostingKind.FEE, Decimal("1.00"), "USD"), *sides(PostingKind.FEE, Decimal(150), "JPY"))
    check_posting(posting(*lines))
    assert totals(lines) == {"USD": 0, "JPY": 0}
