"""Sealed entries of the cache: opened by a key that sealed them, for the cache key they were sealed for, and unchanged."""

from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.secret import Secret
from cardwright.platform.entries import seal, unseal

KEYS = [Secret(b"first" * 8), Secret(b"second" * 8)]


@given(st.text(min_size=1, max_size=40), st.binary(max_size=200))
def test_each_of_the_keys_opens_what_it_sealed_however_often(key: str, value: bytes) -> None:
    for order in (KEYS, KEYS[::-1]):
        entry = seal(order, key, value)
        assert [unseal(KEYS, key, entry), unseal(KEYS, key, entry)] == [value, value]


@given(st.binary(max_size=60), st.data())
def test_another_key_another_place_or_a_changed_octet_opens_nothing(value: bytes, data: st.DataObject) -> None:
    entry = seal(KEYS, "card:{a}", value)
    assert unseal(KEYS, "card:{a}", entry) == value
    assert unseal(KEYS, "card:{b}", entry) is None
    assert unseal(KEYS[1:], "card:{a}", entry) is None
    assert unseal([], "card:{a}", entry) is None
    changed = bytearray(entry)
    changed[data.draw(st.integers(0, len(entry) - 1))] ^= 1
    assert unseal(KEYS, "card:{a}", bytes(changed)) is None


def test_what_is_too_short_for_a_seal_opens_nothing() -> None:
    assert all(unseal(KEYS, "k", b"x" * length) is None for length in range(17))
