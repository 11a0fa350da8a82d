"""The life of a group as a function of the set of its events."""

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.transactions.rules.events import EventType
from cardwright.transactions.rules.life import Flag, Life, Member, Told, live

CLEARED, REVERSED, REFUNDED = EventType.CLEARED, EventType.REVERSED, EventType.REFUNDED
EXPIRED, FORCE_POSTED = EventType.EXPIRED, EventType.FORCE_POSTED
AMOUNTS = st.decimals(min_value=0, max_value=500, places=2)
EVENTS = st.lists(st.builds(Told, st.sampled_from([CLEARED, REVERSED, REFUNDED, EXPIRED]), AMOUNTS, st.booleans()), max_size=6)


def told(text: str) -> list[Told]:
    """Events in short: `clear 30`, `final 30`, `reverse 10`, `refund 5`, `expire`, `post 9`."""
    kinds = {"clear": CLEARED, "final": CLEARED, "reverse": REVERSED, "refund": REFUNDED, "expire": EXPIRED, "post": FORCE_POSTED}
    found = []
    for one in filter(None, text.split(", ")):
        kind, _, amount = one.partition(" ")
        found.append(Told(kinds[kind], Decimal(amount or 0), kind == "final"))
    return found


def life(approved: str | None, text: str, category: str = "5411") -> Life:
    """One authorization's life; None: it was declined."""
    return live([Member(None if approved is None else Decimal(approved))], told(text), category)


@pytest.mark.parametrize(
    ("approved", "events", "status", "held", "spent", "flags"),
    [
        ("100", "", "AUTHORIZED", "100", "100", ""),
        ("0", "", "AUTHORIZED", "0", "0", ""),
        (None, "", "DECLINED", "0", "0", ""),
        ("100", "clear 30", "PARTIALLY_CLEARED", "70", "100", ""),
        ("100", "clear 30, clear 70", "CLEARED", "0", "100", ""),
        ("100", "final 30", "CLEARED", "0", "30", ""),
        ("100", "final 0", "REVERSED", "0", "0", ""),
        ("100", "clear 120", "CLEARED", "0", "120", "over_cleared"),
        ("100", "reverse 40", "AUTHORIZED", "60", "60", ""),
        ("100", "reverse 100", "REVERSED", "0", "0", ""),
        ("100", "reverse 130", "REVERSED", "0", "0", "over_reversed"),
        ("100", "reverse 40, clear 60", "CLEARED", "0", "60", ""),
        ("100", "reverse 40, clear 61", "CLEARED", "0", "61", "over_cleared"),
        ("100", "reverse 40, expire", "EXPIRED", "0", "0", ""),
        ("100", "expire", "EXPIRED", "0", "0", ""),
        ("100", "expire 100", "EXPIRED", "0", "0", ""),
        ("100", "expire 30", "AUTHORIZED", "70", "70", ""),
        ("100", "clear 60, expire 40", "CLEARED", "0", "60", ""),
        ("100", "expire, clear 100", "CLEARED", "0", "100", ""),
        ("100", "refund 10", "AUTHORIZED", "100", "100", "refund_exceeds_cleared"),
        ("100", "refund 10, final 100", "PARTIALLY_REFUNDED", "0", "90", ""),
        ("100", "final 100, refund 100", "REFUNDED", "0", "0", ""),
        ("100", "final 100, refund 101", "REFUNDED", "0", "0", "refund_exceeds_cleared"),
        ("100", "clear 20, refund 20", "PARTIALLY_REFUNDED", "80", "80", ""),
        (None, "clear 30", "FORCE_POSTED", "0", "30", "cleared_without_approval"),
        (None, "reverse 30", "DECLINED", "0", "0", "over_reversed"),
        (None, "clear 30, refund 30", "REFUNDED", "0", "0", "cleared_without_approval"),
    ],
)
def test_each_life_ends_where_it_should(
    approved: str | None, events: str, status: str, held: str, spent: str, flags: str
) -> None:
    found = life(approved, events)
    assert (found.status, found.held, found.spent) == (status, Decimal(held), (Decimal(spent),))
    assert [str(flag) for flag in found.flags] == flags.split()


def test_what_was_posted_without_asking_is_no_decision() -> None:
    assert live([], told("post 30"), "5411").status == "FORCE_POSTED"
    assert live([], told("post 30, refund 30"), "5411").status == "REFUNDED"
    assert live([], told("refund 30"), "5411").flags == ()


@pytest.mark.parametrize(
    ("category", "authorized", "most"),
    [("5812", "50", "60"), ("5411", "50", "50"), ("5542", "1", "175"), ("5541", "100", "115"), ("7011", "200", "230")],
)
def test_a_clearing_up_to_the_tolerance_of_its_category_is_not_flagged(category: str, authorized: str, most: str) -> None:
    assert life(authorized, f"final {most}", category).flags == ()
    assert life(authorized, f"final {Decimal(most) + Decimal('0.01')}", category).flags == (Flag.OVER_CLEARED,)


def test_what_is_spent_is_shared_out_the_oldest_first_and_the_excess_is_the_firsts() -> None:
    members = [Member(Decimal(50)), Member(Decimal(20)), Member(None)]
    assert live(members, told("reverse 15"), "5411").spent == (Decimal(50), Decimal(5), Decimal(0))
    assert live(members, told("final 90"), "5411").spent == (Decimal(70), Decimal(20), Decimal(0))


def test_an_advice_counts_for_what_was_decided() -> None:
    assert live([Member(Decimal(50), Decimal(80))], [], "5411").held == Decimal(80)
    assert live([Member(None, Decimal(80))], [], "5411").status == "AUTHORIZED"


@given(st.lists(AMOUNTS, min_size=1, max_size=3), EVENTS, st.randoms(use_true_random=False))
def test_no_order_of_events_matters(approved: list[Decimal], events: list[Told], chance: object) -> None:
    members = [Member(amount) for amount in approved]
    shuffled = list(events)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random of hypothesis
    assert live(members, shuffled, "5411") == live(members, events, "5411")


@given(st.lists(AMOUNTS, min_size=1, max_size=3), EVENTS)
def test_money_is_held_once_and_never_below_nothing(approved: list[Decimal], events: list[Told]) -> None:
    found = live([Member(amount) for amount in approved], events, "5411")
    assert found.held >= 0
    assert all(share >= 0 for share in found.spent)
    assert sum(found.spent) == found.held + max(found.cleared - found.refunded, Decimal(0))
    assert found.held <= sum(approved)


def test_every_order_of_seven_events_ends_alike() -> None:
    events = told("clear 30, clear 20, reverse 10, refund 15, refund 5, expire, final 25")
    ends = {
        live([Member(Decimal(100))], order, "5411") for order in itertools.islice(itertools.permutations(events), 0, None, 97)
    }
    assert len(ends) == 1
    assert ends.pop().status == "PARTIALLY_REFUNDED"
