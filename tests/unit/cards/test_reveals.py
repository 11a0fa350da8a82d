"""The token of a reveal: what it says, and that it has one spelling."""

import hashlib
from datetime import timedelta
from uuid import UUID

import pytest

from cardwright.cards.rules.reveals import (
    REVEAL_LIFE,
    REVEAL_SECRET_BYTES,
    REVEALS_PER_HOUR,
    REVEALS_WINDOW,
    read_reveal_token,
    reveal_digest,
    reveal_token,
)
from cardwright.kernel.secret import Secret

USER, REVEAL = UUID(int=2**127 + 5), UUID(int=2**126 + 7)
OCTETS = Secret(bytes(range(REVEAL_SECRET_BYTES)))
TOKEN = reveal_token(USER, REVEAL, OCTETS).reveal()


def test_a_token_says_whose_it_is_and_proves_it_without_keeping_the_secret() -> None:
    ticket = read_reveal_token(Secret(TOKEN))
    assert ticket is not None
    assert (ticket.user_id, ticket.reveal_id) == (USER, REVEAL)
    assert ticket.digest == hashlib.sha256(OCTETS.reveal()).digest() == reveal_digest(OCTETS)
    assert len(TOKEN) == 86
    assert set(TOKEN) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "text",
    ["", TOKEN[:-1], TOKEN + "A", TOKEN + "=", "+" + TOKEN[1:], " " + TOKEN[1:], "é" + TOKEN[1:], TOKEN[:-1] + "B", "." * 86],
)
def test_what_is_not_spelled_as_we_spell_it_is_no_token(text: str) -> None:
    assert read_reveal_token(Secret(text)) is None


def test_a_permission_is_short_and_rare() -> None:
    assert timedelta(minutes=1) == REVEAL_LIFE
    assert timedelta(hours=1) == REVEALS_WINDOW
    assert REVEALS_PER_HOUR == 10
    assert REVEAL_SECRET_BYTES * 8 == 256
