"""The card doors: what clients send and see."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.platform.postgres import Actor
from functions.cards.create_virtual_card import endpoint as create
from functions.cards.freeze_card import endpoint as freeze
from functions.cards.get_card import endpoint as get
from functions.cards.list_cards import endpoint as list_all
from functions.cards.shapes import CardCreateRequest, CardStateRequest
from functions.cards.unfreeze_card import endpoint as unfreeze
from tests.fakes.api_world import Answer, ApiWorld
from tests.fakes.card_world import NOW, CardWorld
from tests.pans import pan


def post(api: ApiWorld, token: str, key: str | None = None, **fields: Any) -> Answer:
    """Ask for a card of the world's program."""
    body = {"currency": "USD", "program_id": str(api.world.program.program_id), **fields}
    return api.ask(create, token, body, headers={"Idempotency-Key": key or str(api.ids.new())})


def codes(answer: Answer) -> set[tuple[str, str]]:
    """Field errors of a problem."""
    return {(error["field"], error["code"]) for error in answer.json["errors"]}


def test_a_created_card_is_answered_with_its_place_and_version(api: ApiWorld, token: str) -> None:
    answer = post(
        api,
        token,
        label="Office supplies",
        limits={"per_transaction": "250.00", "daily": 500, "monthly": "2000.5"},
        merchant_categories={"allow": [], "deny": ["7995", "7801"]},
        usage="single",
        expires_on="2027-02-01",
    )
    card = answer.json
    assert answer.status == 201
    assert answer.headers["location"] == f"/api/v1/cards/{card['id']}"
    assert answer.headers["etag"] == '"1"'
    made = next(iter(api.world.processor.cards.values()))
    assert card == {
        "id": card["id"],
        "status": "ACTIVE",
        "status_reason_code": None,
        "last_four": made.last_four,
        "expiry_month": 2,
        "expiry_year": 2027,
        "currency": "USD",
        "label": "Office supplies",
        "limits": {"per_transaction": "250.00", "daily": "500.00", "monthly": "2000.50"},
        "velocity_per_hour": 5,
        "merchant_categories": {"allow": [], "deny": ["7801", "7995"]},
        "usage": "single",
        "funding": "limits",
        "balance": None,
        "program_id": str(api.world.program.program_id),
        "replaces": None,
        "replaced_by": None,
        "cancel_after": None,
        "version": 1,
        "created_at": "2026-11-21T12:00:00.000Z",
        "updated_at": "2026-11-21T12:00:00.000Z",
        "processor_card_token": made.token,
    }
    assert made.pan.reveal() not in answer.text


def test_the_same_key_answers_the_same_card(api: ApiWorld, token: str) -> None:
    first, again = post(api, token, "key-1"), post(api, token, "key-1")
    assert (again.status, again.text) == (201, first.text)
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.headers["etag"], again.headers["location"]) == (first.headers["etag"], first.headers["location"])
    assert len(api.world.processor.cards) == 1
    assert post(api, token, "key-1", label="other").json["code"] == "idempotency_key_reused"


def test_after_an_outage_the_same_key_finishes_the_card(api: ApiWorld, token: str) -> None:
    api.world.processor.faults = [UnavailableError("gone", code="processor_unavailable")] * 4
    api.world.processor.made_before_fault = True
    first = post(api, token, "key-1")
    assert (first.status, first.json["code"]) == (503, "processor_unavailable")
    again = post(api, token, "key-1")
    assert again.status == 201
    assert [str(card_id) for card_id in api.world.processor.cards] == [again.json["id"]]


def test_a_refusal_by_the_processor_is_a_bad_gateway(api: ApiWorld, token: str) -> None:
    api.world.processor.faults = [ProviderRefusedError("no", code="processor_refused")]
    answer = post(api, token)
    assert (answer.status, answer.json["code"]) == (502, "processor_refused")


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"surprise": 1}, {("surprise", "unknown_field")}),
        ({"currency": "ZZZ"}, {("currency", "currency_unknown")}),
        ({"currency": "KWD"}, {("currency", "currency_unsupported")}),
        ({"currency": 7}, {("currency", "invalid_type")}),
        ({"limits": {"daily": "12.345"}}, {("limits.daily", "amount_invalid")}),
        ({"limits": {"daily": "-1"}}, {("limits.daily", "amount_invalid")}),
        ({"limits": {"daily": "NaN"}}, {("limits.daily", "amount_invalid")}),
        ({"limits": {"daily": "1e400"}}, {("limits.daily", "amount_invalid")}),
        ({"limits": {"daily": "60000.00"}}, {("limits.daily", "limit_out_of_range")}),
        ({"limits": {"daily": "10.00", "per_transaction": "11.00"}}, {("limits.per_transaction", "limit_order")}),
        ({"limits": {"weekly": "1.00"}}, {("limits.weekly", "unknown_field")}),
        ({"merchant_categories": {"deny": ["abc"]}}, {("merchant_categories.deny.0", "merchant_category_unknown")}),
        ({"merchant_categories": {"allow": ["5411"], "deny": ["5411"]}}, {("merchant_categories", "merchant_category_conflict")}),
        ({"merchant_categories": {"deny": ["5411"] * 501}}, {("merchant_categories.deny", "too_many_items")}),
        ({"usage": "twice"}, {("usage", "not_allowed")}),
        ({"program_id": "not-a-uuid"}, {("program_id", "uuid_invalid")}),
        ({"expires_on": 1900000000}, {("expires_on", "date_invalid")}),
        ({"expires_on": "2027-02-30"}, {("expires_on", "invalid")}),
        ({"expires_on": "2020-01-01"}, {("expires_on", "expires_on_out_of_range")}),
        ({"label": "a\x07b"}, {("label", "invalid")}),
        ({"label": ""}, {("label", "too_short")}),
        ({"label": "x" * 101}, {("label", "too_long")}),
        ({"label": "number " + pan()}, {("label", "card_number_not_allowed")}),
    ],
)
def test_each_wrong_field_is_named_and_nothing_is_asked_of_the_processor(
    api: ApiWorld, token: str, fields: dict[str, Any], found: set[tuple[str, str]]
) -> None:
    answer = post(api, token, **fields)
    assert answer.status == 422
    assert codes(answer) == found
    assert answer.headers["content-type"] == "application/problem+json"
    assert pan() not in answer.text
    assert api.world.processor.asked == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "12.345", "1e2"])
def test_json_numbers_that_are_no_amounts_are_refused(api: ApiWorld, token: str, number: str) -> None:
    body = '{"currency": "USD", "limits": {"daily": NUMBER}}'.replace("NUMBER", number)
    answer = api.ask(create, token, body, headers={"Idempotency-Key": "k"})
    assert answer.status in (400, 422)
    assert answer.json["code"] in ("json_invalid", "invalid_fields")


def test_business_refusals_have_their_codes(api: ApiWorld, holder: Actor, token: str) -> None:
    assert post(api, token, program_id=str(api.ids.new())).json["code"] == "program_not_found"
    assert post(api, token, currency="EUR").json["code"] == "program_currency_mismatch"
    assert post(api, token, currency="CHF", program_id=None).json["code"] == "currency_unsupported"
    assert holder.user_id is not None
    api.world.kyc.statuses[holder.user_id] = "PENDING"
    answer = post(api, token)
    assert (answer.status, answer.json["code"]) == (403, "kyc_required")


def test_the_sixth_card_of_an_hour_is_told_when_to_come_back(api: ApiWorld, token: str) -> None:
    api.cards = api.world.serving(creations_per_hour=5)
    assert [post(api, token).status for _ in range(6)] == [201] * 5 + [429]
    answer = post(api, token)
    assert (answer.json["code"], answer.headers["retry-after"]) == ("rate_limited", "3600")


def test_a_card_needs_a_key_a_fresh_factor_and_the_right_role(api: ApiWorld, holder: Actor, token: str) -> None:
    body = {"currency": "USD"}
    key = {"Idempotency-Key": "k"}
    assert api.ask(create, token, body).json["code"] == "idempotency_key_required"
    assert api.ask(create, None, body, headers=key).status == 401
    stale = api.let_in(holder, stepped_up=False)
    assert api.ask(create, stale, body, headers=key).json["code"] == "step_up_required"
    admin = api.let_in(api.world.add_user("admin"))
    assert api.ask(create, admin, body, headers=key).json["code"] == "role_not_allowed"
    assert api.world.processor.asked == []


def test_a_card_is_read_by_its_owner_and_staff_and_by_no_one_else(api: ApiWorld, token: str) -> None:
    card = post(api, token).json
    assert api.ask(get, token, card_id=card["id"]).json == card
    stranger = api.ask(get, api.let_in(api.world.add_user()), card_id=card["id"])
    assert (stranger.status, stranger.json["code"]) == (404, "card_not_found")
    assert api.ask(get, token, card_id=api.ids.new()).status == 404
    assert api.ask(get, token, card_id="17").status == 422


def test_the_processors_token_is_shown_to_admin_and_support_and_locally_to_the_owner(api: ApiWorld, token: str) -> None:
    card_id = post(api, token).json["id"]

    def shown(reader: str) -> bool:
        return "processor_card_token" in api.ask(get, reader, card_id=card_id).json

    staff = {role: api.let_in(api.world.add_user(role)) for role in ("admin", "support", "compliance_officer")}
    assert {role: shown(reader) for role, reader in staff.items()} == {
        "admin": True,
        "support": True,
        "compliance_officer": False,
    }
    assert shown(token)
    api.settings = replace(api.settings, stage="prod")
    assert not shown(token)
    assert shown(staff["admin"])


def test_cards_are_listed_in_pages_with_cursors_of_this_list_alone(api: ApiWorld, token: str) -> None:
    made: list[Any] = []
    for minute in range(3):
        api.clock.at = NOW + timedelta(minutes=minute)
        made.insert(0, post(api, token).json)
    token = api.let_in(Actor(api.principals[token].user_id, "cardholder"))
    first = api.ask(list_all, token, limit=2).json
    assert (first["data"], first["pagination"]["has_more"]) == (made[:2], True)
    cursor = first["pagination"]["next_cursor"]
    second = api.ask(list_all, token, limit=2, cursor=cursor).json
    assert (second["data"], second["pagination"]) == (made[2:], {"next_cursor": None, "has_more": False})
    for forged in (cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB"), "x", "A" * 43):
        assert api.ask(list_all, token, cursor=forged).json["code"] == "cursor_invalid"
    assert api.ask(list_all, api.let_in(api.world.add_user()), cursor=cursor).json["code"] == "cursor_invalid"
    assert api.ask(list_all, token, limit=201).status == 422


def test_freeze_and_unfreeze_carry_versions(api: ApiWorld, token: str) -> None:
    card_id = post(api, token).json["id"]
    stale = api.ask(freeze, token, card_id=card_id, headers={"If-Match": '"2"'})
    assert (stale.status, stale.json["code"]) == (412, "version_mismatch")
    frozen = api.ask(freeze, token, {"reason": "left in a taxi"}, card_id=card_id, headers={"If-Match": '"1"'})
    assert (frozen.status, frozen.json["status"], frozen.headers["etag"]) == (200, "FROZEN", '"2"')
    again = api.ask(freeze, token, card_id=card_id)
    assert (again.status, again.json["code"]) == (409, "card_already_frozen")
    active = api.ask(unfreeze, token, card_id=card_id)
    assert (active.status, active.json["status"], active.json["version"]) == (200, "ACTIVE", 3)
    assert api.ask(unfreeze, token, card_id=card_id).json["code"] == "card_already_active"


def test_a_freeze_with_a_key_is_answered_again_without_a_second_one(api: ApiWorld, token: str) -> None:
    card_id = post(api, token).json["id"]
    key = {"Idempotency-Key": "freeze-1"}
    first = api.ask(freeze, token, card_id=card_id, headers=key)
    again = api.ask(freeze, token, card_id=card_id, headers=key)
    assert (first.status, again.status, again.text) == (200, 200, first.text)
    assert again.headers["idempotency-replayed"] == "true"


def test_a_freeze_by_staff_is_not_the_holders_to_undo(api: ApiWorld, token: str) -> None:
    card_id = post(api, token).json["id"]
    support = api.let_in(api.world.add_user("support"))
    assert api.ask(freeze, support, card_id=card_id).status == 200
    answer = api.ask(unfreeze, token, card_id=card_id)
    assert (answer.status, answer.json["code"]) == (403, "card_frozen_by_issuer")


@pytest.mark.parametrize(
    "body", [{"reason": "\u0007"}, {"reason": pan()}, {"why": "x"}, {"reason": "x" * 101}, {"reason": 7}, []]
)
def test_a_wrong_reason_freezes_nothing(api: ApiWorld, token: str, body: Any) -> None:
    card_id = post(api, token).json["id"]
    answer = api.ask(freeze, token, body, card_id=card_id)
    assert answer.status == 422
    assert api.ask(get, token, card_id=card_id).json["status"] == "ACTIVE"


def test_anothers_card_is_not_found_for_freezing(api: ApiWorld, token: str) -> None:
    card_id = post(api, token).json["id"]
    stranger = api.let_in(api.world.add_user())
    assert api.ask(freeze, stranger, card_id=card_id).status == 404
    assert api.ask(unfreeze, stranger, card_id=card_id).status == 404


def test_no_card_number_is_logged(api: ApiWorld, token: str, capfd: pytest.CaptureFixture[str]) -> None:
    api.world.processor.faults = [ProviderRefusedError("no", code="processor_refused")]
    post(api, token)
    post(api, token)
    pans = [card.pan.reveal() for card in api.world.processor.cards.values()]
    printed = capfd.readouterr()
    assert pans
    assert not any(pan in printed.out + printed.err for pan in pans)


def test_the_documented_examples_are_accepted(fresh_database: str) -> None:
    world = CardWorld(fresh_database)
    world.add_program("USD", is_default=True)
    api = ApiWorld(world)
    token = api.let_in(world.add_user())
    for number, example in enumerate(CardCreateRequest.model_json_schema()["examples"]):
        answer = api.ask(create, token, example, headers={"Idempotency-Key": f"example-{number}"})
        assert answer.status == 201
        for reason in CardStateRequest.model_json_schema()["examples"]:
            assert api.ask(freeze, token, reason, card_id=answer.json["id"]).status == 200
    world.close()
