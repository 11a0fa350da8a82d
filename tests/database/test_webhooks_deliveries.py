"""Deliveries against the real database: fan-out, attempts, retries, leases, giving up."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from standardwebhooks import Webhook

from cardwright.kernel.signatures import verify
from cardwright.outbox.rules import VERIFICATION_REQUESTED, Event, message
from cardwright.platform.clock import SystemClock
from cardwright.platform.egress import Egress
from cardwright.webhooks.rules import RETRY_DELAYS_S, SubscriptionStatus
from tests.fakes.receiver import RawReceiver
from tests.fakes.webhook_world import WebhookWorld, answer, fails


@pytest.fixture
def world(fresh_database: str) -> Iterator[WebhookWorld]:
    """A world of one test."""
    made = WebhookWorld(fresh_database)
    yield made
    made.close()


def test_an_event_arrives_signed_and_is_noted(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, secret = world.subscribe(user)
    event = world.event(user)
    assert world.consume(event) == []
    (post,) = world.sender.events()
    assert post.headers["webhook-id"] == str(event.event_id)
    assert post.headers["Content-Type"] == "application/json"
    verify([secret], post.headers, post.body, world.clock.now())
    assert json.loads(post.body) == {
        "id": str(event.event_id),
        "type": "card.created",
        "created_at": "2026-11-21T12:00:00.000Z",
        "api_version": "2026-11-21",
        "data": dict(event.data),
    }
    (delivery,) = world.subscriptions.list_deliveries(user, subscription.subscription_id, 10)
    assert (delivery.status, delivery.event_type, delivery.next_attempt_at) == ("DELIVERED", "card.created", None)
    (attempt,) = delivery.attempts
    assert (attempt.number, attempt.status_code, attempt.outcome, attempt.response) == (1, 200, "delivered", "thanks")


def test_events_go_to_those_who_want_them(world: WebhookWorld) -> None:
    user, other, staff = world.add_user(), world.add_user(), world.add_user("admin")
    card = world.ids.new()
    for path, actor, types, cards in (
        ("own", user, ["card.created"], None),
        ("card", user, ["card.created", "card.frozen"], [card]),
        ("type", user, ["card.frozen"], None),
        ("other", other, ["card.created", "card.frozen"], None),
        ("staff", staff, ["card.created"], None),
    ):
        world.subscribe(actor, *types, url=f"http://127.0.0.1:9/{path}", card_ids=cards)

    def reached(event_type: str, card_id: UUID | None = None) -> set[str]:
        before = len(world.sender.events())
        world.consume(world.event(user, event_type, card_id))
        return {post.url.rpartition("/")[2] for post in world.sender.events()[before:]}

    assert reached("card.created") == {"own", "staff"}
    assert reached("card.created", card) == {"own", "card", "staff"}
    assert reached("card.frozen", card) == {"card", "type"}
    assert reached("card.cancelled", card) == set()
    assert reached("webhook.verification_requested_by_nobody", card) == set()


def test_who_is_staff_no_more_hears_nothing_more(world: WebhookWorld) -> None:
    user, agent = world.add_user(), world.add_user("support")
    world.subscribe(agent, "card.created")
    world.sender.script = answer(500)
    world.consume(world.event(user))
    assert len(world.sender.events()) == 1
    world.sql("UPDATE users SET role = 'cardholder' WHERE user_id = %s", agent.user_id)
    world.consume(world.event(user), world.event(agent))
    world.advance(hours=1)
    assert world.retry() == 0
    assert len(world.sender.events()) == 1
    world.sql("UPDATE users SET role = 'admin' WHERE user_id = %s", agent.user_id)
    assert world.retry() == 1


def test_a_message_that_comes_again_makes_no_second_delivery(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    event = world.event(user)
    assert world.consume(event, event) == []
    assert world.consume(event) == []
    assert len(world.sender.events()) == 1


def test_one_bad_message_does_not_bring_the_others_back(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    good = world.event(user)
    bodies = ["not json", "[]", json.dumps({"event": {"id": "x"}, "user_id": None, "card_id": None}), "null"]
    records = [{"messageId": f"bad{position}", "body": body} for position, body in enumerate(bodies)]
    record = {"messageId": "good", "body": json.dumps(message(good))}
    answered = world.worker.process_event_queue({"Records": [*records, record]}, lambda: 100.0)
    assert [failure["itemIdentifier"] for failure in answered["batchItemFailures"]] == ["bad0", "bad1", "bad2", "bad3"]
    assert len(world.sender.events()) == 1


def test_failed_attempts_are_repeated_on_schedule_with_the_same_bytes_and_a_fresh_signature(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, secret = world.subscribe(user)
    world.sender.script = answer(503, b"busy")
    event = world.event(user)
    world.consume(event)
    for number, delay_s in enumerate(RETRY_DELAYS_S, start=1):
        row = world.delivery(event)
        wait = row["next_attempt_at"] - world.clock.now()
        assert timedelta(seconds=delay_s) <= wait <= timedelta(seconds=delay_s * 1.1)
        assert (row["status"], row["attempts"], row["lease_token"]) == ("PENDING", number, None)
        world.advance(seconds=delay_s - 1)
        assert world.retry(0.05) == 0
        world.advance(seconds=1 + delay_s * 0.1)
        assert world.retry() == 1
    row = world.delivery(event)
    assert (row["status"], row["attempts"], row["next_attempt_at"]) == ("FAILED", 6, None)
    world.advance(days=30)
    assert world.retry(0.05) == 0
    posts = world.sender.events()
    assert len(posts) == 6
    assert len({post.body for post in posts}) == 1
    assert len({post.headers["webhook-id"] for post in posts}) == 1
    assert len({post.headers["webhook-signature"] for post in posts}) == 6
    for post in posts:
        sent_at = datetime.fromtimestamp(int(post.headers["webhook-timestamp"]), UTC)
        verify([secret], post.headers, post.body, sent_at)
    assert world.attempts() == [(number, "http_error") for number in range(1, 7)]
    (delivery,) = world.subscriptions.list_deliveries(user, subscription.subscription_id, 10)
    assert [attempt.response for attempt in delivery.attempts] == ["busy"] * 6


def test_a_receiver_that_asks_for_time_gets_it(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    world.sender.script = answer(429, retry_after="1800")
    event = world.event(user)
    world.consume(event)
    assert world.delivery(event)["next_attempt_at"] == world.clock.now() + timedelta(seconds=1800)


@pytest.mark.parametrize("code", ["timeout", "connect_failed", "address_refused", "tls_failed", "name_not_resolved"])
def test_a_receiver_that_cannot_be_reached_is_tried_again(world: WebhookWorld, code: str) -> None:
    user = world.add_user()
    world.subscribe(user)
    world.sender.script = fails(code)
    world.consume(world.event(user))
    assert world.attempts() == [(1, code)]
    (row,) = world.sql("SELECT status_code, response FROM webhook_attempts")
    assert (row["status_code"], row["response"]) == (None, None)
    world.sender.script = answer(204)
    world.advance(seconds=70)
    assert world.retry() == 1
    assert world.attempts() == [(1, code), (2, "delivered")]


def test_gone_disables_at_once_and_cancels_the_rest(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, _ = world.subscribe(user)
    world.sender.script = answer(500)
    waiting = world.event(user)
    world.consume(waiting)
    world.sender.script = answer(410)
    world.advance(seconds=70)
    last = world.event(user)
    world.consume(last)
    assert world.retry() >= 1
    found = world.subscriptions.get_subscription(user, subscription.subscription_id)
    assert (found.status, found.status_detail, found.version) == (SubscriptionStatus.DISABLED, "gone", 3)
    assert {world.delivery(waiting)["status"], world.delivery(last)["status"]} == {"CANCELLED", "FAILED"}
    world.consume(world.event(user))
    world.advance(hours=7)
    assert world.retry(0.05) == 0
    assert [row["action"] for row in world.sql("SELECT action FROM audit_log WHERE action = 'webhook.disabled'")] == [
        "webhook.disabled"
    ]


def test_five_events_in_a_row_that_failed_for_good_disable(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, _ = world.subscribe(user)
    world.sender.script = answer(500)

    def fail_for_good(count: int) -> None:
        world.consume(*(world.event(user) for _ in range(count)))
        world.retry(0.1)
        for delay_s in RETRY_DELAYS_S:
            world.advance(seconds=delay_s * 1.1)
            world.retry(0.2)

    fail_for_good(4)
    world.sender.script = answer(200)
    world.consume(world.event(user))
    world.retry(0.1)
    world.sender.script = answer(500)
    fail_for_good(4)
    assert world.subscriptions.get_subscription(user, subscription.subscription_id).status is SubscriptionStatus.ACTIVE
    fail_for_good(1)
    found = world.subscriptions.get_subscription(user, subscription.subscription_id)
    assert (found.status, found.status_detail) == (SubscriptionStatus.DISABLED, "http_error")


def test_damaged_secrets_count_as_attempts_and_end(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    world.sql("UPDATE webhook_subscriptions SET secrets_sealed = ARRAY['\\x6b313a00'::bytea]")
    world.consume(world.event(user))
    assert world.attempts() == [(1, "internal_error")]


def test_both_secrets_of_a_rotation_sign_until_the_older_ones_time_is_over(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, older = world.subscribe(user)
    _, newer = world.subscriptions.rotate_secret(user, subscription.subscription_id, world.ids.new(), overlap_s=3600)
    for hours, signing in ((0, [newer, older]), (1, [newer])):
        world.advance(hours=hours)
        world.consume(world.event(user))
        post = world.sender.events()[-1]
        assert post.headers["webhook-signature"].count("v1,") == len(signing)
        for secret in signing:
            verify([secret], post.headers, post.body, world.clock.now())


def test_deliveries_are_listed_newest_first_in_pages(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, _ = world.subscribe(user)
    events = []
    for _ in range(5):
        world.advance(seconds=1)
        events.append(world.event(user))
    world.consume(*events)
    first = world.subscriptions.list_deliveries(user, subscription.subscription_id, 2)
    rest = world.subscriptions.list_deliveries(user, subscription.subscription_id, 10, first[-1].event_id)
    assert [one.event_id for one in (*first, *rest)] == [event.event_id for event in reversed(events)]


def test_a_real_receiver_verifies_with_the_reference_library(fresh_database: str) -> None:
    with RawReceiver() as receiver:
        world = WebhookWorld(fresh_database, Egress(loopback=True))
        user = world.add_user()
        subscription, secret = world.subscribe(user, url=f"http://127.0.0.1:{receiver.port}/h")
        assert subscription.status_detail == "challenge_not_met"
        world.sql("UPDATE webhook_subscriptions SET status = 'ACTIVE', verified_at = updated_at, inactive_since = NULL")
        world.clock.at = SystemClock().now()
        event = world.event(user)
        world.consume(event)
        world.close()
    head, _, body = receiver.requests[-1].partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
    told = Webhook(secret.reveal()).verify(body.decode(), {name: value for name, _, value in lines})
    assert told["id"] == str(event.event_id)


def test_a_verification_that_names_nobody_is_a_bad_message(world: WebhookWorld) -> None:
    nobody = Event(world.ids.new(), VERIFICATION_REQUESTED, world.clock.now(), {"subscription_id": str(world.ids.new())})
    assert world.consume(nobody) == ["m0"]
