"""Amounts and currencies: decimals from text, two places, nothing binary."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.money import (
    CURRENCIES,
    MAX_AMOUNT,
    THREE_DIGIT,
    TWO_DIGIT,
    ZERO_DIGIT,
    MoneyError,
    check_currency,
    check_minor_digits,
    parse_amount,
)

FORBIDDEN = [
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "inf",
    "1e2",
    "1E400",
    "1e400",
    "-1",
    "+1",
    "-0",
    "1.234",
    "1.",
    ".5",
    "",
    " 1",
    "1 ",
    "1\n",
    "1,000",
    "1_000",
    "00",
    "01.00",
    "0x10",
    "10000000000",
    "10000000000.00",
    "\u0663",
    "\uff11",
    "1.2.3",
    "9" * 400,
    1.5,
    0.1,
    float("nan"),
    True,
    False,
    None,
    [],
    {},
    b"1",
    -1,
    10**10,
    10**400,
    Decimal("1E+400"),
    Decimal("NaN"),
    Decimal("Infinity"),
    Decimal("-1"),
    Decimal("1.001"),
    Decimal("1E-400"),
    Decimal("-0.0"),
]


@pytest.mark.parametrize("value", FORBIDDEN, ids=repr)
def test_anything_but_a_plain_amount_is_refused_by_code(value: object) -> None:
    with pytest.raises(MoneyError) as refused:
        parse_amount(value)
    assert refused.value.code == "amount_invalid"
    if len(str(value)) > 3:
        assert str(value) not in refused.value.detail


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("0", "0.00"),
        ("0.1", "0.10"),
        ("12.34", "12.34"),
        (7, "7.00"),
        (0, "0.00"),
        (Decimal("5.5"), "5.50"),
        ("9999999999.99", "9999999999.99"),
    ],
)
def test_a_plain_amount_has_two_places_in_the_end(value: object, read: str) -> None:
    assert str(parse_amount(value)) == read


@given(st.decimals(Decimal("0.00"), MAX_AMOUNT, places=2))
def test_every_amount_of_the_column_is_read_exactly(amount: Decimal) -> None:
    assert parse_amount(f"{amount:f}") == amount
    assert parse_amount(json.loads(f"{amount:f}", parse_float=Decimal)) == amount


@given(st.text() | st.floats() | st.decimals() | st.integers() | st.none() | st.booleans())
def test_what_is_read_fits_the_column_and_what_does_not_is_refused(value: object) -> None:
    read: Decimal | str
    try:
        read = parse_amount(value)
    except MoneyError as error:
        read = error.code
    if isinstance(read, str):
        assert read == "amount_invalid"
    else:
        assert Decimal("0.00") <= read <= MAX_AMOUNT
        assert read.as_tuple().exponent == -2
        assert not isinstance(value, float)


def test_currencies_are_told_apart_by_their_minor_digits() -> None:
    assert not TWO_DIGIT & ZERO_DIGIT
    assert not CURRENCIES & THREE_DIGIT
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES | THREE_DIGIT)
    assert check_currency("USD") == "USD"
    assert check_currency("JPY") == "JPY"


@pytest.mark.parametrize(
    ("code", "refusal"),
    [("ZZZ", "currency_unknown"), ("usd", "currency_unknown"), ("", "currency_unknown"), ("KWD", "currency_unsupported")],
)
def test_other_currencies_are_refused_by_name(code: str, refusal: str) -> None:
    with pytest.raises(MoneyError) as refused:
        check_currency(code)
    assert refused.value.code == refusal


@pytest.mark.parametrize(
    ("amount", "currency", "whole"), [("10.00", "JPY", True), ("10.50", "JPY", False), ("10.50", "USD", True)]
)
def test_amounts_in_yen_are_whole(amount: str, currency: str, whole: bool) -> None:
    if whole:
        assert check_minor_digits(Decimal(amount), currency) == Decimal(amount)
    else:
        with pytest.raises(MoneyError, match="JPY") as refused:
            check_minor_digits(Decimal(amount), currency)
        assert refused.value.code == "amount_not_whole"
