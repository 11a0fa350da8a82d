"""The door where the processor tells what becomes of transactions: what it takes, what it answers, what it refuses."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi.routing import APIRoute
from standardwebhooks import Webhook

from cardwright.cards.rules import Card
from cardwright.http.endpoint import Endpoint
from cardwright.kernel.secret import Secret
from cardwright.platform.postgres import Actor
from cardwright.providers.inbound_lithic import LithicInbound
from cardwright.providers.inbound_standard import StandardInbound
from cardwright.transactions.service.inbound import ProcessorEvents
from cardwright.transactions.service.life import TransactionLife
from functions.transactions.receive_processor_event import endpoint
from tests.fakes.api_world import Answer, ApiWorld, hosted
from tests.fakes.card_world import CardWorld, as_role
from tests.unit.providers.inbound import AUTHORIZED, LITHIC_AUTHORIZATION, lithic, lithic_event

KEYS = ["whsec_" + base64.b64encode(bytes(range(first, first + 32))).decode() for first in (0, 1)]


class Doors(ApiWorld):
    """Doors over a card world, with the processor's beside them."""

    def __init__(self, world: CardWorld) -> None:
        super().__init__(world)
        self.worker = as_role(world.url, "worker")
        self.speak(StandardInbound())

    def speak(self, scheme: Any) -> None:
        """Take events in this scheme."""
        life = TransactionLife(self.worker, self.clock, self.ids)
        self.processor_events = ProcessorEvents(life, self.clock, scheme=scheme, secrets=lambda: [Secret(key) for key in KEYS])

    def sign(self, body: bytes, key: str = KEYS[0], late_s: int = 0) -> dict[str, str]:
        """Headers by the reference library."""
        at = self.clock.now() - timedelta(seconds=late_s)
        signature = Webhook(key).sign("msg_1", at, body.decode())
        return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}

    def tell(
        self, document: Any, *, key: str = KEYS[0], late_s: int = 0, encoded: bool = False, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send one signed message, which API Gateway hands on as it is or in base64."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        sent = {"Content-Type": "application/json", **self.sign(body, key, late_s), **(headers or {})}
        event = {
            "resource": endpoint.row.full_path,
            "path": endpoint.row.full_path,
            "httpMethod": "POST",
            "headers": sent,
            "multiValueHeaders": {name: [value] for name, value in sent.items()},
            "queryStringParameters": None,
            "multiValueQueryStringParameters": None,
            "requestContext": {"identity": {"sourceIp": "203.0.113.7"}, "stage": "local", "path": "/", "requestId": "r"},
            "body": base64.b64encode(body).decode() if encoded else body.decode(),
            "isBase64Encoded": encoded,
        }
        with hosted(cast(Endpoint[Any], endpoint), self):
            answer = endpoint.handler(event, cast(Any, SimpleNamespace()))
        return Answer(answer["statusCode"], answer.get("headers", {}), answer["body"])


@pytest.fixture
def api(world: CardWorld) -> Iterator[Doors]:
    """Doors over the world."""
    doors = Doors(world)
    yield doors
    doors.worker.close()


@pytest.fixture
def card(world: CardWorld, holder: Actor) -> Card:
    """A card."""
    return world.issue(holder)


@pytest.fixture
def clearing(api: Doors, card: Card) -> dict[str, Any]:
    """A clearing of an authorization of 42.10."""
    decision = api.world.pay(card, "42.10")
    return {
        "event_id": f"evt_{api.ids.new().hex}",
        "type": "transaction.cleared",
        "authorization_id": decision.authorization_id,
        "card_token": card.processor_card_token,
        "amount": "42.10",
        "currency": "USD",
        "occurred_at": "2026-11-21T12:00:00Z",
    }


def documented(status: int) -> set[str]:
    """The codes that the door's documents name for a status."""
    (route,) = [route for route in endpoint.app.routes if isinstance(route, APIRoute)]
    return set(re.findall("`([a-z_]+)`", route.responses[status]["description"]))


def refused(answer: Answer, status: int) -> str:
    """The code of a refusal that the documents name."""
    assert (answer.status, answer.json["status"]) == (status, status), answer.text
    assert answer.json["code"] in documented(status)
    return str(answer.json["code"])


def statuses(api: Doors, card: Card) -> list[str]:
    """The statuses of a card's transactions, the oldest first."""
    rows = sorted(api.world.rows("card_transactions", card.card_id), key=lambda row: str(row["transaction_id"]))
    return [str(row["status"]) for row in rows]


@pytest.mark.parametrize("encoded", [False, True])
def test_an_event_is_applied_once_and_told_to_be_a_duplicate_after_that(
    api: Doors, card: Card, clearing: dict[str, Any], encoded: bool
) -> None:
    first, second = (api.tell(clearing, encoded=encoded) for _ in range(2))
    (row,) = api.world.rows("card_transactions", card.card_id)
    assert (first.status, second.status) == (202, 202)
    told = {"received": True, "outcome": "applied", "parked_reason": None, "transaction_id": str(row["transaction_id"])}
    assert first.json == told
    assert second.json == {**told, "outcome": "duplicate"}
    assert row["status"] == "CLEARED"


def test_an_event_that_is_sent_twice_at_once_is_applied_once(api: Doors, card: Card, clearing: dict[str, Any]) -> None:
    body, outcomes = json.dumps(clearing).encode(), list[str]()

    def send() -> None:
        outcomes.append(api.processor_events.receive(api.sign(body), body).outcome)
        api.worker.close()

    assert api.world.at_once(*[send] * 4) == {"done": 4}
    assert sorted(outcomes) == ["applied", "duplicate", "duplicate", "duplicate"]
    assert statuses(api, card) == ["CLEARED"]


def test_a_message_signed_with_the_older_secret_is_taken_while_they_rotate(api: Doors, clearing: dict[str, Any]) -> None:
    assert api.tell(clearing, key=KEYS[1]).json["outcome"] == "applied"


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda api, event: api.tell(event, key="whsec_" + base64.b64encode(b"x" * 32).decode()), "signature_invalid"),
        (lambda api, event: api.tell(event, headers={"webhook-id": "msg_2"}), "signature_invalid"),
        (lambda api, event: api.tell(event, headers={"webhook-signature": ""}), "signature_missing"),
        (lambda api, event: api.tell(event, late_s=301), "timestamp_out_of_range"),
        (lambda api, event: api.tell(event, late_s=-301), "timestamp_out_of_range"),
    ],
)
def test_what_is_not_signed_now_by_the_processor_changes_nothing(
    api: Doors, card: Card, clearing: dict[str, Any], send: Callable[[Doors, dict[str, Any]], Answer], code: str
) -> None:
    assert refused(send(api, clearing), 401) == code
    assert statuses(api, card) == ["AUTHORIZED"]
    assert api.world.rows("transaction_events", card.card_id) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount": "0"}, "event_malformed"),
        ({"currency": "ZZZ"}, "event_malformed"),
        ({"authorization_id": None}, "event_malformed"),
        ({"type": "transaction.exploded"}, "event_type_unknown"),
        ({"event_id": "cardwright:expiry:1"}, "event_id_reserved"),
    ],
)
def test_a_bad_event_is_refused_and_nothing_of_it_is_kept(
    api: Doors, card: Card, clearing: dict[str, Any], changes: dict[str, Any], code: str
) -> None:
    assert refused(api.tell({**clearing, **changes}), 400) == code
    assert api.world.rows("transaction_events", card.card_id) == []


def test_a_body_that_is_not_json_is_refused_but_only_of_who_signed_it(api: Doors) -> None:
    assert refused(api.tell(b"{"), 400) == "json_invalid"
    assert refused(api.tell(b"{", headers={"webhook-signature": "v1,AAAA"}), 401) == "signature_invalid"


def test_an_id_that_told_something_else_is_refused(api: Doors, card: Card, clearing: dict[str, Any]) -> None:
    assert api.tell(clearing).status == 202
    assert refused(api.tell({**clearing, "amount": "42.11"}), 409) == "event_id_reused"
    again = api.tell({**clearing, "occurred_at": "2026-11-21T12:00:05Z", "more": "unknown"})
    assert again.json["outcome"] == "duplicate"
    assert str(api.world.rows("card_transactions", card.card_id)[0]["cleared_amount"]) == "42.10"


@pytest.mark.parametrize("encoded", [False, True])
def test_a_body_over_its_limit_is_refused_before_anything_is_read(
    api: Doors, card: Card, clearing: dict[str, Any], encoded: bool
) -> None:
    limit = endpoint.row.body_limit
    padded = json.dumps({**clearing, "padding": ""})
    full = {**clearing, "padding": "x" * (limit - len(padded))}
    assert refused(api.tell({**full, "padding": full["padding"] + "x"}, encoded=encoded), 413) == "payload_too_large"
    assert statuses(api, card) == ["AUTHORIZED"]
    assert api.tell(full, encoded=encoded).status == 202


def test_what_belongs_to_nothing_we_know_is_parked_with_its_reason(api: Doors, clearing: dict[str, Any]) -> None:
    told = api.tell({**clearing, "authorization_id": "auth_unknown"})
    assert (told.status, told.json["outcome"], told.json["parked_reason"]) == (202, "parked", "authorization_unknown")
    stranger = {**clearing, "event_id": f"evt_{api.ids.new().hex}", "card_token": f"card_{api.ids.new().hex}"}
    assert api.tell(stranger).json["parked_reason"] == "card_unknown"


def test_a_vendors_message_of_several_events_is_taken_event_by_event(api: Doors, card: Card) -> None:
    api.speak(LithicInbound())
    api.world.pay(card, "50.00", authorization_id=LITHIC_AUTHORIZATION)
    told = lithic("SETTLED", AUTHORIZED, lithic_event(2, "CLEARING", 1000), lithic_event(3, "RETURN", 400))
    of_card = {**told, "card_token": card.processor_card_token}
    assert api.tell({**of_card, "status": "PENDING", "events": told["events"][:2]}).json["outcome"] == "applied"
    assert api.tell(of_card).json["outcome"] == "applied"
    assert api.tell(of_card).json["outcome"] == "duplicate"
    (row,) = api.world.rows("card_transactions", card.card_id)
    assert (row["status"], str(row["cleared_amount"]), str(row["refunded_amount"]), str(row["held_amount"])) == (
        "PARTIALLY_REFUNDED",
        "10.00",
        "4.00",
        "0.00",
    )


def test_a_vendors_event_that_is_refused_holds_up_none_of_those_behind_it(api: Doors, card: Card) -> None:
    api.speak(LithicInbound())
    api.world.pay(card, "50.00", authorization_id=LITHIC_AUTHORIZATION)
    told = {**lithic("PENDING", AUTHORIZED, lithic_event(2, "CLEARING", 1000)), "card_token": card.processor_card_token}
    assert api.tell(told).json["outcome"] == "applied"
    events = [*lithic("PENDING", AUTHORIZED, lithic_event(2, "CLEARING", 1100), lithic_event(3, "RETURN", 400))["events"]]
    assert [refused(api.tell({**told, "events": events}), 409) for _ in range(2)] == ["event_id_reused"] * 2
    (row,) = api.world.rows("card_transactions", card.card_id)
    assert (str(row["cleared_amount"]), str(row["refunded_amount"])) == ("10.00", "4.00")


def test_of_a_vendors_events_the_one_that_is_parked_is_told_of(api: Doors, card: Card) -> None:
    api.speak(LithicInbound())
    told = lithic("PENDING", AUTHORIZED, lithic_event(2, "CLEARING", 1000), lithic_event(4, "AUTHORIZATION_ADVICE", 5000))
    answer = api.tell({**told, "card_token": card.processor_card_token})
    assert (answer.json["outcome"], answer.json["parked_reason"]) == ("parked", "authorization_unknown")
    assert statuses(api, card) == ["AUTHORIZED"]


def test_a_vendors_message_that_does_not_concern_us_is_taken(api: Doors) -> None:
    api.speak(LithicInbound())
    nothing = {"received": True, "outcome": "ignored", "parked_reason": None, "transaction_id": None}
    answer = api.tell({"event_type": "card.shipped"})
    assert (answer.status, answer.json) == (202, nothing)
