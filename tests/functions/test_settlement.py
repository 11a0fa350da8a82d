"""The doors of settlement: cases and runs as staff sees them, closing by hand, and what the schedule tells."""

import json
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from cardwright.settlement.service import SettlementDesk
from functions.settlement import reconcile_settlement
from functions.settlement.close_settlement_case import endpoint as close
from functions.settlement.list_settlement_cases import endpoint as cases
from functions.settlement.list_settlement_runs import endpoint as runs
from tests.fakes.api_world import Answer, ApiWorld
from tests.fakes.settlement_world import SettlementWorld
from tests.functions.test_documented_codes import documented, told
from tests.pans import pan


class Doors(ApiWorld):
    """Doors of settlement."""

    def __init__(self, world: SettlementWorld) -> None:
        super().__init__(world)
        self.settlement = world
        self.settlement_desk = SettlementDesk(world.database, world.clock)


@pytest.fixture
def api(fresh_database: str) -> Iterator[Doors]:
    """Doors over a world of their own, with two open cases: a line of a stranger and one of another amount."""
    world = SettlementWorld(fresh_database)
    _, event_id = world.bought("40.00")
    world.file(world.line("evt_a", "1.00", card_token="card_of_nobody"), world.line(event_id, "41.50"))
    world.reconcile()
    yield Doors(world)
    world.close()


@pytest.fixture
def admin(api: Doors) -> str:
    """An administrator's access token, with a fresh second factor."""
    return api.let_in(api.world.add_user("admin"))


def first(api: Doors, token: str, **inputs: Any) -> dict[str, Any]:
    """The newest case of a list."""
    answer = api.ask(cases, token, **inputs)
    assert answer.status == 200
    found: dict[str, Any] = answer.json["data"][0]
    return found


def test_a_case_shows_both_amounts_and_where_it_was_found(api: Doors, admin: str) -> None:
    case = first(api, admin, kind="amount_differs")
    shown = {name: case[name] for name in ("state", "our_amount", "their_amount", "difference", "currency", "file_id", "line")}
    assert shown == {
        "state": "OPEN",
        "our_amount": "40.00",
        "their_amount": "41.50",
        "difference": "1.50",
        "currency": "USD",
        "file_id": "file_1",
        "line": 4,
    }
    assert case["card_id"] == str(api.settlement.card.card_id)
    assert "detail" not in case


def test_cases_are_paged_and_a_cursor_belongs_to_its_list(api: Doors, admin: str) -> None:
    page = api.ask(cases, admin, limit=1).json
    rest = api.ask(cases, admin, limit=1, cursor=page["pagination"]["next_cursor"]).json
    assert {page["data"][0]["kind"], rest["data"][0]["kind"]} == {"unknown_card", "amount_differs"}
    assert (page["pagination"]["has_more"], rest["pagination"]["has_more"]) == (True, False)
    foreign = api.ask(cases, admin, state="CLOSED", cursor=page["pagination"]["next_cursor"])
    assert (foreign.status, foreign.json["code"]) == (400, "cursor_invalid")


@pytest.mark.parametrize(("role", "status"), [("support", 200), ("compliance_officer", 200), ("cardholder", 403)])
def test_staff_alone_reads_cases_and_runs(api: Doors, role: str, status: int) -> None:
    token = api.let_in(api.world.add_user(role))
    assert [api.ask(door, token).status for door in (cases, runs)] == [status, status]


def test_a_run_shows_what_it_did(api: Doors, admin: str) -> None:
    (run,) = api.ask(runs, admin).json["data"]
    assert {name: run[name] for name in ("failure", "lines", "settled", "cases_opened")} == {
        "failure": None,
        "lines": 2,
        "settled": 0,
        "cases_opened": 2,
    }
    assert run["finished_at"] is not None


def test_a_case_closed_by_hand_stays_closed_while_it_is_the_same_and_the_audit_knows_who(api: Doors, admin: str) -> None:
    case = first(api, admin, kind="unknown_card")
    answer = api.ask(close, admin, {"note": "A test card of the processor's."}, case_id=case["id"])
    assert (answer.status, answer.json["state"], answer.json["closed_how"]) == (200, "CLOSED", "by_hand")
    api.settlement.later(minutes=30)
    api.settlement.reconcile()
    assert first(api, admin, state="CLOSED")["id"] == case["id"]
    (entry,) = api.settlement.sql("SELECT * FROM audit_log WHERE subject_type = 'settlement_case'")
    assert (str(entry["subject_id"]), entry["action"]) == (case["id"], "settlement_case.closed")
    assert entry["new_values"]["note"] == "A test card of the processor's."


def test_a_case_that_opens_again_counts_as_opened_and_its_note_stays_in_the_audit(api: Doors, admin: str) -> None:
    world = api.settlement
    bought, _ = world.bought("40.00")
    for amount in ("39.00", "38.00"):
        world.told(bought, approved_amount=Decimal(amount), cleared_amount=Decimal("40.00"))
        world.later(minutes=30)
        assert world.reconcile().cases_opened == 1
        case = first(api, admin, kind="amount_differs")
        assert (case["their_amount"], case["note"]) == (amount, None)
        if amount == "39.00":
            stepped_up = api.let_in(api.world.add_user("admin"))
            assert api.ask(close, stepped_up, {"note": "Asked the processor."}, case_id=case["id"]).status == 200
    (entry,) = world.sql("SELECT * FROM audit_log WHERE subject_type = 'settlement_case'")
    assert (str(entry["subject_id"]), entry["new_values"]["note"]) == (case["id"], "Asked the processor.")


def test_closing_is_repeated_by_its_key_and_refused_without_it(api: Doors, admin: str) -> None:
    case = first(api, admin)
    key = {"Idempotency-Key": "close-1"}
    answers = [api.ask(close, admin, {"note": "done"}, headers=key, case_id=case["id"]) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    again = api.ask(close, admin, {"note": "done"}, case_id=case["id"])
    assert (again.status, again.json["code"]) == (409, "case_already_closed")


def refused(api: Doors, admin: str) -> list[Answer]:
    """What a closing is refused for."""
    case = first(api, admin)
    return [
        api.ask(close, admin, {"note": "done"}, case_id=api.ids.new()),
        api.ask(close, admin, {"note": f"number {pan()}"}, case_id=case["id"]),
        api.ask(close, admin, {"note": " "}, case_id=case["id"]),
        api.ask(close, admin, {}, case_id=case["id"]),
    ]


def test_a_closing_that_cannot_be_is_refused_with_a_documented_code(api: Doors, admin: str) -> None:
    answers = refused(api, admin)
    assert [answer.status for answer in answers] == [404, 422, 422, 422]
    assert all(told(answer) <= documented(close, answer.status) for answer in answers[:2])


def test_only_an_administrator_with_a_fresh_second_factor_closes(api: Doors, admin: str) -> None:
    case = first(api, admin)
    support = api.let_in(api.world.add_user("support"))
    stale = api.let_in(api.world.add_user("admin"), stepped_up=False)
    answers = [api.ask(close, token, {"note": "done"}, case_id=case["id"]) for token in (support, stale)]
    assert [(answer.status, answer.json["code"]) for answer in answers] == [(403, "role_not_allowed"), (403, "step_up_required")]


def test_the_schedule_tells_how_many_cases_are_open(
    api: Doors, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = SimpleNamespace(reconciliation=api.settlement.runs(), clock=api.settlement.clock)
    monkeypatch.setattr(reconcile_settlement, "_workers", lambda: parts)
    api.settlement.later(minutes=30)
    context: Any = SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000)
    assert reconcile_settlement.handler({}, context) == {"lines": 0, "transactions": 1}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "SettlementCasesOpen" in line]
    assert [line["SettlementCasesOpen"] for line in lines] == [2]
