"""How much is approved: parts where they are welcome, balances, scores, and until when a hold lasts."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from cardwright.authorizations.rules import RULE_VERSION, AuthorizationRequest, Profile
from tests.builders import SeededCard, request, set_limits
from tests.database.test_authorizations import World, together


@pytest.fixture
def world(database_url: str, cache_url: str) -> Iterator[World]:
    """The engine, its connections closed afterwards."""
    made = World(database_url, cache_url)
    yield made
    made.database.close()
    made.cache.close()


def answers(world: World, card: SeededCard, *amounts: str, **changes: object) -> list[tuple[str, str]]:
    """Decide requests that take a part; reason and approved amount of each."""
    decisions = [world.decide(card, amount, **({"partial_approval": True} | changes)) for amount in amounts]
    return [(str(decision.reason), str(decision.approved_amount)) for decision in decisions]


def test_a_part_is_what_the_nearest_limit_has_room_for(world: World) -> None:
    card = world.card(per_transaction="40.00", daily="60.00", monthly="75.00")
    assert answers(world, card, "40.01", "30.00", "1.00") == [
        ("approved", "40.00"), ("approved", "20.00"), ("daily_limit_exceeded", "0.00"),
    ]  # fmt: skip
    world.clock.at += timedelta(days=1)
    assert answers(world, card, "15.00", "0.01") == [("approved", "15.00"), ("monthly_limit_exceeded", "0.00")]
    rows = world.transactions(card)
    assert [(str(row["amount"]), str(row["approved_amount"]), str(row["held_amount"])) for row in rows][:2] == [
        ("40.01", "40.00", "40.00"), ("30.00", "20.00", "20.00"),
    ]  # fmt: skip
    spend = world.spend(card)
    assert (spend["held"], spend["day_spent"], spend["month_spent"]) == (Decimal("75.00"), Decimal("15.00"), Decimal("75.00"))


def test_a_request_that_takes_no_part_gets_none(world: World) -> None:
    card = world.card(per_transaction="40.00", daily="60.00")
    assert answers(world, card, "40.01", partial_approval=False) == [("per_transaction_limit_exceeded", "0.00")]
    assert answers(world, card, "40.00", "20.01", "20.00", partial_approval=False) == [
        ("approved", "40.00"), ("daily_limit_exceeded", "0.00"), ("approved", "20.00"),
    ]  # fmt: skip


def test_a_part_is_answered_the_same_again(world: World) -> None:
    card = world.card(per_transaction="40.00")
    wanted = request(card.token, "50.00", partial_approval=True)
    first = world.service.evaluate(wanted)
    assert (first.reason, first.approved_amount) == ("approved", Decimal("40.00"))
    world.forget(card, wanted)
    assert world.service.evaluate(wanted) == first
    other = request(card.token, "50.00", authorization_id=wanted.authorization_id)
    assert world.service.evaluate(other).reason == "authorization_id_reused"


def test_nothing_is_no_part_and_a_question_for_nothing_is_answered(world: World) -> None:
    card = world.card(per_transaction="40.00", daily="40.00", monthly="40.00")
    assert answers(world, card, "40.00", "0.00", "0.01") == [
        ("approved", "40.00"), ("approved", "0.00"), ("daily_limit_exceeded", "0.00"),
    ]  # fmt: skip
    assert answers(world, card, "0.00", partial_approval=False) == [("approved", "0.00")]


def test_use_and_velocity_decline_a_part_as_they_do_the_whole(world: World) -> None:
    single, busy = world.card(), world.card(velocity=1)
    set_limits(world.url, single, usage="single")
    assert answers(world, single, "900.00", "1.00") == [("approved", "500.00"), ("card_already_used", "0.00")]
    assert answers(world, busy, "900.00", "1.00") == [("approved", "500.00"), ("velocity_exceeded", "0.00")]


def test_amounts_without_minor_digits_are_parted_into_whole_ones(world: World) -> None:
    card = world.card(currency="JPY", per_transaction="400", daily="500", monthly="5000")
    assert answers(world, card, "1000.00", "1000.00", "1.00", currency="JPY") == [
        ("approved", "400.00"), ("approved", "100.00"), ("daily_limit_exceeded", "0.00"),
    ]  # fmt: skip


def test_of_thirty_two_at_once_parts_add_up_to_the_limit(world: World) -> None:
    card = world.card(per_transaction="10.00", daily="65.00", monthly="5000.00")
    decisions = together(world, 32, lambda _: world.decide(card, "12.00", partial_approval=True))
    approved = sorted(decision.approved_amount for decision in decisions if decision.approved)
    assert approved == [Decimal("5.00"), *[Decimal("10.00")] * 6]
    assert {decision.reason for decision in decisions if not decision.approved} == {"daily_limit_exceeded"}
    assert world.spend(card)["day_spent"] == Decimal("65.00")


def test_a_card_funded_by_balance_spends_what_is_loaded_and_not_held(world: World) -> None:
    card = world.card()
    set_limits(world.url, card, balance=Decimal("25.00"))
    assert world.reasons(card, "25.01", "20.00", "5.01", "5.00", "0.01") == [
        "insufficient_funds", "approved", "insufficient_funds", "approved", "insufficient_funds",
    ]  # fmt: skip
    assert [str(row["seen_available"]) for row in world.transactions(card)] == ["25.00", "25.00", "5.00", "5.00", "0.00"]


def test_a_part_of_a_balance_is_what_is_left_of_it(world: World) -> None:
    card = world.card(per_transaction="40.00")
    set_limits(world.url, card, balance=Decimal("45.00"))
    assert answers(world, card, "100.00", "100.00", "100.00") == [
        ("approved", "40.00"), ("approved", "5.00"), ("insufficient_funds", "0.00"),
    ]  # fmt: skip


def test_limits_are_named_before_funds_and_funds_before_velocity(world: World) -> None:
    card = world.card(daily="500.00", velocity=1)
    set_limits(world.url, card, balance=Decimal("10.00"))
    assert world.reasons(card, "10.00", "500.00", "1.00") == ["approved", "daily_limit_exceeded", "insufficient_funds"]
    set_limits(world.url, card, balance=Decimal("20.00"))
    assert world.reasons(card, "1.00") == ["velocity_exceeded"]


class Suspicious:
    """Scores by the device alone."""

    def activity_key(self, card_token: str) -> str:
        """A key that holds nothing."""
        return f"card:{{{card_token}}}:activity"

    def score(self, asked: AuthorizationRequest, profile: Profile, activity: bytes | None) -> int:
        """The device's own figure."""
        return int(asked.device_id or 0)


def test_a_score_of_ninety_declines_after_the_cards_own_state_and_is_kept(world: World) -> None:
    card, frozen = world.card(), world.card(status="FROZEN")
    service = world.engine(Suspicious())
    decisions = [service.evaluate(request(card.token, "600.00", device_id=score)) for score in ("89", "90", "100")]
    decisions.append(service.evaluate(request(frozen.token, device_id="100")))
    assert [(decision.reason, decision.risk_score, decision.final) for decision in decisions] == [
        ("per_transaction_limit_exceeded", 89, True), ("fraud_suspected", 90, True), ("fraud_suspected", 100, True),
        ("card_frozen", 100, True),
    ]  # fmt: skip
    assert [row["risk_score"] for row in world.transactions(card)] == [89, 90, 100]


def test_an_approval_names_its_rules_and_the_end_of_its_hold(world: World) -> None:
    card = world.card()
    for mcc in ("5411", "5542", "7011"):
        world.decide(card, "1.00", mcc=mcc)
    world.decide(card, "501.00")
    rows = world.transactions(card)
    now = world.clock.now()
    assert [row["hold_expires_at"] for row in rows] == [now + timedelta(days=days) for days in (7, 1, 31)] + [None]
    assert {row["rule_version"] for row in rows} == {RULE_VERSION}


def test_more_of_an_authorization_joins_it_while_it_stands(world: World) -> None:
    card = world.card(velocity=1)
    for order, (name, original) in enumerate((("hotel", None), ("bar", "hotel"), ("spa", "bar"), ("stray", "nobody"))):
        kind = "authorization" if order == 0 else "incremental"
        world.decide(card, "1.00", authorization_id=name, type=kind, original_authorization_id=original)
    rows = world.transactions(card)
    assert [(row["root_authorization_id"], row["continued"], row["reason"]) for row in rows] == [
        ("hotel", False, "approved"), ("hotel", True, "approved"), ("hotel", True, "approved"),
        ("stray", False, "velocity_exceeded"),
    ]  # fmt: skip
