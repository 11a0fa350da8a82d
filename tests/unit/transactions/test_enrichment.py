"""Merchants as people know them: names read out of descriptors, categories, places, words to search by."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.secret import holds_card_number
from cardwright.transactions.rules.enrichment import category_of, clean_name, enrich, masked, search_text
from tests.pans import pan

# Descriptor, city the network tells apart, name a person would give it.
DESCRIPTORS: list[tuple[str, str | None, str]] = [
    tuple(row) for row in json.loads((Path(__file__).parent / "descriptors.json").read_text("utf-8"))
]


@pytest.mark.parametrize(("descriptor", "city", "name"), DESCRIPTORS)
def test_a_descriptor_is_read_as_the_name_a_person_would_give_it(descriptor: str, city: str | None, name: str) -> None:
    assert clean_name(descriptor, city) == name


def test_two_hundred_descriptors_are_tried() -> None:
    assert len({descriptor for descriptor, _, _ in DESCRIPTORS}) >= 200


@pytest.mark.parametrize("nothing", [None, "", "   "])
def test_where_no_name_is_told_there_is_none(nothing: str | None) -> None:
    assert clean_name(nothing) is None


def test_a_name_that_cleaning_would_leave_nothing_of_stays() -> None:
    assert [clean_name(name) for name in ("***", "#1234", "12345", "SQ *")] == ["***", "#1234", "12345", "SQ"]


@given(st.text(max_size=250), st.text(max_size=40))
def test_whatever_a_merchant_is_called_it_can_be_shown_and_searched(name: str, city: str) -> None:
    cleaned = clean_name(name, city)
    assert (cleaned is None) == (not name[:200].strip() or not name.split())
    assert search_text({"name": name, "city": city}, "5411", Decimal("1.00")).endswith(" 5411 1.00 1")


@given(st.text(alphabet="AB #*/.-0", min_size=150, max_size=200))
def test_a_name_made_to_be_hard_to_read_is_read_in_no_time(name: str) -> None:
    # A pattern that backtracks without end would never come back: the run's own deadline catches it.
    assert clean_name(name) is None or len(clean_name(name) or "") <= 200


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("5411", "Groceries and supermarkets"),
        ("5542", "Automated fuel dispensers"),
        ("3001", "American Airlines"),
        ("0000", None),
        ("1234", None),
        ("abcd", None),
        ("", None),
    ],
)
def test_a_category_code_is_told_in_words_where_it_means_something(code: str, meaning: str | None) -> None:
    assert category_of(code) == meaning


def test_a_merchant_is_shown_with_its_place() -> None:
    told = {
        "id": "m_1",
        "name": "SQ *CORNER SHOP LYON",
        "city": "Lyon",
        "country": "FR",
        "latitude": "45.76",
        "longitude": "4.83",
    }
    merchant = enrich(told, "5411")
    assert (merchant.clean_name, merchant.category) == ("Corner Shop", "Groceries and supermarkets")
    assert (merchant.city, merchant.country, merchant.latitude, merchant.longitude) == ("Lyon", "FR", "45.76", "4.83")


@pytest.mark.parametrize("told", [{}, {"latitude": None}, {"latitude": "north"}, {"latitude": "NaN"}, {"latitude": "1e9"}])
def test_a_place_that_is_none_is_left_out(told: dict[str, object]) -> None:
    assert enrich(told, "5411").latitude is None


def test_coordinates_are_told_with_six_places_so_that_they_are_no_card_number() -> None:
    assert enrich({"latitude": "45.764043123456789"}, "5411").latitude == "45.764043"


def test_nothing_that_looks_like_a_card_number_is_shown_of_a_merchant() -> None:
    number = pan()
    told = {"id": number, "name": f"SHOP {number}", "city": f"{number[:4]} {number[4:8]} {number[8:12]} {number[12:]}"}
    merchant = enrich(told, "5411")
    assert (merchant.id, merchant.name, merchant.clean_name, merchant.city) == ("****", "****", "****", "****")
    assert not holds_card_number(search_text(told, "5411", Decimal("10.00")))
    assert masked("Corner Shop 42") == "Corner Shop 42"


def test_the_words_of_a_transaction_hold_its_name_in_every_form_its_place_its_category_and_its_amount() -> None:
    words = search_text({"name": "SQ *CAFÉ-BAR.COM", "city": "Zürich"}, "5812", Decimal("42.10")).split()
    assert {"Zürich", "Zurich", "CAFE", "BAR", "Eating", "5812", "42.10"} <= set(words)
    assert "42" not in words
    assert "42" in search_text({}, "5812", Decimal("42.00")).split()


def test_the_relay_reads_no_category_list_before_it_needs_one() -> None:
    script = "import sys, cardwright.transactions.service; sys.exit('iso18245' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
