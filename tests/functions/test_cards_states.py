"""The doors that move, replace, rename and search cards, and the schedules' handlers: what goes in and comes out."""

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from cardwright.cards.rules import Card
from cardwright.kernel.errors import ProviderRefusedError
from cardwright.platform.postgres import Actor
from functions.cards import expire_cards, sweep_card_issuances, sweep_cards
from functions.cards.cancel_card import endpoint as cancel
from functions.cards.freeze_card import endpoint as freeze
from functions.cards.get_card import endpoint as get
from functions.cards.list_cards import endpoint as list_all
from functions.cards.replace_card import endpoint as replacement
from functions.cards.search_cards import endpoint as search
from functions.cards.shapes import CardChangeRequest, CardStateRequest
from functions.cards.unfreeze_card import endpoint as unfreeze
from functions.cards.update_card import endpoint as update
from tests.fakes.api_world import Answer, ApiWorld
from tests.pans import pan


@pytest.fixture
def token(api: ApiWorld, holder: Actor) -> str:
    """The holder's access token, without a second factor: nothing here wants one."""
    return api.let_in(holder, stepped_up=False)


@pytest.fixture
def card(api: ApiWorld, holder: Actor) -> Card:
    """The holder's card."""
    return api.world.issue(holder, label="Travel")


def told(answer: Answer) -> tuple[int, str]:
    """Status and code of a problem."""
    return answer.status, answer.json["code"]


def field(answer: Answer) -> tuple[int, str, str]:
    """Status, field and code of a problem with one field."""
    (error,) = answer.json["errors"]
    return answer.status, error["field"], error["code"]


def test_a_card_is_cancelled_once_with_its_reason(api: ApiWorld, token: str, card: Card) -> None:
    assert told(api.ask(cancel, token, card_id=card.card_id, headers={"If-Match": '"7"'})) == (412, "version_mismatch")
    ended = api.ask(cancel, token, card_id=card.card_id, reason_code="damaged", headers={"If-Match": '"1"'})
    assert (ended.status, ended.headers["etag"]) == (200, '"2"')
    assert (ended.json["status"], ended.json["status_reason_code"], ended.json["cancel_after"]) == ("CANCELLED", "damaged", None)
    assert told(api.ask(cancel, token, card_id=card.card_id)) == (409, "card_already_cancelled")
    assert told(api.ask(freeze, token, card_id=card.card_id)) == (409, "card_state_conflict")
    assert told(api.ask(unfreeze, token, card_id=card.card_id)) == (409, "card_state_conflict")
    assert told(api.ask(replacement, token, card_id=card.card_id)) == (409, "card_state_conflict")


def test_a_cancellation_with_a_key_is_answered_again(api: ApiWorld, token: str, card: Card) -> None:
    key = {"Idempotency-Key": "cancel-1"}
    first, again = (api.ask(cancel, token, card_id=card.card_id, headers=key) for _ in range(2))
    assert (again.status, again.text, again.headers["idempotency-replayed"]) == (200, first.text, "true")
    assert told(api.ask(cancel, token, card_id=card.card_id, force_after="P1D", headers=key)) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("force_after", "until"),
    [
        ("PT6H", "2026-11-21T18:00:00.000Z"),
        ("P7D", "2026-11-28T12:00:00.000Z"),
        ("P90D", "2027-02-19T12:00:00.000Z"),
        ("P1DT1H1M1S", "2026-11-22T13:01:01.000Z"),
        ("PT1S", "2026-11-21T12:00:01.000Z"),
        ("2026-11-28T10:00:00Z", "2026-11-28T10:00:00.000Z"),
        ("2026-11-28T10:00:00+02:00", "2026-11-28T08:00:00.000Z"),
        ("2026-11-28T10:00:00 02:00", "2026-11-28T08:00:00.000Z"),
        ("2026-11-28T10:00:00.5-02:00", "2026-11-28T12:00:00.500Z"),
    ],
)
def test_while_something_is_pending_a_time_or_a_duration_says_until_when(
    api: ApiWorld, token: str, card: Card, force_after: str, until: str
) -> None:
    api.world.pay(card)
    assert told(api.ask(cancel, token, card_id=card.card_id)) == (409, "pending_authorizations")
    scheduled = api.ask(cancel, token, card_id=card.card_id, force_after=force_after)
    assert (scheduled.status, scheduled.json["status"], scheduled.json["cancel_after"]) == (200, "FROZEN", until)
    back = api.ask(unfreeze, token, card_id=card.card_id)
    assert (back.json["status"], back.json["cancel_after"]) == ("ACTIVE", None)


@pytest.mark.parametrize(
    ("force_after", "code"),
    [
        ("P0D", "force_after_out_of_range"),
        ("PT0S", "force_after_out_of_range"),
        ("P91D", "force_after_out_of_range"),
        ("P999DT9999H99999M9999999S", "force_after_out_of_range"),
        ("2026-11-21T12:00:00Z", "force_after_out_of_range"),
        ("2020-01-01T00:00:00Z", "force_after_out_of_range"),
        ("2027-03-01T00:00:00Z", "force_after_out_of_range"),
        ("9999-12-31T23:59:59Z", "force_after_out_of_range"),
        ("9999-12-31T23:59:59-14:00", "force_after_invalid"),
        ("0001-01-01T00:00:00+14:00", "force_after_invalid"),
        ("2026-11-28T10:00:00", "force_after_invalid"),
        ("2026-11-28", "force_after_invalid"),
        ("tomorrow", "force_after_invalid"),
        ("Tuesday", "force_after_invalid"),
        ("P", "force_after_invalid"),
        ("PT", "force_after_invalid"),
        ("P1DT", "force_after_invalid"),
        ("-P1D", "force_after_invalid"),
        ("P1Y", "force_after_invalid"),
        ("P1000D", "force_after_invalid"),
        ("P1.5D", "force_after_invalid"),
        ("P\u0661D", "force_after_invalid"),
        ("1e9", "force_after_invalid"),
        ("1795000000", "force_after_invalid"),
        ("", "force_after_invalid"),
        ("\x00T", "force_after_invalid"),
        ("P" + "1" * 40 + "D", "too_long"),
    ],
)
def test_any_other_time_is_refused_and_the_card_stays(api: ApiWorld, token: str, card: Card, force_after: str, code: str) -> None:
    api.world.pay(card)
    assert field(api.ask(cancel, token, card_id=card.card_id, force_after=force_after)) == (422, "force_after", code)
    assert api.ask(get, token, card_id=card.card_id).json["status"] == "ACTIVE"


@pytest.mark.parametrize(
    ("reason_code", "code"), [("compliance", "reason_code_not_allowed"), ("boredom", "not_allowed"), ("", "not_allowed")]
)
def test_a_reason_that_is_none_or_not_the_holders_is_refused(
    api: ApiWorld, token: str, card: Card, reason_code: str, code: str
) -> None:
    assert field(api.ask(cancel, token, card_id=card.card_id, reason_code=reason_code)) == (422, "reason_code", code)
    for endpoint in (freeze, replacement):
        assert field(api.ask(endpoint, token, {"reason_code": reason_code}, card_id=card.card_id)) == (422, "reason_code", code)
    assert api.ask(get, token, card_id=card.card_id).json["version"] == 1


def test_a_replacement_is_answered_with_its_place_and_names_the_old_card(api: ApiWorld, token: str, card: Card) -> None:
    answer = api.ask(replacement, token, {"reason_code": "lost"}, card_id=card.card_id)
    new = answer.json
    assert (answer.status, answer.headers["etag"], answer.headers["location"]) == (201, '"1"', f"/api/v1/cards/{new['id']}")
    assert (new["status"], new["label"], new["replaces"], new["replaced_by"]) == ("ACTIVE", "Travel", str(card.card_id), None)
    old = api.ask(get, token, card_id=card.card_id).json
    assert (old["status"], old["status_reason_code"], old["replaced_by"]) == ("CANCELLED", "lost", new["id"])
    assert told(api.ask(replacement, token, card_id=card.card_id)) == (409, "card_already_replaced")
    assert not any(made.pan.reveal() in answer.text for made in api.world.processor.cards.values())


def test_a_replacement_with_a_key_is_one_card(api: ApiWorld, token: str, card: Card) -> None:
    key = {"Idempotency-Key": "replace-1"}
    first, again = (api.ask(replacement, token, card_id=card.card_id, headers=key) for _ in range(2))
    assert (first.status, again.status, again.text) == (201, 201, first.text)
    assert len(api.world.processor.cards) == 2


def test_a_replacement_the_processor_refuses_is_a_bad_gateway(api: ApiWorld, token: str, card: Card) -> None:
    api.world.processor.faults = [ProviderRefusedError("no", code="processor_refused")]
    assert told(api.ask(replacement, token, card_id=card.card_id)) == (502, "processor_refused")
    assert api.ask(replacement, token, card_id=card.card_id).status == 201


def test_a_frozen_card_of_the_issuers_is_not_replaced_by_its_holder(api: ApiWorld, token: str, card: Card) -> None:
    support = api.let_in(api.world.add_user("support"))
    assert api.ask(freeze, support, {"reason_code": "fraud"}, card_id=card.card_id).json["status_reason_code"] == "fraud"
    assert told(api.ask(replacement, token, card_id=card.card_id)) == (403, "card_frozen_by_issuer")
    assert api.ask(replacement, support, card_id=card.card_id).status == 201


def test_anothers_card_is_not_found_by_any_door(api: ApiWorld, card: Card) -> None:
    stranger = api.let_in(api.world.add_user())
    for endpoint in (cancel, replacement, freeze, unfreeze):
        assert told(api.ask(endpoint, stranger, card_id=card.card_id)) == (404, "card_not_found")
    assert told(api.ask(update, stranger, {"label": "mine"}, card_id=card.card_id)) == (404, "card_not_found")
    assert api.world.actions(card.card_id) == ["card.created"]
    for endpoint in (cancel, replacement):
        assert api.ask(endpoint, None, card_id=card.card_id).status == 401
        assert api.ask(endpoint, stranger, card_id="17").status == 422


def test_a_label_is_changed_and_taken_away(api: ApiWorld, token: str, card: Card) -> None:
    named = api.ask(update, token, {"label": "  Office  "}, card_id=card.card_id, headers={"If-Match": '"1"'})
    assert (named.status, named.json["label"], named.headers["etag"]) == (200, "Office", '"2"')
    assert told(api.ask(update, token, {"label": "x"}, card_id=card.card_id, headers={"If-Match": '"1"'})) == (
        412,
        "version_mismatch",
    )
    assert api.ask(update, token, {"label": None}, card_id=card.card_id).json["label"] is None
    assert api.ask(get, token, card_id=card.card_id).json["version"] == 3
    assert api.world.actions(card.card_id) == ["card.created", "card.renamed", "card.renamed"]
    assert "Office" not in str(api.world.rows("card_audit_log", card.card_id))


def test_a_change_of_label_that_was_overtaken_is_not_made_again(api: ApiWorld, holder: Actor, card: Card) -> None:
    operation_id = api.ids.new()
    for _ in range(2):
        assert api.cards.rename_card(holder, card.card_id, "first", operation_id=operation_id).version == 2
    api.cards.rename_card(holder, card.card_id, "second", operation_id=api.ids.new())
    assert api.cards.rename_card(holder, card.card_id, "first", operation_id=operation_id).label == "second"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "required"),
        ({"label": ""}, "too_short"),
        ({"label": "x" * 101}, "too_long"),
        ({"label": "a\x07b"}, "invalid"),
        ({"label": 7}, "invalid_type"),
        ({"label": pan()}, "card_number_not_allowed"),
        ({"label": "x", "status": "ACTIVE"}, "unknown_field"),
    ],
)
def test_a_wrong_label_changes_nothing(api: ApiWorld, token: str, card: Card, body: Any, code: str) -> None:
    answer = api.ask(update, token, body, card_id=card.card_id)
    assert (answer.status, {error["code"] for error in answer.json["errors"]}) == (422, {code})
    assert api.ask(get, token, card_id=card.card_id).json["label"] == "Travel"


def test_the_documented_examples_of_changes_are_accepted(api: ApiWorld, token: str, card: Card) -> None:
    for example in CardChangeRequest.model_json_schema()["examples"]:
        assert api.ask(update, token, example, card_id=card.card_id).status == 200
    last = card.card_id
    for example in CardStateRequest.model_json_schema()["examples"]:
        answer = api.ask(replacement, token, example, card_id=last)
        assert answer.status == 201
        last = UUID(answer.json["id"])


def test_staff_searches_everybodys_cards_and_nobody_else_does(api: ApiWorld, holder: Actor, token: str, card: Card) -> None:
    support = api.let_in(api.world.add_user("support"))
    program = str(api.world.program.program_id)
    frozen = api.world.issue(api.world.add_user())
    api.ask(freeze, support, card_id=frozen.card_id)

    def found(**wanted: Any) -> list[str]:
        answer = api.ask(search, support, program_id=program, **wanted)
        assert answer.status == 200
        return [item["id"] for item in answer.json["data"]]

    assert set(found()) == {str(card.card_id), str(frozen.card_id)}
    assert found(user_id=str(holder.user_id)) == [str(card.card_id)]
    assert found(status="FROZEN") == [str(frozen.card_id)]
    assert str(card.card_id) in found(last_four=card.last_four)
    assert found(user_id=str(holder.user_id), status="FROZEN") == []
    assert told(api.ask(search, token)) == (403, "role_not_allowed")
    merchant = api.let_in(api.world.add_user("merchant"))
    assert told(api.ask(search, merchant)) == (403, "role_not_allowed")


@pytest.mark.parametrize(
    "wrong",
    [{"last_four": "42"}, {"last_four": "\u0664\u0662\u0664\u0662"}, {"user_id": "me"}, {"status": "LOST"}, {"limit": "0"}],
)
def test_a_filter_that_is_none_is_refused(api: ApiWorld, wrong: dict[str, Any]) -> None:
    answer = api.ask(search, api.let_in(api.world.add_user("admin")), **wrong)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, next(iter(wrong)))


def test_a_cursor_of_one_search_leads_nowhere_in_another(api: ApiWorld, holder: Actor, card: Card) -> None:
    api.world.issue(holder)
    support = api.let_in(api.world.add_user("support"))
    page = api.ask(search, support, user_id=str(holder.user_id), limit=1).json
    cursor = page["pagination"]["next_cursor"]
    rest = api.ask(search, support, user_id=str(holder.user_id), cursor=cursor).json
    assert len({item["id"] for item in page["data"] + rest["data"]}) == 2
    assert told(api.ask(search, support, cursor=cursor)) == (400, "cursor_invalid")
    assert told(api.ask(search, support, user_id=str(holder.user_id), status="ACTIVE", cursor=cursor)) == (400, "cursor_invalid")


def test_a_list_is_filtered_by_status(api: ApiWorld, holder: Actor, token: str, card: Card) -> None:
    frozen = api.world.issue(holder)
    api.ask(freeze, token, card_id=frozen.card_id)
    for status, cards in (("ACTIVE", [card]), ("FROZEN", [frozen]), ("CANCELLED", [])):
        data = api.ask(list_all, token, status=status).json["data"]
        assert [item["id"] for item in data] == [str(each.card_id) for each in cards]
    assert api.ask(list_all, token, status="LOST").status == 422


@pytest.mark.parametrize(
    ("module", "method", "key"),
    [
        (expire_cards, "expire_cards", "cards"),
        (sweep_cards, "sweep_cards", "cards"),
        (sweep_card_issuances, "sweep_issuances", "issuances"),
    ],
)
def test_a_schedules_handler_gives_its_time_and_tells_how_many(
    monkeypatch: pytest.MonkeyPatch, module: Any, method: str, key: str
) -> None:
    def run(deadline: Any) -> int:
        assert deadline() == 59.5
        return 3

    monkeypatch.setattr(module, "_workers", lambda: SimpleNamespace(cards=SimpleNamespace(**{method: run})))
    context: Any = SimpleNamespace(get_remaining_time_in_millis=lambda: 59_500)
    assert module.handler({"time": "2026-11-21T12:00:00Z"}, context) == {key: 3}
