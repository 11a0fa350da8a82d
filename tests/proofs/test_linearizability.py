"""The checker itself, on histories made by hand: what must be explained is, what cannot be is not."""

from collections.abc import Sequence
from typing import Any

import pytest

from bench.proofs.histories import Operation
from bench.proofs.linearizability import UndecidedError, check
from bench.proofs.spend_model import Settings, SpendModel

HUNDRED = Settings(per_transaction=100, daily=100, monthly=100)


def op(
    name: str, asked: dict[str, Any], answer: dict[str, Any] | None, called: int, returned: int | None, place: int | None = None
) -> Operation:
    """An operation of some client on the one card."""
    return Operation("tok", 0, name, asked, called, returned, answer, place)


def ask(identity: str, amount: int, reason: str | None, called: int, returned: int | None, **more: Any) -> Operation:
    """An authorization; a reason of None is an outcome nobody learned."""
    asked = {"id": identity, "amount": amount, "body": str(amount), "now": 10, "day": 1, "month": 1, **more}
    answer = None if reason is None else {"reason": reason, "approved": amount if reason == "approved" else 0}
    return op("authorize", asked, answer, called, returned)


def tell(event_id: str, identity: str, kind: str, amount: int, outcome: str, called: int, returned: int) -> Operation:
    """An event."""
    asked = {"event_id": event_id, "id": identity, "type": kind, "amount": amount, "final": False}
    return op("event", asked, {"outcome": outcome}, called, returned)


def seen(held: int, spent: int, called: int, returned: int) -> Operation:
    """A read of the spend row."""
    return op("read", {}, {"held": held, "day_spent": spent, "month_spent": spent}, called, returned)


def explained(history: Sequence[Operation], settings: Settings = HUNDRED) -> bool:
    """Whether the checker finds an order."""
    return check(SpendModel(settings), history).linearizable


def test_one_after_another_is_explained() -> None:
    assert explained([ask("a", 60, "approved", 0, 1), seen(60, 60, 2, 3), ask("b", 60, "daily_limit_exceeded", 4, 5)])


def test_the_order_of_what_overlaps_may_be_either() -> None:
    first, second = ask("a", 60, "daily_limit_exceeded", 0, 10), ask("b", 60, "approved", 1, 9)
    assert explained([first, second])


def test_both_of_two_that_fit_only_alone_is_no_history() -> None:
    verdict = check(SpendModel(HUNDRED), [ask("a", 60, "approved", 0, 10), ask("b", 60, "approved", 1, 9)])
    assert not verdict.linearizable
    assert len(verdict.stuck) == 1


def test_a_decline_without_a_cause_is_no_history() -> None:
    assert not explained([ask("a", 60, "daily_limit_exceeded", 0, 1)])


def test_an_order_against_time_is_no_history() -> None:
    assert not explained([ask("a", 60, "daily_limit_exceeded", 0, 1), ask("b", 60, "approved", 2, 3)])


def test_a_read_that_misses_what_had_returned_is_no_history() -> None:
    assert not explained([ask("a", 60, "approved", 0, 1), seen(0, 0, 2, 3)])
    assert explained([ask("a", 60, "approved", 0, 3), seen(0, 0, 2, 4)])


def test_the_same_id_must_be_answered_alike() -> None:
    again = ask("a", 60, "approved", 2, 3)
    assert explained([ask("a", 60, "approved", 0, 1), again, seen(60, 60, 4, 5)])
    assert not explained([ask("a", 60, "approved", 0, 1), again, seen(120, 120, 4, 5)])
    assert not explained([ask("a", 60, "approved", 0, 1), ask("a", 60, "daily_limit_exceeded", 2, 3)])


def test_an_outcome_that_nobody_learned_may_have_happened_or_not() -> None:
    maybe = ask("a", 60, None, 0, None)
    assert explained([maybe, ask("b", 60, "approved", 5, 6)])
    assert explained([maybe, ask("b", 60, "daily_limit_exceeded", 5, 6)])
    assert explained([maybe, seen(0, 0, 1, 2), ask("b", 60, "daily_limit_exceeded", 5, 6)])


def test_what_was_given_back_may_be_spent_again_but_once() -> None:
    before = [ask("a", 100, "approved", 0, 1), tell("e", "a", "reversed", 60, "applied", 2, 9)]
    assert explained([*before, ask("b", 60, "approved", 3, 8)])
    assert not explained([*before, ask("b", 60, "approved", 3, 8), ask("c", 40, "approved", 10, 11)])


def test_an_event_counts_once_whoever_tells_it() -> None:
    twice = [tell("e", "a", "reversed", 50, "applied", 2, 9), tell("e", "a", "reversed", 50, "duplicate", 3, 8)]
    assert explained([ask("a", 100, "approved", 0, 1), *twice, seen(50, 50, 10, 11)])
    assert not explained([ask("a", 100, "approved", 0, 1), *twice, seen(0, 0, 10, 11)])
    applied = [tell("e", "a", "reversed", 50, "applied", at, 9) for at in (2, 3)]
    assert not explained([ask("a", 100, "approved", 0, 1), *applied])


def test_a_parked_event_is_applied_when_it_is_settled() -> None:
    parked = tell("e", "a", "cleared", 30, "parked", 0, 1)
    asked = ask("a", 60, "approved", 2, 3)
    assert explained([parked, asked, seen(60, 60, 4, 5), op("settle", {}, {}, 6, 7), seen(30, 60, 8, 9)])
    assert not explained([parked, asked, op("settle", {}, {}, 6, 7), seen(60, 60, 8, 9)])


def test_money_of_yesterday_is_not_given_back_to_today() -> None:
    days = [ask("a", 100, "approved", 0, 1), ask("b", 40, "approved", 2, 3, day=2, month=2)]
    back = tell("e", "a", "reversed", 100, "applied", 4, 5)
    assert explained([*days, back, seen(40, 40, 6, 7)])
    assert not explained([*days, back, seen(40, 0, 6, 7)])


def test_the_velocity_counts_approvals_of_an_hour() -> None:
    settings = Settings(velocity=1)
    first = ask("a", 1, "approved", 0, 1, now=0)
    assert explained([first, ask("b", 1, "velocity_exceeded", 2, 3, now=3599)], settings)
    assert explained([first, ask("b", 1, "approved", 2, 3, now=3600)], settings)
    assert not explained([first, ask("b", 1, "approved", 2, 3, now=3599)], settings)


def test_a_freeze_that_returned_holds_for_whoever_asks_afterwards() -> None:
    freeze = op("set", {"status": "FROZEN"}, {}, 0, 5)
    assert explained([freeze, ask("a", 1, "approved", 1, 6)])
    assert not explained([freeze, ask("a", 1, "approved", 6, 7)])


def test_a_wrong_hint_costs_time_but_no_truth() -> None:
    late = op("authorize", ask("a", 60, "approved", 0, 1).asked, {"reason": "approved", "approved": 60}, 0, 10, place=9)
    early = op("authorize", ask("b", 60, "daily_limit_exceeded", 0, 1).asked, {"reason": "daily_limit_exceeded"}, 0, 10, place=1)
    assert explained([late, early])


def test_a_search_that_takes_too_long_says_so() -> None:
    history = [ask(f"a{number}", 1, "approved", 0, 100) for number in range(12)] + [seen(7, 7, 0, 100), seen(99, 99, 101, 102)]
    with pytest.raises(UndecidedError, match="after 500 steps"):
        check(SpendModel(HUNDRED), history, 500)
