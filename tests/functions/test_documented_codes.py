"""What a request for a card or a program is refused for stands in the documents of its door."""

import re
from typing import Any

import pytest
from fastapi.routing import APIRoute

from cardwright.cards.rules import Card
from cardwright.http.endpoint import Endpoint
from cardwright.programs.service import ProgramAdministration
from functions.cards.cancel_card import endpoint as cancel
from functions.cards.create_card_batch import endpoint as create_batch
from functions.cards.create_virtual_card import endpoint as create
from functions.cards.freeze_card import endpoint as freeze
from functions.cards.list_cards import endpoint as list_cards
from functions.cards.replace_card import endpoint as replace
from functions.cards.search_cards import endpoint as search
from functions.cards.unfreeze_card import endpoint as unfreeze
from functions.cards.update_card import endpoint as update
from functions.cards.update_card_limits import endpoint as update_limits
from functions.programs.create_program import endpoint as create_program
from functions.programs.list_programs import endpoint as list_programs
from functions.programs.update_program import endpoint as update_program
from tests.fakes.api_world import Answer, ApiWorld
from tests.fakes.card_world import CardWorld
from tests.pans import pan

PAN_IN_WORDS = "number " + pan()
LIMITS = {"per_transaction": "10.00", "daily": "20.00", "monthly": "30.00"}
PROGRAM: dict[str, Any] = {"name": "Travel", "network": "visa", "bin": "40009910", "currency": "JPY", "defaults": LIMITS}
TOO_MANY = {"deny": ["5411"] * 501}
BOTH = {"allow": ["5411"], "deny": ["5411"]}
# What breaks an amount, on its own or beside others, at every door that takes limits.
AMOUNTS = [
    ({**LIMITS, "daily": "1e3"}, "amount_invalid"),
    ({**LIMITS, "daily": "60000.00", "monthly": "60000.00"}, "limit_out_of_range"),
    ({**LIMITS, "per_transaction": "25.00"}, "limit_order"),
]


class Doors(ApiWorld):
    """Doors of cards, and those of programs beside them."""

    def __init__(self, world: CardWorld) -> None:
        super().__init__(world)
        self.program_administration = ProgramAdministration(world.database, world.clock)


@pytest.fixture
def api(world: CardWorld) -> Doors:
    """Doors over the world."""
    return Doors(world)


@pytest.fixture
def admin(api: Doors) -> str:
    """An administrator's access token, with a fresh second factor."""
    return api.let_in(api.world.add_user("admin"))


def documented(endpoint: Endpoint[Any], status: int) -> set[str]:
    """The codes that the documents of a door name for a status."""
    (route,) = [route for route in endpoint.app.routes if isinstance(route, APIRoute)]
    return set(re.findall("`([a-z_]+)`", route.responses[status]["description"]))


def told(answer: Answer) -> set[str]:
    """The codes of a problem and of its fields."""
    return {answer.json["code"], *(error["code"] for error in answer.json.get("errors", []))}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        *(({"limits": limits}, code) for limits, code in AMOUNTS),
        ({"currency": "ZZZ"}, "currency_unknown"),
        ({"currency": "KWD"}, "currency_unsupported"),
        ({"currency": "EUR"}, "program_currency_mismatch"),
        ({"program_id": "0190163d-8694-739b-aea5-966c26f8ad91"}, "program_not_found"),
        ({"merchant_categories": {"deny": ["abc"]}}, "merchant_category_unknown"),
        ({"merchant_categories": BOTH}, "merchant_category_conflict"),
        ({"merchant_categories": TOO_MANY}, "too_many_items"),
        ({"expires_on": "tomorrow"}, "date_invalid"),
        ({"expires_on": "2020-01-01"}, "expires_on_out_of_range"),
        ({"label": PAN_IN_WORDS}, "card_number_not_allowed"),
    ],
)
def test_why_no_card_is_made_is_documented(api: ApiWorld, token: str, wrong: dict[str, Any], code: str) -> None:
    body = {"currency": api.world.program.currency, "program_id": str(api.world.program.program_id), **wrong}
    answer = api.ask(create, token, body, headers={"Idempotency-Key": str(api.ids.new())})
    assert code in told(answer) <= documented(create, 422)


@pytest.mark.parametrize(
    ("items", "code"),
    [([], "too_few_items"), ([{}] * 1001, "too_many_items"), ([{"idempotency_key": "a"}] * 2, "duplicate_key")],
)
def test_why_a_batch_is_not_taken_is_documented(api: ApiWorld, token: str, items: list[Any], code: str) -> None:
    answer = api.ask(create_batch, token, {"items": items}, headers={"Idempotency-Key": str(api.ids.new())})
    assert code in told(answer) <= documented(create_batch, 422)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        *AMOUNTS,
        ({"merchant_categories": {"deny": ["abc"]}}, "merchant_category_unknown"),
        ({"merchant_categories": BOTH}, "merchant_category_conflict"),
        ({"merchant_categories": TOO_MANY}, "too_many_items"),
        ({"countries": {"deny": ["ZZ"]}}, "country_unknown"),
        ({"countries": {"allow": ["FR"], "deny": ["FR"]}}, "country_conflict"),
        ({"time_zone": "Europe/Nowhere"}, "time_zone_unknown"),
    ],
)
def test_why_limits_are_not_changed_is_documented(
    api: ApiWorld, token: str, card: Card, change: dict[str, Any], code: str
) -> None:
    answer = api.ask(update_limits, token, change, card_id=card.card_id)
    assert code in told(answer) <= documented(update_limits, 422)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (update, {"label": PAN_IN_WORDS}),
        (freeze, {"reason": PAN_IN_WORDS}),
        (unfreeze, {"reason": PAN_IN_WORDS}),
        (replace, {"reason": PAN_IN_WORDS}),
    ],
)
def test_words_with_a_card_number_in_them_are_documented(
    api: ApiWorld, token: str, card: Card, endpoint: Endpoint[Any], body: Any
) -> None:
    assert "card_number_not_allowed" in told(api.ask(endpoint, token, body, card_id=card.card_id)) <= documented(endpoint, 422)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        *(({"defaults": limits}, code) for limits, code in AMOUNTS),
        ({"defaults": {**LIMITS, "daily": "20.50"}}, "amount_not_whole"),
        ({"max_open_cards": 0}, "out_of_range"),
        ({"name": PAN_IN_WORDS}, "card_number_not_allowed"),
    ],
)
def test_why_a_program_is_not_made_or_changed_is_documented(api: Doors, admin: str, wrong: dict[str, Any], code: str) -> None:
    assert code in told(api.ask(create_program, admin, PROGRAM | wrong)) <= documented(create_program, 422)
    made = api.ask(create_program, admin, PROGRAM).json["id"]
    assert code in told(api.ask(update_program, admin, wrong, program_id=made)) <= documented(update_program, 422)


@pytest.mark.parametrize("wrong", [{"currency": "ZZZ"}, {"currency": "KWD"}, {"bin": "4000"}, {"bin": "52009910"}])
def test_what_a_program_cannot_be_is_documented(api: Doors, admin: str, wrong: dict[str, Any]) -> None:
    codes = told(api.ask(create_program, admin, PROGRAM | wrong))
    assert {"invalid_fields"} < codes <= documented(create_program, 422)


@pytest.mark.parametrize("endpoint", [update, freeze, unfreeze, replace, cancel, update_limits, update_program])
def test_a_version_that_is_none_is_documented(api: Doors, admin: str, card: Card, endpoint: Endpoint[Any]) -> None:
    body = {update: {"label": "Travel"}, cancel: None}.get(endpoint, {})
    inputs = {"program_id": api.world.program.program_id} if endpoint is update_program else {"card_id": card.card_id}
    answer = api.ask(endpoint, admin, body, headers={"If-Match": "new"}, **inputs)
    assert told(answer) == {"if_match_invalid"} <= documented(endpoint, 400)


@pytest.mark.parametrize("endpoint", [list_cards, search, list_programs])
def test_a_cursor_that_is_none_of_ours_is_documented(api: Doors, admin: str, endpoint: Endpoint[Any]) -> None:
    assert told(api.ask(endpoint, admin, cursor="forged")) == {"cursor_invalid"} <= documented(endpoint, 400)


def test_a_card_of_a_retired_program_is_documented(api: Doors, admin: str, token: str) -> None:
    made = api.ask(create_program, admin, PROGRAM).json["id"]
    assert api.ask(update_program, admin, {"status": "RETIRED"}, program_id=made).status == 200
    answer = api.ask(create, token, {"currency": "JPY", "program_id": made}, headers={"Idempotency-Key": str(api.ids.new())})
    assert "program_retired" in told(answer) <= documented(create, 422)


def test_a_card_whose_limits_are_not_whole_is_documented(api: Doors, admin: str, token: str) -> None:
    made = api.ask(create_program, admin, PROGRAM).json["id"]
    body = {"currency": "JPY", "program_id": made, "limits": {"per_transaction": "1.50"}}
    answer = api.ask(create, token, body, headers={"Idempotency-Key": str(api.ids.new())})
    assert "amount_not_whole" in told(answer) <= documented(create, 422)
