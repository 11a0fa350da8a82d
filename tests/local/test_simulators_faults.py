"""The outside parties misbehaving, calling back, delivering messages and surviving a kill."""

import contextlib
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.clock import ClockFile
from local.simulators.processor.pan import luhn_digit
from tests.local.outside_world import CARD, World, all_parties, assert_signed, in_minutes

# Clock


def test_the_clock_moves_for_all_and_signatures_follow_it(world: World) -> None:
    before = world.http.get(f"{world.processor.url}/clock").json()["now"]
    answer = world.http.post(f"{world.processor.url}/clock", json={"advance": "PT6H"})
    moved = datetime.fromisoformat(answer.json()["now"]) - datetime.fromisoformat(before)
    assert timedelta(hours=6) <= moved < timedelta(hours=6, minutes=1)
    assert answer.json()["now"].endswith("Z")
    with ClockFile(world.folder / "clock") as clock:
        ahead = clock.now() - datetime.now(UTC)
        world.authorize()
        stamp = int(world.issuer.requests[-1][0]["webhook-timestamp"])
        assert abs(clock.now().timestamp() - stamp) < 60
    assert ahead >= timedelta(hours=6) - timedelta(seconds=1)
    world.send(channel="sms", to="+15550100", body="later")
    (message,) = world.http.get(f"{world.messages.url}/messages").json()
    assert datetime.fromisoformat(message["sent_at"]) > datetime.now(UTC) + timedelta(hours=5)


@pytest.mark.parametrize("body", [{"advance": "1 hour"}, {"advance": "P1M"}, {"advance": 6}, {}, {"advance": "P99999D"}])
def test_a_bad_advance_is_refused(world: World, body: dict[str, Any]) -> None:
    before = world.http.get(f"{world.processor.url}/clock").json()["ahead_seconds"]
    assert world.http.post(f"{world.processor.url}/clock", json=body).status_code == 422
    assert world.http.get(f"{world.processor.url}/clock").json()["ahead_seconds"] == before


# Faults


@pytest.mark.parametrize(
    "faults",
    [
        {"bank": {"fail_next": 1}},
        {"kyc": {"explode": True}},
        {"kyc": {"wrong_currency": True}},
        {"kyc": {"error_inside": True}},
        {"processor": {"error_rate": 1.5}},
        {"processor": {"fail_next": -1}},
        {"messages": 7},
    ],
)
def test_unknown_parties_fields_and_values_are_refused_and_change_nothing(world: World, faults: dict[str, Any]) -> None:
    address = f"{world.processor.url}/faults"
    before = world.http.get(address).json()
    assert world.http.post(address, json=faults).status_code == 422
    assert world.http.put(address, json=faults).status_code == 422
    assert world.http.get(address).json() == before


def test_faults_are_merged_replaced_and_cleared(world: World) -> None:
    address = f"{world.processor.url}/faults"
    world.faults(processor={"latency_ms": 5})
    world.faults(processor={"error_status": 502}, kyc={"latency_ms": 1})
    found = world.http.get(address).json()
    assert (found["processor"]["latency_ms"], found["processor"]["error_status"]) == (5, 502)
    replaced = world.http.put(address, json={"messages": {"latency_ms": 2}}).json()
    assert [replaced[party]["latency_ms"] for party in ("processor", "kyc", "messages")] == [0, 0, 2]
    assert world.http.delete(address).json()["messages"]["latency_ms"] == 0


def test_the_next_calls_fail_and_then_no_more(world: World, key: str) -> None:
    world.faults(processor={"fail_next": 2, "error_status": 502})
    assert [world.make_card(key).status_code for _ in range(3)] == [502, 502, 201]
    world.faults(messages={"fail_next": 1})
    statuses = [world.send(channel="sms", to="a", body="b").status_code for _ in range(2)]
    assert statuses == [503, 202]
    assert len(world.http.get(f"{world.messages.url}/messages").json()) == 1


def test_errors_and_latency_act_on_the_api_only(world: World) -> None:
    world.faults(processor={"error_rate": 1.0, "latency_ms": 300})
    began = time.monotonic()
    assert world.call(world.processor, "GET", "/v1/cards").status_code == 503
    assert time.monotonic() - began >= 0.3
    assert world.authorize()["decision"] == "APPROVE"


def test_a_timeout_never_answers_and_does_nothing(world: World, key: str) -> None:
    world.faults(processor={"timeout_rate": 1.0})
    with pytest.raises(httpx.ReadTimeout):
        world.call(world.processor, "POST", "/v1/cards", json=CARD, headers={"Idempotency-Key": key}, timeout=httpx.Timeout(0.5))
    world.faults(processor={"timeout_rate": 0.0})
    found = world.call(world.processor, "GET", "/v1/cards", params={"reference": key}).json()
    assert found["data"] == []


def test_a_card_may_be_made_without_an_answer_and_is_found_again(world: World, key: str) -> None:
    world.faults(processor={"create_then_timeout": True})
    body = {**CARD, "reference": key}
    with pytest.raises(httpx.ReadTimeout):
        world.call(world.processor, "POST", "/v1/cards", json=body, headers={"Idempotency-Key": key}, timeout=httpx.Timeout(0.5))
    (found,) = world.call(world.processor, "GET", "/v1/cards", params={"reference": key}).json()["data"]
    world.faults(processor={"create_then_timeout": False})
    assert world.make_card(key, reference=key).json()["token"] == found["token"]


def test_garbage_is_no_json(world: World, key: str) -> None:
    world.faults(processor={"garbage": True})
    answer = world.make_card(key)
    assert answer.status_code == 201
    with pytest.raises(ValueError, match="Unterminated"):
        answer.json()


def test_a_card_may_come_in_another_currency(world: World, key: str) -> None:
    world.faults(processor={"wrong_currency": True})
    assert world.make_card(key).json()["currency"] == "EUR"
    assert world.make_card(f"{key}-2", currency="EUR").json()["currency"] == "USD"


def test_a_card_may_come_under_another_bin(world: World, key: str) -> None:
    world.faults(processor={"wrong_bin": True})
    card = world.make_card(key).json()
    assert card["pan"].startswith("453208")
    assert luhn_digit(card["pan"][:-1]) == card["pan"][-1]
    assert card["last_four"] == card["pan"][-4:]


def test_an_error_may_come_with_a_good_status_and_then_nothing_is_done(world: World, key: str) -> None:
    token = world.make_card(f"{key}-1", reference=key).json()["token"]
    world.faults(processor={"error_inside": True})
    answers = [world.make_card(f"{key}-2", reference=key)]
    answers.append(world.call(world.processor, "PATCH", f"/v1/cards/{token}", json={"state": "CLOSED"}))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["error"]["code"] for answer in answers} == {"simulated_fault"}
    world.faults(processor={"error_inside": False})
    (found,) = world.call(world.processor, "GET", "/v1/cards", params={"reference": key}).json()["data"]
    assert (found["token"], found["state"]) == (token, "ACTIVE")


def test_only_a_creating_call_takes_effect_without_an_answer(world: World, key: str) -> None:
    token = world.make_card(key).json()["token"]
    world.faults(processor={"create_then_timeout": True})
    path = f"/v1/cards/{token}"
    assert world.call(world.processor, "PATCH", path, json={"state": "PAUSED"}).json()["state"] == "PAUSED"
    view = world.call(world.processor, "POST", f"{path}/embed", json={"expires_at": in_minutes(world, 1), "origins": []})
    assert view.status_code == 200


def test_no_fault_acts_on_a_view_a_lever_or_the_network(world: World, key: str) -> None:
    token = world.make_card(key).json()["token"]
    wanted = {"expires_at": in_minutes(world, 1), "origins": []}
    url = world.call(world.processor, "POST", f"/v1/cards/{token}/embed", json=wanted).json()["url"]
    world.faults(processor={"error_rate": 1.0, "error_inside": True, "garbage": True})
    assert world.http.get(url).status_code == 200
    paused = world.http.post(f"{world.processor.url}/simulate/card-state", json={"card_token": token, "state": "PAUSED"})
    assert paused.json()["state"] == "PAUSED"
    assert world.authorize()["decision"] == "APPROVE"


def test_authorizations_held_back_are_overtaken(world: World) -> None:
    world.faults(processor={"reorder_rate": 1.0})
    first = threading.Thread(target=world.authorize, kwargs={"authorization_id": "auth_first"})
    first.start()
    time.sleep(0.15)
    world.faults(processor={"reorder_rate": 0.0})
    world.authorize(authorization_id="auth_second")
    first.join(5)
    assert [body["authorization_id"] for body in world.issuer.wait_for(2)] == ["auth_second", "auth_first"]


# KYC


@pytest.mark.parametrize(("last_name", "outcome"), [("Lovelace", "approved"), ("Reject", "declined"), ("Review", "review")])
def test_a_verification_is_decided_by_name_and_called_back_signed(world: World, last_name: str, outcome: str) -> None:
    verification = world.verify(last_name=last_name)
    path = f"/v1/verifications/{verification}"
    assert world.call(world.kyc, "GET", path).json()["status"] == "pending"
    (event,) = world.issuer.wait_for(1)
    headers, body = world.issuer.requests[0]
    assert_signed(world, headers, body)
    assert (event["type"], event["id"], event["reference"]) == ("verification.completed", verification, "user-1")
    assert (event["status"], event["event_id"]) == (outcome, headers["webhook-id"])
    assert world.call(world.kyc, "GET", path).json()["status"] == outcome


def test_a_callback_not_taken_is_tried_again_with_the_same_event(world: World) -> None:
    answers = iter([(500, b""), (503, b""), (200, b"")])
    world.issuer.answer = lambda _body: next(answers)
    world.verify()
    events = world.issuer.wait_for(3, seconds=8)
    assert len({event["event_id"] for event in events}) == 1


def test_a_duplicated_callback_comes_twice(world: World) -> None:
    world.faults(kyc={"duplicate_rate": 1.0})
    world.verify()
    first, second = world.issuer.wait_for(2)
    assert first == second


def test_a_verification_nobody_knows_is_not_found(world: World) -> None:
    assert world.call(world.kyc, "GET", "/v1/verifications/nothing").status_code == 404


def test_nothing_of_the_person_is_kept_but_the_outcome(world: World) -> None:
    world.verify(first_name="Grimhilde")
    world.issuer.wait_for(1)
    kept = b"".join(path.read_bytes() for path in (world.folder / "kyc").iterdir())
    assert b"Grimhilde" not in kept
    assert b"X0000001" not in kept


# Messages


def test_messages_are_listed_oldest_first_per_recipient(world: World) -> None:
    for number in range(3):
        world.send(channel="email", to="ada@example.com", subject="Code", body=f"{number}", data={"code": f"00{number}"})
    world.send(channel="push", to="device-1", body="hello")
    address = f"{world.messages.url}/messages"
    found = world.http.get(address, params={"to": "ada@example.com"}).json()
    assert [message["data"]["code"] for message in found] == ["000", "001", "002"]
    assert {"channel", "to", "subject", "body", "sent_at", "data"} <= found[0].keys()
    latest = world.http.get(address, params={"to": "ada@example.com", "limit": 1}).json()
    assert [message["body"] for message in latest] == ["2"]
    assert len(world.http.get(address).json()) == 4


def test_the_mailbox_page_escapes_what_it_shows(world: World) -> None:
    world.send(channel="email", to="<i>@x", subject="<script>alert(1)</script>", body="<b>&")
    page = world.http.get(world.messages.url)
    assert page.headers["content-type"].startswith("text/html")
    assert "<script>" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "&lt;i&gt;@x" in page.text


@pytest.mark.parametrize("message", [{"channel": "fax", "to": "a", "body": "b"}, {"channel": "sms", "body": "b"}])
def test_a_bad_message_is_refused(world: World, message: dict[str, Any]) -> None:
    assert world.send(**message).status_code == 422


def test_a_duplicated_message_arrives_twice(world: World) -> None:
    world.faults(messages={"duplicate_rate": 1.0})
    world.send(channel="sms", to="+15550101", body="twice")
    assert len(world.http.get(f"{world.messages.url}/messages").json()) == 2


# Running


def test_everything_taken_survives_a_kill_and_a_pending_verification_is_called_back(tmp_path: Path) -> None:
    with all_parties(tmp_path) as world:
        card = world.make_card("key").json()
        told = world.authorize(card_token=card["token"])
        world.send(channel="sms", to="+15550102", body="kept")
        world.faults(messages={"latency_ms": 1})
        world.issuer.requests.clear()
        verification = world.verify()
        for party in (world.kyc, world.processor, world.messages):
            party.kill_and_restart()
        assert world.make_card("key").json() == card
        (sent,) = world.http.get(f"{world.processor.url}/simulate/authorizations").json()["data"]
        assert sent["authorization_id"] == told["request"]["authorization_id"]
        assert [message["body"] for message in world.http.get(f"{world.messages.url}/messages").json()] == ["kept"]
        assert world.http.get(f"{world.processor.url}/faults").json()["messages"]["latency_ms"] == 1
        assert world.issuer.wait_for(1, seconds=8)[0]["id"] == verification


def test_a_simulator_stops_within_two_seconds_even_while_a_call_hangs(world: World) -> None:
    world.faults(messages={"timeout_rate": 1.0})
    call = threading.Thread(target=_try, args=(world,))
    call.start()
    time.sleep(0.3)
    assert world.messages.stop() < 2.5
    call.join(5)
    world.messages.start()
    assert world.http.get(f"{world.messages.url}/healthz").json() == {"status": "ok"}


def _try(world: World) -> None:
    with contextlib.suppress(httpx.HTTPError):
        httpx.post(f"{world.messages.url}/v1/messages", json={}, timeout=5, trust_env=False)
