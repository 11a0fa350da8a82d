"""What is decided from counters, as a table, and that the rules do not change without another version."""

import ast
import hashlib
import inspect
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cardwright.authorizations import rules
from cardwright.authorizations.rules import Allowances, Counters, Reason, decide_counted
from cardwright.cards.rules import CATEGORY_GROUPS
from tests.unit.authorizations.test_rules import asked, profile

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALLOWANCES = Allowances(Decimal("80.00"), Decimal("90.00"), 5, "multi")
SEEN = Counters(
    day_spent=Decimal("0.00"),
    month_spent=Decimal("0.00"),
    approvals=0,
    velocity_at=None,
    locked_merchant_id=None,
    available=None,
    continued=False,
)

# Spent in day and month, what is there to spend, minutes since the approval that must be an hour old: each row breaks its own
# counter and every later one. A part is welcome in the rows of the second half.
#    usage            day    month  available  minutes  amount  part  reason                  approved
COUNTED = """
     single           80.00  90.00  0.00       59       1.00    no    card_already_used       0.00
     merchant_locked  80.00  90.00  0.00       59       1.00    no    merchant_locked         0.00
     multi            79.01  89.01  0.99       59       1.00    no    daily_limit_exceeded    0.00
     multi            79.00  89.01  0.99       59       1.00    no    monthly_limit_exceeded  0.00
     multi            79.00  89.00  0.99       59       1.00    no    insufficient_funds      0.00
     multi            79.00  89.00  1.00       59       1.00    no    velocity_exceeded       0.00
     multi            79.00  89.00  1.00       60       1.00    no    approved                1.00
     multi            79.00  89.00  -          -        1.00    no    approved                1.00
     multi            80.00  90.00  0.00       -        0.00    no    approved                0.00
     multi            80.01  90.00  0.00       -        0.00    no    daily_limit_exceeded    0.00
     multi            80.00  90.00  0.00       59       9.00    yes   daily_limit_exceeded    0.00
     multi            79.00  90.00  0.00       59       9.00    yes   monthly_limit_exceeded  0.00
     multi            79.00  89.00  0.00       59       9.00    yes   insufficient_funds      0.00
     multi            79.00  89.00  1.00       59       9.00    yes   velocity_exceeded       0.00
     multi            79.99  89.00  1.00       60       9.00    yes   approved                0.01
     multi            70.00  85.00  -          -        9.00    yes   approved                5.00
     multi            70.00  70.00  3.50       -        9.00    yes   approved                3.50
     multi            0.00   0.00   -          -        60.00   yes   approved                50.00
     multi            0.00   0.00   -          -        49.00   yes   approved                49.00
     multi            80.00  90.00  0.00       -        0.00    yes   approved                0.00
"""
ROWS = [line.split() for line in COUNTED.strip().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=["-".join(row) for row in ROWS])
def test_the_first_counter_that_has_no_room_names_the_reason(row: list[str]) -> None:
    usage, day, month, available, minutes, amount, part, reason, approved = row
    seen = replace(
        SEEN,
        day_spent=Decimal(day),
        month_spent=Decimal(month),
        approvals=1,
        locked_merchant_id="m_2",
        available=None if available == "-" else Decimal(available),
        velocity_at=None if minutes == "-" else NOW - timedelta(minutes=int(minutes)),
    )
    request = replace(asked(amount), partial_approval=part == "yes")
    decided = decide_counted(request, profile(), replace(ALLOWANCES, usage=usage), seen, NOW)
    assert decided == (Reason(reason), Decimal(approved))


def test_more_of_an_authorization_is_no_further_use_and_no_further_approval_of_the_hour() -> None:
    seen = replace(SEEN, approvals=1, velocity_at=NOW - timedelta(minutes=1), locked_merchant_id="m_2")
    for usage, reason in (
        ("single", "card_already_used"),
        ("merchant_locked", "merchant_locked"),
        ("multi", "velocity_exceeded"),
    ):
        allowances = replace(ALLOWANCES, usage=usage)
        assert decide_counted(asked("1.00"), profile(), allowances, seen, NOW)[0] == reason
        continued = replace(seen, continued=True)
        assert decide_counted(asked("1.00"), profile(), allowances, continued, NOW) == (Reason.APPROVED, Decimal("1.00"))
        assert decide_counted(asked("80.01"), profile(), allowances, continued, NOW)[0] == "daily_limit_exceeded"


@pytest.mark.parametrize(
    ("merchant_id", "locked_to", "reason"),
    [("m_1", None, "approved"), ("m_1", "m_1", "approved"), ("m_1", "m_2", "merchant_locked"), (None, None, "merchant_locked")],
)
def test_a_locked_card_takes_its_first_merchant_and_no_other(merchant_id: str | None, locked_to: str | None, reason: str) -> None:
    wanted = asked("1.00")
    request = replace(wanted, merchant=replace(wanted.merchant, id=merchant_id))
    allowances = replace(ALLOWANCES, usage="merchant_locked")
    assert decide_counted(request, profile(), allowances, replace(SEEN, locked_merchant_id=locked_to), NOW)[0] == reason


def test_without_a_limit_of_the_hour_no_approval_is_too_young() -> None:
    seen = replace(SEEN, velocity_at=NOW)
    assert decide_counted(asked("1.00"), profile(), replace(ALLOWANCES, velocity_per_hour=None), seen, NOW)[0] == "approved"


# What each version of the rules says, as a digest. A version that decisions were made under is never said another way: when a
# guard changes, raise RULE_VERSION and add a line.
VERSIONS = {1: "5dfd49aedda88d493915bba1b633ea73e5d87a05e07620123f70816c554d91e4"}


def guards_digest() -> str:
    """SHA-256 over the guards without comments and docstrings, and over the merchant categories that groups stand for."""
    parts = [ast.unparse(_bare(name)) for name in ("decide", "decide_counted", "_blocked", "expires_at")]
    groups = {name: sorted(codes) for name, codes in CATEGORY_GROUPS.items()}
    told = [*parts, str(rules.DECLINE_AT), [str(reason) for reason in Reason], groups]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _bare(name: str) -> ast.FunctionDef:
    tree = ast.parse(inspect.getsource(rules))
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:]
    return function


def test_the_guards_do_not_change_without_another_version() -> None:
    assert VERSIONS.get(rules.RULE_VERSION) == guards_digest()
