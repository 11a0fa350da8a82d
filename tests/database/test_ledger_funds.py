"""Cards that a balance funds: money comes on and goes off once, never what is held, and the ledger says the same as the card."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from psycopg import errors

from cardwright.cards.rules import Card, CardStatus, Direction, Funds, FundsMovement, ReasonCode
from cardwright.cards.service import StateChange
from cardwright.kernel.errors import CardwrightError, ConflictError, InvalidFieldsError, NotFoundError, UnprocessableError
from cardwright.ledger import service as ledger
from cardwright.ledger.rules import Account
from cardwright.ledger.service import SCHEDULE
from cardwright.platform.postgres import Actor
from cardwright.programs.rules import Funding, Program
from cardwright.transactions.rules.events import EventType
from tests.fakes.card_world import CardWorld
from tests.fakes.life_world import LifeWorld

ZERO = Decimal("0.00")


@pytest.fixture
def admin(world: CardWorld) -> Actor:
    """An administrator."""
    return world.add_user("admin")


@pytest.fixture
def program(world: CardWorld) -> Program:
    """A program whose cards a balance funds."""
    return world.add_program("USD", funding=Funding.BALANCE.value)


@pytest.fixture
def funded(world: CardWorld, holder: Actor, program: Program) -> Card:
    """A card of it, with nothing on it yet."""
    return world.issue(holder, program_id=program.program_id)


@pytest.fixture(autouse=True)
def _the_ledger_agrees(world: CardWorld, program: Program) -> Iterator[None]:
    """After each test: what is loaded and not spent is the same on every card of the program and in its ledger."""
    yield
    for row in world.sql(
        "SELECT l.card_id, l.balance FROM card_limits l JOIN virtual_cards c ON c.card_id = l.card_id "
        "WHERE c.program_id = %s AND l.balance IS NOT NULL",
        program.program_id,
    ):
        with world._worker.transaction(SCHEDULE) as tx:
            accounts = ledger.balances(tx, row["card_id"])
        owed = [accounts.get(account, {}).get("USD", ZERO) for account in (Account.CARDHOLDER_FUNDS, Account.CARDHOLDER_SPEND)]
        assert row["balance"] == -sum(owed)


def movement(amount: str = "100.00", direction: Direction = Direction.LOAD, **changes: Any) -> FundsMovement:
    """A wish to move money."""
    wish = FundsMovement(direction=direction, amount=Decimal(amount), currency="USD", reference="transfer 17")
    return replace(wish, **changes)


def move(world: CardWorld, admin: Actor, card: Card, wish: FundsMovement, operation_id: UUID | None = None) -> Funds:
    """Move money."""
    return world.service.move_funds(admin, card.card_id, wish, operation_id=operation_id or world.ids.new())


def code_of(error: pytest.ExceptionInfo[CardwrightError]) -> str:
    """An error's code."""
    return error.value.code


def test_a_card_of_a_program_with_balance_begins_with_nothing_on_it(world: CardWorld, holder: Actor, funded: Card) -> None:
    assert funded.funds == Funds(ZERO, ZERO)
    assert world.service.get_card(holder, funded.card_id) == funded
    assert world.pay(funded, "0.01").reason == "insufficient_funds"


def test_a_card_that_limits_fund_has_no_funds(world: CardWorld, holder: Actor, card: Card, admin: Actor) -> None:
    assert world.service.get_card(holder, card.card_id).funds is None
    with pytest.raises(ConflictError) as refused:
        move(world, admin, card, movement())
    assert code_of(refused) == "card_not_funded_by_balance"


def test_money_that_is_loaded_may_be_spent_and_no_more(world: CardWorld, funded: Card, admin: Actor) -> None:
    assert move(world, admin, funded, movement("100.00")) == Funds(Decimal("100.00"), ZERO)
    assert world.pay(funded, "60.00").approved
    assert world.pay(funded, "40.01").reason == "insufficient_funds"
    assert world.pay(funded, "40.00").approved


def test_a_load_is_posted_and_audited_with_the_card(world: CardWorld, funded: Card, admin: Actor) -> None:
    operation_id = world.ids.new()
    move(world, admin, funded, movement("12.50"), operation_id)
    (posting,) = world.rows("ledger_postings", funded.card_id)
    assert (posting["posting_id"], posting["kind"], posting["reference"]) == (operation_id, "load", "transfer 17")
    assert {(row["account"], row["amount"]) for row in world.rows("ledger_entries", funded.card_id)} == {
        ("settlement", Decimal("12.50")),
        ("cardholder_funds", Decimal("-12.50")),
    }
    (entry,) = (row for row in world.rows("card_audit_log", funded.card_id) if row["action"] == "card.funds_loaded")
    assert (entry["entry_id"], entry["actor_id"], entry["actor_role"]) == (operation_id, admin.user_id, "admin")
    assert (entry["old_values"], entry["new_values"]) == (
        {"balance": "0.00"},
        {"balance": "12.50", "reference": "transfer 17"},
    )


def test_what_is_free_is_withdrawn_and_what_is_held_is_not(world: CardWorld, funded: Card, admin: Actor) -> None:
    move(world, admin, funded, movement("100.00"))
    world.pay(funded, "30.00")
    with pytest.raises(ConflictError) as refused:
        move(world, admin, funded, movement("70.01", Direction.WITHDRAW))
    assert code_of(refused) == "insufficient_funds"
    after = move(world, admin, funded, movement("70.00", Direction.WITHDRAW))
    assert (after, after.available) == (Funds(Decimal("30.00"), Decimal("30.00")), ZERO)
    assert "card.funds_withdrawn" in world.actions(funded.card_id)


def test_an_operation_moves_money_once(world: CardWorld, funded: Card, admin: Actor) -> None:
    operation_id = world.ids.new()
    for _ in range(3):
        assert move(world, admin, funded, movement("5.00"), operation_id) == Funds(Decimal("5.00"), ZERO)
    assert world.actions(funded.card_id).count("card.funds_loaded") == 1


def test_a_second_run_is_answered_also_when_the_card_has_ended_since(world: CardWorld, funded: Card, admin: Actor) -> None:
    operation_id = world.ids.new()
    move(world, admin, funded, movement("5.00"), operation_id)
    world.service.cancel(admin, funded.card_id, StateChange(code=ReasonCode.ISSUER_REQUEST), operation_id=world.ids.new())
    assert move(world, admin, funded, movement("5.00"), operation_id).balance == Decimal("5.00")


def test_of_twenty_loads_with_two_ids_at_once_two_are_made(world: CardWorld, funded: Card, admin: Actor) -> None:
    operations = [world.ids.new(), world.ids.new()]
    works = [lambda number=number: move(world, admin, funded, movement("7.00"), operations[number % 2]) for number in range(20)]
    assert world.at_once(*works) == {"done": 20}
    assert world.service.get_card(admin, funded.card_id).funds == Funds(Decimal("14.00"), ZERO)


def test_of_twenty_withdrawals_at_once_as_many_succeed_as_there_is_money_for(
    world: CardWorld, funded: Card, admin: Actor
) -> None:
    move(world, admin, funded, movement("100.00"))
    works = [lambda: move(world, admin, funded, movement("15.00", Direction.WITHDRAW)) for _ in range(20)]
    assert world.at_once(*works) == {"done": 6, "insufficient_funds": 14}
    assert world.service.get_card(admin, funded.card_id).funds == Funds(Decimal("10.00"), ZERO)


def test_purchases_and_withdrawals_at_once_never_take_the_same_money(world: CardWorld, funded: Card, admin: Actor) -> None:
    move(world, admin, funded, movement("20.00"))

    def pay() -> None:
        if not world.pay(funded, "10.00").approved:
            raise ConflictError("declined", code="declined")

    withdrawals = [lambda: move(world, admin, funded, movement("10.00", Direction.WITHDRAW)) for _ in range(4)]
    outcomes = world.at_once(*withdrawals, *(pay for _ in range(4)))
    assert outcomes["done"] == 2
    funds = world.service.get_card(admin, funded.card_id).funds
    assert funds is not None
    assert funds.available == 0


@pytest.mark.parametrize(
    ("wish", "error", "code"),
    [
        (movement(currency="EUR"), UnprocessableError, "currency_mismatch"),
        (movement("9999999999.99"), UnprocessableError, "balance_too_large"),
        (movement("0.00"), InvalidFieldsError, "amount_out_of_range"),
        (movement("-1.00"), InvalidFieldsError, "amount_out_of_range"),
        (movement("1.50", currency="JPY"), InvalidFieldsError, "amount_not_whole"),
    ],
)
def test_what_cannot_be_moved_is_refused_and_leaves_nothing(
    world: CardWorld, funded: Card, admin: Actor, wish: FundsMovement, error: type[CardwrightError], code: str
) -> None:
    move(world, admin, funded, movement("1.00"))
    with pytest.raises(error) as refused:
        move(world, admin, funded, wish)
    told = refused.value.errors[0].code if isinstance(refused.value, InvalidFieldsError) else refused.value.code
    assert told == code
    assert (len(world.rows("ledger_postings", funded.card_id)), world.actions(funded.card_id).count("card.funds_loaded")) == (
        1,
        1,
    )


def test_an_ended_card_is_not_loaded_but_gives_its_money_back(world: CardWorld, funded: Card, admin: Actor) -> None:
    move(world, admin, funded, movement("9.00"))
    world.service.cancel(admin, funded.card_id, StateChange(code=ReasonCode.ISSUER_REQUEST), operation_id=world.ids.new())
    with pytest.raises(ConflictError) as refused:
        move(world, admin, funded, movement("1.00"))
    assert code_of(refused) == "card_state_conflict"
    assert move(world, admin, funded, movement("9.00", Direction.WITHDRAW)) == Funds(ZERO, ZERO)


def test_a_frozen_card_is_loaded(world: CardWorld, funded: Card, admin: Actor) -> None:
    world.service.update_card_status(admin, funded.card_id, CardStatus.FROZEN, reason=None, operation_id=world.ids.new())
    assert move(world, admin, funded, movement("1.00")).balance == Decimal("1.00")


def test_only_an_administrator_moves_money_whatever_the_door_lets_through(world: CardWorld, holder: Actor, funded: Card) -> None:
    for actor in (holder, world.add_user("support")):
        with pytest.raises(errors.InsufficientPrivilege):
            move(world, actor, funded, movement())
    with pytest.raises(NotFoundError):
        move(world, world.add_user(), funded, movement())
    assert world.rows("ledger_postings", funded.card_id) == []


def test_a_replacement_goes_on_with_the_money_that_is_free(
    world: CardWorld, holder: Actor, funded: Card, admin: Actor, program: Program
) -> None:
    move(world, admin, funded, movement("100.00"))
    world.pay(funded, "30.00")
    new = world.service.replace_card(holder, funded.card_id, StateChange(code=ReasonCode.LOST), operation_id=world.ids.new())
    assert new.funds == Funds(Decimal("70.00"), ZERO)
    assert world.service.get_card(holder, new.card_id).funds == new.funds
    assert world.service.get_card(holder, funded.card_id).funds == Funds(Decimal("30.00"), Decimal("30.00"))
    with world._worker.transaction(SCHEDULE) as tx:
        both = [ledger.balances(tx, card.card_id)[Account.ADJUSTMENTS]["USD"] for card in (funded, new)]
    assert both == [Decimal("-70.00"), Decimal("70.00")]
    assert world.pay(new, "70.01").reason == "insufficient_funds"
    assert world.pay(new, "70.00").approved


def test_money_that_comes_back_to_a_replaced_card_goes_over_to_the_one_in_its_place(
    world: CardWorld, database_url: str, holder: Actor, funded: Card, admin: Actor
) -> None:
    move(world, admin, funded, movement("100.00"))
    bought, kept = world.pay(funded, "30.00"), world.pay(funded, "20.00")
    new = world.service.replace_card(holder, funded.card_id, StateChange(code=ReasonCode.LOST), operation_id=world.ids.new())
    with closing(LifeWorld(world, database_url, funded)) as life:
        life.tell(EventType.REVERSED, "30.00", bought)
        life.tell(EventType.CLEARED, "20.00", kept, final_clearing=True)
        life.tell(EventType.REFUNDED, "5.00", kept)
    assert world.service.get_card(holder, funded.card_id).funds == Funds(ZERO, ZERO)
    assert world.service.get_card(holder, new.card_id).funds == Funds(Decimal("85.00"), ZERO)


def test_a_replacement_of_an_empty_card_posts_nothing(world: CardWorld, holder: Actor, funded: Card) -> None:
    new = world.service.replace_card(holder, funded.card_id, StateChange(code=ReasonCode.LOST), operation_id=world.ids.new())
    assert new.funds == Funds(ZERO, ZERO)
    assert world.rows("ledger_postings", new.card_id) == world.rows("ledger_postings", funded.card_id) == []


def test_nobody_carries_the_money_of_a_card_that_is_not_replaced(
    world: CardWorld, holder: Actor, funded: Card, admin: Actor
) -> None:
    move(world, admin, funded, movement("10.00"))
    stranger = world.add_user()
    other = world.issue(stranger, program_id=funded.program_id)
    for actor in (stranger, holder, admin):
        with world.database.transaction(actor) as tx:
            assert tx.fetch_one("SELECT carry_funds(%s, %s) AS carried", (other.card_id, funded.card_id)) == {"carried": 0}
