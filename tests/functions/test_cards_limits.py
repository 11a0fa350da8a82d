"""The limits doors: what clients send and see."""

from typing import Any

import pytest

from cardwright.platform.postgres import Actor
from functions.cards.cancel_card import endpoint as cancel
from functions.cards.create_virtual_card import endpoint as create
from functions.cards.get_card import endpoint as get_card
from functions.cards.get_card_limits import endpoint as get
from functions.cards.shapes import CardLimitsRequest
from functions.cards.update_card_limits import endpoint as put
from tests.fakes.api_world import Answer, ApiWorld


@pytest.fixture
def card_id(api: ApiWorld, token: str) -> str:
    """A card of the holder's: at most 500.00 at once, 1000.00 a day, 5000.00 a month."""
    return issued(api, token)


def issued(api: ApiWorld, token: str, **fields: Any) -> str:
    """Issue a card."""
    body = {"currency": api.world.program.currency, "program_id": str(api.world.program.program_id), **fields}
    answer = api.ask(create, token, body, headers={"Idempotency-Key": str(api.ids.new())})
    assert answer.status == 201
    return str(answer.json["id"])


def codes(answer: Answer) -> set[tuple[str, str]]:
    """Field errors of a problem."""
    return {(error["field"], error["code"]) for error in answer.json["errors"]}


def test_a_new_cards_limits_are_the_programs(api: ApiWorld, token: str, card_id: str) -> None:
    answer = api.ask(get, token, card_id=card_id)
    assert (answer.status, answer.headers["etag"]) == (200, '"1"')
    assert answer.json == {
        "per_transaction": "500.00",
        "daily": "1000.00",
        "monthly": "5000.00",
        "velocity_per_hour": 5,
        "time_zone": "UTC",
        "merchant_categories": {"allow": [], "deny": []},
        "countries": {"allow": [], "deny": []},
        "channels": {"deny": []},
        "currency": "USD",
        "version": 1,
        "windows": {
            "daily": {"spent": "0.00", "remaining": "1000.00", "resets_at": "2026-11-22T00:00:00.000Z"},
            "monthly": {"spent": "0.00", "remaining": "5000.00", "resets_at": "2026-12-01T00:00:00.000Z"},
        },
        "velocity": {"used": 0, "remaining": 5},
        "funding": "limits",
        "balance": None,
    }


def test_limits_are_changed_field_by_field(api: ApiWorld, token: str, card_id: str) -> None:
    body = {
        "per_transaction": "100.00",
        "daily": 300,
        "monthly": "2000.5",
        "velocity_per_hour": None,
        "time_zone": "Europe/Paris",
        "merchant_categories": {"allow": ["travel", "5411"], "deny": ["7011"]},
        "countries": {"allow": ["FR", "DE"]},
        "channels": {"deny": ["magstripe", "atm", "atm"]},
    }
    answer = api.ask(put, token, body, card_id=card_id, headers={"If-Match": '"1"'})
    assert (answer.status, answer.headers["etag"]) == (200, '"2"')
    assert answer.json == api.ask(get, token, card_id=card_id).json
    assert answer.json == {
        "per_transaction": "100.00",
        "daily": "300.00",
        "monthly": "2000.50",
        "velocity_per_hour": None,
        "time_zone": "Europe/Paris",
        "merchant_categories": {"allow": ["5411", "travel"], "deny": ["7011"]},
        "countries": {"allow": ["DE", "FR"], "deny": []},
        "channels": {"deny": ["atm", "magstripe"]},
        "currency": "USD",
        "version": 2,
        "windows": {
            "daily": {"spent": "0.00", "remaining": "300.00", "resets_at": "2026-11-21T23:00:00.000Z"},
            "monthly": {"spent": "0.00", "remaining": "2000.50", "resets_at": "2026-11-30T23:00:00.000Z"},
        },
        "velocity": None,
        "funding": "limits",
        "balance": None,
    }
    later = api.ask(put, token, {"daily": "400.00", "merchant_categories": {"deny": []}}, card_id=card_id).json
    assert (later["daily"], later["per_transaction"], later["velocity_per_hour"]) == ("400.00", "100.00", None)
    assert later["merchant_categories"] == {"allow": ["5411", "travel"], "deny": []}
    card = api.ask(get_card, token, card_id=card_id)
    assert (card.json["limits"]["daily"], card.headers["etag"]) == ("400.00", '"3"')


def test_what_was_spent_is_shown_and_declined_at_once(api: ApiWorld, holder: Actor, token: str, card_id: str) -> None:
    card = api.world.service.list_cards(holder, limit=1)[0]
    assert api.world.pay(card, "60.00").approved
    shown = api.ask(put, token, {"per_transaction": "50.00", "daily": "50.00"}, card_id=card_id).json
    assert shown["windows"]["daily"] == {"spent": "60.00", "remaining": "0.00", "resets_at": "2026-11-22T00:00:00.000Z"}
    assert shown["velocity"] == {"used": 1, "remaining": 4}
    assert api.world.pay(card, "50.01").reason == "per_transaction_limit_exceeded"
    assert api.world.pay(card, "0.01").reason == "daily_limit_exceeded"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"daily": "1e3"}, {("daily", "amount_invalid")}),
        ({"daily": "0"}, {("daily", "limit_out_of_range"), ("per_transaction", "limit_order")}),
        ({"daily": "-5.00"}, {("daily", "amount_invalid")}),
        ({"daily": -5}, {("daily", "amount_invalid")}),
        ({"daily": "50000.01", "monthly": "60000.00"}, {("daily", "limit_out_of_range")}),
        ({"monthly": "99999999999999.00"}, {("monthly", "amount_invalid")}),
        ({"monthly": 10**30}, {("monthly", "amount_invalid")}),
        ({"per_transaction": "1.005"}, {("per_transaction", "amount_invalid")}),
        ({"per_transaction": True}, {("per_transaction", "amount_invalid")}),
        ({"per_transaction": None}, {("per_transaction", "amount_invalid")}),
        ({"per_transaction": "1000.01"}, {("per_transaction", "limit_order")}),
        ({"monthly": "999.99"}, {("monthly", "limit_order")}),
        ({"velocity_per_hour": 0}, {("velocity_per_hour", "invalid")}),
        ({"velocity_per_hour": 101}, {("velocity_per_hour", "invalid")}),
        ({"velocity_per_hour": "5"}, {("velocity_per_hour", "invalid_type")}),
        ({"velocity_per_hour": True}, {("velocity_per_hour", "invalid_type")}),
        ({"time_zone": "Mars/Olympus"}, {("time_zone", "time_zone_unknown")}),
        ({"time_zone": "localtime"}, {("time_zone", "time_zone_unknown")}),
        ({"time_zone": "../../etc/passwd"}, {("time_zone", "time_zone_unknown")}),
        ({"time_zone": None}, {("time_zone", "invalid_type")}),
        ({"merchant_categories": {"deny": ["9999"]}}, {("merchant_categories.deny.0", "merchant_category_unknown")}),
        (
            {"merchant_categories": {"allow": ["5411", "luxuries"]}},
            {("merchant_categories.allow.1", "merchant_category_unknown")},
        ),
        ({"merchant_categories": {"deny": ["541"]}}, {("merchant_categories.deny.0", "invalid")}),
        ({"merchant_categories": {"deny": [5411]}}, {("merchant_categories.deny.0", "invalid_type")}),
        ({"merchant_categories": {"allow": ["fuel"], "deny": ["fuel"]}}, {("merchant_categories", "merchant_category_conflict")}),
        ({"merchant_categories": {"deny": ["5411"] * 501}}, {("merchant_categories.deny", "too_many_items")}),
        ({"merchant_categories": {"never": []}}, {("merchant_categories.never", "unknown_field")}),
        ({"merchant_categories": None}, {("merchant_categories", "invalid_type")}),
        ({"countries": {"allow": ["fr"]}}, {("countries.allow.0", "country_unknown")}),
        ({"countries": {"deny": ["FR", "XX"]}}, {("countries.deny.1", "country_unknown")}),
        ({"countries": {"allow": ["FR"], "deny": ["FR"]}}, {("countries", "country_conflict")}),
        ({"channels": {"deny": ["telephone"]}}, {("channels.deny.0", "not_allowed")}),
        ({"channels": {"allow": ["chip"]}}, {("channels.allow", "unknown_field")}),
        ({"windows": {}}, {("windows", "unknown_field")}),
        ({"version": 1}, {("version", "unknown_field")}),
    ],
)
def test_each_wrong_field_is_named_and_nothing_changes(
    api: ApiWorld, token: str, card_id: str, body: dict[str, Any], found: set[tuple[str, str]]
) -> None:
    before = api.ask(get, token, card_id=card_id).json
    answer = api.ask(put, token, body, card_id=card_id)
    assert answer.status == 422
    assert codes(answer) == found
    assert api.ask(get, token, card_id=card_id).json == before


def test_a_currency_without_minor_digits_takes_whole_limits(api: ApiWorld, token: str) -> None:
    api.world.program = api.world.add_program("JPY")
    card_id = issued(api, token)
    answer = api.ask(put, token, {"daily": "900.50"}, card_id=card_id)
    assert codes(answer) == {("daily", "amount_not_whole")}
    assert api.ask(put, token, {"daily": "900"}, card_id=card_id).json["daily"] == "900.00"


def test_a_raise_above_the_threshold_needs_a_fresh_factor_and_no_other_change_does(
    api: ApiWorld, holder: Actor, token: str, card_id: str
) -> None:
    stale = api.let_in(holder, stepped_up=False)
    refused = api.ask(put, stale, {"daily": "1000.01"}, card_id=card_id)
    assert (refused.status, refused.json["code"]) == (403, "step_up_required")
    assert api.ask(put, stale, {"per_transaction": "900.00", "daily": "950.00"}, card_id=card_id).status == 200
    assert api.ask(put, token, {"daily": "1000.01"}, card_id=card_id).status == 200


def test_versions_are_matched(api: ApiWorld, token: str, card_id: str) -> None:
    stale = api.ask(put, token, {"daily": "900.00"}, card_id=card_id, headers={"If-Match": '"2"'})
    assert (stale.status, stale.json["code"]) == (412, "version_mismatch")
    assert api.ask(put, token, {"daily": "900.00"}, card_id=card_id, headers={"If-Match": '"1"'}).json["version"] == 2
    same = api.ask(put, token, {"daily": "900.00"}, card_id=card_id, headers={"If-Match": '"2"'})
    assert (same.status, same.json["version"]) == (200, 2)
    assert api.ask(put, token, {}, card_id=card_id).json["version"] == 2


def test_a_change_with_a_key_is_answered_again_without_a_second_one(api: ApiWorld, token: str, card_id: str) -> None:
    key = {"Idempotency-Key": "limits-1"}
    first = api.ask(put, token, {"daily": "900.00"}, card_id=card_id, headers=key)
    api.ask(put, token, {"daily": "800.00"}, card_id=card_id)
    again = api.ask(put, token, {"daily": "900.00"}, card_id=card_id, headers=key)
    assert (first.status, again.status, again.text) == (200, 200, first.text)
    assert again.headers["idempotency-replayed"] == "true"
    assert api.ask(get, token, card_id=card_id).json["daily"] == "800.00"
    assert api.ask(put, token, {"daily": "700.00"}, card_id=card_id, headers=key).json["code"] == "idempotency_key_reused"


def test_limits_are_the_owners_and_staffs_and_no_one_elses(api: ApiWorld, token: str, card_id: str) -> None:
    stranger = api.let_in(api.world.add_user())
    for answer in (
        api.ask(get, stranger, card_id=card_id),
        api.ask(put, stranger, {"daily": "1.00"}, card_id=card_id),
        api.ask(get, token, card_id=api.ids.new()),
    ):
        assert (answer.status, answer.json["code"]) == (404, "card_not_found")
    for role in ("support", "admin", "compliance_officer"):
        staff = api.let_in(api.world.add_user(role))
        assert api.ask(put, staff, {"countries": {"deny": ["US"]}}, card_id=card_id).status == 200
        assert api.ask(get, staff, card_id=card_id).json["countries"]["deny"] == ["US"]


def test_an_ended_cards_limits_are_read_and_not_changed(api: ApiWorld, token: str, card_id: str) -> None:
    assert api.ask(cancel, token, card_id=card_id).status == 200
    answer = api.ask(put, token, {"daily": "900.00"}, card_id=card_id)
    assert (answer.status, answer.json["code"]) == (409, "card_state_conflict")
    assert api.ask(get, token, card_id=card_id).json["daily"] == "1000.00"


@pytest.mark.parametrize(
    ("categories", "code"),
    [
        ({"allow": ["9999"]}, "merchant_category_unknown"),
        ({"deny": ["everything"]}, "merchant_category_unknown"),
        ({"allow": ["fuel"], "deny": ["fuel"]}, "merchant_category_conflict"),
    ],
)
def test_a_new_cards_merchant_categories_keep_the_same_rules(
    api: ApiWorld, token: str, categories: dict[str, list[str]], code: str
) -> None:
    body = {"currency": "USD", "program_id": str(api.world.program.program_id), "merchant_categories": categories}
    answer = api.ask(create, token, body, headers={"Idempotency-Key": str(api.ids.new())})
    assert (answer.status, {found for _, found in codes(answer)}) == (422, {code})
    assert api.world.processor.asked == []


def test_a_card_is_issued_with_groups(api: ApiWorld, token: str) -> None:
    card_id = issued(api, token, merchant_categories={"allow": [], "deny": ["gambling", "cash"]})
    assert api.ask(get, token, card_id=card_id).json["merchant_categories"]["deny"] == ["cash", "gambling"]


def test_the_documented_examples_are_accepted(api: ApiWorld, token: str, card_id: str) -> None:
    for version, example in enumerate(CardLimitsRequest.model_json_schema()["examples"], start=2):
        answer = api.ask(put, token, example, card_id=card_id)
        assert (answer.status, answer.json["version"]) == (200, version)
