"""What breaks in a run of settlement, and what is too much for one: it is told, and keeps nothing else waiting."""

from collections.abc import Iterator

import psycopg
import pytest

from cardwright.kernel.errors import BrokenInvariantError
from cardwright.settlement.ports import TransactionPage
from cardwright.settlement.service import checks, files
from local.simulators.processor.settlement_file import FEE
from tests.fakes.settlement_world import SettlementWorld


@pytest.fixture
def world(fresh_database: str) -> Iterator[SettlementWorld]:
    """A world in a database of its own."""
    world = SettlementWorld(fresh_database)
    yield world
    world.close()


def fees(world: SettlementWorld, count: int, **changes: str) -> None:
    """A file of fees."""
    world.file(*(world.line(f"fee_{number}", "0.01", type=FEE, final=False, **changes) for number in range(count)))


def broken(world: SettlementWorld, *references: str) -> None:
    """Let the database refuse to settle these references; without any it refuses none."""
    world.sql("DROP TRIGGER IF EXISTS broken ON settled_events")
    world.sql(
        "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'broken' USING ERRCODE = 'data_exception'; END $$"
    )
    if references:
        listed = ", ".join(f"'{reference}'" for reference in references)
        world.sql(
            f"CREATE TRIGGER broken BEFORE INSERT ON settled_events FOR EACH ROW WHEN (NEW.reference IN ({listed})) "
            "EXECUTE FUNCTION broken()"
        )


def failures(world: SettlementWorld) -> list[str | None]:
    """What broke off each run, the earliest first."""
    return [row["failure"] for row in world.sql("SELECT failure FROM settlement_runs ORDER BY started_at")]


def test_a_line_that_breaks_is_a_case_and_holds_up_no_other_until_it_is_well(
    world: SettlementWorld, caplog: pytest.LogCaptureFixture
) -> None:
    fees(world, 10)
    broken(world, "fee_3")
    done = world.reconcile(chunk=4)
    assert (done.lines, done.settled, done.cases_opened, world.postings("fee")) == (10, 9, 1, 9)
    assert (world.kinds(), world.file_row()["state"]) == ([("line_broken", "open")], "DONE")
    assert "a line of a settlement file met an unexpected error" in caplog.messages
    assert (world.reconcile().cases_opened, world.kinds()) == (0, [("line_broken", "open")])
    broken(world)
    assert (world.reconcile().settled, world.kinds(), world.postings("fee")) == (1, [("line_broken", "mended")], 10)


def test_where_too_many_lines_break_the_run_breaks_and_the_next_one_goes_on(
    world: SettlementWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BROKEN_AT_MOST", 1)
    fees(world, 6)
    broken(world, "fee_1", "fee_4")
    with pytest.raises(psycopg.DataError):
        world.reconcile()
    assert (failures(world), world.file_row()["state"]) == (["internal_error"], "READING")
    assert [reference for reference, _ in world.settled()] == ["fee_0", "fee_2", "fee_3"]
    world.later(minutes=30)
    world.reconcile()
    assert (failures(world), world.file_row()["state"]) == (["internal_error", None], "DONE")
    assert world.kinds() == [("line_broken", "open")] * 2


def test_a_run_that_meets_what_nobody_expected_fails_and_does_all_else(
    world: SettlementWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, event_id = world.bought()
    world.file(world.line("fee_1", "0.01", type=FEE, final=False), file_id="file_0")
    world.file(world.line(event_id))
    opened = world.source.open

    def opens(file_id: str) -> Iterator[bytes]:
        if file_id == "file_0":
            raise LookupError(file_id)
        return opened(file_id)

    def lists(since: object, cursor: object) -> TransactionPage:
        raise BrokenInvariantError("no such page")

    monkeypatch.setattr(world.source, "open", opens)
    monkeypatch.setattr(world.source, "transactions", lists)
    with pytest.raises(BrokenInvariantError, match="no such page"):
        world.reconcile()
    assert (failures(world), world.settled()) == (["internal_error"], [(event_id, 3)])
    monkeypatch.undo()
    world.later(minutes=30)
    assert (world.reconcile().settled, failures(world)) == (1, ["internal_error", None])


def test_open_cases_are_looked_at_again_so_many_in_a_run_and_the_next_one_goes_on(
    world: SettlementWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PAGE", 2)
    monkeypatch.setattr(checks, "CASE_PAGES", 1)
    fees(world, 5, card_token="card_to_be")
    assert world.reconcile().cases_opened == 5
    world.sql("UPDATE card_tokens SET processor_card_token = 'card_to_be' WHERE card_id = %s", world.card.card_id)
    assert [world.reconcile().cases_closed for _ in range(4)] == [2, 2, 1, 0]
    assert world.postings("fee") == 5
