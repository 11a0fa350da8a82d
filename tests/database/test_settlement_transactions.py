"""The processor's list of transactions beside ours, our own records beside each other, and cases that close themselves."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import chain, repeat

import pytest

from cardwright.authorizations.rules import Decision
from cardwright.kernel.errors import ProviderRefusedError
from cardwright.settlement.rules import TheirState
from cardwright.settlement.service import listing
from cardwright.transactions.rules.events import EventType
from tests.fakes.settlement_world import SettlementWorld

DECLINED = TheirState.DECLINED


@pytest.fixture
def world(fresh_database: str) -> Iterator[SettlementWorld]:
    """A world in a database of its own, whose card may be used as often as a test likes."""
    world = SettlementWorld(fresh_database)
    world.sql("UPDATE card_limits SET velocity_per_hour = NULL")
    yield world
    world.close()


def held(world: SettlementWorld) -> str:
    """What the card holds."""
    return world.life.money()[0]


def test_what_both_sides_have_alike_is_no_case(world: SettlementWorld) -> None:
    world.bought("40.00")
    world.told(world.pay(world.card, "7.00"))
    world.told(world.pay(world.card, "600.00"), DECLINED)
    world.later(minutes=11)
    done = world.reconcile()
    assert (done.transactions, done.mended, world.cases(), held(world)) == (3, 0, [], "7.00")


def test_a_hold_the_processor_declined_is_given_back_after_ten_minutes(world: SettlementWorld) -> None:
    bought = world.pay(world.card, "25.00")
    world.told(bought, DECLINED)
    world.later(minutes=9)
    world.reconcile()
    assert held(world) == "25.00"
    world.later(minutes=2)
    done = world.reconcile()
    assert (done.mended, held(world), world.kinds()) == (1, "0.00", [])
    assert world.life.transaction(bought)["flags"] == ["voided"]
    world.later(minutes=30)
    assert (world.reconcile().mended, world.kinds()) == (0, [])


def test_a_hold_whose_approval_was_given_for_an_answer_since_is_kept(world: SettlementWorld) -> None:
    bought = world.pay(world.card, "25.00")
    world.told(bought, DECLINED)
    world.later(minutes=1)
    world.sql("UPDATE card_transactions SET confirmed_at = %s", world.clock.at)
    world.later(minutes=20)
    world.reconcile()
    assert (held(world), world.kinds()) == ("25.00", [])


def test_an_approval_the_network_told_of_after_all_is_a_case_and_no_hold_given_back(world: SettlementWorld) -> None:
    bought = world.pay(world.card, "25.00")
    world.life.tell(EventType.REVERSED, "5.00", bought)
    world.told(bought, DECLINED)
    world.later(minutes=11)
    assert world.reconcile().mended == 0
    assert (held(world), world.cases()) == ("20.00", [("missing_at_processor", "25.00", "0.00", "open")])


def test_holds_the_processor_does_not_know_are_kept_and_are_cases(
    world: SettlementWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    for _ in range(5):
        world.pay(world.card, "1.00")
        world.later(seconds=1)
    world.later(minutes=11)
    assert world.reconcile().mended == 0
    assert (held(world), world.kinds()) == ("5.00", [("missing_at_processor", "open")] * 5)


def test_a_pass_that_runs_out_of_time_among_missing_holds_goes_on_with_the_rest(
    world: SettlementWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    for _ in range(5):
        world.pay(world.card, "1.00")
        world.later(seconds=1)
    world.later(minutes=11)
    found = []
    while len(world.cases()) < 5:
        world.reconcile(chain(repeat(300.0, 4), repeat(0.0)).__next__)
        found.append(len(world.cases()))
        assert len(found) < 9
    assert found[0] < 5


def test_a_void_the_processor_takes_back_is_a_case(world: SettlementWorld) -> None:
    bought = world.pay(world.card, "25.00")
    world.told(bought, DECLINED)
    world.later(minutes=11)
    world.reconcile()
    world.told(bought, changed_at=world.clock.at, approved_amount=Decimal("25.00"))
    world.later(minutes=30)
    world.reconcile()
    assert world.cases() == [("amount_differs", "0.00", "25.00", "open")]


@pytest.mark.parametrize(
    ("changes", "case"),
    [
        ({"approved_amount": Decimal("39.00")}, ("amount_differs", "40.00", "39.00", "open")),
        ({"cleared_amount": Decimal("41.00")}, ("amount_differs", "40.00", "41.00", "open")),
        ({"currency": "EUR"}, ("currency_differs", "40.00", "40.00", "open")),
        ({"authorization_id": "auth_theirs_alone"}, ("missing_with_us", None, "40.00", "open")),
        ({"card_token": "card_of_nobody"}, ("unknown_card", None, "40.00", "open")),
    ],
)
def test_what_differs_is_a_case_once_with_both_amounts(
    world: SettlementWorld, changes: dict[str, object], case: tuple[str, str | None, str | None, str]
) -> None:
    bought, _ = world.bought("40.00")
    listed = world.source.listed[bought.authorization_id]
    differing = replace(listed, **changes)  # type: ignore[arg-type]  # fields of one transaction, in one table
    world.source.listed[differing.authorization_id] = differing
    world.later(minutes=11)
    assert world.reconcile().cases_opened == 1
    world.later(minutes=30)
    assert world.reconcile().cases_opened == 0
    assert world.cases() == [case]


def test_a_difference_that_an_event_mends_closes_by_itself(world: SettlementWorld) -> None:
    bought, _ = world.bought("40.00", cleared=False)
    world.told(bought, cleared_amount=Decimal("40.00"))
    world.later(minutes=11)
    world.reconcile()
    assert world.cases() == [("amount_differs", "0.00", "40.00", "open")]
    world.life.tell(EventType.CLEARED, "40.00", bought, final_clearing=True)
    world.later(minutes=11)
    assert world.reconcile().cases_closed == 1
    assert [closed for _, closed in world.kinds()] == ["mended"]


def test_advice_counts_over_what_was_decided(world: SettlementWorld) -> None:
    bought = world.pay(world.card, "40.00")
    world.life.tell(EventType.ADVICE, "45.00", bought)
    world.told(bought, approved_amount=Decimal("45.00"))
    world.later(minutes=11)
    world.reconcile()
    assert (world.cases(), held(world)) == ([], "45.00")


def test_a_pass_goes_on_from_page_to_page_and_from_run_to_run(world: SettlementWorld) -> None:
    world.source.page = 2
    for _ in range(5):
        world.told(world.pay(world.card, "1.00"))
    world.later(minutes=11)
    compared = [world.reconcile(chain(repeat(300.0, looks), repeat(0.0)).__next__).transactions for looks in range(3, 7)]
    compared.append(world.reconcile().transactions)
    assert (sum(compared), world.cases()) == (5, [])
    assert max(compared) < 5


def test_a_cursor_the_processor_no_longer_takes_begins_the_list_again(world: SettlementWorld) -> None:
    world.source.page = 1
    world.told(world.pay(world.card, "1.00"))
    world.told(world.pay(world.card, "1.00"))
    world.later(minutes=11)
    transactions = world.source.transactions
    refusals = [ProviderRefusedError("no such cursor", code="processor_refused")]

    def refusing(since: object, cursor: str | None) -> object:
        if cursor is not None and refusals:
            raise refusals.pop()
        return transactions(since, cursor)  # type: ignore[arg-type]  # passed on as it came

    world.source.transactions = refusing  # type: ignore[method-assign, assignment]  # one of the test's own
    assert world.reconcile().transactions == 3
    assert world.sql("SELECT failure FROM settlement_runs") == [{"failure": None}]


def parked(world: SettlementWorld) -> None:
    """Let the network tell of an authorization and of a card that nobody knows."""
    world.life.tell(EventType.CLEARED, "9.00", "auth_unheard_of")
    world.life.tell(EventType.CLEARED, "8.00", "auth_x", card_token="card_of_nobody")


def test_events_parked_for_longer_than_a_day_are_cases_until_they_find_their_place(world: SettlementWorld) -> None:
    parked(world)
    world.later(hours=23)
    world.reconcile()
    assert world.cases() == []
    world.later(hours=2)
    world.reconcile()
    assert sorted(world.cases()) == [("parked_event", "8.00", None, "open"), ("parked_event", "9.00", None, "open")]
    world.life.tell(EventType.ADVICE, "9.00", "auth_unheard_of")
    world.later(hours=6)
    world.life.life.retry_parked()
    world.reconcile()
    assert sorted(world.cases()) == [("parked_event", "8.00", None, "open"), ("parked_event", "9.00", None, "mended")]


def test_a_clearing_no_file_has_settled_in_five_days_is_a_case_until_one_does(world: SettlementWorld) -> None:
    _, first = world.bought("40.00")
    world.file(world.line(first, "40.00"))
    world.reconcile()
    _, second = world.bought("10.00")
    world.later(days=4, hours=23)
    world.reconcile()
    assert world.cases() == []
    world.later(hours=2)
    world.reconcile()
    assert world.cases() == [("missing_at_processor", "10.00", None, "open")]
    world.file(world.line(second, "10.00"), file_id="file_2")
    world.reconcile()
    world.reconcile()
    assert world.kinds() == [("missing_at_processor", "mended")]


def spoiled(world: SettlementWorld, bought: Decision, what: str) -> None:
    """Write past the rules."""
    if what == "held":
        world.sql("UPDATE card_limits SET held = held + 1")
    elif what == "spent":
        world.sql(
            "UPDATE card_transactions SET cleared_amount = cleared_amount + 1 WHERE authorization_id = %s",
            bought.authorization_id,
        )
    else:
        world.sql("UPDATE card_limits SET balance = 1")


@pytest.mark.parametrize(
    ("what", "case"),
    [
        ("held", ("ledger_differs", "8.00", "7.00", "open")),
        ("spent", ("ledger_differs", "40.00", "41.00", "open")),
        ("balance", ("ledger_differs", "1.00", "-40.00", "open")),
    ],
)
def test_a_spend_row_that_is_not_the_sum_of_its_card_is_a_case_until_it_is(
    world: SettlementWorld, what: str, case: tuple[str, str, str, str]
) -> None:
    bought, _ = world.bought("40.00")
    world.told(world.pay(world.card, "7.00"))
    world.reconcile()
    assert world.cases() == []
    spoiled(world, bought, what)
    world.reconcile()
    assert world.cases() == [case]
    world.sql("UPDATE card_limits SET held = 7, balance = NULL")
    world.sql("UPDATE card_transactions SET cleared_amount = least(cleared_amount, 40)")
    world.reconcile()
    assert world.kinds() == [("ledger_differs", "mended")]
