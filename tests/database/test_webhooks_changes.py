"""Edits, new secrets and tests of subscriptions, against the real database."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from cardwright.kernel.errors import ConflictError, InvalidFieldsError, NotFoundError, StaleVersionError
from cardwright.kernel.secret import Secret
from cardwright.kernel.signatures import verify
from cardwright.platform.postgres import Actor
from cardwright.webhooks.rules import Subscription, SubscriptionStatus
from cardwright.webhooks.service import NewSubscription, SubscriptionChanges, WebhookSubscriptions
from tests.fakes.at_once import at_once
from tests.fakes.webhook_world import NOW, WebhookWorld, answer
from tests.pans import pan

OTHER_URL = "http://127.0.0.1:9/other"


@pytest.fixture
def world(fresh_database: str) -> Iterator[WebhookWorld]:
    """A world of one test."""
    made = WebhookWorld(fresh_database)
    yield made
    made.close()


@pytest.fixture
def user(world: WebhookWorld) -> Actor:
    """A cardholder."""
    return world.add_user()


def change(world: WebhookWorld, user: Actor, subscription: Subscription, **changes: object) -> Subscription:
    """Change named fields."""
    wanted = SubscriptionChanges(**changes)  # type: ignore[arg-type]  # fields by name
    return world.subscriptions.update_subscription(user, subscription.subscription_id, wanted, world.ids.new())


def verified(world: WebhookWorld, user: Actor, subscription: Subscription) -> Subscription:
    """Let the worker ask the newest verification of a subscription."""
    world.consume(world.verification_of(subscription))
    return world.subscriptions.get_subscription(user, subscription.subscription_id)


def actions(world: WebhookWorld) -> list[str]:
    """What the audit log holds, in order."""
    return [entry["action"] for entry in world.sql("SELECT action FROM audit_log ORDER BY seq")]


def test_fields_that_are_left_out_stay_and_none_lifts_a_filter(world: WebhookWorld, user: Actor) -> None:
    card = world.ids.new()
    subscription, _ = world.subscribe(user, "card.created", card_ids=[card])
    changed = change(world, user, subscription, event_types=["card.frozen", "card.frozen"], description="Till 3", ordered=True)
    assert (changed.event_types, changed.description, changed.ordered) == (("card.frozen",), "Till 3", True)
    assert (changed.url, changed.card_ids, changed.status) == (subscription.url, (card,), SubscriptionStatus.ACTIVE)
    lifted = change(world, user, subscription, card_ids=None, description=None)
    assert (lifted.card_ids, lifted.description, lifted.event_types) == (None, None, ("card.frozen",))
    assert lifted == world.subscriptions.get_subscription(user, subscription.subscription_id)
    assert (lifted.version, change(world, user, subscription).version) == (4, 4)
    assert actions(world)[2:] == ["webhook.updated", "webhook.updated"]
    world.consume(world.event(user, "card.created"), world.event(user, "card.frozen"))
    assert len(world.told()) == 1


def test_a_change_is_made_once_and_only_of_the_version_it_names(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user)
    update, operation = world.subscriptions.update_subscription, world.ids.new()
    wanted = SubscriptionChanges(description="first")
    with pytest.raises(StaleVersionError):
        update(user, subscription.subscription_id, wanted, operation, if_match=1)
    first = update(user, subscription.subscription_id, wanted, operation, if_match=2)
    assert update(user, subscription.subscription_id, wanted, operation, if_match=2) == first
    with pytest.raises(StaleVersionError):
        update(user, subscription.subscription_id, wanted, world.ids.new(), if_match=2)
    for stranger in (world.add_user(), world.add_user("admin")):
        with pytest.raises(NotFoundError):
            update(stranger, subscription.subscription_id, wanted, world.ids.new())


def test_bad_changes_are_all_named_and_change_nothing(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user)
    with pytest.raises(InvalidFieldsError) as refusal:
        change(
            world,
            user,
            subscription,
            url="https://169.254.169.254/",
            event_types=["no.such"],
            card_ids=[],
            api_version="2001-01-01",
            description="",
        )
    assert [(error.field, error.code) for error in refusal.value.errors] == [
        ("url", "url_host_not_allowed"),
        ("event_types.0", "event_type_unknown"),
        ("card_ids", "too_few_items"),
        ("api_version", "api_version_unknown"),
        ("description", "description_invalid"),
    ]
    assert world.subscriptions.get_subscription(user, subscription.subscription_id) == subscription


def test_an_url_of_our_own_is_refused(world: WebhookWorld, user: Actor) -> None:
    own_urls = ["http://127.0.0.1:8080", "http://127.0.0.1:9001"]
    ours = WebhookSubscriptions(world.app, world.clock, world.ids, world.secrets.sealer(), local=True, own_urls=own_urls)
    for url in ("http://localhost:8080/api/v1/x", "http://[::1]:9001/"):
        with pytest.raises(InvalidFieldsError) as refusal:
            ours.create_subscription(user, NewSubscription(url, ["card.created"]), world.ids.new())
        assert [error.code for error in refusal.value.errors] == ["url_is_ours"]


def test_an_url_with_a_card_number_is_refused_when_it_is_made_and_when_it_is_changed(world: WebhookWorld, user: Actor) -> None:
    url = f"{OTHER_URL}?pan={pan()}"
    subscription, _ = world.subscribe(user)
    with pytest.raises(InvalidFieldsError) as made:
        world.subscriptions.create_subscription(user, NewSubscription(url, ["card.created"]), world.ids.new())
    with pytest.raises(InvalidFieldsError) as changed:
        change(world, user, subscription, url=url)
    for refusal in (made, changed):
        assert [(error.field, error.code) for error in refusal.value.errors] == [("url", "card_number_not_allowed")]
        assert pan() not in str(refusal.value.errors)


def test_an_organization_is_ones_own_and_staff_names_any(world: WebhookWorld, user: Actor) -> None:
    mine, another = world.ids.new(), world.ids.new()
    world.sql("UPDATE users SET organization_id = %s WHERE user_id = %s", mine, user.user_id)
    subscription, _ = world.subscribe(user)
    assert change(world, user, subscription, organization_id=mine).organization_id == mine
    with pytest.raises(InvalidFieldsError) as refusal:
        change(world, user, subscription, organization_id=another)
    wanted = NewSubscription(OTHER_URL, ["card.created"], organization_id=another)
    with pytest.raises(InvalidFieldsError) as again:
        world.subscriptions.create_subscription(user, wanted, world.ids.new())
    for refused in (refusal, again):
        assert [error.code for error in refused.value.errors] == ["organization_not_found"]
    made, _ = world.subscriptions.create_subscription(world.add_user("support"), wanted, world.ids.new())
    assert made.organization_id == another
    assert change(world, user, subscription, organization_id=None).organization_id is None


def test_a_new_url_hears_nothing_before_it_has_answered_and_then_what_it_missed(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user)
    moved = change(world, user, subscription, url=OTHER_URL)
    assert (moved.status, moved.verified_at, moved.inactive_since) == (SubscriptionStatus.PENDING_VERIFICATION, None, NOW)
    world.advance(seconds=1)
    event = world.happen(user)
    world.consume(event)
    assert world.retry() == 0
    assert verified(world, user, subscription).status is SubscriptionStatus.ACTIVE
    assert world.retry() == 1
    assert [(post.url, told) for post, told in zip(world.sender.events(), world.told(), strict=True)] == [
        (OTHER_URL, event.event_id)
    ]
    assert [post.url for post in world.sender.posts].count(OTHER_URL) == 2


def test_an_answer_for_the_url_of_before_verifies_nothing(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user, verify=False)
    job = world.deliveries.verification(world.verification_of(subscription))
    assert job is not None
    posted = job.post()
    assert posted is not None
    world.advance(seconds=1)
    change(world, user, subscription, url=OTHER_URL)
    job.record(posted)
    found = world.subscriptions.get_subscription(user, subscription.subscription_id)
    assert found.status is SubscriptionStatus.PENDING_VERIFICATION
    world.sender.verifies = False
    assert verified(world, user, subscription).status is SubscriptionStatus.VERIFICATION_FAILED


def test_a_change_of_the_filter_leaves_a_verification_under_way_alone(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user, verify=False)
    job = world.deliveries.verification(world.verification_of(subscription))
    assert job is not None
    posted = job.post()
    assert posted is not None
    at_once(
        world.close,
        lambda: change(world, user, subscription, event_types=["card.frozen"]),
        lambda: job.record(posted),
        lambda: change(world, user, subscription, description="Till 3"),
    )
    found = world.subscriptions.get_subscription(user, subscription.subscription_id)
    assert (found.status, found.event_types, found.description) == (SubscriptionStatus.ACTIVE, ("card.frozen",), "Till 3")
    assert found.version == 4


def test_a_verification_whose_message_was_lost_is_asked_for_by_the_schedule(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user, verify=False)
    world.advance(seconds=59)
    world.retry()
    assert world.sender.posts == []
    world.advance(seconds=1)
    world.secrets.away = True
    world.retry()
    due = world.subscriptions.get_subscription(user, subscription.subscription_id).verification_due_at
    assert due == NOW + timedelta(seconds=120)
    world.secrets.away = False
    world.retry()
    assert world.sender.posts == []
    world.advance(seconds=60)
    world.retry()
    assert world.subscriptions.get_subscription(user, subscription.subscription_id).status is SubscriptionStatus.ACTIVE


def test_a_widened_filter_does_not_bring_what_happened_long_before_it(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user)
    # The replay of what it missed before it was verified is over.
    world.retry()
    world.advance(minutes=2)
    earlier = world.happen(user, "card.frozen")
    on_its_way = world.happen(user)
    world.consume(earlier)
    world.advance(hours=5)
    change(world, user, subscription, event_types=["card.created", "card.frozen"])
    world.subscriptions.pause(user, subscription.subscription_id, world.ids.new())
    world.consume(on_its_way)
    world.advance(seconds=1)
    world.subscriptions.reactivate(user, subscription.subscription_id, world.ids.new())
    world.retry()
    assert world.told() == []
    world.subscriptions.pause(user, subscription.subscription_id, world.ids.new())
    long_on_its_way = world.happen(user, "card.frozen")
    world.advance(hours=20)
    world.subscriptions.reactivate(user, subscription.subscription_id, world.ids.new())
    world.retry()
    assert world.told() == [long_on_its_way.event_id]


def test_a_receiver_that_says_yes_to_everything_hears_nothing(world: WebhookWorld, user: Actor) -> None:
    world.sender.verifies, world.sender.script = False, answer(200, b"yes")
    subscription, _ = world.subscribe(user)
    assert (subscription.status, subscription.status_detail) == (SubscriptionStatus.VERIFICATION_FAILED, "challenge_not_met")
    world.consume(world.happen(user))
    assert world.retry() == 0
    world.advance(seconds=1)
    again = world.subscriptions.reactivate(user, subscription.subscription_id, world.ids.new())
    assert again.status is SubscriptionStatus.PENDING_VERIFICATION
    world.sender.verifies = True
    assert verified(world, user, subscription).status is SubscriptionStatus.ACTIVE
    assert world.retry() == 1
    assert len(world.told()) == 1


def test_both_secrets_sign_until_the_overlap_is_over(world: WebhookWorld, user: Actor) -> None:
    subscription, old = world.subscribe(user)
    rotated, new = world.subscriptions.rotate_secret(user, subscription.subscription_id, world.ids.new(), overlap_s=3600)
    assert len(rotated.secrets_until) == 1
    assert new.reveal() != old.reveal()
    world.consume(world.event(user))
    world.advance(hours=1)
    world.consume(world.event(user))
    both, newest = world.sender.events()
    for secret in (old, new):
        verify([secret], both.headers, both.body, NOW)
    verify([new], newest.headers, newest.body, world.clock.now())
    assert newest.headers["webhook-signature"].count("v1,") == 1


def test_the_same_rotation_again_answers_with_the_same_secret(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user)
    operation = world.ids.new()

    def rotate() -> str:
        changed, secret = world.subscriptions.rotate_secret(user, subscription.subscription_id, operation, if_match=2)
        assert changed.version == 3
        return secret.reveal()

    answers = at_once(world.close, rotate, rotate, rotate)
    assert len(set(answers)) == 1
    assert rotate() == answers[0]
    assert actions(world).count("webhook.secret_rotated") == 1


def test_rotations_at_once_all_count_and_at_most_five_secrets_sign(world: WebhookWorld, user: Actor) -> None:
    subscription, first = world.subscribe(user)
    secrets: list[Secret[str]] = []

    def rotate() -> None:
        _, secret = world.subscriptions.rotate_secret(user, subscription.subscription_id, world.ids.new())
        secrets.append(secret)

    at_once(world.close, rotate, rotate)
    world.consume(world.event(user))
    (post,) = world.sender.events()
    for secret in (first, *secrets):
        verify([secret], post.headers, post.body, NOW)
    for _ in range(4):
        rotate()
    world.consume(world.event(user))
    signatures = world.sender.events()[1].headers["webhook-signature"]
    assert signatures.count("v1,") == 5
    (row,) = world.sql("SELECT cardinality(secrets_sealed) AS secrets, version FROM webhook_subscriptions")
    assert row == {"secrets": 5, "version": 8}
    codes = at_once(
        world.close,
        lambda: world.subscriptions.rotate_secret(user, subscription.subscription_id, world.ids.new(), if_match=8)[0].version,
        lambda: world.subscriptions.rotate_secret(user, subscription.subscription_id, world.ids.new(), if_match=8)[0].version,
    )
    assert sorted(map(str, codes)) == ["9", "version_mismatch"]


def test_a_test_goes_to_the_one_subscription_whatever_its_filter(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user, "card.frozen", card_ids=[world.ids.new()])
    world.subscribe(user, "webhook.test", url=OTHER_URL)
    operation = world.ids.new()
    event = world.subscriptions.send_test(user, subscription.subscription_id, operation)
    assert (event.event_id, event.type) == (operation, "webhook.test")
    assert at_once(
        world.close,
        lambda: world.subscriptions.send_test(user, subscription.subscription_id, operation),
        lambda: world.subscriptions.send_test(user, subscription.subscription_id, operation),
    ) == [event, event]
    world.consume(event, event)
    assert [post.url for post in world.sender.events()] == [subscription.url]
    assert world.told() == [operation]
    with pytest.raises(NotFoundError):
        world.subscriptions.send_test(world.add_user(), subscription.subscription_id, world.ids.new())
    world.subscriptions.pause(user, subscription.subscription_id, world.ids.new())
    with pytest.raises(ConflictError) as refusal:
        world.subscriptions.send_test(user, subscription.subscription_id, world.ids.new())
    assert refusal.value.code == "subscription_not_active"
