"""Merchant categories: codes that exist, groups that hold existing codes, and what the engine makes of both."""

import subprocess
import sys

import iso18245
import pytest

from cardwright.cards.rules import CATEGORY_GROUPS, category_codes, known_merchant_category

# What the schemes number within the range that the standard leaves to private use, as the package tells it.
PRIVATE = {"airlines": ("3000", "3350"), "car_rental": ("3351", "3500"), "hotels": ("3501", "3999")}


@pytest.mark.parametrize("group", sorted(CATEGORY_GROUPS))
def test_every_code_of_a_group_exists(group: str) -> None:
    codes = {code for code in CATEGORY_GROUPS[group] if not "3000" <= code <= "3999"}
    assert CATEGORY_GROUPS[group]
    assert {iso18245.get_mcc(code).mcc for code in codes} == codes


@pytest.mark.parametrize(("group", "ends"), PRIVATE.items())
def test_companies_of_a_private_range_are_all_in_its_group(group: str, ends: tuple[str, str]) -> None:
    known = {category.mcc for category in iso18245.get_all_mccs_in_range(*ends)}
    assert known < CATEGORY_GROUPS[group]
    assert {code for code in CATEGORY_GROUPS[group] if "3000" <= code <= "3999"} == {
        f"{code:04d}" for code in range(int(ends[0]), int(ends[1]) + 1)
    }


def test_the_private_ranges_are_those_the_schemes_give() -> None:
    named = {"Airlines": "airlines", "Car rental": "car_rental", "Lodging": "hotels"}
    told = {named[name]: (first, last) for first, last, name in iso18245._load_csv("private_ranges.csv")}
    assert told == PRIVATE


@pytest.mark.parametrize("entry", ["5411", "0742", "3000", "3998", "4511", "7995", "9402", "airlines", "crypto_and_quasi_cash"])
def test_codes_and_groups_are_known(entry: str) -> None:
    assert known_merchant_category(entry)


@pytest.mark.parametrize("entry", ["0000", "9999", "1234", "541", "05411", "", "Airlines", "everything", "٥٤١١", " 5411"])
def test_anything_else_is_not(entry: str) -> None:
    assert not known_merchant_category(entry)


def test_groups_are_taken_apart_into_codes() -> None:
    codes = category_codes(["5999", "fuel", "restaurants"])
    assert codes == {"5999", "5541", "5542", "5552", "5983", "5811", "5812", "5813", "5814"}
    assert category_codes([]) == frozenset()
    assert {"3012", "4511", "3389", "7011"} <= category_codes(["travel"])


def test_what_is_neither_code_nor_group_still_makes_an_allow_list() -> None:
    assert category_codes(["a group of tomorrow"]) == {"a group of tomorrow"}


def test_the_engine_takes_groups_apart_without_the_tables() -> None:
    program = (
        "import sys, cardwright.authorizations.store as s; s.category_codes(['travel']); sys.exit('iso18245' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
