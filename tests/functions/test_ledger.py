"""The doors of the ledger: balances, postings, money moved by hand, and the metric its schedule tells."""

import json
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from cardwright.cards.rules import Card
from cardwright.kernel.errors import UnavailableError
from cardwright.ledger import service as ledger
from cardwright.ledger.rules import Posting, PostingKind, sides
from cardwright.ledger.service import SCHEDULE, LedgerBooks, LedgerCheck
from cardwright.platform.postgres import Actor
from cardwright.programs.service import ProgramAdministration
from functions.cards.create_virtual_card import endpoint as create
from functions.cards.get_card import endpoint as get_card
from functions.cards.get_card_limits import endpoint as get_limits
from functions.ledger import check_ledger
from functions.ledger.get_ledger_balances import endpoint as balances
from functions.ledger.list_ledger_postings import endpoint as postings
from functions.ledger.move_card_funds import endpoint as funds
from functions.programs.create_program import endpoint as create_program
from tests.fakes.api_world import Answer, ApiWorld
from tests.fakes.card_world import NOW, CardWorld
from tests.functions.test_documented_codes import documented, told
from tests.pans import pan

LIMITS = {"per_transaction": "500.00", "daily": "1000.00", "monthly": "5000.00"}
LOAD = {"amount": "100.00", "currency": "USD", "reference": "transfer 17"}


class Doors(ApiWorld):
    """Doors of cards, programs and the ledger."""

    def __init__(self, world: CardWorld) -> None:
        super().__init__(world)
        self.program_administration = ProgramAdministration(world.database, world.clock)
        self.ledger = LedgerBooks(world.database)


@pytest.fixture
def api(world: CardWorld) -> Doors:
    """Doors over the world."""
    return Doors(world)


@pytest.fixture
def admin(api: Doors) -> str:
    """An administrator's access token, with a fresh second factor."""
    return api.let_in(api.world.add_user("admin"))


@pytest.fixture
def card_id(api: Doors, admin: str, token: str) -> str:
    """A card of a program that an administrator has added over HTTP, funded by balance."""
    wish = {"name": "Prepaid", "network": "visa", "bin": "424242", "currency": "USD", "funding": "balance", "defaults": LIMITS}
    program = api.ask(create_program, admin, wish)
    assert (program.status, program.json["funding"]) == (201, "balance")
    body = {"currency": "USD", "program_id": program.json["id"]}
    answer = api.ask(create, token, body, headers={"Idempotency-Key": str(api.ids.new())})
    assert answer.status == 201
    assert answer.json["balance"] == {"loaded": "0.00", "held": "0.00", "available": "0.00"}
    return str(answer.json["id"])


@pytest.fixture
def alone(fresh_database: str) -> Iterator[CardWorld]:
    """A world in a database of its own, for what looks at the whole ledger."""
    world = CardWorld(fresh_database)
    yield world
    world.close()


def move(api: Doors, token: str, card_id: str, key: str | None = None, **body: Any) -> Answer:
    """Move money."""
    return api.ask(funds, token, {**LOAD, **body}, card_id=card_id, headers={"Idempotency-Key": key or str(api.ids.new())})


def post(world: CardWorld, card: Card, *amounts: str) -> list[str]:
    """Post clearings of these amounts; return their ids, the highest first."""
    ids = []
    with world._worker.transaction(SCHEDULE) as tx:
        for amount in amounts:
            entries = sides(PostingKind.CLEARING, Decimal(amount), "USD")
            owner = (card.card_id, card.user_id, card.program_id)
            ids.append(world.ids.new())
            assert ledger.post(tx, Posting(ids[-1], "clearing", *owner, NOW, entries, transaction_id=world.ids.new()))
    return [str(posting_id) for posting_id in sorted(ids, reverse=True)]


def look(world: CardWorld, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the schedule's handler over the world."""
    parts = SimpleNamespace(ledger_check=LedgerCheck(world._worker, world.clock), clock=world.clock)
    monkeypatch.setattr(check_ledger, "_workers", lambda: parts)
    context: Any = SimpleNamespace(get_remaining_time_in_millis=lambda: 300_000)
    return check_ledger.handler({}, context)


def test_money_is_loaded_and_shown_with_the_card_and_its_limits(api: Doors, admin: str, token: str, card_id: str) -> None:
    answer = move(api, admin, card_id)
    assert answer.status == 201
    assert answer.json == {
        "id": answer.json["id"],
        "card_id": card_id,
        "direction": "load",
        "amount": "100.00",
        "currency": "USD",
        "reference": "transfer 17",
        "balance": "100.00",
        "held": "0.00",
        "available": "100.00",
    }
    (card,) = api.world.service.list_cards(Actor(api.authenticate(token).user_id, "cardholder"), limit=9)
    assert api.world.pay(card, "30.00").approved
    shown = {"funding": "balance", "balance": {"loaded": "100.00", "held": "30.00", "available": "70.00"}}
    for door in (get_card, get_limits):
        told = api.ask(door, token, card_id=card_id).json
        assert {name: told[name] for name in shown} == shown


def test_a_load_stands_in_the_ledger_under_its_id(api: Doors, admin: str, card_id: str) -> None:
    loaded = move(api, admin, card_id).json
    taken = move(api, admin, card_id, direction="withdraw", amount="40").json
    assert (taken["direction"], taken["balance"]) == ("withdraw", "60.00")
    stood = api.ask(balances, admin, card_id=card_id)
    assert stood.json == {
        "card_id": card_id,
        "balances": [
            {"account": "cardholder_funds", "currency": "USD", "balance": "-60.00"},
            {"account": "settlement", "currency": "USD", "balance": "60.00"},
        ],
    }
    listed = {item["id"]: item for item in api.ask(postings, admin, card_id=card_id).json["data"]}
    assert set(listed) == {loaded["id"], taken["id"]}
    first = listed[loaded["id"]]
    assert (first["kind"], first["reference"], first["transaction_id"]) == ("load", "transfer 17", None)
    assert (first["card_id"], first["occurred_at"]) == (card_id, "2026-11-21T12:00:00.000Z")
    assert first["entries"] == [
        {"account": "settlement", "amount": "100.00", "currency": "USD"},
        {"account": "cardholder_funds", "amount": "-100.00", "currency": "USD"},
    ]


def test_the_same_key_moves_money_once_and_another_body_is_refused(api: Doors, admin: str, card_id: str) -> None:
    first, again = move(api, admin, card_id, "key_1"), move(api, admin, card_id, "key_1")
    assert (again.status, again.json, again.headers["idempotency-replayed"]) == (201, first.json, "true")
    assert move(api, admin, card_id, "key_1", amount="100.01").status in (409, 422)
    assert api.ask(balances, admin, card_id=card_id).json["balances"][0]["balance"] == "-100.00"


def test_without_a_key_no_money_is_moved(api: Doors, admin: str, card_id: str) -> None:
    answer = api.ask(funds, admin, LOAD, card_id=card_id)
    assert (answer.status, answer.json["code"]) == (400, "idempotency_key_required")


def test_a_card_funded_by_limits_takes_no_money(api: Doors, admin: str, card: Card) -> None:
    answer = move(api, admin, str(card.card_id))
    assert (answer.status, answer.json["code"]) == (409, "card_not_funded_by_balance")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"direction": "withdraw"}, 409, "insufficient_funds"),
        ({"currency": "EUR"}, 422, "currency_mismatch"),
        ({"amount": "9999999999.99"}, 422, "balance_too_large"),
    ],
)
def test_what_the_card_does_not_bear_is_refused(
    api: Doors, admin: str, card_id: str, body: dict[str, str], status: int, code: str
) -> None:
    move(api, admin, card_id, amount="1.00")
    answer = move(api, admin, card_id, **body)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert told(answer) <= documented(funds, status)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"amount": "0"}, "amount_out_of_range"),
        ({"amount": "-1.00"}, "amount_invalid"),
        ({"amount": "1e3"}, "amount_invalid"),
        ({"amount": "1.50", "currency": "JPY"}, "amount_not_whole"),
        ({"currency": "ABC"}, "currency_unknown"),
        ({"currency": "KWD"}, "currency_unsupported"),
        ({"direction": "borrow"}, "not_allowed"),
        ({"reference": f"for {pan()}"}, "card_number_not_allowed"),
    ],
)
def test_fields_that_break_rules_are_named(api: Doors, admin: str, card_id: str, body: dict[str, str], code: str) -> None:
    answer = move(api, admin, card_id, **body)
    assert answer.status == 422
    # What no list of values holds is told alike at every door.
    assert code in told(answer) <= documented(funds, 422) | {"not_allowed"}
    assert api.ask(balances, admin, card_id=card_id).json["balances"] == []


@pytest.mark.parametrize("role", ["cardholder", "merchant", "support", "compliance_officer"])
def test_nobody_but_administrators_moves_money(api: Doors, card_id: str, role: str) -> None:
    answer = move(api, api.let_in(api.world.add_user(role)), card_id)
    assert (answer.status, answer.json["code"]) == (403, "role_not_allowed")


def test_to_move_money_needs_a_fresh_second_factor(api: Doors, card_id: str) -> None:
    answer = move(api, api.let_in(api.world.add_user("admin"), stepped_up=False), card_id)
    assert (answer.status, answer.json["code"]) == (403, "step_up_required")


@pytest.mark.parametrize("role", ["admin", "support", "compliance_officer"])
def test_staff_reads_the_ledger(api: Doors, world: CardWorld, card: Card, role: str) -> None:
    ids = post(world, card, "5.00")
    token = api.let_in(world.add_user(role), stepped_up=False)
    assert len(api.ask(balances, token, card_id=card.card_id).json["balances"]) == 2
    assert [item["id"] for item in api.ask(postings, token, card_id=card.card_id).json["data"]] == ids


@pytest.mark.parametrize("door", [balances, postings])
def test_nobody_else_reads_it_and_a_card_that_is_none_is_not_found(
    api: Doors, admin: str, token: str, card: Card, door: Any
) -> None:
    answer = api.ask(door, token, card_id=card.card_id)
    assert (answer.status, answer.json["code"]) == (403, "role_not_allowed")
    missing = api.ask(door, admin, card_id=api.ids.new())
    assert (missing.status, missing.json["code"]) == (404, "card_not_found")
    unnamed = api.ask(door, admin)
    assert (unnamed.status, unnamed.json["errors"][0]["field"]) == (422, "card_id")


def test_postings_come_in_pages_whose_cursor_is_good_for_this_card_alone(
    api: Doors, world: CardWorld, admin: str, holder: Actor, card: Card
) -> None:
    ids = post(world, card, "1.00", "2.00", "3.00")
    first = api.ask(postings, admin, card_id=card.card_id, limit=2).json
    cursor = first["pagination"]["next_cursor"]
    rest = api.ask(postings, admin, card_id=card.card_id, limit=2, cursor=cursor).json
    assert [item["id"] for item in first["data"] + rest["data"]] == ids
    assert rest["pagination"] == {"next_cursor": None, "has_more": False}
    refused = api.ask(postings, admin, card_id=world.issue(holder).card_id, cursor=cursor)
    assert (refused.status, refused.json["code"]) == (400, "cursor_invalid")


def test_each_run_tells_how_many_postings_do_not_hold(
    alone: CardWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = alone.issue(alone.add_user())
    damaged, _ = post(alone, card, "1.00", "2.00")
    assert look(alone, monkeypatch) == {"postings": 2}
    alone.sql(
        "WITH past AS (SELECT set_config('session_replication_role', 'replica', true)) "
        "UPDATE ledger_entries SET amount = 7 FROM past WHERE posting_id = %s AND line = 1",
        damaged,
    )
    assert look(alone, monkeypatch) == {"postings": 2}
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [line["LedgerDiscrepancies"] for line in told] == [0, 1]
    assert told[-1]["_aws"]["CloudWatchMetrics"][0]["Metrics"] == [{"Name": "LedgerDiscrepancies", "Unit": "Count"}]


def test_a_run_that_cannot_count_fails_and_tells_no_number(
    alone: CardWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(check: LedgerCheck) -> int:
        raise UnavailableError("gone", code="database_unavailable")

    monkeypatch.setattr(LedgerCheck, "count_discrepancies", gone)
    with pytest.raises(UnavailableError):
        look(alone, monkeypatch)
    assert "_aws" not in capsys.readouterr().out
