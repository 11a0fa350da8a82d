"""The doors that change a webhook subscription: edits, a new secret, a test, a pause and its end."""

from collections.abc import Iterator
from typing import Any

import pytest

from cardwright.http.endpoint import Endpoint
from cardwright.kernel.secret import Secret
from cardwright.outbox.rules import API_VERSION
from cardwright.platform.postgres import Actor
from cardwright.webhooks.rules import Subscription
from functions.webhooks.get_webhook_delivery import endpoint as delivery
from functions.webhooks.get_webhook_subscription import endpoint as get
from functions.webhooks.pause_webhook_subscription import endpoint as pause
from functions.webhooks.reactivate_webhook_subscription import endpoint as reactivate
from functions.webhooks.replay_webhook_events import endpoint as replay
from functions.webhooks.rotate_webhook_secret import endpoint as rotate
from functions.webhooks.send_test_event import endpoint as test
from functions.webhooks.update_webhook_subscription import endpoint as update
from tests.fakes.webhook_doors import PLAIN, Doors, documented, opened
from tests.pans import pan

NOBODY = "0190163d-8694-739b-aea5-966c26f8ad91"


@pytest.fixture
def api(database_of_all: str) -> Iterator[Doors]:
    """Doors over the database of these tests."""
    with opened(database_of_all) as doors:
        yield doors


@pytest.fixture
def user(api: Doors) -> Actor:
    """A cardholder."""
    return api.webhook_world.add_user()


@pytest.fixture
def token(api: Doors, user: Actor) -> str:
    """The user's access token."""
    return api.let_in(user, stepped_up=False)


@pytest.fixture
def active(api: Doors, user: Actor) -> Subscription:
    """A subscription of the user's that was verified."""
    return api.webhook_world.subscribe(user)[0]


def shown(api: Doors, token: str, subscription: Subscription) -> dict[str, Any]:
    """The subscription as it is now."""
    found: dict[str, Any] = api.ask(get, token, subscription_id=subscription.subscription_id).json
    return found


def test_what_a_change_names_is_changed_and_the_rest_stays(api: Doors, token: str, active: Subscription) -> None:
    before = shown(api, token, active)
    change = {"event_types": ["card.frozen"], "description": " Accounting ", "ordered": True, "api_version": API_VERSION}
    answered = api.ask(update, token, change, subscription_id=active.subscription_id)
    assert (answered.status, answered.headers["etag"]) == (200, f'"{before["version"] + 1}"')
    after = answered.json
    told = {"event_types": ["card.frozen"], "description": "Accounting", "ordered": True, "version": before["version"] + 1}
    assert after == {**before, **told, "updated_at": after["updated_at"]}
    assert shown(api, token, active) == after
    lifted = api.ask(update, token, {"description": None, "card_ids": None}, subscription_id=active.subscription_id).json
    assert (lifted["description"], lifted["card_ids"], lifted["event_types"]) == (None, None, ["card.frozen"])


def test_a_new_url_is_verified_before_anything_is_sent_there(api: Doors, user: Actor, token: str, active: Subscription) -> None:
    world = api.webhook_world
    moved = api.ask(update, token, {"url": "http://127.0.0.1:9/new"}, subscription_id=active.subscription_id).json
    assert (moved["status"], moved["url"]) == ("PENDING_VERIFICATION", "http://127.0.0.1:9/new")
    assert moved["inactive_since"] is not None
    world.consume(world.event(user))
    assert world.sender.events() == []
    world.consume(world.verification_of(active))
    assert (shown(api, token, active)["status"], world.sender.posts[-1].url) == ("ACTIVE", "http://127.0.0.1:9/new")


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"url": "https://169.254.169.254/"}, "url", "url_host_not_allowed"),
        ({"url": None}, "url", "invalid_type"),
        ({"event_types": []}, "event_types", "too_few_items"),
        ({"event_types": None}, "event_types", "invalid_type"),
        ({"event_types": ["nope"]}, "event_types.0", "event_type_unknown"),
        ({"card_ids": []}, "card_ids", "too_few_items"),
        ({"organization_id": NOBODY}, "organization_id", "organization_not_found"),
        ({"ordered": 1}, "ordered", "invalid_type"),
        ({"api_version": "2020-01-01"}, "api_version", "api_version_unknown"),
        ({"api_version": None}, "api_version", "invalid_type"),
        ({"description": f"number {pan()}"}, "description", "card_number_not_allowed"),
        ({"status": "ACTIVE"}, "status", "unknown_field"),
        ({"secret": "mine"}, "secret", "unknown_field"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(
    api: Doors, token: str, active: Subscription, change: dict[str, Any], field: str, code: str
) -> None:
    before = shown(api, token, active)
    answered = api.ask(update, token, {"description": "new", **change}, subscription_id=active.subscription_id)
    assert [(error["field"], error["code"]) for error in answered.json["errors"]] == [(field, code)]
    assert (answered.status, shown(api, token, active)) == (422, before)
    assert code in documented(update, 422) | PLAIN


def test_a_new_secret_is_shown_once_and_the_old_one_signs_for_a_day(api: Doors, token: str, active: Subscription) -> None:
    key = {"Idempotency-Key": "rotate-1"}
    answered = api.ask(rotate, token, headers=key, subscription_id=active.subscription_id)
    made = answered.json
    assert answered.status == 200
    assert made.pop("secret").startswith("whsec_")
    assert made["previous_secrets_expire_at"] == ["2026-11-22T12:00:00.000Z"]
    again = api.ask(rotate, token, headers=key, subscription_id=active.subscription_id)
    assert (again.status, again.headers["idempotency-replayed"], again.json) == (200, "true", made)
    assert "secret" not in shown(api, token, active)


@pytest.mark.parametrize(("overlap", "left"), [(3600, ["2026-11-21T13:00:00.000Z"]), (0, [])])
def test_how_long_the_old_secret_signs_is_asked_for(
    api: Doors, token: str, active: Subscription, overlap: int, left: list[str]
) -> None:
    answered = api.ask(rotate, token, {"overlap_seconds": overlap}, subscription_id=active.subscription_id)
    assert answered.json["previous_secrets_expire_at"] == left


@pytest.mark.parametrize(
    ("overlap", "code"), [(-1, "overlap_out_of_range"), (604801, "overlap_out_of_range"), (10**30, "overlap_out_of_range"),
                          ("60", "invalid_type"), (None, "invalid_type"), (True, "invalid_type")],
)  # fmt: skip
def test_an_overlap_that_cannot_be_leaves_the_secrets(
    api: Doors, token: str, active: Subscription, overlap: Any, code: str
) -> None:
    before = shown(api, token, active)
    answered = api.ask(rotate, token, {"overlap_seconds": overlap}, subscription_id=active.subscription_id)
    assert (answered.status, answered.json["errors"][0]["code"]) == (422, code)
    assert answered.json["errors"][0]["field"] == "overlap_seconds"
    assert code in documented(rotate, 422) | PLAIN
    assert shown(api, token, active) == before


def test_a_test_goes_to_the_one_subscription_and_its_delivery_can_be_asked_for(
    api: Doors, user: Actor, token: str, active: Subscription
) -> None:
    world = api.webhook_world
    world.subscribe(user, url="http://127.0.0.1:9/other")
    key = {"Idempotency-Key": "test-1"}
    sent = api.ask(test, token, headers=key, subscription_id=active.subscription_id)
    assert (sent.status, sent.json["event_type"]) == (202, "webhook.test")
    event_id = sent.json["event_id"]
    assert sent.headers["location"] == f"/api/v1/webhooks/subscriptions/{active.subscription_id}/deliveries/{event_id}"
    assert api.ask(test, token, headers=key, subscription_id=active.subscription_id).json == sent.json
    (row,) = world.sql("SELECT * FROM outbox WHERE type = 'webhook.test' AND user_id = %s", user.user_id)
    assert str(row["event_id"]) == event_id
    assert row["data"]["subscription_id"] == str(active.subscription_id)
    missing = api.ask(delivery, token, subscription_id=active.subscription_id, event_id=event_id)
    assert (missing.status, missing.json["code"]) == (404, "delivery_not_found")


def test_a_pause_and_its_end_are_each_told_once(api: Doors, token: str, active: Subscription) -> None:
    paused = api.ask(pause, token, subscription_id=active.subscription_id)
    assert (paused.status, paused.json["status"]) == (200, "PAUSED")
    assert (paused.json["inactive_since"], paused.headers["etag"]) == ("2026-11-21T12:00:00.000Z", f'"{paused.json["version"]}"')
    twice = api.ask(pause, token, subscription_id=active.subscription_id)
    assert (twice.status, twice.json["code"]) == (409, "already_paused")
    assert documented(pause, 409) >= {"already_paused", "subscription_not_active"}
    again = api.ask(reactivate, token, subscription_id=active.subscription_id)
    assert (again.status, again.json["status"], again.json["inactive_since"]) == (200, "ACTIVE", None)
    twice = api.ask(reactivate, token, subscription_id=active.subscription_id)
    assert (twice.status, twice.json["code"]) == (409, "already_active")
    assert documented(reactivate, 409) >= {"already_active", "verification_pending"}


@pytest.mark.parametrize(
    ("endpoint", "body", "code"),
    [
        (pause, None, "subscription_not_active"),
        (test, None, "subscription_not_active"),
        (replay, {"from": "2026-11-21T11:00:00Z"}, "subscription_not_active"),
        (reactivate, None, "verification_pending"),
    ],
)
def test_what_an_unverified_subscription_cannot_do_is_a_conflict(
    api: Doors, user: Actor, token: str, endpoint: Endpoint[Any], body: Any, code: str
) -> None:
    waiting, _ = api.webhook_world.subscribe(user, verify=False)
    answered = api.ask(endpoint, token, body, subscription_id=waiting.subscription_id)
    assert (answered.status, answered.json["code"]) == (409, code)
    assert code in documented(endpoint, 409)


def test_a_subscription_whose_verification_failed_is_verified_anew(api: Doors, user: Actor, token: str) -> None:
    world = api.webhook_world
    world.sender.verifies = False
    failed, _ = world.subscribe(user)
    assert shown(api, token, failed)["status"] == "VERIFICATION_FAILED"
    again = api.ask(reactivate, token, subscription_id=failed.subscription_id)
    assert (again.status, again.json["status"]) == (200, "PENDING_VERIFICATION")
    world.sender.verifies = True
    world.consume(world.verification_of(failed))
    assert shown(api, token, failed)["status"] == "ACTIVE"


CHANGES: list[tuple[Endpoint[Any], Any]] = [(update, {"description": "new"}), (rotate, {}), (pause, None), (reactivate, None)]


@pytest.mark.parametrize(("endpoint", "body"), CHANGES)
def test_a_change_of_another_version_is_refused(
    api: Doors, token: str, active: Subscription, endpoint: Endpoint[Any], body: Any
) -> None:
    before = shown(api, token, active)
    stale = {"If-Match": f'"{active.version - 1}"'}
    answered = api.ask(endpoint, token, body, headers=stale, subscription_id=active.subscription_id)
    assert (answered.status, answered.json["code"]) == (412, "version_mismatch")
    assert documented(endpoint, 412) == {"version_mismatch"}
    unreadable = api.ask(endpoint, token, body, headers={"If-Match": "new"}, subscription_id=active.subscription_id)
    assert (unreadable.status, unreadable.json["code"]) == (400, "if_match_invalid")
    assert "if_match_invalid" in documented(endpoint, 400)
    assert shown(api, token, active) == before


@pytest.mark.parametrize(("endpoint", "body"), [*CHANGES, (test, None), (replay, {"from": "2026-11-21T11:00:00Z"})])
def test_nobody_changes_the_subscription_of_another(
    api: Doors, token: str, active: Subscription, endpoint: Endpoint[Any], body: Any
) -> None:
    before = shown(api, token, active)
    for stranger in (api.webhook_world.add_user(), api.webhook_world.add_user("admin")):
        answered = api.ask(endpoint, api.let_in(stranger), body, subscription_id=active.subscription_id)
        assert (answered.status, answered.json["code"]) == (404, "subscription_not_found")
        assert "subscription_not_found" in documented(endpoint, 404)
    assert api.ask(endpoint, None, body, subscription_id=active.subscription_id).status == 401
    assert shown(api, token, active) == before


def test_a_secret_is_in_no_answer_but_the_one_it_was_made_in(api: Doors, user: Actor, token: str) -> None:
    subscription, secret = api.webhook_world.subscribe(user)
    assert isinstance(secret, Secret)
    bodies = [
        api.ask(endpoint, token, body, subscription_id=subscription.subscription_id).text
        for endpoint, body in [(get, None), (update, {"description": "new"}), (pause, None), (reactivate, None), (test, None)]
    ]
    assert [body for body in bodies if secret.reveal() in body or "whsec" in body] == []
