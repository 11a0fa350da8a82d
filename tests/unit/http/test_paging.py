"""Cursors: opaque, ours, and each for one list of one caller."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.http.paging import page, read, sign
from cardwright.kernel.errors import InvalidRequestError
from cardwright.kernel.secret import Secret

KEYS = [Secret(b"new" * 11), Secret(b"old" * 11)]


@given(st.uuids(), st.text(max_size=40))
def test_a_cursor_comes_back_for_its_list_and_no_other(position: object, list_name: str) -> None:
    cursor = sign(KEYS, list_name, position)  # type: ignore[arg-type]  # hypothesis gives UUIDs
    assert read(KEYS, list_name, cursor) == position
    with pytest.raises(InvalidRequestError):
        read(KEYS, list_name + "x", cursor)


@given(st.uuids(), st.integers(0, 31), st.integers(1, 255))
def test_no_bit_of_it_may_change(position: object, place: int, flip: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(sign(KEYS, "cards", position) + "="))  # type: ignore[arg-type]  # as above
    raw[place] ^= flip
    with pytest.raises(InvalidRequestError) as refused:
        read(KEYS, "cards", base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="))
    assert refused.value.code == "cursor_invalid"


@given(st.text(max_size=60))
def test_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        read(KEYS, "cards", text)


@given(st.uuids())
def test_a_cursor_outlives_a_rotation_by_one_key(position: object) -> None:
    older = sign(KEYS[1:], "cards", position)  # type: ignore[arg-type]  # as above
    assert read(KEYS, "cards", older) == position
    with pytest.raises(InvalidRequestError):
        read(KEYS[:1], "cards", older)


@given(st.lists(st.uuids(), unique=True, max_size=30), st.integers(1, 7))
def test_pages_make_up_the_whole_list_once(items: list[object], limit: int) -> None:
    seen: list[object] = []
    start = 0
    while True:
        shown, pagination = page(items[start : start + limit + 1], limit, lambda item: item, KEYS, "cards")  # type: ignore[arg-type, return-value]  # as above
        seen += shown
        assert pagination.has_more == (pagination.next_cursor is not None)
        if pagination.next_cursor is None:
            break
        assert read(KEYS, "cards", pagination.next_cursor) == shown[-1]
        start += limit
    assert seen == items
