"""The transaction doors over decisions made by the real engine."""

from datetime import timedelta
from decimal import Decimal

import pytest

from cardwright.cards.rules import Card
from cardwright.kernel.errors import NotFoundError
from cardwright.platform.postgres import Actor
from functions.transactions.get_card_transactions import endpoint as of_card
from functions.transactions.list_transactions import endpoint as of_caller
from tests.fakes.api_world import ApiWorld
from tests.fakes.card_world import NOW


def use(api: ApiWorld, card: Card, *amounts: str) -> list[str]:
    """Ask for an authorization of each amount, a minute apart; return the transactions' ids, newest first."""
    made: list[str] = []
    for amount in amounts:
        api.clock.at += timedelta(minutes=1)
        decision = api.world.pay(card, amount, merchant_amount=Decimal("39.00"), merchant_currency="EUR")
        made.insert(0, str(decision.transaction_id))
    api.clock.at = NOW
    return made


def test_a_transaction_says_what_where_and_how_it_was_decided(api: ApiWorld, holder: Actor) -> None:
    card = api.world.issue(holder)
    use(api, card, "42.10", "600.00")
    declined, approved = api.ask(of_card, api.let_in(holder), card_id=card.card_id).json["data"]
    assert approved == {
        "id": approved["id"],
        "authorization_id": approved["authorization_id"],
        "original_authorization_id": None,
        "card_id": str(card.card_id),
        "type": "authorization",
        "status": "AUTHORIZED",
        "amount": "42.10",
        "approved_amount": "42.10",
        "held_amount": "42.10",
        "cleared_amount": "0.00",
        "reversed_amount": "0.00",
        "refunded_amount": "0.00",
        "flags": [],
        "currency": "USD",
        "merchant_amount": "39.00",
        "merchant_currency": "EUR",
        "merchant": {
            "id": "m_1",
            "name": "Corner Shop",
            "clean_name": "Corner Shop",
            "category_code": "5411",
            "category": "Groceries and supermarkets",
            "city": "Lyon",
            "country": "FR",
            "latitude": 45.76,
            "longitude": None,
        },
        "channel": "chip",
        "reason": "approved",
        "risk_score": None,
        "hold_expires_at": "2026-11-28T12:01:00.000Z",
        "created_at": "2026-11-21T12:01:00.000Z",
        "updated_at": None,
    }
    assert (declined["status"], declined["reason"], declined["approved_amount"]) == (
        "DECLINED",
        "per_transaction_limit_exceeded",
        "0.00",
    )


def test_pages_go_newest_first_through_all_the_callers_cards_and_no_one_elses(api: ApiWorld, holder: Actor) -> None:
    cards = [api.world.issue(holder), api.world.issue(holder)]
    use(api, api.world.issue(api.world.add_user()), "5.00")
    made = use(api, cards[0], "1.00", "2.00")
    api.clock.at = NOW + timedelta(hours=1)
    made = use(api, cards[1], "3.00", "4.00", "5.00") + made
    token = api.let_in(holder)
    seen: list[str] = []
    page = api.ask(of_caller, token, limit=2).json
    while True:
        seen += [item["id"] for item in page["data"]]
        if not page["pagination"]["has_more"]:
            break
        page = api.ask(of_caller, token, limit=2, cursor=page["pagination"]["next_cursor"]).json
    assert sorted(seen) == sorted(made)
    assert seen == sorted(seen, reverse=True)


def test_a_cursor_belongs_to_its_cards_list(api: ApiWorld, holder: Actor) -> None:
    cards = [api.world.issue(holder), api.world.issue(holder)]
    made = use(api, cards[0], "1.00", "2.00", "3.00")
    token = api.let_in(holder)
    page = api.ask(of_card, token, card_id=cards[0].card_id, limit=1).json
    cursor = page["pagination"]["next_cursor"]
    assert [item["id"] for item in page["data"]] == made[:1]
    rest = api.ask(of_card, token, card_id=cards[0].card_id, cursor=cursor).json
    assert [item["id"] for item in rest["data"]] == made[1:]
    assert api.ask(of_card, token, card_id=cards[1].card_id, cursor=cursor).json["code"] == "cursor_invalid"
    assert api.ask(of_caller, token, cursor=cursor).json["code"] == "cursor_invalid"


def test_anothers_card_is_not_found_and_staff_sees_its_transactions(api: ApiWorld, holder: Actor) -> None:
    card = api.world.issue(holder)
    made = use(api, card, "1.00")
    stranger = api.ask(of_card, api.let_in(api.world.add_user()), card_id=card.card_id)
    assert (stranger.status, stranger.json["code"]) == (404, "card_not_found")
    staff = api.ask(of_card, api.let_in(api.world.add_user("support")), card_id=card.card_id).json
    assert [item["id"] for item in staff["data"]] == made


def test_without_a_user_there_are_no_transactions(api: ApiWorld) -> None:
    system = Actor(None, "system")
    assert api.transactions.list_transactions(system, limit=10) == []
    with pytest.raises(NotFoundError):
        api.transactions.list_transactions(system, card_id=api.ids.new(), limit=10)
