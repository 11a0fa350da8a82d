"""Settlement files over the real database: what is settled, mended, refused and reported; twice, at once, killed and resumed."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import chain, repeat

import pytest

from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.transactions.rules.events import EventMerchant, EventType
from local.simulators.processor.settlement_file import CREDIT, FEE, FEE_CREDIT
from tests.fakes.batch_world import DyingDatabase, Killed
from tests.fakes.card_world import as_role
from tests.fakes.settlement_world import SettlementWorld

WIDTH = 441


@pytest.fixture
def world(fresh_database: str) -> Iterator[SettlementWorld]:
    """A world in a database of its own."""
    world = SettlementWorld(fresh_database)
    yield world
    world.close()


def test_a_line_that_fits_is_posted_as_settled_and_what_was_owed_is_nothing(world: SettlementWorld) -> None:
    _, event_id = world.bought("40.00")
    world.file(world.line(event_id, "40.00"), world.line("fee_1", "0.06", type=FEE, final=False))
    done = world.reconcile()
    assert (done.settled, done.mended, done.cases_opened, done.lines) == (2, 0, 0, 2)
    assert world.life.ledger() == {"cardholder_spend": "40.00", "card_holds": "0.00", "settlement": "-40.06", "fees": "0.06"}
    assert (world.file_row()["state"], world.file_row()["lines_done"]) == ("DONE", 7)


def test_a_refund_and_a_fee_given_back_are_settled_the_other_way(world: SettlementWorld) -> None:
    bought, event_id = world.bought("40.00")
    refund = world.life.event(EventType.REFUNDED, "15.00", bought.authorization_id)
    world.life.life.receive(refund)
    world.file(
        world.line(event_id, "40.00"),
        world.line(refund.event_id, "15.00", type=CREDIT, final=False),
        world.line("fee_1", "0.02", type=FEE_CREDIT, final=False),
    )
    assert world.reconcile().settled == 3
    assert world.life.ledger() == {"cardholder_spend": "25.00", "card_holds": "0.00", "settlement": "-24.98", "fees": "-0.02"}


def test_a_file_is_settled_once_however_often_it_is_listed(world: SettlementWorld) -> None:
    _, event_id = world.bought()
    world.file(world.line(event_id))
    world.reconcile()
    world.later(minutes=30)
    again = world.reconcile()
    assert (again.settled, again.cases_opened, world.postings("settled")) == (0, 0, 1)
    assert world.source.opened == ["file_1"]


def test_a_processor_that_tells_no_digests_is_asked_for_its_files_again_and_nothing_is_done_twice(world: SettlementWorld) -> None:
    world.source.tells_digests = False
    _, event_id = world.bought()
    world.file(world.line(event_id))
    world.reconcile()
    assert (world.reconcile().settled, world.postings("settled"), world.kinds()) == (0, 1, [])


def test_a_clearing_that_never_came_as_an_event_is_taken_from_the_file(world: SettlementWorld) -> None:
    bought, event_id = world.bought("40.00", cleared=False)
    world.file(world.line(event_id, "40.00", authorization_id=bought.authorization_id))
    done = world.reconcile()
    assert (done.mended, done.settled, done.cases_opened) == (1, 1, 0)
    assert world.life.transaction(bought)["status"] == "CLEARED"
    assert world.life.money() == ("0.00", "40.00", "40.00")


def test_an_event_that_was_taken_from_a_file_is_a_duplicate_when_it_comes_after_all(world: SettlementWorld) -> None:
    bought = world.pay(world.card, "40.00")
    late = world.life.event(
        EventType.CLEARED,
        "40.00",
        bought.authorization_id,
        final_clearing=True,
        merchant=EventMerchant(id="m_9", name="The Corner Shop", category_code="5812", city="Lyon", country="FR"),
        occurred_at="2026-11-20T08:00:00Z",
    )
    world.file(world.line(late.event_id, "40.00", authorization_id=bought.authorization_id, final=False))
    assert world.reconcile().mended == 1
    before = (world.life.transaction(bought), world.life.money(), world.life.ledger())
    receipts = [world.life.life.receive(event) for event in (late, replace(late, final_clearing=False))]
    assert [receipt.outcome for receipt in receipts] == ["duplicate", "duplicate"]
    assert (world.life.transaction(bought), world.life.money(), world.life.ledger()) == before


def test_a_sale_nobody_asked_for_and_a_refund_of_nothing_are_taken_as_the_network_would_have_told_them(
    world: SettlementWorld,
) -> None:
    world.file(world.line("evt_a", "12.00"), world.line("evt_b", "5.00", type=CREDIT, final=False))
    assert world.reconcile().mended == 2
    assert [row["status"] for row in world.life.of_type("force_post") + world.life.of_type("refund")] == [
        "FORCE_POSTED",
        "REFUNDED",
    ]


def test_a_line_without_an_events_id_is_found_by_its_authorization_and_amount_each_event_once(world: SettlementWorld) -> None:
    bought = world.pay(world.card, "100.00")
    events = [world.life.event(EventType.CLEARED, "30.00", bought.authorization_id) for _ in range(2)]
    for event in events:
        world.life.life.receive(event)
    lines = [world.line("", "30.00", authorization_id=bought.authorization_id) for _ in range(3)]
    world.file(*lines)
    assert world.reconcile().settled == 2
    assert sorted(reference for reference, _ in world.settled()) == sorted(event.event_id for event in events)
    assert world.kinds() == [("settled_twice", "open")]


@pytest.mark.parametrize(
    ("amount", "currency", "found"),
    [
        ("41.00", "USD", ("amount_differs", "40.00", "41.00", "open")),
        ("40.00", "EUR", ("currency_differs", "40.00", "40.00", "open")),
    ],
)
def test_a_line_that_says_something_else_is_a_case_and_settles_nothing(
    world: SettlementWorld, amount: str, currency: str, found: tuple[str, str, str, str]
) -> None:
    _, event_id = world.bought("40.00")
    world.file(world.line(event_id, amount, currency=currency))
    assert world.reconcile().settled == 0
    assert world.cases() == [found]
    (row,) = world.sql("SELECT difference, currency, their_currency, card_id, file_id, line FROM settlement_cases")
    assert row["difference"] == Decimal(amount) - Decimal("40.00")
    assert (row["currency"], row["their_currency"], row["file_id"], row["line"]) == ("USD", currency, "file_1", 3)
    assert row["card_id"] == world.card.card_id


def test_lines_of_strangers_and_of_unknown_authorizations_are_cases(world: SettlementWorld) -> None:
    world.file(
        world.line("evt_a", card_token="card_of_nobody"),
        world.line("evt_b", authorization_id="auth_unheard_of"),
        world.line("", "1.00", authorization_id="auth_unheard_of"),
        world.line("", "1.00"),
    )
    assert world.reconcile().settled == 0
    assert sorted(world.kinds()) == [
        ("missing_with_us", "open"),
        ("unknown_authorization", "open"),
        ("unknown_authorization", "open"),
        ("unknown_card", "open"),
    ]


def test_an_event_settled_in_another_file_is_not_settled_again(world: SettlementWorld) -> None:
    _, event_id = world.bought()
    world.file(world.line(event_id), world.line(event_id), world.line("fee_1", "1.00", type=FEE, final=False))
    world.file(world.line(event_id), world.line("fee_1", "1.00", type=FEE, final=False), file_id="file_2")
    assert world.reconcile().settled == 2
    assert world.kinds() == [("settled_twice", "open")] * 3
    assert (world.postings("settled"), world.postings("fee")) == (1, 1)


def test_a_case_closes_itself_when_what_was_unknown_is_known(world: SettlementWorld) -> None:
    bought, event_id = world.bought("40.00", cleared=False)
    world.sql("UPDATE card_tokens SET processor_card_token = 'another' WHERE card_id = %s", world.card.card_id)
    world.file(world.line(event_id, "40.00", authorization_id=bought.authorization_id))
    world.reconcile()
    assert ("unknown_card", "open") in world.kinds()
    world.sql(
        "UPDATE card_tokens SET processor_card_token = %s WHERE card_id = %s", world.card.processor_card_token, world.card.card_id
    )
    world.later(minutes=30)
    done = world.reconcile()
    assert ("unknown_card", "mended") in world.kinds()
    assert (done.settled, done.mended, world.settled()) == (1, 1, [(event_id, 3)])


def test_a_clearing_whose_authorization_comes_late_is_settled_once_it_is_known(world: SettlementWorld) -> None:
    world.file(world.line("evt_a", "10.00", authorization_id="auth_late"))
    world.reconcile()
    assert world.kinds() == [("unknown_authorization", "open")]
    world.life.tell(EventType.ADVICE, "10.00", "auth_late")
    world.later(hours=1)
    world.life.life.retry_parked()
    assert world.reconcile().settled == 1
    assert world.kinds() == [("unknown_authorization", "mended")]


@pytest.mark.parametrize("place", [2 * WIDTH + 405, 4 * WIDTH + 30, -1, -WIDTH + 30])
def test_a_broken_file_is_refused_as_a_whole_and_taken_when_it_is_whole(world: SettlementWorld, place: int) -> None:
    _, event_id = world.bought()
    whole = world.file(world.line(event_id), world.line("fee_1", "1.00", type=FEE, final=False))
    place %= len(whole)
    world.source.content["file_1"] = whole[:place] + b"7" + whole[place + 1 :]
    assert world.reconcile().settled == 0
    assert (world.kinds(), world.file_row()["state"]) == ([("file_refused", "open")], "REFUSED")
    assert world.reconcile().cases_opened == 0
    world.source.content["file_1"] = whole
    assert world.reconcile().settled == 2
    assert (world.kinds(), world.file_row()["state"]) == ([("file_refused", "mended")], "DONE")


def test_a_file_cut_on_its_way_is_refused(world: SettlementWorld) -> None:
    _, event_id = world.bought()
    world.source.content["file_1"] = world.file(world.line(event_id))[: -3 * WIDTH]
    world.reconcile()
    assert (world.file_row()["refused_code"], world.settled()) == ("file_cut", [])


def test_other_bytes_under_the_id_of_a_file_that_was_settled_are_a_case_until_they_are_the_same_again(
    world: SettlementWorld,
) -> None:
    _, event_id = world.bought()
    first = world.file(world.line(event_id))
    world.reconcile()
    world.file(world.line(event_id), world.line("evt_more", "5.00"))
    world.later(minutes=30)
    assert world.reconcile().settled == 0
    assert world.kinds() == [("file_changed", "open")]
    world.source.content["file_1"] = first
    world.reconcile()
    assert world.kinds() == [("file_changed", "mended")]


def after(steps: int) -> Iterator[float]:
    """Time for so many looks at the clock and no more."""
    return chain(repeat(300.0, steps), repeat(0.0))


def many(world: SettlementWorld, count: int) -> None:
    """A file of clearings, half of them known."""
    lines = []
    for number in range(count):
        bought, event_id = world.bought("1.00", cleared=number % 2 == 0)
        lines.append(world.line(event_id, "1.00", authorization_id=bought.authorization_id))
    world.file(*lines)


def unlimited(world: SettlementWorld) -> None:
    """Let the card be used as often as a test likes."""
    world.sql("UPDATE card_limits SET velocity_per_hour = NULL")


def test_a_long_file_is_gone_on_with_where_the_last_run_ran_out_of_time(world: SettlementWorld) -> None:
    unlimited(world)
    many(world, 10)
    world.reconcile()
    world.sql("TRUNCATE settled_events")
    world.sql("UPDATE settlement_files SET state = 'READING', lines_done = 6, finished_at = NULL")
    done = world.reconcile(chunk=2)
    assert (done.lines, [line for _, line in world.settled()]) == (6, [7, 8, 9, 10, 11, 12])


def test_runs_cut_short_anywhere_settle_each_line_once(world: SettlementWorld) -> None:
    unlimited(world)
    many(world, 6)
    for steps in range(1, 40):
        world.reconcile(after(steps).__next__, chunk=2)
        world.later(minutes=30)
        if world.sql("SELECT 1 FROM settlement_files WHERE state = 'DONE'"):
            break
    assert (len(world.settled()), world.postings("settled"), world.kinds()) == (6, 6, [])


@pytest.mark.parametrize("committed", [False, True])
def test_runs_killed_in_any_of_their_transactions_settle_each_line_once(world: SettlementWorld, committed: bool) -> None:
    unlimited(world)
    many(world, 5)
    kills = 0
    for dies_in in range(2, 80):
        database = DyingDatabase(as_role(world.url, "worker"), dies_in, committed=committed)
        try:
            world.runs(database, chunk=2).run(lambda: 300.0)
        except Killed:
            kills += 1
        finally:
            database.close()
        world.later(minutes=21)
        if world.sql("SELECT 1 FROM settlement_files WHERE state = 'DONE'"):
            break
    assert kills > 5
    assert (len(world.settled()), world.postings("settled"), world.kinds()) == (5, 5, [])
    assert world.life.ledger()["card_holds"] == "0.00"
    assert world.life.money()[0] == "0.00"


def test_two_runs_at_once_are_one(world: SettlementWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    _, event_id = world.bought()
    world.file(world.line(event_id))
    others: list[object] = []
    opened = world.source.open

    def opens(file_id: str) -> Iterator[bytes]:
        others.append(world.runs().run(lambda: 300.0))
        return opened(file_id)

    monkeypatch.setattr(world.source, "open", opens)
    assert world.reconcile().settled == 1
    assert others == [None]


def test_who_was_silent_for_longer_than_the_lease_settles_nothing_any_more(
    world: SettlementWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, event_id = world.bought()
    world.file(world.line(event_id))
    opened = world.source.open
    others: list[int] = []

    def silent(file_id: str) -> Iterator[bytes]:
        monkeypatch.setattr(world.source, "open", opened)
        pieces = list(opened(file_id))
        world.later(minutes=21)
        others.append(world.reconcile().settled)
        return iter(pieces)

    monkeypatch.setattr(world.source, "open", silent)
    assert (world.reconcile().settled, others, world.postings("settled")) == (0, [1], 1)
    rows = world.sql("SELECT failure FROM settlement_runs ORDER BY run_id")
    assert [row["failure"] for row in rows] == ["taken_over", None]


@pytest.mark.parametrize(
    "fault",
    [UnavailableError("gone", code="processor_unavailable"), ProviderRefusedError("no", code="processor_refused")],
)
def test_a_processor_that_fails_ends_the_run_and_the_next_one_goes_on(world: SettlementWorld, fault: UnavailableError) -> None:
    _, event_id = world.bought()
    world.file(world.line(event_id))
    world.source.faults = [fault]
    assert world.reconcile().settled == 0
    assert world.sql("SELECT failure FROM settlement_runs") == [{"failure": fault.code}]
    assert world.reconcile().settled == 1


def test_five_thousand_lines_are_settled_in_chunks(world: SettlementWorld) -> None:
    world.file(*(world.line(f"fee_{number}", "0.01", type=FEE, final=False) for number in range(5000)))
    done = world.reconcile()
    assert (done.lines, done.settled, world.postings("fee")) == (5000, 5000, 5000)
    assert world.life.ledger() == {"fees": "50.00", "settlement": "-50.00"}
