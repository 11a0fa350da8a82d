"""Rules of KYC."""

from dataclasses import replace
from datetime import date
from itertools import product
from uuid import UUID

import pytest

from cardwright.kernel.errors import InvalidFieldsError
from cardwright.kernel.secret import Secret
from cardwright.kyc import rules
from cardwright.kyc.rules import Details, KycStatus

TODAY = date(2026, 11, 21)
USER = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a909")
SUBMISSION = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a90a")
DETAILS = Details(Secret("Ada"), Secret("Lovelace"), Secret(date(1990, 12, 10)), "GB", "passport", Secret("X 12-34/5.6"))
MOVES = {
    ("NOT_STARTED", "PENDING"),
    ("PENDING", "VERIFIED"),
    ("PENDING", "REJECTED"),
    ("PENDING", "NEEDS_REVIEW"),
    ("NEEDS_REVIEW", "VERIFIED"),
    ("NEEDS_REVIEW", "REJECTED"),
    ("VERIFIED", "EXPIRED"),
    ("REJECTED", "PENDING"),
    ("EXPIRED", "PENDING"),
}


def codes(details: Details) -> list[str]:
    """Codes details are refused with."""
    try:
        rules.check_details(details, TODAY)
    except InvalidFieldsError as error:
        return [field.code for field in error.errors]
    return []


def test_the_moves_are_these_and_no_others() -> None:
    assert {(a.value, b.value) for a, b in product(KycStatus, repeat=2) if rules.may_move(a, b)} == MOVES


@pytest.mark.parametrize(
    ("status", "taken", "allowed"),
    [
        ("NOT_STARTED", False, True),
        ("PENDING", True, False),
        ("PENDING", False, True),
        ("VERIFIED", True, False),
        ("NEEDS_REVIEW", True, False),
        ("NEEDS_REVIEW", False, False),
        ("REJECTED", True, True),
        ("EXPIRED", True, True),
    ],
)
def test_a_submission_is_taken_where_nothing_is_under_way(status: str, taken: bool, allowed: bool) -> None:
    assert rules.may_submit(KycStatus(status), taken=taken) is allowed


def test_good_details_pass() -> None:
    assert codes(DETAILS) == []


@pytest.mark.parametrize(
    ("born", "refused"),
    [
        (date(2008, 11, 21), False),
        (date(2008, 11, 22), True),
        (date(1906, 11, 21), False),
        (date(1905, 11, 21), True),
        (date(2030, 1, 1), True),
        (date(2008, 2, 29), False),
    ],
)
def test_a_cardholder_is_18_to_120(born: date, refused: bool) -> None:
    assert codes(replace(DETAILS, date_of_birth=Secret(born))) == (["age_out_of_range"] if refused else [])


def test_each_bad_detail_is_named() -> None:
    bad = replace(DETAILS, country="ZZ", document_type="pass port!", document_number=Secret("<script>"))
    assert codes(bad) == ["country_unknown", "document_type_invalid", "document_number_invalid"]
    assert codes(replace(DETAILS, document_number=Secret("1" * 65))) == ["document_number_invalid"]
    assert "Lovelace" not in repr(DETAILS)


def test_a_reference_names_user_and_submission() -> None:
    assert rules.read_reference(rules.reference(USER, SUBMISSION)) == (USER, SUBMISSION)


@pytest.mark.parametrize("text", ["", ".", "x.y", str(USER), f"{USER}.", f"{USER}.{SUBMISSION}.", f"{USER.hex}.{SUBMISSION}"])
def test_any_other_reference_names_nothing(text: str) -> None:
    assert rules.read_reference(text) is None


def test_there_are_249_countries() -> None:
    assert len(rules._COUNTRIES) == 249
    assert rules.is_country("FR")
    assert not rules.is_country("fr")
