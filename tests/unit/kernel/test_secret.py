"""A secret never shows itself; Luhn finds every single wrong digit."""

import copy
import json
import logging
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.secret import Secret, luhn_valid
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
