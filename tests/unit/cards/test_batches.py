"""Rules of batches, and wishes on their way through JSON."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.cards import rules
from cardwright.cards.rules import AllowDeny, BatchStatus, Failure, Usage, WantedLimits
from cardwright.cards.service import IssueCard
from cardwright.cards.service.batches import read_wish_document, wish_document
from cardwright.kernel.errors import BrokenInvariantError, ConflictError, FieldError, InvalidFieldsError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIELD = FieldError("limits.daily", "amount_invalid", "An amount is a decimal string.")
AMOUNTS = st.none() | st.decimals(Decimal("0.01"), Decimal("50000.00"), places=2)
CODES = st.lists(st.from_regex(r"[0-9]{4}", fullmatch=True), max_size=3).map(tuple)


def test_pauses_between_attempts_grow_and_end_after_the_sixth() -> None:
    pauses = [rules.next_attempt(number, NOW) for number in range(1, 8)]
    assert pauses == [*(NOW + timedelta(seconds=seconds) for seconds in (10, 30, 120, 600, 1800)), None, None]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ([], []),
        ([None, None, "a"], []),
        (["a", "b", "a", None, "a"], [("items.2.idempotency_key", 0), ("items.4.idempotency_key", 0)]),
        (["x", "a", "a"], [("items.2.idempotency_key", 1)]),
    ],
)
def test_each_repeated_key_is_named_with_the_item_it_repeats(keys: list[str | None], found: list[tuple[str, int]]) -> None:
    errors = rules.repeated_keys(keys)
    assert [(error.field, error.detail) for error in errors] == [
        (field, f"Item {first} has the same key.") for field, first in found
    ]
    assert {error.code for error in errors} <= {"duplicate_key"}


def test_a_failure_has_the_code_of_its_error_and_survives_json() -> None:
    refused = rules.failure_of(InvalidFieldsError([FIELD] * 11))
    assert (refused.code, len(refused.errors)) == ("invalid_fields", 10)
    conflict = rules.failure_of(ConflictError("At most 3.", code="card_limit_reached"))
    assert conflict == Failure("card_limit_reached", "At most 3.")
    for failure in (refused, conflict):
        assert rules.read_failure(json.loads(json.dumps(failure.document()))) == failure


@pytest.mark.parametrize("error", [RuntimeError("details"), BrokenInvariantError("details", code="strange")])
def test_a_bug_shows_nothing_of_itself(error: Exception) -> None:
    assert rules.failure_of(error) == Failure("internal_error", "Something went wrong on our side.")


def test_a_batch_without_one_good_item_has_failed_at_once() -> None:
    assert [rules.first_status(failed, 2) for failed in (0, 1, 2)] == [
        BatchStatus.QUEUED,
        BatchStatus.QUEUED,
        BatchStatus.FAILED,
    ]


@given(
    st.builds(
        IssueCard,
        currency=st.sampled_from(["USD", "JPY"]),
        label=st.none() | st.text(max_size=20),
        program_id=st.none() | st.uuids(),
        limits=st.builds(WantedLimits, AMOUNTS, AMOUNTS, AMOUNTS),
        merchant_categories=st.builds(AllowDeny, CODES, CODES),
        usage=st.sampled_from(Usage),
        expires_on=st.none() | st.dates(date(2026, 1, 1), date(2040, 1, 1)),
    )
)
def test_a_wish_comes_back_from_json_as_it_went(wish: IssueCard) -> None:
    assert read_wish_document(json.loads(json.dumps(wish_document(wish)))) == wish
