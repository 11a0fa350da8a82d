"""Names that strangers chose: no link, no unseen character, no more than a line can hold."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.notifications.rules.names import NAME_MAX, shown_name


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("Blue Bottle Coffee", "Blue Bottle Coffee"),
        ("Caf\u00e9 M\u00fcller & S\u00f6hne (Nord) No.7 - 12:30", "Caf\u00e9 M\u00fcller & S\u00f6hne (Nord) No.7 - 12:30"),
        ("[click](javascript:alert(1)) http://evil.example/", "click ( alert(1)) evil. example/"),
        ("[Click](Javascript:Alert(1)) HTTP://Evil.Example", "Click ( Alert(1)) Evil. Example"),
        ("Evil\nYour code is 123456. Call +1 555", "Evil Your code is 123456. Call +1 555"),
        ("htthttp://p://evil.example", "evil. example"),
        ("java\u200bscript:x", "x"),
        ("\uff48\uff54\uff54\uff50\uff1a//evil\uff0eexample", "evil. example"),
        ("app+x:open\\\\evil", "app+x: open evil"),
        ("mailto:me@evil.example", "me@evil. example"),
        ("<a href='x'>Shop</a>", "a href='x' Shop /a"),
        ('\u201cShop\u201d said "yes"', "Shop said yes"),
        ("\u202eShop\u2066 \u3164\u2800", "Shop"),
        ("", ""),
    ],
    ids=range(14),
)
def test_a_name_is_shown_without_what_makes_a_link_of_it(told: str, shown: str) -> None:
    assert shown_name(told) == shown


def test_a_long_name_is_cut() -> None:
    assert shown_name("x" * NAME_MAX) == "x" * NAME_MAX
    assert shown_name("x" * 5000) == "x" * (NAME_MAX - 1) + "\u2026"


@given(st.text(max_size=500) | st.text("htp:/\\[]().@w\u200b \u3164e1", max_size=80))
def test_whatever_a_name_is_no_link_and_no_line_comes_of_it(told: str) -> None:
    shown = shown_name(told)
    assert len(shown) <= NAME_MAX
    assert shown == shown.strip()
    assert not re.search(r"://|//|\]\(|[\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e]|\w\.[a-z]|\bhttps?:|\\", shown, re.IGNORECASE)
