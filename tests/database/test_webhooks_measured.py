"""What operators see of deliveries, and what owners are told when a subscription is switched off."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cardwright.outbox.rules import WEBHOOK_DISABLED, WEBHOOK_TEST, Event
from cardwright.webhooks.rules import SubscriptionStatus
from cardwright.webhooks.service import NewSubscription, gauges
from tests.fakes.webhook_world import WebhookWorld, answer

OLDEST = "cardwright_webhook_oldest_due_age_seconds"
P95 = "cardwright_webhook_first_attempt_delay_p95_seconds"


@pytest.fixture
def world(fresh_database: str) -> Iterator[WebhookWorld]:
    """A world of one test."""
    made = WebhookWorld(fresh_database)
    yield made
    made.close()


def measured(world: WebhookWorld) -> dict[str, float]:
    """The gauges by name."""
    return dict(gauges(world.worker_database, world.clock))


def lines(text: str) -> list[dict[str, Any]]:
    """Metrics written since."""
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"_aws"')]


def test_outcomes_of_the_last_hour_and_the_delay_of_first_attempts_are_told(world: WebhookWorld) -> None:
    assert measured(world) == {OLDEST: 0.0}
    user = world.add_user()
    world.subscribe(user)
    events = [world.event(user) for _ in range(20)]
    for delay_s, count in ((0, 9), (0, 9), (2, 1), (3, 1)):
        world.advance(seconds=delay_s)
        world.consume(*events[:count])
        del events[:count]
    # 18 at once, one after 2 s, one after 5 s: 95 of 100 within 2 s.
    assert measured(world) == {OLDEST: 0.0, 'cardwright_webhook_attempts_last_hour{outcome="delivered"}': 20.0, P95: 2.0}
    world.advance(minutes=59)
    world.sender.script = answer(500)
    world.consume(world.event(user))
    world.advance(seconds=58)
    assert measured(world) == {
        OLDEST: 0.0,
        'cardwright_webhook_attempts_last_hour{outcome="delivered"}': 1.0,
        'cardwright_webhook_attempts_last_hour{outcome="http_error"}': 1.0,
        P95: 5.0,
    }


def test_what_is_due_and_waits_for_us_has_an_age_and_what_waits_for_its_time_or_its_turn_has_none(world: WebhookWorld) -> None:
    user = world.add_user()
    wanted = NewSubscription("http://127.0.0.1:9/hook", ("card.frozen",), ordered=True)
    made, _ = world.subscriptions.create_subscription(user, wanted, world.ids.new())
    world.consume(world.verification_of(made))
    card = world.ids.new()
    world.sender.script = answer(500)
    world.consume(world.event(user, "card.frozen", card))
    world.advance(seconds=1)
    world.consume(world.event(user, "card.frozen", card), time_left=5.0)
    world.advance(seconds=30)
    assert measured(world)[OLDEST] == 0.0
    world.consume(world.event(user, "card.frozen"), time_left=5.0)
    world.advance(seconds=20)
    assert measured(world)[OLDEST] == 20.0
    world.subscriptions.pause(user, made.subscription_id, world.ids.new())
    assert measured(world)[OLDEST] == 0.0


def test_each_attempt_is_a_metric_and_the_first_tells_its_delay(world: WebhookWorld, capsys: pytest.CaptureFixture[str]) -> None:
    user = world.add_user()
    world.subscribe(user)
    event = world.event(user)
    world.advance(seconds=1.5)
    world.sender.script = answer(503)
    world.consume(event)
    world.sender.script = answer(200)
    world.advance(seconds=70)
    world.retry()
    told = lines(capsys.readouterr().out)
    assert [line["outcome"] for line in told if "WebhookAttempts" in line] == ["http_error", "delivered"]
    assert [line["WebhookFirstAttemptDelay"] for line in told if "WebhookFirstAttemptDelay" in line] == [1500]
    (oldest,) = [line["WebhookOldestEventAgeSeconds"] for line in told if "WebhookOldestEventAgeSeconds" in line]
    assert 3.9 <= oldest <= 10


def test_the_owner_of_a_subscription_that_is_switched_off_is_told_in_the_same_transaction(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, _ = world.subscribe(user)
    world.sender.script = answer(410)
    world.consume(world.event(user), world.event(user))
    (row,) = world.sql("SELECT user_id, data FROM outbox WHERE type = %s", WEBHOOK_DISABLED)
    told = {"subscription_id": str(subscription.subscription_id), "cause": "gone", "host": "127.0.0.1"}
    assert row == {"user_id": user.user_id, "data": told}
    found = world.subscriptions.get_subscription(user, subscription.subscription_id)
    assert (found.status, found.inactive_since) == (SubscriptionStatus.DISABLED, world.clock.now())


def test_a_test_goes_to_the_subscription_it_names_and_to_nobody_else(world: WebhookWorld) -> None:
    user, staff = world.add_user(), world.add_user("admin")
    named, _ = world.subscribe(user, "card.created", url="http://127.0.0.1:9/named")
    world.subscribe(user, WEBHOOK_TEST, "card.created", url="http://127.0.0.1:9/other")
    world.subscribe(staff, WEBHOOK_TEST, "card.created", url="http://127.0.0.1:9/staff")
    event = world.subscriptions.send_test(user, named.subscription_id, world.ids.new())
    assert world.consume(event) == []
    assert [post.url.rpartition("/")[2] for post in world.sender.events()] == ["named"]
    # Named by somebody else, it goes nowhere.
    forged = Event(world.ids.new(), WEBHOOK_TEST, world.clock.now(), dict(event.data), staff.user_id)
    assert world.consume(forged) == []
    assert len(world.sender.events()) == 1


def test_a_type_that_no_version_knows_and_events_of_another_organization_go_nowhere(world: WebhookWorld) -> None:
    user, staff, organization = world.add_user(), world.add_user("admin"), world.ids.new()
    wanted = NewSubscription("http://127.0.0.1:9/hook", ("card.created",), organization_id=organization)
    made, _ = world.subscriptions.create_subscription(staff, wanted, world.ids.new())
    world.consume(world.verification_of(made))
    world.subscribe(user, url="http://127.0.0.1:9/own")
    assert world.consume(world.event(user, "card.polished"), world.event(user, WEBHOOK_DISABLED)) == []
    assert world.sql("SELECT 1 AS one FROM webhook_deliveries") == []
    assert world.consume(world.event(user)) == []
    world.sql("UPDATE users SET organization_id = %s WHERE user_id = %s", organization, user.user_id)
    assert world.consume(world.event(user)) == []
    assert sorted(post.url.rpartition("/")[2] for post in world.sender.events()) == ["hook", "own", "own"]


def test_a_verification_whose_message_was_lost_is_made_by_the_schedule(world: WebhookWorld) -> None:
    user = world.add_user()
    made, _ = world.subscribe(user, verify=False)
    event = world.event(user)
    assert world.consume(event) == []
    world.retry(0.05)
    assert world.sender.posts == []
    world.advance(seconds=60)
    world.retry()
    found = world.subscriptions.get_subscription(user, made.subscription_id)
    assert (found.status, found.status_detail) == (SubscriptionStatus.ACTIVE, "verified")
