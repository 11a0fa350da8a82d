"""The life of transactions over the real database: what events make of holds, windows, rows, ledger and messages."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from cardwright.cards.rules import Card, CardStatus, LimitsChange
from cardwright.cards.service.states import StateChange
from cardwright.kernel.errors import ConflictError, InvalidRequestError
from cardwright.platform.postgres import Actor
from cardwright.transactions.rules.events import EventType, ProcessorEvent
from cardwright.transactions.service.parked import ParkedEvents
from tests.fakes.card_world import CardWorld
from tests.fakes.life_world import LifeWorld

CLEARED, REVERSED, REFUNDED = EventType.CLEARED, EventType.REVERSED, EventType.REFUNDED
EXPIRED, FORCE_POSTED, ADVICE = EventType.EXPIRED, EventType.FORCE_POSTED, EventType.ADVICE


@pytest.fixture
def life(world: CardWorld, database_url: str, card: Card) -> Iterator[LifeWorld]:
    """Events of the card."""
    life = LifeWorld(world, database_url, card)
    yield life
    life.close()


def test_a_clearing_turns_the_hold_into_money_spent(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "40.00")
    receipt = life.tell(CLEARED, "40.00", bought, final_clearing=True)
    assert (receipt.outcome, receipt.transaction_id) == ("applied", bought.transaction_id)
    row = life.transaction(bought)
    assert (row["status"], row["held_amount"], row["cleared_amount"]) == ("CLEARED", Decimal(0), Decimal("40.00"))
    assert life.money() == ("0.00", "40.00", "40.00")
    assert life.ledger() == {"cardholder_spend": "40.00", "card_holds": "-40.00"}


def test_partial_clearings_take_their_part_of_the_hold_and_the_final_one_gives_back_the_rest(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "100.00")
    life.tell(CLEARED, "30.00", bought)
    assert life.transaction(bought)["status"] == "PARTIALLY_CLEARED"
    assert life.money() == ("70.00", "100.00", "100.00")
    life.tell(CLEARED, "50.00", bought, final_clearing=True)
    assert life.transaction(bought)["status"] == "CLEARED"
    assert life.money() == ("0.00", "80.00", "80.00")


def test_a_tip_within_the_tolerance_takes_the_difference_and_is_not_flagged(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "50.00", merchant=_merchant("5812"))
    life.tell(CLEARED, "60.00", bought, final_clearing=True)
    assert life.transaction(bought)["flags"] == []
    assert life.money() == ("0.00", "60.00", "60.00")


def test_a_clearing_over_the_tolerance_is_booked_and_flagged(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "50.00")
    life.tell(CLEARED, "50.01", bought, final_clearing=True)
    assert life.transaction(bought)["flags"] == ["over_cleared"]
    assert life.money() == ("0.00", "50.01", "50.01")


def test_reversals_give_back_to_the_windows_and_no_more_than_was_taken(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "100.00")
    life.tell(REVERSED, "40.00", bought)
    assert (life.transaction(bought)["status"], life.money()) == ("AUTHORIZED", ("60.00", "60.00", "60.00"))
    life.tell(REVERSED, "60.00", bought)
    assert (life.transaction(bought)["status"], life.money()) == ("REVERSED", ("0.00", "0.00", "0.00"))
    life.tell(REVERSED, "60.00", bought)
    assert (life.transaction(bought)["flags"], life.money()) == (["over_reversed"], ("0.00", "0.00", "0.00"))
    assert life.ledger() == {}


def test_refunds_give_back_what_was_cleared_and_what_is_over_it_is_flagged(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "80.00")
    life.tell(CLEARED, "80.00", bought, final_clearing=True)
    life.tell(REFUNDED, "30.00", bought)
    assert (life.transaction(bought)["status"], life.money()) == ("PARTIALLY_REFUNDED", ("0.00", "50.00", "50.00"))
    life.tell(REFUNDED, "60.00", bought)
    row = life.transaction(bought)
    assert (row["status"], row["flags"], life.money()) == ("REFUNDED", ["refund_exceeds_cleared"], ("0.00", "0.00", "0.00"))
    assert life.ledger() == {"cardholder_spend": "-10.00", "card_holds": "10.00"}


def test_what_was_taken_yesterday_is_not_given_back_to_today(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "80.00")
    life.later(timedelta(days=1))
    life.world.pay(life.card, "25.00")
    life.tell(REVERSED, "80.00", bought)
    assert life.money() == ("25.00", "25.00", "25.00")


def test_what_was_taken_in_another_time_zone_is_given_back_all_the_same(life: LifeWorld, holder: Actor) -> None:
    bought = life.world.pay(life.card, "80.00")
    change = LimitsChange(time_zone="Pacific/Auckland")
    life.world.service.update_limits(
        holder, life.card.card_id, change, operation_id=life.world.ids.new(), require_step_up=lambda: None
    )
    assert life.money()[1] == "80.00"
    life.tell(REVERSED, "80.00", bought)
    assert life.money() == ("0.00", "0.00", "0.00")


def test_an_event_told_again_changes_nothing_and_one_that_tells_otherwise_is_refused(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "100.00")
    event = life.event(REVERSED, "40.00", bought.authorization_id)
    assert life.life.receive(event).outcome == "applied"
    assert life.life.receive(event).outcome == "duplicate"
    assert life.money() == ("60.00", "60.00", "60.00")
    with pytest.raises(ConflictError) as refused:
        life.tell(REVERSED, "41.00", bought, event_id=event.event_id)
    assert refused.value.code == "event_id_reused"
    assert life.money() == ("60.00", "60.00", "60.00")


def test_eight_callers_with_one_event_apply_it_once(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "100.00")
    event = life.event(REVERSED, "40.00", bought.authorization_id)
    outcomes: list[str] = []

    def deliver() -> None:
        outcomes.append(life.life.receive(event).outcome)
        life.close()

    assert life.world.at_once(*[deliver] * 8) == {"done": 8}
    assert sorted(outcomes) == ["applied", *["duplicate"] * 7]
    assert life.money() == ("60.00", "60.00", "60.00")


def test_a_clearing_before_its_authorization_waits_for_it(life: LifeWorld) -> None:
    named = f"auth_{life.card.card_id.hex}"
    receipt = life.tell(CLEARED, "30.00", named, final_clearing=True)
    assert (receipt.outcome, receipt.parked_reason) == ("parked", "authorization_unknown")
    assert life.money() == ("0.00", "0.00", "0.00")
    life.world.pay(life.card, "35.00", authorization_id=named)
    life.later(timedelta(seconds=2))
    assert life.life.retry_parked() >= 1
    assert (life.transaction(named)["status"], life.money()) == ("CLEARED", ("0.00", "30.00", "30.00"))
    assert life.world.events(life.card.card_id)["transaction.cleared"] == 1


def test_another_currency_is_parked_and_moves_nothing(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "35.00")
    receipt = life.tell(CLEARED, "35.00", bought, currency="EUR")
    assert (receipt.outcome, receipt.parked_reason) == ("parked", "currency_mismatch")
    assert (life.transaction(bought)["status"], life.money()) == ("AUTHORIZED", ("35.00", "35.00", "35.00"))


def test_a_force_post_is_booked_over_every_limit_and_can_be_refunded(life: LifeWorld) -> None:
    receipt = life.tell(FORCE_POSTED, "9000.00", "fp_1")
    (row,) = life.of_type("force_post")
    assert (row["transaction_id"], row["status"], row["reason"]) == (receipt.transaction_id, "FORCE_POSTED", "force_posted")
    assert life.money() == ("0.00", "9000.00", "9000.00")
    assert life.world.pay(life.card, "1.00").reason == "daily_limit_exceeded"
    assert life.tell(REFUNDED, "9000.00", "fp_1").transaction_id == receipt.transaction_id
    assert life.money() == ("0.00", "0.00", "0.00")


def test_a_refund_of_nothing_we_know_is_a_transaction_of_its_own(life: LifeWorld) -> None:
    life.tell(REFUNDED, "12.00", None)
    (row,) = life.of_type("refund")
    assert (row["status"], row["refunded_amount"], row["flags"]) == ("REFUNDED", Decimal("12.00"), [])
    assert life.money() == ("0.00", "0.00", "0.00")
    assert life.ledger() == {"cardholder_spend": "-12.00", "card_holds": "12.00"}


def test_an_advice_is_recorded_over_limits_and_clears_like_an_authorization(life: LifeWorld) -> None:
    named = f"stip_{life.card.card_id.hex}"
    life.tell(ADVICE, "3000.00", named)
    row = life.transaction(named)
    assert (row["type"], row["status"], row["approved_amount"]) == ("advice", "AUTHORIZED", Decimal("3000.00"))
    assert life.money() == ("3000.00", "3000.00", "3000.00")
    life.tell(CLEARED, "2500.00", named, final_clearing=True)
    assert (life.transaction(named)["status"], life.money()) == ("CLEARED", ("0.00", "2500.00", "2500.00"))


def test_an_advice_of_what_we_declined_holds_and_leaves_the_decision_as_it_was(life: LifeWorld) -> None:
    declined = life.world.pay(life.card, "99999.00")
    life.tell(ADVICE, "99999.00", declined)
    row = life.transaction(declined)
    assert (row["status"], row["reason"], row["held_amount"]) == ("AUTHORIZED", declined.reason, Decimal("99999.00"))
    assert row["hold_expires_at"] is not None


def test_a_clearing_of_what_we_declined_is_a_force_post(life: LifeWorld) -> None:
    declined = life.world.pay(life.card, "99999.00")
    life.tell(CLEARED, "99999.00", declined, final_clearing=True)
    row = life.transaction(declined)
    assert (row["status"], row["flags"]) == ("FORCE_POSTED", ["cleared_without_approval"])
    assert life.money() == ("0.00", "99999.00", "99999.00")


def test_more_of_an_authorization_is_held_and_cleared_with_it(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "50.00")
    more = life.world.pay(life.card, "20.00", type="incremental", original_authorization_id=bought.authorization_id)
    life.tell(REVERSED, "10.00", more)
    assert life.money() == ("60.00", "60.00", "60.00")
    assert life.transaction(more)["spent_amount"] == Decimal("10.00")
    life.tell(CLEARED, "60.00", bought, final_clearing=True)
    assert (life.transaction(bought)["status"], life.transaction(more)["status"]) == ("CLEARED", "CLEARED")
    assert life.money() == ("0.00", "60.00", "60.00")


def test_what_is_told_of_a_declined_incremental_moves_nothing_of_its_original(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "50.00")
    more = life.world.pay(life.card, "99999.00", type="incremental", original_authorization_id=bought.authorization_id)
    for kind in (REVERSED, EXPIRED):
        life.tell(kind, "50.00", more)
    assert (life.transaction(bought)["status"], life.money()) == ("AUTHORIZED", ("50.00", "50.00", "50.00"))
    life.tell(CLEARED, "10.00", more, final_clearing=True)
    assert (life.transaction(more)["status"], life.money()) == ("FORCE_POSTED", ("50.00", "60.00", "60.00"))


def test_an_expiry_of_a_part_ends_no_more_than_it_says(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "50.00")
    more = life.world.pay(life.card, "20.00", type="incremental", original_authorization_id=bought.authorization_id)
    life.tell(EXPIRED, "20.00", more)
    assert (life.transaction(bought)["status"], life.money()) == ("AUTHORIZED", ("50.00", "50.00", "50.00"))
    life.tell(EXPIRED, "0.00", bought)
    assert (life.transaction(bought)["status"], life.money()) == ("EXPIRED", ("0.00", "0.00", "0.00"))


@pytest.mark.parametrize("told", [("clear", "force", "refund"), ("force", "reverse"), ("force", "refund")])
def test_a_force_post_under_an_authorizations_id_ends_alike_in_every_order(
    world: CardWorld, database_url: str, told: tuple[str, ...]
) -> None:
    kinds = {"clear": CLEARED, "force": FORCE_POSTED, "refund": REFUNDED, "reverse": REVERSED}
    ends = set()
    for order in itertools.permutations(("ask", *told)):
        life = LifeWorld(world, database_url, world.issue(world.add_user()))
        named = f"auth_{life.card.card_id.hex}"
        for one in order:
            if one == "ask":
                world.pay(life.card, "50.00", authorization_id=named)
            else:
                life.tell(kinds[one], "50.00", named)
        life.later(timedelta(hours=7))
        life.life.retry_parked()
        ends.add((life.transaction(named)["status"], *life.money(), *sorted(life.ledger().items())))
        life.close()
    assert len(ends) == 1


def test_a_request_after_the_advice_of_its_own_approval_is_approved(life: LifeWorld) -> None:
    named = f"stip_{life.card.card_id.hex}"
    life.tell(ADVICE, "30.00", named)
    asked = life.world.pay(life.card, "20.00", authorization_id=named)
    assert (asked.reason, asked.approved_amount) == ("approved", Decimal("20.00"))
    assert life.money() == ("30.00", "30.00", "30.00")


def test_holds_nobody_clears_end_after_their_days_and_a_late_clearing_still_counts(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "50.00")
    life.later(timedelta(days=7, seconds=-1))
    life.life.expire_holds()
    assert life.transaction(bought)["status"] == "AUTHORIZED"
    life.later(timedelta(seconds=1))
    life.life.expire_holds()
    assert life.transaction(bought)["status"] == "EXPIRED"
    assert life.spend()["held"] == 0
    life.life.expire_holds()
    assert life.world.events(life.card.card_id)["transaction.expired"] == 1
    life.tell(CLEARED, "50.00", bought)
    assert life.transaction(bought)["status"] == "CLEARED"


def test_an_approval_nobody_got_is_voided_and_its_id_is_approved_no_more(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "50.00", authorization_id=f"lost_{life.card.card_id.hex}")
    assert bought.transaction_id is not None
    assert life.life.void(life.card.card_id, bought.transaction_id) is True
    assert (life.transaction(bought)["status"], life.money()) == ("REVERSED", ("0.00", "0.00", "0.00"))
    assert life.life.void(life.card.card_id, bought.transaction_id) is False
    again = life.world.pay(life.card, "50.00", authorization_id=bought.authorization_id)
    assert (again.reason, again.final) == ("issuer_unavailable", False)


def test_an_approval_that_was_given_for_an_answer_later_is_not_voided(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "50.00")
    assert life.world.pay(life.card, "50.00", authorization_id=bought.authorization_id).approved
    assert bought.transaction_id is not None
    assert life.life.void(life.card.card_id, bought.transaction_id) is False
    assert life.money() == ("50.00", "50.00", "50.00")


def test_money_of_a_replaced_card_comes_back_to_the_one_that_goes_on(life: LifeWorld, holder: Actor) -> None:
    bought = life.world.pay(life.card, "50.00")
    new = life.world.service.replace_card(holder, life.card.card_id, StateChange(), operation_id=life.world.ids.new())
    (row,) = life.world.rows("card_limits", new.card_id)
    assert row["day_spent"] == Decimal("50.00")
    life.tell(REVERSED, "50.00", bought)
    (row,) = life.world.rows("card_limits", new.card_id)
    assert (row["day_spent"], row["month_spent"], row["held"]) == (0, 0, 0)
    assert life.money() == ("0.00", "0.00", "0.00")


def test_a_parked_event_that_was_closed_is_not_applied_any_more(life: LifeWorld) -> None:
    named = f"auth_{life.card.card_id.hex}"
    life.tell(CLEARED, "30.00", named)
    (event,) = life.world.rows("transaction_events", life.card.card_id)
    admin = life.world.add_user("admin")
    ParkedEvents(life.world.database, life.world.clock).close(
        admin, event["record_id"], "by hand", operation_id=life.world.ids.new()
    )
    life.world.pay(life.card, "35.00", authorization_id=named)
    life.later(timedelta(hours=7))
    life.life.retry_parked()
    assert (life.transaction(named)["status"], life.money()[0]) == ("AUTHORIZED", "35.00")


def test_a_decline_opens_the_day_in_which_its_clearing_counts(life: LifeWorld) -> None:
    life.world.pay(life.card, "20.00")
    life.later(timedelta(days=1))
    declined = life.world.pay(life.card, "99999.00")
    life.tell(CLEARED, "10.00", declined)
    life.world.pay(life.card, "2.00")
    assert life.money()[1] == "12.00"


def test_an_event_told_in_other_words_by_a_file_is_the_same_event(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "50.00")
    event = life.event(CLEARED, "50.00", bought.authorization_id)
    life.life.receive(replace(event, merchant=None, occurred_at="2026-11-20T00:00:00Z"))
    assert life.life.receive(event).outcome == "duplicate"


def test_an_incremental_that_meets_the_end_of_its_group_is_either_of_it_or_on_its_own(life: LifeWorld) -> None:
    for _ in range(5):
        bought = life.world.pay(life.card, "10.00")
        final = life.event(CLEARED, "10.00", bought.authorization_id, final_clearing=True)

        def end(event: ProcessorEvent = final) -> None:
            life.life.receive(event)
            life.close()

        def more(named: str = bought.authorization_id) -> None:
            life.world.pay(life.card, "5.00", type="incremental", original_authorization_id=named)

        life.world.at_once(end, more)
    rows = life.world.rows("card_transactions", life.card.card_id)
    assert sum(row["held_amount"] for row in rows) == life.spend()["held"]
    assert sum(row["spent_amount"] for row in rows) == life.spend()["day_spent"]
    assert all(row["held_amount"] == 0 for row in rows if row["status"] == "CLEARED")


def test_a_freeze_and_an_event_at_once_do_not_wait_for_each_other_for_ever(life: LifeWorld, holder: Actor) -> None:
    bought = life.world.pay(life.card, "90.00")
    events = [life.event(REVERSED, "1.00", bought.authorization_id) for _ in range(6)]

    def tell() -> None:
        for event in events:
            life.life.receive(event)
        life.close()

    def freeze_and_thaw() -> None:
        for status in ("FROZEN", "ACTIVE", "FROZEN"):
            life.world.service.update_card_status(
                holder, life.card.card_id, CardStatus(status), reason=None, operation_id=life.world.ids.new()
            )

    assert life.world.at_once(tell, freeze_and_thaw) == {"done": 2}
    assert life.money()[0] == "84.00"


def test_ids_of_our_own_events_are_refused_from_outside(life: LifeWorld) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        life.tell(REVERSED, "1.00", "auth", event_id="cardwright:void:1")
    assert refused.value.code == "event_id_reserved"


def test_an_event_leaves_an_audit_entry_and_a_message(life: LifeWorld) -> None:
    bought = life.world.pay(life.card, "50.00")
    life.tell(CLEARED, "50.00", bought, final_clearing=True)
    assert life.world.actions(life.card.card_id)[-1] == "transaction.cleared"
    assert life.world.events(life.card.card_id)["transaction.cleared"] == 1


def _merchant(category: str) -> object:
    from cardwright.authorizations.rules import Merchant

    return Merchant(category, id="m_2", name="Bistro", city="Lyon", country="FR")
