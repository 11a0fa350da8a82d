"""The webhook doors: what clients send and see, and the workers' handlers."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cardwright.outbox.rules import API_VERSION
from cardwright.platform.postgres import Actor
from functions.outbox import relay_events
from functions.webhooks import process_event_queue, retry_webhook_deliveries
from functions.webhooks.create_webhook_subscription import endpoint as create
from functions.webhooks.delete_webhook_subscription import endpoint as delete
from functions.webhooks.get_webhook_subscription import endpoint as get
from functions.webhooks.list_webhook_deliveries import endpoint as deliveries
from functions.webhooks.list_webhook_subscriptions import endpoint as list_all
from tests.fakes.card_world import CardWorld
from tests.fakes.webhook_doors import Doors
from tests.fakes.webhook_world import WebhookWorld, answer
from tests.pans import pan

URL = "http://127.0.0.1:9/hook"
NOBODY = "0190163d-8694-739b-aea5-966c26f8ad91"
WISH = {"url": URL, "event_types": ["card.created", "transaction.authorized"]}


@pytest.fixture
def api(fresh_database: str) -> Iterator[Doors]:
    """Doors over a database of this test."""
    cards, world = CardWorld(fresh_database), WebhookWorld(fresh_database)
    yield Doors(cards, world)
    cards.close()
    world.close()


@pytest.fixture
def user(api: Doors) -> Actor:
    """A cardholder."""
    return api.webhook_world.add_user()


@pytest.fixture
def token(api: Doors, user: Actor) -> str:
    """The user's access token."""
    return api.let_in(user, stepped_up=False)


def test_a_subscription_is_answered_with_its_secret_this_once(api: Doors, token: str) -> None:
    key = {"Idempotency-Key": "k-1"}
    answered = api.ask(create, token, WISH, headers=key)
    made = answered.json
    assert answered.status == 201
    assert answered.headers["location"] == f"/api/v1/webhooks/subscriptions/{made['id']}"
    assert answered.headers["etag"] == '"1"'
    assert made.pop("secret").startswith("whsec_")
    assert made == {
        "id": made["id"],
        "url": URL,
        "event_types": ["card.created", "transaction.authorized"],
        "card_ids": None,
        "organization_id": None,
        "ordered": False,
        "api_version": API_VERSION,
        "description": None,
        "status": "PENDING_VERIFICATION",
        "status_detail": None,
        "inactive_since": "2026-11-21T12:00:00.000Z",
        "consecutive_failures": 0,
        "previous_secrets_expire_at": [],
        "version": 1,
        "created_at": "2026-11-21T12:00:00.000Z",
        "updated_at": "2026-11-21T12:00:00.000Z",
    }
    again = api.ask(create, token, WISH, headers=key)
    assert (again.status, again.headers["idempotency-replayed"], again.json) == (201, "true", made)
    assert api.ask(get, token, subscription_id=made["id"]).json == made


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"url": "http://example.com/"}, "url", "url_not_https"),
        ({"url": "https://169.254.169.254/"}, "url", "url_host_not_allowed"),
        ({"url": "https://u:p@example.com/"}, "url", "url_has_credentials"),
        ({"url": "https://example.com:25/"}, "url", "url_port_not_allowed"),
        ({"url": "x" * 3000}, "url", "too_long"),
        ({"url": None}, "url", "invalid_type"),
        ({"event_types": []}, "event_types", "too_few_items"),
        ({"event_types": ["card.created", "nope"]}, "event_types.1", "event_type_unknown"),
        ({"event_types": "card.created"}, "event_types", "invalid_type"),
        ({"card_ids": ["nope"]}, "card_ids.0", "uuid_invalid"),
        ({"card_ids": []}, "card_ids", "too_few_items"),
        ({"secret": "mine"}, "secret", "unknown_field"),
        ({"organization_id": "nope"}, "organization_id", "uuid_invalid"),
        ({"organization_id": NOBODY}, "organization_id", "organization_not_found"),
        ({"ordered": "yes"}, "ordered", "invalid_type"),
        ({"ordered": None}, "ordered", "invalid_type"),
        ({"api_version": "2020-01-01"}, "api_version", "api_version_unknown"),
        ({"api_version": "latest"}, "api_version", "too_short"),
        ({"description": " "}, "description", "too_short"),
        ({"description": "x" * 201}, "description", "too_long"),
        ({"description": "two\nlines"}, "description", "invalid"),
        ({"description": "a \u200bgap"}, "description", "description_invalid"),
        ({"description": f"number {pan()}"}, "description", "card_number_not_allowed"),
    ],
)
def test_bad_fields_are_named(api: Doors, token: str, changes: dict[str, Any], field: str, code: str) -> None:
    answered = api.ask(create, token, {**WISH, **changes})
    assert (answered.status, answered.headers["content-type"]) == (422, "application/problem+json")
    assert [(error["field"], error["code"]) for error in answered.json["errors"]] == [(field, code)]
    assert api.ask(list_all, token).json["data"] == []


def test_subscriptions_are_paged_read_and_ended(api: Doors, user: Actor, token: str) -> None:
    world = api.webhook_world
    made = []
    for _ in range(3):
        world.advance(seconds=1)
        made.append(str(world.subscribe(user)[0].subscription_id))
    first = api.ask(list_all, token, limit=2).json
    assert [one["id"] for one in first["data"]] == [made[2], made[1]]
    cursor = first["pagination"]["next_cursor"]
    rest = api.ask(list_all, token, limit=2, cursor=cursor).json
    assert ([one["id"] for one in rest["data"]], rest["pagination"]["has_more"]) == ([made[0]], False)
    assert api.ask(deliveries, token, subscription_id=made[0], cursor=cursor).json["code"] == "cursor_invalid"
    assert api.ask(delete, token, headers={"If-Match": '"1"'}, subscription_id=made[0]).status == 412
    ended = api.ask(delete, token, headers={"If-Match": '"2"'}, subscription_id=made[0])
    assert (ended.status, ended.text) == (204, "")
    gone = api.ask(get, token, subscription_id=made[0])
    assert (gone.status, gone.json["code"]) == (404, "subscription_not_found")


def test_another_owners_subscription_is_not_there(api: Doors, user: Actor) -> None:
    subscription, _ = api.webhook_world.subscribe(user)
    stranger = api.let_in(api.webhook_world.add_user("admin"))
    for endpoint in (get, delete, deliveries):
        answered = api.ask(endpoint, stranger, subscription_id=subscription.subscription_id)
        assert (answered.status, answered.json["code"]) == (404, "subscription_not_found")


def test_deliveries_show_their_attempts(api: Doors, user: Actor, token: str) -> None:
    world = api.webhook_world
    subscription, _ = world.subscribe(user)
    world.sender.script = answer(500, b"no \x00")
    event = world.event(user)
    world.consume(event)
    (shown,) = api.ask(deliveries, token, subscription_id=subscription.subscription_id).json["data"]
    assert shown["attempts"][0].pop("latency_ms") >= 0
    assert shown.pop("next_attempt_at").startswith("2026-11-21T12:01:0")
    assert shown == {
        "event_id": str(event.event_id),
        "event_type": "card.created",
        "status": "PENDING",
        "created_at": "2026-11-21T12:00:00.000Z",
        "finished_at": None,
        "attempts": [
            {
                "number": 1,
                "started_at": "2026-11-21T12:00:00.000Z",
                "status_code": 500,
                "outcome": "http_error",
                "response": "no \N{REPLACEMENT CHARACTER}",
            }
        ],
    }


def context(seconds: float) -> Any:
    """What Lambda hands over, with so much time left."""
    return cast(Any, SimpleNamespace(get_remaining_time_in_millis=lambda: seconds * 1000))


def test_the_workers_handlers_take_lambdas_events(api: Doors, user: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    world = api.webhook_world
    monkeypatch.setattr(process_event_queue, "_workers", lambda: SimpleNamespace(webhook_worker=world.worker))
    monkeypatch.setattr(retry_webhook_deliveries, "_workers", lambda: SimpleNamespace(webhooks=world.deliveries))
    world.subscribe(user)
    bad = {"Records": [{"messageId": "m1", "body": "x", "eventSource": "aws:sqs"}]}
    assert process_event_queue.handler(bad, context(25)) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert process_event_queue.handler({"Records": []}, context(25)) == {"batchItemFailures": []}
    assert retry_webhook_deliveries.handler({"time": "2026-11-21T12:00:00Z"}, context(5)) == {"attempts": 0}


def test_the_relays_handler_tells_what_it_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[float] = []

    def run(deadline: Callable[[], float]) -> int:
        left.append(deadline())
        return 7

    monkeypatch.setattr(relay_events, "_workers", lambda: SimpleNamespace(outbox=SimpleNamespace(run=run)))
    assert relay_events.handler({"time": "2026-11-21T12:00:00Z"}, context(12)) == {"events": 7}
    assert left == [12.0]


def test_nothing_secret_is_in_a_refusal(api: Doors, token: str) -> None:
    answered = api.ask(create, token, json.dumps({**WISH, "url": "https://u:hunter2@example.com/"}))
    assert answered.status == 422
    assert "hunter2" not in answered.text
