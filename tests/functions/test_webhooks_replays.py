"""The doors that send events again, and those that tell how events fared."""

from collections.abc import Iterator
from typing import Any

import pytest

from cardwright.outbox.rules import Event
from cardwright.platform.postgres import Actor
from cardwright.webhooks.rules import Subscription
from functions.webhooks.get_webhook_delivery import endpoint as delivery
from functions.webhooks.get_webhook_replay import endpoint as get_replay
from functions.webhooks.list_all_deliveries import endpoint as all_deliveries
from functions.webhooks.list_webhook_deliveries import endpoint as deliveries
from functions.webhooks.list_webhook_replays import endpoint as replays
from functions.webhooks.replay_webhook_events import endpoint as replay
from tests.fakes.webhook_doors import PLAIN, Doors, documented, opened
from tests.fakes.webhook_world import answer

NOBODY = "0190163d-8694-739b-aea5-966c26f8ad91"


@pytest.fixture
def api(database_of_all: str) -> Iterator[Doors]:
    """Doors over the database of these tests."""
    with opened(database_of_all) as doors:
        yield doors


@pytest.fixture
def alone(fresh_database: str) -> Iterator[Doors]:
    """Doors over a database of one test: what the workers find due is its own."""
    with opened(fresh_database) as doors:
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


def test_a_replay_of_a_range_is_a_job_that_can_be_asked_for(api: Doors, token: str, active: Subscription) -> None:
    body = {"from": "2026-11-21T10:00:00+01:00", "to": "2026-11-21T11:00:00Z", "only_missed": True}
    key = {"Idempotency-Key": "replay-1"}
    asked = api.ask(replay, token, body, headers=key, subscription_id=active.subscription_id)
    job = asked.json
    assert asked.status == 202
    assert asked.headers["location"] == f"/api/v1/webhooks/subscriptions/{active.subscription_id}/replays/{job['id']}"
    assert job == {
        "id": job["id"],
        "subscription_id": str(active.subscription_id),
        "status": "QUEUED",
        "progress": {"done": 0, "total": None},
        "event_id": None,
        "from": "2026-11-21T09:00:00.000Z",
        "to": "2026-11-21T11:00:00.000Z",
        "only_missed": True,
        "created_at": "2026-11-21T12:00:00.000Z",
        "finished_at": None,
    }
    again = api.ask(replay, token, body, headers=key, subscription_id=active.subscription_id)
    assert (again.status, again.headers["idempotency-replayed"], again.json) == (202, "true", job)
    assert api.ask(get_replay, token, subscription_id=active.subscription_id, replay_id=job["id"]).json == job


def test_a_replay_without_an_end_goes_on_until_now(api: Doors, token: str, active: Subscription) -> None:
    job = api.ask(replay, token, {"from": "2026-11-21T11:00:00Z"}, subscription_id=active.subscription_id).json
    assert (job["to"], job["only_missed"]) == ("2026-11-21T12:00:00.000Z", False)


def test_one_event_is_sent_again_until_its_owner_has_it(alone: Doors) -> None:
    api, world = alone, alone.webhook_world
    user = world.add_user()
    active, token = world.subscribe(user)[0], api.let_in(user)
    event = world.happen(user)
    world.consume(event)
    world.advance(seconds=1)
    job = api.ask(replay, token, {"event_id": str(event.event_id)}, subscription_id=active.subscription_id).json
    assert (job["event_id"], job["from"], job["to"]) == (str(event.event_id), None, None)
    # The replay that the verification made has its turn first.
    for _ in range(3):
        world.retry()
    done = api.ask(get_replay, token, subscription_id=active.subscription_id, replay_id=job["id"]).json
    assert (done["status"], done["progress"]) == ("DONE", {"done": 1, "total": 1})
    assert world.told() == [event.event_id, event.event_id]
    told = api.ask(delivery, token, subscription_id=active.subscription_id, event_id=event.event_id).json
    assert [(attempt["number"], attempt["outcome"]) for attempt in told["attempts"]] == [(1, "delivered"), (2, "delivered")]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "from", "required"),
        ({"to": "2026-11-21T11:00:00Z"}, "from", "required"),
        ({"only_missed": True}, "from", "required"),
        ({"event_id": NOBODY, "from": "2026-11-21T11:00:00Z"}, "event_id", "event_or_range"),
        ({"event_id": NOBODY, "to": "2026-11-21T11:00:00Z"}, "event_id", "event_or_range"),
        ({"event_id": "nope"}, "event_id", "uuid_invalid"),
        ({"event_id": None}, "event_id", "uuid_invalid"),
        ({"from": None}, "from", "time_invalid"),
        ({"from": 1795255200}, "from", "time_invalid"),
        ({"from": "yesterday"}, "from", "time_invalid"),
        ({"from": "2026-11-21"}, "from", "time_invalid"),
        ({"from": "2026-11-21T11:00:00"}, "from", "time_invalid"),
        ({"from": "2026-02-30T11:00:00Z"}, "from", "time_invalid"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "from", "time_invalid"),
        ({"from": "2026-11-21T11:00:00Z", "to": "2026-11-21T11:00:00Z"}, "from", "range_empty"),
        ({"from": "2026-10-01T00:00:00Z"}, "from", "range_too_long"),
        ({"from": "2025-11-21T00:00:00Z", "to": "2025-11-22T00:00:00Z"}, "from", "range_too_old"),
        ({"from": "2026-11-21T11:00:00Z", "to": "2026-11-21T13:00:00Z"}, "to", "range_in_future"),
        ({"from": "2026-11-21T11:00:00Z", "only_missed": "yes"}, "only_missed", "invalid_type"),
        ({"since": "2026-11-21T11:00:00Z"}, "since", "unknown_field"),
    ],
)
def test_what_cannot_be_replayed_is_named(
    api: Doors, token: str, active: Subscription, body: dict[str, Any], field: str, code: str
) -> None:
    answered = api.ask(replay, token, body, subscription_id=active.subscription_id)
    assert answered.status == 422
    assert (field, code) in [(error["field"], error["code"]) for error in answered.json["errors"]]
    assert code in documented(replay, 422) | PLAIN
    # That of what happened before it was verified.
    assert len(api.ask(replays, token, subscription_id=active.subscription_id).json["data"]) == 1


def test_an_event_that_is_not_the_owners_is_not_there(api: Doors, token: str, active: Subscription) -> None:
    world = api.webhook_world
    of_another = world.happen(world.add_user())
    for event_id in (of_another.event_id, NOBODY):
        answered = api.ask(replay, token, {"event_id": str(event_id)}, subscription_id=active.subscription_id)
        assert (answered.status, answered.json["code"]) == (404, "event_not_found")
    assert documented(replay, 404) == {"subscription_not_found", "event_not_found"}


def test_a_sixth_open_replay_of_hers_is_a_conflict_and_all_the_others_are_listed(
    api: Doors, token: str, active: Subscription
) -> None:
    # That of what happened before it was verified does not count.
    made = [one["id"] for one in api.ask(replays, token, subscription_id=active.subscription_id).json["data"]]
    for _ in range(5):
        api.webhook_world.advance(seconds=1)
        body = {"from": "2026-11-21T11:00:00Z"}
        made.append(api.ask(replay, token, body, subscription_id=active.subscription_id).json["id"])
    refused = api.ask(replay, token, {"from": "2026-11-21T11:00:00Z"}, subscription_id=active.subscription_id)
    assert (refused.status, refused.json["code"]) == (409, "too_many_replays")
    assert "too_many_replays" in documented(replay, 409)
    first = api.ask(replays, token, subscription_id=active.subscription_id, limit=4).json
    rest = api.ask(
        replays, token, subscription_id=active.subscription_id, limit=4, cursor=first["pagination"]["next_cursor"]
    ).json
    assert [one["id"] for one in first["data"] + rest["data"]] == made[::-1]
    assert rest["pagination"] == {"next_cursor": None, "has_more": False}


def test_an_event_that_had_its_rounds_is_not_sent_again(api: Doors, user: Actor, token: str, active: Subscription) -> None:
    event = api.webhook_world.happen(user)
    api.webhook_world.consume(event)
    api.webhook_world.sql("UPDATE webhook_deliveries SET rounds = 100 WHERE event_id = %s", event.event_id)
    refused = api.ask(replay, token, {"event_id": str(event.event_id)}, subscription_id=active.subscription_id)
    assert (refused.status, refused.json["code"]) == (409, "too_many_rounds")
    assert "too_many_rounds" in documented(replay, 409)


def test_there_is_no_replay_and_no_delivery_of_another(api: Doors, user: Actor, token: str, active: Subscription) -> None:
    world = api.webhook_world
    event = world.happen(user)
    world.consume(event)
    job = api.ask(replay, token, {"from": "2026-11-21T11:00:00Z"}, subscription_id=active.subscription_id).json["id"]
    stranger = api.let_in(world.add_user("admin"))
    for endpoint, more in ((get_replay, {"replay_id": job}), (replays, {}), (delivery, {"event_id": event.event_id})):
        answered = api.ask(endpoint, stranger, subscription_id=active.subscription_id, **more)
        assert (answered.status, answered.json["code"]) == (404, "subscription_not_found")
    other, _ = world.subscribe(user, url="http://127.0.0.1:9/other")
    wrong = api.ask(get_replay, token, subscription_id=other.subscription_id, replay_id=job)
    assert (wrong.status, wrong.json["code"]) == (404, "replay_not_found")
    wrong = api.ask(delivery, token, subscription_id=other.subscription_id, event_id=event.event_id)
    assert (wrong.status, wrong.json["code"]) == (404, "delivery_not_found")


def fared(api: Doors, user: Actor, *statuses: int) -> list[Event]:
    """Let one event after the other happen and be answered so, each on the second after the one before."""
    made = []
    for status in statuses:
        api.webhook_world.advance(seconds=1)
        api.webhook_world.sender.script = answer(status)
        made.append(api.webhook_world.happen(user, "card.created" if status == 200 else "card.frozen"))
        api.webhook_world.consume(made[-1])
    return made


def test_deliveries_are_found_by_status_and_type(api: Doors, user: Actor, token: str) -> None:
    subscription, _ = api.webhook_world.subscribe(user, "card.created", "card.frozen")
    taken, refused = fared(api, user, 200, 500)

    def found(**wanted: Any) -> list[str]:
        page = api.ask(deliveries, token, subscription_id=subscription.subscription_id, **wanted).json
        return [one["event_id"] for one in page["data"]]

    assert found() == [str(refused.event_id), str(taken.event_id)]
    assert found(status="DELIVERED") == [str(taken.event_id)]
    assert found(status="PENDING") == found(event_type="card.frozen") == [str(refused.event_id)]
    assert found(status="FAILED") == found(event_type="card.flown") == []
    unknown = api.ask(deliveries, token, subscription_id=subscription.subscription_id, status="LOST")
    assert (unknown.status, unknown.json["errors"][0]["code"]) == (422, "not_allowed")


def test_a_cursor_does_not_fit_a_list_that_is_filtered_otherwise(api: Doors, user: Actor, token: str) -> None:
    subscription, _ = api.webhook_world.subscribe(user)
    fared(api, user, 200, 200)
    asked: dict[str, Any] = {"subscription_id": subscription.subscription_id, "limit": 1}
    cursor = api.ask(deliveries, token, **asked).json["pagination"]["next_cursor"]
    assert api.ask(deliveries, token, **asked, cursor=cursor).status == 200
    other = api.ask(deliveries, token, **asked, cursor=cursor, status="DELIVERED")
    assert (other.status, other.json["code"]) == (400, "cursor_invalid")


def test_staff_sees_everybodys_deliveries_page_by_page(alone: Doors) -> None:
    api, world = alone, alone.webhook_world
    user, other = world.add_user(), world.add_user()
    subscriptions = [world.subscribe(one, url=f"http://127.0.0.1:9/{n}")[0] for n, one in enumerate((user, user, other))]
    events = [*fared(api, user, 200, 200), *fared(api, other, 200)]
    staff = api.let_in(world.add_user("support"))
    seen: list[tuple[str, str, str]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = api.ask(all_deliveries, staff, limit=1, **cursor).json
        seen += [(one["event_id"], one["subscription_id"], one["user_id"]) for one in page["data"]]
        if not page["pagination"]["has_more"]:
            break
        cursor = {"cursor": page["pagination"]["next_cursor"]}
    expected = {
        (str(event.event_id), str(one.subscription_id), str(one.user_id))
        for event in events
        for one in subscriptions
        if event.user_id == one.user_id
    }
    assert len(seen) == len(expected) == 5
    assert set(seen) == expected
    assert [event for event, *_ in seen] == sorted((event for event, *_ in seen), reverse=True)
    assert api.ask(all_deliveries, staff, status="FAILED").json["data"] == []
    for forged in ("x", "x.y", cursor["cursor"].partition(".")[0], f"{cursor['cursor']}x"):
        assert api.ask(all_deliveries, staff, cursor=forged).json["code"] == "cursor_invalid"


@pytest.mark.parametrize("role", ["cardholder", "merchant", "compliance_officer"])
def test_only_support_and_admins_see_everybodys_deliveries(api: Doors, role: str) -> None:
    answered = api.ask(all_deliveries, api.let_in(api.webhook_world.add_user(role)))
    assert (answered.status, answered.json["code"]) == (403, "role_not_allowed")
