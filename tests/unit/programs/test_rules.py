"""Rules of programs: BIN ranges of the schemes, defaults, the default of a currency, what the audit log is told."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from cardwright.kernel.errors import ConflictError, InvalidFieldsError
from cardwright.programs import rules
from cardwright.programs.rules import Program, ProgramStatus

PROGRAM = Program(
    program_id=UUID(int=1),
    name="Everyday",
    network="visa",
    bin="40009900",
    currency="USD",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    default_per_transaction=Decimal("500.00"),
    default_daily=Decimal("1000.00"),
    default_monthly=Decimal("5000.00"),
)


@pytest.mark.parametrize(
    ("network", "digits"),
    [
        ("visa", "400000"),
        ("visa", "4999999"),
        ("visa", "49999999"),
        ("mastercard", "510000"),
        ("mastercard", "559999"),
        ("mastercard", "222100"),
        ("mastercard", "27209999"),
    ],
)
def test_a_bin_in_a_range_of_its_scheme_is_taken(network: str, digits: str) -> None:
    assert rules.bin_errors(network, digits) == []


@pytest.mark.parametrize(
    ("network", "digits", "code"),
    [
        ("visa", "510000", "bin_network_mismatch"),
        ("visa", "222100", "bin_network_mismatch"),
        ("mastercard", "400000", "bin_network_mismatch"),
        ("mastercard", "509999", "bin_network_mismatch"),
        ("mastercard", "560000", "bin_network_mismatch"),
        ("mastercard", "222099", "bin_network_mismatch"),
        ("mastercard", "272100", "bin_network_mismatch"),
        ("visa", "40000", "bin_invalid"),
        ("visa", "400000000", "bin_invalid"),
        ("visa", "4000 0", "bin_invalid"),
        ("visa", "", "bin_invalid"),
        ("visa", "４００００００", "bin_invalid"),  # noqa: RUF001 - digits of another script
    ],
)
def test_a_bin_outside_its_schemes_ranges_is_refused(network: str, digits: str, code: str) -> None:
    assert [error.code for error in rules.bin_errors(network, digits)] == [code]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"default_daily": Decimal("0.99"), "default_per_transaction": Decimal("0.50")},
            {"defaults.daily": "limit_out_of_range"},
        ),
        ({"default_daily": Decimal("50000.01"), "default_monthly": Decimal(60000)}, {"defaults.daily": "limit_out_of_range"}),
        ({"default_per_transaction": Decimal(0)}, {"defaults.per_transaction": "limit_out_of_range"}),
        ({"default_per_transaction": Decimal("1000.01")}, {"defaults.per_transaction": "limit_order"}),
        ({"default_monthly": Decimal("999.99")}, {"defaults.monthly": "limit_order"}),
        ({"currency": "JPY", "default_daily": Decimal("999.50")}, {"defaults.daily": "amount_not_whole"}),
        ({"currency": "JPY", "step_up_above": Decimal("0.50")}, {"step_up_above": "amount_not_whole"}),
        ({"default_velocity_per_hour": 0}, {"defaults.velocity_per_hour": "out_of_range"}),
        ({"default_velocity_per_hour": 101}, {"defaults.velocity_per_hour": "out_of_range"}),
        ({"max_open_cards": 0}, {"max_open_cards": "out_of_range"}),
        ({"max_open_cards": 100_001}, {"max_open_cards": "out_of_range"}),
        ({"card_lifetime_months": 0}, {"card_lifetime_months": "out_of_range"}),
        ({"card_lifetime_months": 121}, {"card_lifetime_months": "out_of_range"}),
        ({"network": "mastercard", "max_open_cards": -1}, {"bin": "bin_network_mismatch", "max_open_cards": "out_of_range"}),
    ],
)
def test_every_field_that_breaks_a_rule_is_named(changes: dict[str, Any], found: dict[str, str]) -> None:
    with pytest.raises(InvalidFieldsError) as refusal:
        rules.check_program(replace(PROGRAM, **changes))
    assert {error.field: error.code for error in refusal.value.errors} == found


def test_limits_at_their_bounds_are_taken() -> None:
    low, high = Decimal("1.00"), Decimal("50000.00")
    for amount in (low, high):
        bounded = replace(PROGRAM, default_per_transaction=amount, default_daily=amount, default_monthly=amount)
        rules.check_program(replace(bounded, default_velocity_per_hour=None, max_open_cards=1, card_lifetime_months=120))
        assert rules.limit_errors(bounded.default_limits, "USD", "") == []


def test_without_a_threshold_of_its_own_the_default_daily_limit_is_it() -> None:
    assert PROGRAM.step_up_threshold == Decimal("1000.00")
    assert replace(PROGRAM, step_up_above=Decimal("50.00")).step_up_threshold == Decimal("50.00")
    assert replace(PROGRAM, step_up_above=Decimal("0.00")).step_up_threshold == Decimal("0.00")


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ((True, ProgramStatus.ACTIVE), (True, ProgramStatus.RETIRED), "program_is_default"),
        ((False, ProgramStatus.ACTIVE), (True, ProgramStatus.RETIRED), "program_is_default"),
        ((False, ProgramStatus.RETIRED), (True, ProgramStatus.RETIRED), "program_retired"),
        ((True, ProgramStatus.ACTIVE), (False, ProgramStatus.RETIRED), None),
        ((False, ProgramStatus.RETIRED), (True, ProgramStatus.ACTIVE), None),
    ],
)
def test_a_default_program_issues_cards(
    before: tuple[bool, ProgramStatus], after: tuple[bool, ProgramStatus], code: str | None
) -> None:
    was, becomes = (replace(PROGRAM, is_default=default, status=status) for default, status in (before, after))
    found = None
    try:
        rules.check_default(was, becomes)
    except ConflictError as error:
        found = error.code
    assert found == code


def test_the_audit_log_is_told_what_changed_and_no_more() -> None:
    after = replace(PROGRAM, step_up_above=Decimal("50.00"), max_open_cards=20, version=2, updated_at=PROGRAM.created_at)
    old, new = rules.differences(PROGRAM, after)
    assert old == {"step_up_above": None, "max_open_cards": 10}
    assert new == {"step_up_above": "50.00", "max_open_cards": 20}
    assert rules.settings(PROGRAM)["default_daily"] == "1000.00"
    assert not {"program_id", "version", "created_at"} & set(rules.settings(PROGRAM))
