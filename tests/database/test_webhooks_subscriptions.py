"""Subscriptions against the real database."""

import json
import threading
from collections.abc import Iterator, Sequence
from uuid import UUID

import pytest
from psycopg import errors

from cardwright.kernel.errors import ConflictError, InvalidFieldsError, NotFoundError, StaleVersionError
from cardwright.kernel.signatures import verify
from cardwright.platform.postgres import Actor
from cardwright.webhooks.rules import Scope, SubscriptionStatus
from cardwright.webhooks.service import NewSubscription, WebhookSubscriptions
from tests.fakes.webhook_world import NOW, WebhookWorld, answer, fails

URL = "http://127.0.0.1:9/hook"


@pytest.fixture
def world(fresh_database: str) -> Iterator[WebhookWorld]:
    """A world of one test."""
    made = WebhookWorld(fresh_database)
    yield made
    made.close()


def test_a_new_subscription_waits_for_verification_and_its_secret_is_sealed(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, secret = world.subscribe(user, "card.created", "card.created", "card.frozen", verify=False)
    assert subscription.status is SubscriptionStatus.PENDING_VERIFICATION
    assert subscription.event_types == ("card.created", "card.frozen")
    assert (subscription.scope, subscription.version, subscription.created_at) == (Scope.OWN, 1, NOW)
    assert secret.reveal().startswith("whsec_")
    (row,) = world.sql("SELECT * FROM webhook_subscriptions")
    assert secret.reveal().encode() not in row["secrets_sealed"][0]
    assert world.verification_of(subscription).user_id == user.user_id
    assert [entry["action"] for entry in world.sql("SELECT action FROM audit_log")] == ["webhook.created"]
    assert world.consume(world.event(user)) == []
    assert world.sender.posts == []


def test_a_receiver_that_answers_the_challenge_is_verified(world: WebhookWorld) -> None:
    subscription, secret = world.subscribe(world.add_user())
    assert (subscription.status, subscription.status_detail, subscription.version) == (SubscriptionStatus.ACTIVE, "verified", 2)
    (post,) = world.sender.posts
    assert set(json.loads(post.body)) == {"type", "challenge"}
    verify([secret], post.headers, post.body, NOW)


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        (answer(200, b'{"challenge":"mine"}'), "challenge_not_met"),
        (answer(500), "http_error"),
        (answer(302, location="http://127.0.0.1:1/"), "redirect_refused"),
        (fails("address_refused"), "address_refused"),
        (fails("timeout"), "timeout"),
    ],
)
def test_any_other_answer_fails_the_verification(world: WebhookWorld, script: object, detail: str) -> None:
    world.sender.verifies, world.sender.script = False, script  # type: ignore[assignment]  # pytest hands it as object
    user = world.add_user()
    subscription, _ = world.subscribe(user)
    assert (subscription.status, subscription.status_detail) == (SubscriptionStatus.VERIFICATION_FAILED, detail)
    world.consume(world.event(user))
    assert world.sql("SELECT * FROM webhook_deliveries") == []


def test_a_verification_that_comes_twice_is_made_once(world: WebhookWorld) -> None:
    subscription, _ = world.subscribe(world.add_user())
    assert world.consume(world.verification_of(subscription)) == []
    assert len(world.sender.posts) == 1
    assert len(world.sql("SELECT * FROM audit_log WHERE action = 'webhook.verified'")) == 1


def test_a_verification_without_time_or_keys_comes_again(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, _ = world.subscribe(user, verify=False)
    event = world.verification_of(subscription)
    assert world.consume(event, time_left=5.0) == ["m0"]
    world.secrets.away = True
    assert world.consume(event) == ["m0"]
    world.secrets.away = False
    assert world.sender.posts == []
    assert world.consume(event) == []
    found = world.subscriptions.get_subscription(user, subscription.subscription_id)
    assert found.status is SubscriptionStatus.ACTIVE


def test_the_same_operation_again_finds_its_subscription_and_secret(world: WebhookWorld) -> None:
    user, operation = world.add_user(), world.ids.new()
    wanted = NewSubscription(URL, ["card.created"])
    first = world.subscriptions.create_subscription(user, wanted, operation)
    second = world.subscriptions.create_subscription(user, wanted, operation)
    assert first == second
    assert len(world.sql("SELECT * FROM outbox")) == 1


def test_fields_that_break_rules_are_all_named(world: WebhookWorld) -> None:
    wanted = NewSubscription("https://10.0.0.1/", ["card.created", "no.such"], [])
    with pytest.raises(InvalidFieldsError) as refusal:
        world.subscriptions.create_subscription(world.add_user(), wanted, world.ids.new())
    assert [(error.field, error.code) for error in refusal.value.errors] == [
        ("url", "url_host_not_allowed"),
        ("event_types.1", "event_type_unknown"),
        ("card_ids", "too_few_items"),
    ]
    assert world.sql("SELECT * FROM webhook_subscriptions") == []


def test_a_card_filter_names_cards_of_the_caller(world: WebhookWorld) -> None:
    class Cards:
        def unknown_cards(self, _actor: Actor, card_ids: Sequence[UUID]) -> list[UUID]:
            return list(card_ids[1:])

    service = WebhookSubscriptions(world.app, world.clock, world.ids, world.secrets.sealer(), local=True, cards=Cards())
    wanted = NewSubscription(URL, ["card.created"], [world.ids.new(), world.ids.new()])
    with pytest.raises(InvalidFieldsError) as refusal:
        service.create_subscription(world.add_user(), wanted, world.ids.new())
    assert [(error.field, error.code) for error in refusal.value.errors] == [("card_ids.1", "card_not_found")]


def test_a_user_has_at_most_twenty_however_many_ask_at_once(world: WebhookWorld) -> None:
    user = world.add_user()
    for _ in range(18):
        world.subscribe(user, verify=False)
    codes: list[str] = []

    def ask() -> None:
        try:
            world.subscribe(user, verify=False)
        except ConflictError as error:
            codes.append(error.code)
        world.app.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == ["too_many_subscriptions"] * 4
    assert len(world.subscriptions.list_subscriptions(user, 200)) == 20
    world.subscribe(world.add_user(), verify=False)


def test_subscriptions_are_listed_newest_first_in_pages(world: WebhookWorld) -> None:
    user = world.add_user()
    made = []
    for _ in range(5):
        world.advance(seconds=1)
        made.append(world.subscribe(user, verify=False)[0].subscription_id)
    first = world.subscriptions.list_subscriptions(user, 2)
    rest = world.subscriptions.list_subscriptions(user, 10, first[-1].subscription_id)
    assert [one.subscription_id for one in (*first, *rest)] == made[::-1]


@pytest.mark.parametrize("stranger", ["cardholder", "admin"])
def test_another_owners_subscription_is_not_there(world: WebhookWorld, stranger: str) -> None:
    subscription, _ = world.subscribe(world.add_user())
    other, target = world.add_user(stranger), subscription.subscription_id
    for ask in (
        lambda: world.subscriptions.get_subscription(other, target),
        lambda: world.subscriptions.list_deliveries(other, target, 10),
        lambda: world.subscriptions.delete_subscription(other, target, world.ids.new()),
    ):
        with pytest.raises(NotFoundError) as refusal:
            ask()
        assert refusal.value.code == "subscription_not_found"
    assert world.subscriptions.list_subscriptions(other, 10) == []


def test_the_database_hides_other_owners_rows_by_itself(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    world.consume(world.event(user))
    counts = "SELECT (SELECT count(*) FROM webhook_subscriptions) + (SELECT count(*) FROM webhook_deliveries) AS n"
    seen = []
    for actor in (user, world.add_user(), Actor(None, "nobody")):
        with world.app.transaction(actor) as tx:
            row = tx.fetch_one(counts)
            seen.append(row and row["n"])
    assert seen == [2, 0, 0]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE webhook_deliveries SET payload = '{}'",
        "UPDATE webhook_deliveries SET attempts = 0",
        "INSERT INTO webhook_attempts SELECT * FROM webhook_attempts",
        "DELETE FROM webhook_attempts",
        "DELETE FROM webhook_subscriptions",
        "UPDATE webhook_subscriptions SET scope = 'all'",
        "UPDATE webhook_replays SET position = NULL",
    ],
)
def test_the_app_cannot_rewrite_history(world: WebhookWorld, statement: str) -> None:
    user = world.add_user()
    with pytest.raises(errors.InsufficientPrivilege), world.app.transaction(user) as tx:
        tx.execute(statement)


def test_deletion_cancels_what_is_due_forgets_the_secret_and_hides(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, _ = world.subscribe(user)
    world.sender.script = answer(500)
    event = world.event(user)
    world.consume(event)
    operation = world.ids.new()
    with pytest.raises(StaleVersionError):
        world.subscriptions.delete_subscription(user, subscription.subscription_id, operation, if_match=1)
    world.subscriptions.delete_subscription(user, subscription.subscription_id, operation, if_match=2)
    world.subscriptions.delete_subscription(user, subscription.subscription_id, operation, if_match=2)
    with pytest.raises(NotFoundError):
        world.subscriptions.delete_subscription(user, subscription.subscription_id, world.ids.new())
    with pytest.raises(NotFoundError):
        world.subscriptions.get_subscription(user, subscription.subscription_id)
    assert world.delivery(event)["status"] == "CANCELLED"
    (row,) = world.sql("SELECT * FROM webhook_subscriptions")
    assert (row["secrets_sealed"], row["deleted_at"]) == ([], NOW)
    world.advance(hours=7)
    assert world.consume(world.event(user)) == []
    assert world.retry() == 0
    assert len(world.sender.events()) == 1
    actions = [entry["action"] for entry in world.sql("SELECT action FROM audit_log ORDER BY seq")]
    assert actions == ["webhook.created", "webhook.verified", "webhook.deleted"]


def test_a_deletion_during_the_verification_wins(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, _ = world.subscribe(user, verify=False)
    job = world.deliveries.verification(world.verification_of(subscription))
    assert job is not None
    posted = job.post()
    world.subscriptions.delete_subscription(user, subscription.subscription_id, world.ids.new())
    assert posted is not None
    job.record(posted)
    assert world.deliveries.verification(world.verification_of(subscription)) is None
    (row,) = world.sql("SELECT status FROM webhook_subscriptions")
    assert row["status"] == "PENDING_VERIFICATION"
