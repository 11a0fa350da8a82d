"""The processor and the network: cards, authorizations, the clock they share and the faults that really act."""

import json
import threading
import time
from typing import Any

import pytest

from local.simulators.processor.pan import luhn_digit
from tests.local.outside_world import CARD, KEY, PERSON, World, assert_signed

# Cards


def test_a_card_gets_a_luhn_valid_number_under_its_bin_and_shows_it_once(world: World, key: str) -> None:
    answer = world.make_card(key, reference=key, expires_on="2031-05")
    card = answer.json()
    assert answer.status_code == 201
    assert len(card["pan"]) == 16
    assert card["pan"].startswith("453201")
    assert luhn_digit(card["pan"][:-1]) == card["pan"][-1]
    assert (card["exp_month"], card["exp_year"], card["state"]) == (5, 2031, "ACTIVE")
    assert card["last_four"] == card["pan"][-4:]
    shown = world.call(world.processor, "GET", f"/v1/cards/{card['token']}").json()
    assert shown == {name: value for name, value in card.items() if name != "pan"}
    assert not [name for name in card if "cv" in name.lower()]


def test_the_check_digit_is_luhns() -> None:
    assert luhn_digit("7992739871") == "3"
    assert luhn_digit("453201511283036") == "6"


def test_an_idempotency_key_gives_the_same_card_and_refuses_another_body(world: World, key: str) -> None:
    first = world.make_card(key, reference=key)
    again = world.make_card(key, reference=key)
    other = world.make_card(key, reference=key, currency="EUR")
    assert first.json() == again.json()
    assert other.status_code == 409
    found = world.call(world.processor, "GET", "/v1/cards", params={"reference": key}).json()
    assert [card["token"] for card in found["data"]] == [first.json()["token"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"bin": "12345"},
        {"currency": "usd"},
        {"expires_on": "2031-13"},
        {"expires_on": "2020-01"},
        {"colour": "red"},
        {"reference": ""},
        {"limits": {"daily": "1.00"}},
        {"limits": {"per_transaction": "1.00", "daily": "1.00", "monthly": 1}},
        {"limits": {"per_transaction": "1.00", "daily": "-1.00", "monthly": "1.00"}},
    ],
)
def test_a_bad_card_request_is_refused(world: World, key: str, changes: dict[str, Any]) -> None:
    assert world.make_card(key, **changes).status_code == 422


def test_the_api_wants_its_key_and_an_idempotency_key(world: World) -> None:
    assert world.call(world.processor, "POST", "/v1/cards", json=CARD).status_code == 422
    for wrong in ("Bearer other", "", KEY):
        answer = world.http.get(f"{world.processor.url}/v1/cards", headers={"Authorization": wrong})
        assert answer.status_code == 401
    assert world.http.post(f"{world.kyc.url}/v1/verifications", json=PERSON).status_code == 401
    assert world.http.post(f"{world.messages.url}/v1/messages", json={}).status_code == 401


def test_a_refusal_does_not_repeat_what_was_sent(world: World) -> None:
    answer = world.call(world.kyc, "POST", "/v1/verifications", json={**PERSON, "country": "Britain"})
    assert answer.status_code == 422
    assert "Britain" not in answer.text
    assert "X0000001" not in answer.text


def test_states_can_be_set_and_closed_is_final(world: World, key: str) -> None:
    path = f"/v1/cards/{world.make_card(key).json()['token']}"
    for state in ("PAUSED", "PAUSED", "ACTIVE", "CLOSED", "CLOSED"):
        answer = world.call(world.processor, "PATCH", path, json={"state": state})
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    assert world.call(world.processor, "PATCH", path, json={"state": "ACTIVE"}).status_code == 409
    assert world.call(world.processor, "PATCH", path, json={"state": "LOST"}).status_code == 422
    assert world.call(world.processor, "PATCH", "/v1/cards/nothing", json={"state": "ACTIVE"}).status_code == 404


def test_cards_are_listed_in_pages(world: World, key: str) -> None:
    tokens = [world.make_card(f"{key}-{number}", reference=key).json()["token"] for number in range(3)]
    query = {"reference": key, "limit": 2}
    page = world.call(world.processor, "GET", "/v1/cards", params=query).json()
    rest = world.call(world.processor, "GET", "/v1/cards", params={**query, "cursor": page["next_cursor"]}).json()
    assert [card["token"] for card in page["data"] + rest["data"]] == tokens
    assert (page["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)


# Network


def test_an_authorization_is_signed_complete_and_answered_with_the_decision(world: World) -> None:
    told = world.authorize(merchant={"category_code": "7995"}, channel="atm")
    ((headers, body),) = world.issuer.requests
    assert_signed(world, headers, body)
    request = json.loads(body)
    assert request["card_token"] == "card_x"
    assert request == told["request"]
    assert request["merchant"]["category_code"] == "7995"
    assert request["merchant"]["country"] == "US"
    assert (request["amount"], request["merchant_amount"], request["channel"]) == ("42.10", "42.10", "atm")
    assert (told["decision"], told["reason"], told["http_status"]) == ("APPROVE", "approved", 200)
    assert told["latency_ms"] > 0


def test_an_amount_given_as_a_number_keeps_its_text(world: World) -> None:
    body = b'{"card_token": "card_x", "amount": 0.10, "currency": "EUR"}'
    told = world.http.post(f"{world.processor.url}/simulate/authorize", content=body).json()
    assert told["request"]["amount"] == "0.10"
    assert told["request"]["merchant"]["country"] == "FR"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"amount": "1"}', b'{"card_token":"a","amount":"1","currency":"USD","x":1}'])
def test_a_bad_request_to_the_network_is_refused_and_not_sent(world: World, body: bytes) -> None:
    assert world.http.post(f"{world.processor.url}/simulate/authorize", content=body).status_code == 422
    assert world.issuer.requests == []


@pytest.mark.parametrize("answer", [(500, b"oops"), (401, b'{"code": "signature_invalid"}'), (200, b"<html>"), (200, b"{}")])
def test_the_network_stands_in_for_an_issuer_without_a_decision(world: World, answer: tuple[int, bytes]) -> None:
    world.issuer.answer = lambda _body: answer
    told = world.authorize()
    assert (told["decision"], told["reason"], told["final"]) == ("DECLINE", "issuer_unavailable", False)
    assert told["stood_in"] is True
    assert told["http_status"] == answer[0]


def test_the_network_waits_two_seconds_for_an_issuer(world: World) -> None:
    done = threading.Event()

    def slow(_body: dict[str, Any]) -> tuple[int, bytes]:
        done.wait(4)
        return 200, b"{}"

    world.issuer.answer = slow
    began = time.monotonic()
    told = world.authorize()
    done.set()
    assert 1.8 < time.monotonic() - began < 3.5
    assert (told["reason"], told["stood_in"]) == ("issuer_unavailable", True)


def test_authorizations_are_remembered_per_card(world: World, key: str) -> None:
    for number in range(3):
        world.authorize(card_token=key, authorization_id=f"auth_{number}")
    found = world.http.get(f"{world.processor.url}/simulate/authorizations", params={"card_token": key}).json()["data"]
    assert [entry["authorization_id"] for entry in found] == ["auth_2", "auth_1", "auth_0"]
    assert {entry["decision"] for entry in found} == {"APPROVE"}


def test_a_duplicated_authorization_is_sent_twice_under_one_id(world: World) -> None:
    world.faults(processor={"duplicate_rate": 1})
    told = world.authorize()
    assert told["repeated"]["decision"] == "APPROVE"
    (first, body), (second, again) = world.issuer.requests
    assert body == again
    assert first["webhook-id"] == second["webhook-id"]
