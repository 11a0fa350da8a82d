"""A secret never shows itself; Luhn finds every single wrong digit; card numbers in free text are seen."""

import copy
import json
import logging
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.secret import Secret, holds_card_number, luhn_valid
from tests.pans import pan

HIDDEN = "open sesame"


@dataclass
class Holder:
    """Something with a secret in it."""

    password: Secret[str]


@pytest.mark.parametrize(
    "show",
    [
        str, repr, "{}".format, "{:>20}".format, "{!r}".format, lambda s: f"{s}", lambda s: f"{s:10}", "{0} {0!r}".format,
        lambda s: repr([s]), lambda s: repr({"a": s}), lambda s: repr(Holder(s)), lambda s: json.dumps({"a": s}, default=str),
        lambda s: str(ValueError(s)),
    ],
)  # fmt: skip
def test_no_way_of_printing_shows_it(show: Callable[[Secret[str]], str]) -> None:
    shown = show(Secret(HIDDEN))
    assert "****" in shown
    assert HIDDEN not in shown


def test_logging_does_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logging.getLogger("tests").info("given %s and %r", Secret(HIDDEN), Secret(HIDDEN))
    assert caplog.messages == ["given **** and ****"]


@pytest.mark.parametrize("serialize", [pickle.dumps, copy.deepcopy, copy.copy, json.dumps])
def test_it_is_never_serialized(serialize: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        serialize(Secret(HIDDEN))


def test_it_can_be_revealed_compared_and_hashed() -> None:
    assert Secret(HIDDEN).reveal() == HIDDEN
    assert Secret(HIDDEN) == Secret(HIDDEN)
    assert Secret(HIDDEN) != Secret("other")
    assert Secret(HIDDEN) != HIDDEN
    assert len({Secret(HIDDEN), Secret(HIDDEN)}) == 1
    with pytest.raises(AttributeError):
        Secret(HIDDEN).note = 1  # type: ignore[attr-defined]  # the point: nothing can be hung on it


@given(st.text("0123456789", min_size=11, max_size=18), st.integers(0, 17), st.integers(1, 9))
def test_luhn_finds_a_wrong_digit(prefix: str, place: int, added: int) -> None:
    number = pan(prefix, len(prefix) + 1)
    assert luhn_valid(number)
    place %= len(number)
    wrong = number[:place] + str((int(number[place]) + added) % 10) + number[place + 1 :]
    assert not luhn_valid(wrong)


@pytest.mark.parametrize("text", ["", "abc", "4242 4242", "٤٢٤٢", "42-42", "4242."])
def test_luhn_takes_digits_alone(text: str) -> None:
    assert not luhn_valid(text)


@pytest.mark.parametrize(
    ("separator", "around"),
    [
        ("", "{}"),
        (" ", "my card {} please"),
        ("-", "{} 12/29"),
        (" ", "7 {}"),
        ("", "a{}b"),
        (".", "{}"),
        ("\u00a0", "{}"),
    ],
)
@pytest.mark.parametrize("zero", ["0", "\uff10"])
def test_a_card_number_in_free_text_is_seen(separator: str, around: str, zero: str) -> None:
    digits = "".join(chr(ord(zero) + int(digit)) for digit in pan())
    assert holds_card_number(around.format(separator.join(digits[start : start + 4] for start in range(0, 16, 4))))


@pytest.mark.parametrize("separator", ["", " ", " - "])
@pytest.mark.parametrize(("length", "seen"), [(12, False), (13, True), (19, True)])
def test_a_card_number_has_13_to_19_digits(separator: str, length: int, seen: bool) -> None:
    assert holds_card_number(separator.join(pan("4" * 11, length))) == seen


def test_more_digits_in_one_piece_are_no_card_number() -> None:
    assert not holds_card_number(pan("4" * 11, 20))


@pytest.mark.parametrize("text", ["", "Office 2026", "4242 4242 4242 4241", "order 123456", "4" * 40, "+49 170 1234567"])
def test_other_free_text_is_left_alone(text: str) -> None:
    assert not holds_card_number(text)


def lines_run(text: str) -> int:
    """How many lines of code it takes to look through a text in which there is no card number."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace if frame.f_code.co_name == "holds_card_number" else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = holds_card_number(text)
    finally:
        sys.settrace(before)
    assert not found
    return count


@pytest.mark.parametrize("group", ["1 ", "12-", "1234 ", "1" * 18 + " "])
def test_looking_through_a_text_costs_no_more_than_its_length(group: str) -> None:
    assert 0 < lines_run(group * 200) < 2.2 * lines_run(group * 100)
