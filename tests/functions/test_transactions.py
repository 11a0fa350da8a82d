"""History at its doors: filters, search, cursors, and one transaction with its story."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi.routing import APIRoute

from cardwright.authorizations.rules import Merchant
from cardwright.cards.rules import Card
from cardwright.platform.postgres import Actor
from cardwright.transactions.rules.events import EventType
from functions.transactions.get_card_transactions import endpoint as of_card
from functions.transactions.get_transaction import endpoint as one
from functions.transactions.list_transactions import endpoint as of_caller
from tests.fakes.api_world import ApiWorld
from tests.fakes.card_world import NOW
from tests.fakes.life_world import LifeWorld
from tests.pans import pan


@pytest.fixture
def life(api: ApiWorld, database_url: str, card: Card) -> Iterator[LifeWorld]:
    """Events of the card."""
    life = LifeWorld(api.world, database_url, card)
    yield life
    life.close()


@pytest.fixture
def bought(api: ApiWorld, card: Card) -> list[str]:
    """Ids of three approved purchases and a decline, a minute apart, the oldest first."""
    made = []
    for amount, merchant in (
        ("10.00", Merchant("5411", id="m_1", name="SQ *CORNER SHOP", city="Lyon", country="FR")),
        ("42.10", Merchant("5812", id="m_2", name="TST* OSTERIA MARZANO 0042", city="New York", country="US")),
        ("75.00", Merchant("4121", id="m_3", name="UBER *TRIP HELP.UBER.COM", city="Zürich", country="CH")),
        ("900.00", Merchant("5732", id="m_4", name="BEST BUY 00004881", city="Dallas", country="US")),
    ):
        made.append(str(api.world.pay(card, amount, merchant=merchant).transaction_id))
        api.clock.at += timedelta(minutes=1)
    return made


def ids(api: ApiWorld, token: str, card: Card, **filters: Any) -> list[str]:
    """Ids of a card's transactions under filters; the list of the caller's cards holds the same."""
    answer = api.ask(of_card, token, card_id=card.card_id, **filters)
    assert answer.status == 200, answer.text
    found = [str(item["id"]) for item in answer.json["data"]]
    assert [item["id"] for item in api.ask(of_caller, token, **filters).json["data"]] == found
    return found


@pytest.mark.parametrize(
    ("filters", "places"),
    [
        ({}, [3, 2, 1, 0]),
        ({"status": "DECLINED"}, [3]),
        ({"status": "AUTHORIZED"}, [2, 1, 0]),
        ({"status": "EXPIRED"}, []),
        ({"merchant_category": "5812"}, [1]),
        ({"min_amount": "42.10"}, [3, 2, 1]),
        ({"max_amount": "42.10"}, [1, 0]),
        ({"min_amount": "42", "max_amount": "75.0"}, [2, 1]),
        ({"from": "2026-11-21T12:01:00Z"}, [3, 2, 1]),
        ({"to": "2026-11-21T12:01:00Z"}, [0]),
        ({"from": "2026-11-21T13:01:00+01:00", "to": "2026-11-21T12:02:00.000Z"}, [1]),
        ({"from": "2026-11-21", "to": "2026-11-21"}, [3, 2, 1, 0]),
        ({"from": "2026-11-22"}, []),
        ({"to": "2026-11-20"}, []),
        ({"from": "0001-01-01", "to": "9999-12-30"}, [3, 2, 1, 0]),
        ({"status": "AUTHORIZED", "from": "2026-11-21", "min_amount": "50"}, [2]),
        ({"q": "corner shop"}, [0]),
        ({"q": "OSTERIA"}, [1]),
        ({"q": "uber"}, [2]),
        ({"q": "zurich"}, [2]),
        ({"q": "zürich"}, [2]),
        ({"q": "restaurants"}, [1]),
        ({"q": "42.10"}, [1]),
        ({"q": "75"}, [2]),
        ({"q": "corner or osteria"}, [1, 0]),
        ({"q": '"new york" -paris'}, [1]),
        ({"q": "-uber"}, [3, 1, 0]),
        ({"q": "nowhere"}, []),
        ({"q": "!!! &"}, []),
        ({"q": "us", "status": "DECLINED"}, []),
        ({"q": "dallas", "status": "DECLINED"}, [3]),
    ],
)
def test_a_list_holds_what_passes_its_filters(
    api: ApiWorld, token: str, card: Card, bought: list[str], filters: dict[str, Any], places: list[int]
) -> None:
    assert ids(api, token, card, **filters) == [bought[place] for place in places]


@pytest.mark.parametrize(
    ("filters", "field", "code"),
    [
        ({"from": "yesterday"}, "from", "time_invalid"),
        ({"from": "2026-11-21T10:00:00"}, "from", "time_invalid"),
        ({"to": "2026-02-30"}, "to", "time_invalid"),
        ({"to": "9999-12-31"}, "to", "time_invalid"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "from", "time_invalid"),
        ({"from": "20261121"}, "from", "time_invalid"),
        ({"from": "2026-11-22", "to": "2026-11-20"}, "to", "range_invalid"),
        ({"status": "PENDING"}, "status", "not_allowed"),
        ({"status": "authorized"}, "status", "not_allowed"),
        ({"merchant_category": "54"}, "merchant_category", "invalid"),
        ({"min_amount": "ten"}, "min_amount", "amount_invalid"),
        ({"max_amount": "-1"}, "max_amount", "amount_invalid"),
        ({"min_amount": "2", "max_amount": "1"}, "max_amount", "range_invalid"),
        ({"q": ""}, "q", "too_short"),
        ({"q": "x" * 101}, "q", "too_long"),
        ({"q": "a\x00b"}, "q", "invalid"),
        ({"q": f"card {pan()}"}, "q", "card_number_not_allowed"),
        ({"category": "5411"}, "category", "unknown_field"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused_with_its_name(
    api: ApiWorld, token: str, card: Card, filters: dict[str, Any], field: str, code: str
) -> None:
    for answer in (api.ask(of_card, token, card_id=card.card_id, **filters), api.ask(of_caller, token, **filters)):
        assert answer.status == 422, answer.text
        assert [(error["field"], error["code"]) for error in answer.json["errors"]] == [(field, code)]
        assert pan() not in answer.text
    for endpoint in (of_card, of_caller):
        (route,) = [route for route in endpoint.app.routes if isinstance(route, APIRoute)]
        assert f"`{code}`" in route.responses[422]["description"] or code in ("invalid", "unknown_field")


@pytest.mark.parametrize("filters", [{}, {"q": "lyon"}, {"status": "AUTHORIZED"}, {"q": "lyon", "max_amount": "8"}])
def test_pages_of_a_filtered_list_hold_everything_once(api: ApiWorld, token: str, card: Card, filters: dict[str, Any]) -> None:
    made: list[str] = []
    for place in range(9):
        api.clock.at = NOW + timedelta(hours=place)
        made.insert(0, str(api.world.pay(card, f"{place + 1}.00").transaction_id))
    wanted = made[1:] if "max_amount" in filters else made
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = api.ask(of_card, token, card_id=card.card_id, limit=4, **filters, **cursor).json
        seen += [item["id"] for item in page["data"]]
        if not page["pagination"]["has_more"]:
            break
        cursor = {"cursor": page["pagination"]["next_cursor"]}
    assert seen == wanted


def test_a_cursor_goes_on_with_the_same_filters_only(api: ApiWorld, token: str, card: Card, bought: list[str]) -> None:
    filters: dict[str, Any] = {"status": "AUTHORIZED", "from": "2026-11-21"}
    page = api.ask(of_card, token, card_id=card.card_id, limit=1, **filters).json
    assert page["data"][0]["id"] == bought[2]
    cursor = page["pagination"]["next_cursor"]
    rest = api.ask(of_card, token, card_id=card.card_id, cursor=cursor, **filters).json
    assert [item["id"] for item in rest["data"]] == [bought[1], bought[0]]
    # The same filters written in another way are the same.
    written: dict[str, Any] = {"from": "2026-11-21T00:00:00Z", "status": "AUTHORIZED"}
    again = api.ask(of_card, token, card_id=card.card_id, cursor=cursor, **written)
    assert again.status == 200
    others: list[dict[str, Any]] = [{}, {"status": "AUTHORIZED"}, {**filters, "q": "lyon"}, {**filters, "status": "DECLINED"}]
    for other in others:
        refused = api.ask(of_card, token, card_id=card.card_id, cursor=cursor, **other)
        assert (refused.status, refused.json["code"]) == (400, "cursor_invalid")
    assert api.ask(of_caller, token, cursor=cursor, **filters).json["code"] == "cursor_invalid"


def test_one_transaction_tells_its_whole_story(api: ApiWorld, token: str, life: LifeWorld) -> None:
    decision = life.world.pay(life.card, "40.00")
    life.later(timedelta(minutes=5))
    life.tell(EventType.CLEARED, "30.00", decision)
    life.later(timedelta(minutes=5))
    life.tell(EventType.REFUNDED, "12.00", decision)
    life.later(timedelta(minutes=5))
    # In another currency than the purchase: it waits, and is shown.
    life.tell(EventType.CLEARED, "5.00", decision, currency="EUR")
    answer = api.ask(one, token, transaction_id=decision.transaction_id)
    assert answer.status == 200, answer.text
    story = answer.json
    figures = ("approved_amount", "held_amount", "cleared_amount", "reversed_amount", "refunded_amount")
    assert [story[name] for name in figures] == ["40.00", "10.00", "30.00", "0.00", "12.00"]
    assert [(entry["type"], entry["amount"], entry["currency"], entry["status"]) for entry in story["timeline"]] == [
        ("authorization", "40.00", "USD", "AUTHORIZED"),
        ("transaction.cleared", "30.00", "USD", "PARTIALLY_CLEARED"),
        ("transaction.refunded", "12.00", "USD", "PARTIALLY_REFUNDED"),
        ("transaction.cleared", "5.00", "EUR", None),
    ]
    assert story["timeline"][1]["at"] == "2026-11-21T12:05:00.000Z"
    assert story["status"] == "PARTIALLY_REFUNDED"
    assert "approved" in story["explanation"]
    assert story["next_step"]
    listed = api.ask(of_card, token, card_id=life.card.card_id).json["data"][0]
    assert {name: story[name] for name in listed} == listed


def test_a_declined_transaction_says_why_and_what_to_do(api: ApiWorld, token: str, card: Card) -> None:
    declined = api.world.pay(card, "501.00")
    story = api.ask(one, token, transaction_id=declined.transaction_id).json
    assert (story["status"], story["reason"]) == ("DECLINED", "per_transaction_limit_exceeded")
    assert story["explanation"] == "The amount was above what the card may spend at once."
    assert story["next_step"] == "Raise the card's limit per transaction, then pay again."
    assert [entry["status"] for entry in story["timeline"]] == ["DECLINED"]


def test_a_flag_is_said_in_words(api: ApiWorld, token: str, life: LifeWorld) -> None:
    declined = life.world.pay(life.card, "501.00")
    life.tell(EventType.CLEARED, "501.00", declined)
    story = api.ask(one, token, transaction_id=declined.transaction_id).json
    assert (story["status"], story["flags"]) == ("FORCE_POSTED", ["cleared_without_approval"])
    assert story["notes"] == ["The merchant charged what we had declined."]


def test_what_the_network_posts_without_asking_has_a_story_and_no_authorization(
    api: ApiWorld, token: str, life: LifeWorld
) -> None:
    receipt = life.tell(EventType.FORCE_POSTED, "7.00", None)
    story = api.ask(one, token, transaction_id=receipt.transaction_id).json
    assert (story["authorization_id"], story["type"], story["status"]) == (None, "force_post", "FORCE_POSTED")
    assert story["merchant"]["clean_name"] == "Corner Shop"
    assert [entry["status"] for entry in story["timeline"]] == ["FORCE_POSTED", "FORCE_POSTED"]
    assert [item["id"] for item in api.ask(of_card, token, card_id=life.card.card_id, q="corner").json["data"]] == [story["id"]]


def test_more_of_an_authorization_shows_the_whole_groups_story(api: ApiWorld, token: str, life: LifeWorld) -> None:
    first = life.world.pay(life.card, "40.00")
    life.later(timedelta(minutes=1))
    more = life.world.pay(life.card, "10.00", type="incremental", original_authorization_id=first.authorization_id)
    life.later(timedelta(minutes=1))
    life.tell(EventType.CLEARED, "50.00", more, final_clearing=True)
    for named in (first, more):
        story = api.ask(one, token, transaction_id=named.transaction_id).json
        assert [(entry["type"], entry["amount"], entry["status"]) for entry in story["timeline"]] == [
            ("authorization", "40.00", "AUTHORIZED"),
            ("incremental", "10.00", "AUTHORIZED"),
            ("transaction.cleared", "50.00", "CLEARED"),
        ]
        assert story["status"] == "CLEARED"


def test_anothers_transaction_is_not_found_and_staff_finds_everybodys(api: ApiWorld, card: Card) -> None:
    decision = api.world.pay(card, "10.00")
    stranger = api.ask(one, api.let_in(api.world.add_user()), transaction_id=decision.transaction_id)
    assert (stranger.status, stranger.json["code"]) == (404, "transaction_not_found")
    for role in ("support", "admin", "compliance_officer"):
        staff = api.ask(one, api.let_in(api.world.add_user(role)), transaction_id=decision.transaction_id)
        assert (staff.status, staff.json["id"]) == (200, str(decision.transaction_id))
    merchant = api.ask(one, api.let_in(api.world.add_user("merchant")), transaction_id=decision.transaction_id)
    assert merchant.status == 404


def test_an_id_that_is_nobodys_is_not_found_and_one_that_is_none_is_refused(api: ApiWorld, token: str, holder: Actor) -> None:
    assert api.ask(one, token, transaction_id=api.ids.new()).json["code"] == "transaction_not_found"
    support = api.let_in(api.world.add_user("support"))
    assert api.ask(one, support, transaction_id=api.ids.new()).json["code"] == "transaction_not_found"
    assert api.ask(one, token, transaction_id="seven").status == 422


def test_a_card_number_in_what_the_network_told_is_shown_to_nobody(api: ApiWorld, token: str, card: Card) -> None:
    number = pan()
    merchant = Merchant("5411", id=number, name=f"SHOP {number}", city=number, country="FR")
    decision = api.world.pay(card, "10.00", merchant=merchant)
    for answer in (
        api.ask(of_card, token, card_id=card.card_id),
        api.ask(of_caller, token),
        api.ask(one, token, transaction_id=decision.transaction_id),
    ):
        assert answer.status == 200
        assert number not in answer.text
