"""JSON in: exact numbers, no ambiguity, nothing the database could not keep."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.errors import InvalidRequestError
from cardwright.kernel.jsontext import parse

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_plain_values_come_back(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.10", Decimal("1.10")), ("0.1", Decimal("0.1")), ("1e400", Decimal("1e400")), ("-0.0", Decimal("-0.0")), ("12", 12)],
)
def test_numbers_keep_what_was_written(text: str, value: Decimal | int) -> None:
    read = parse(text.encode())
    assert (type(read), str(read)) == (type(value), str(value))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b"[1,]",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'"\\u0000"',
        b'["\\ud83d"]',
        b'{"\\u0000": 1}',
        b'{"\\udc00": 1}',
        b'"\x00"',
        b'"\n"',
        b"[" * 50000,
        b'{"a":' * 50000,
        b"1 2",
        b"9" * 5000,
        b'"\\x41"',
        b"{}//",
        "﻿{}".encode("utf-16"),
    ],
)
def test_anything_else_is_refused_whole(body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse(body)
    assert refused.value.code == "json_invalid"


def test_an_escaped_pair_of_surrogates_is_one_character() -> None:
    assert parse(b'"\\ud83d\\ude00"') == "\U0001f600"
    assert parse(b'"\\u00e9"') == "é"
