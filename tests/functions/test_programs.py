"""The program doors: what staff sends and sees, who may do it, and what becomes of cards."""

from collections.abc import Iterator
from typing import Any

import pytest

from cardwright.cards.rules import CardStatus
from cardwright.programs.service import ProgramAdministration
from functions.cards.create_virtual_card import endpoint as create_card
from functions.cards.freeze_card import endpoint as freeze_card
from functions.programs.create_program import endpoint as create
from functions.programs.get_program import endpoint as get
from functions.programs.list_programs import endpoint as list_all
from functions.programs.update_program import endpoint as update
from tests.fakes.api_world import Answer, ApiWorld
from tests.fakes.card_world import CardWorld
from tests.pans import pan

WISH: dict[str, Any] = {
    "name": "Travel CHF",
    "network": "mastercard",
    "bin": "52009910",
    "currency": "CHF",
    "defaults": {"per_transaction": "500.00", "daily": 1000, "monthly": "5000.5"},
}


class Doors(ApiWorld):
    """The API's parts with the administration of programs."""

    def __init__(self, world: CardWorld) -> None:
        super().__init__(world)
        self.program_administration = ProgramAdministration(world.database, world.clock)


@pytest.fixture
def api(fresh_database: str) -> Iterator[Doors]:
    """Doors over a database of this test."""
    world = CardWorld(fresh_database)
    yield Doors(world)
    world.close()


@pytest.fixture
def token(api: Doors) -> str:
    """An administrator's access token, with a fresh second factor."""
    return api.let_in(api.world.add_user("admin"))


def made(api: Doors, token: str, **changes: Any) -> dict[str, Any]:
    """A new program's document."""
    answer = api.ask(create, token, {**WISH, **changes})
    assert answer.status == 201, answer.text
    document: dict[str, Any] = answer.json
    return document


def codes(answer: Answer) -> set[tuple[str, str]]:
    """Field errors of a problem."""
    return {(error["field"], error["code"]) for error in answer.json["errors"]}


def test_a_new_program_is_answered_with_its_place_and_version(api: Doors, token: str) -> None:
    answer = api.ask(create, token, {**WISH, "is_default": True, "max_open_cards": 25, "step_up_above": "750.00"})
    program = answer.json
    assert (answer.status, answer.headers["etag"]) == (201, '"1"')
    assert answer.headers["location"] == f"/api/v1/admin/programs/{program['id']}"
    assert program == {
        "id": program["id"],
        "name": "Travel CHF",
        "network": "mastercard",
        "bin": "52009910",
        "currency": "CHF",
        "funding": "limits",
        "defaults": {"per_transaction": "500.00", "daily": "1000.00", "monthly": "5000.50", "velocity_per_hour": 5},
        "max_open_cards": 25,
        "card_lifetime_months": 36,
        "step_up_above": "750.00",
        "is_default": True,
        "status": "ACTIVE",
        "version": 1,
        "created_at": "2026-11-21T12:00:00.000Z",
        "updated_at": "2026-11-21T12:00:00.000Z",
    }
    shown = api.ask(get, token, program_id=program["id"])
    assert (shown.json, shown.headers["etag"]) == (program, '"1"')


def test_the_same_key_answers_the_same_program(api: Doors, token: str) -> None:
    key = {"Idempotency-Key": "k-1"}
    first, again = (api.ask(create, token, WISH, headers=key) for _ in range(2))
    assert (again.status, again.text, again.headers["idempotency-replayed"]) == (201, first.text, "true")
    other = api.ask(create, token, {**WISH, "name": "Another"}, headers=key)
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    assert len([one for one in api.ask(list_all, token).json["data"] if one["currency"] == "CHF"]) == 1


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"surprise": 1}, {("surprise", "unknown_field")}),
        ({"status": "RETIRED"}, {("status", "unknown_field")}),
        ({"network": "amex"}, {("network", "not_allowed")}),
        ({"network": "visa"}, {("bin", "bin_network_mismatch")}),
        ({"bin": "5200"}, {("bin", "bin_invalid")}),
        ({"bin": "52009a"}, {("bin", "bin_invalid")}),
        ({"bin": 520099}, {("bin", "invalid_type")}),
        ({"bin": "520099101"}, {("bin", "too_long")}),
        ({"currency": "ZZZ"}, {("currency", "currency_unknown")}),
        ({"currency": "KWD"}, {("currency", "currency_unsupported")}),
        ({"funding": "hope"}, {("funding", "not_allowed")}),
        ({"name": " "}, {("name", "too_short")}),
        ({"name": "x" * 101}, {("name", "too_long")}),
        ({"name": "a\x07b"}, {("name", "invalid")}),
        ({"name": "test " + pan()}, {("name", "card_number_not_allowed")}),
        ({"defaults": None}, {("defaults", "invalid_type")}),
        ({"defaults": {**WISH["defaults"], "daily": "0.50"}}, {
            ("defaults.daily", "limit_out_of_range"), ("defaults.per_transaction", "limit_order")
        }),
        ({"defaults": {**WISH["defaults"], "monthly": "1e9"}}, {("defaults.monthly", "amount_invalid")}),
        ({"defaults": {**WISH["defaults"], "velocity_per_hour": 0}}, {("defaults.velocity_per_hour", "out_of_range")}),
        ({"defaults": {**WISH["defaults"], "velocity_per_hour": True}}, {("defaults.velocity_per_hour", "invalid_type")}),
        ({"defaults": {"daily": "1.00"}}, {("defaults.per_transaction", "required"), ("defaults.monthly", "required")}),
        ({"max_open_cards": 0}, {("max_open_cards", "out_of_range")}),
        ({"max_open_cards": 10**30}, {("max_open_cards", "out_of_range")}),
        ({"max_open_cards": "10"}, {("max_open_cards", "invalid_type")}),
        ({"card_lifetime_months": 121}, {("card_lifetime_months", "out_of_range")}),
        ({"step_up_above": "-1"}, {("step_up_above", "amount_invalid")}),
        ({"currency": "JPY", "step_up_above": "1.50"}, {
            ("step_up_above", "amount_not_whole"), ("defaults.monthly", "amount_not_whole")
        }),
        ({"is_default": "yes"}, {("is_default", "invalid_type")}),
    ],
)  # fmt: skip
def test_bad_fields_are_named(api: Doors, token: str, changes: dict[str, Any], found: set[tuple[str, str]]) -> None:
    answer = api.ask(create, token, {**WISH, **changes})
    assert (answer.status, codes(answer)) == (422, found)
    assert [one["currency"] for one in api.ask(list_all, token).json["data"]] == ["USD"]


def test_what_is_left_out_of_a_change_stays(api: Doors, token: str) -> None:
    program = made(api, token, step_up_above="750.00")
    where = {"program_id": program["id"]}
    answer = api.ask(update, token, {"defaults": {"daily": "900.00"}, "name": "Trips"}, headers={"If-Match": '"1"'}, **where)
    assert (answer.status, answer.headers["etag"]) == (200, '"2"')
    changed = {"name": "Trips", "defaults": {**program["defaults"], "daily": "900.00"}, "version": 2}
    assert answer.json == {**program, **changed}
    off = api.ask(update, token, {"step_up_above": None, "defaults": {"velocity_per_hour": None}}, **where).json
    assert (off["step_up_above"], off["defaults"]["velocity_per_hour"], off["defaults"]["daily"]) == (None, None, "900.00")
    assert api.ask(get, token, **where).json == off


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"bin": "52009911"}, {("bin", "unknown_field")}),
        ({"network": "visa"}, {("network", "unknown_field")}),
        ({"currency": "USD"}, {("currency", "unknown_field")}),
        ({"funding": "balance"}, {("funding", "unknown_field")}),
        ({"version": 7}, {("version", "unknown_field")}),
        ({"defaults": {"weekly": "1.00"}}, {("defaults.weekly", "unknown_field")}),
        ({"defaults": {"daily": "400.00"}}, {("defaults.per_transaction", "limit_order")}),
        ({"defaults": {"daily": None}}, {("defaults.daily", "amount_invalid")}),
        ({"name": None}, {("name", "invalid_type")}),
        ({"max_open_cards": None}, {("max_open_cards", "invalid_type")}),
        ({"is_default": None}, {("is_default", "invalid_type")}),
        ({"status": "CLOSED"}, {("status", "not_allowed")}),
        ({"status": None}, {("status", "not_allowed")}),
    ],
)
def test_what_cannot_change_or_be_empty_is_refused(
    api: Doors, token: str, body: dict[str, Any], found: set[tuple[str, str]]
) -> None:
    program = made(api, token)
    answer = api.ask(update, token, body, program_id=program["id"])
    assert (answer.status, codes(answer)) == (422, found)
    assert api.ask(get, token, program_id=program["id"]).json == program


def test_changes_that_cannot_be_say_why(api: Doors, token: str) -> None:
    program = made(api, token, is_default=True)
    where = {"program_id": program["id"]}

    def refused(body: dict[str, Any], **headers: str) -> tuple[int, str]:
        answer = api.ask(update, token, body, headers={name.replace("_", "-"): value for name, value in headers.items()}, **where)
        return answer.status, answer.json["code"]

    assert refused({"name": "Trips"}, If_Match='"2"') == (412, "version_mismatch")
    assert refused({"name": program["name"]}) == (409, "program_unchanged")
    assert refused({}) == (409, "program_unchanged")
    assert refused({"status": "RETIRED"}) == (409, "program_is_default")
    assert api.ask(update, token, {"status": "RETIRED", "is_default": False}, **where).status == 200
    assert refused({"status": "RETIRED"}) == (409, "program_unchanged")
    assert refused({"is_default": True}) == (409, "program_retired")
    unknown = api.ask(update, token, {"name": "x"}, program_id=api.ids.new())
    assert (unknown.status, unknown.json["code"]) == (404, "program_not_found")
    assert api.ask(get, token, program_id=api.ids.new()).json["code"] == "program_not_found"


def test_a_retired_program_issues_no_cards_and_its_cards_live_on(api: Doors, token: str) -> None:
    holder = api.world.add_user()
    card = api.world.issue(holder)
    program_id = str(api.world.program.program_id)
    assert api.ask(update, token, {"status": "RETIRED"}, program_id=program_id).json["status"] == "RETIRED"
    held = api.let_in(holder)
    wish = {"currency": "USD", "program_id": program_id}
    answer = api.ask(create_card, held, wish, headers={"Idempotency-Key": "k"})
    assert (answer.status, answer.json["code"]) == (422, "program_retired")
    assert api.ask(freeze_card, held, {}, card_id=card.card_id).json["status"] == CardStatus.FROZEN
    assert api.ask(update, token, {"status": "ACTIVE"}, program_id=program_id).status == 200
    assert api.ask(create_card, held, wish, headers={"Idempotency-Key": "k"}).status == 201


def test_cards_issued_later_have_the_new_defaults(api: Doors, token: str) -> None:
    program = made(api, token, is_default=True)
    holder = api.let_in(api.world.add_user())

    def issued(key: str) -> dict[str, Any]:
        document: dict[str, Any] = api.ask(create_card, holder, {"currency": "CHF"}, headers={"Idempotency-Key": key}).json
        return document

    assert issued("one")["limits"]["daily"] == "1000.00"
    api.ask(update, token, {"defaults": {"daily": "900.00"}, "max_open_cards": 2}, program_id=program["id"])
    assert issued("two")["limits"] == {"per_transaction": "500.00", "daily": "900.00", "monthly": "5000.50"}
    assert issued("three")["code"] == "card_limit_reached"


@pytest.mark.parametrize("role", ["support", "compliance_officer"])
def test_other_staff_reads_and_does_not_write(api: Doors, token: str, role: str) -> None:
    program = made(api, token)
    reader = api.let_in(api.world.add_user(role))
    assert api.ask(get, reader, program_id=program["id"]).json == program
    assert program in api.ask(list_all, reader).json["data"]
    for answer in (api.ask(create, reader, WISH), api.ask(update, reader, {"name": "x"}, program_id=program["id"])):
        assert (answer.status, answer.json["code"]) == (403, "role_not_allowed")


@pytest.mark.parametrize("role", ["cardholder", "merchant"])
def test_customers_do_not_see_programs(api: Doors, role: str) -> None:
    stranger = api.let_in(api.world.add_user(role))
    program_id = api.world.program.program_id
    asked = [
        api.ask(list_all, stranger),
        api.ask(get, stranger, program_id=program_id),
        api.ask(create, stranger, WISH),
        api.ask(update, stranger, {"name": "x"}, program_id=program_id),
    ]
    assert [answer.status for answer in asked] == [403] * 4
    assert api.ask(list_all, None).status == 401


def test_an_administrator_writes_with_a_fresh_second_factor_alone(api: Doors) -> None:
    stale = api.let_in(api.world.add_user("admin"), stepped_up=False)
    program_id = api.world.program.program_id
    assert api.ask(get, stale, program_id=program_id).status == 200
    for answer in (api.ask(create, stale, WISH), api.ask(update, stale, {"name": "x"}, program_id=program_id)):
        assert (answer.status, answer.json["code"]) == (403, "step_up_required")


def test_programs_are_paged(api: Doors, token: str) -> None:
    ids = [made(api, token)["id"] for _ in range(3)]
    first = api.ask(list_all, token, limit=2).json
    cursor = first["pagination"]["next_cursor"]
    rest = api.ask(list_all, token, limit=2, cursor=cursor).json
    seen = [one["id"] for one in first["data"] + rest["data"]]
    assert sorted(seen) == sorted([*ids, str(api.world.program.program_id)])
    assert (first["pagination"]["has_more"], rest["pagination"]["has_more"]) == (True, False)
    assert api.ask(list_all, token, cursor=cursor[:-4] + "AAAA").json["code"] == "cursor_invalid"
