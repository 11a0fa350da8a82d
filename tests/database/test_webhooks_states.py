"""Subscriptions that stop and go on, against the real database: what they hear then, and what they missed."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cardwright.kernel.errors import ConflictError
from cardwright.platform.migrate import migrate
from cardwright.platform.postgres import Actor
from cardwright.webhooks.rules import SubscriptionStatus
from cardwright.webhooks.service import SubscriptionChanges
from tests.fakes.at_once import at_once
from tests.fakes.webhook_world import NOW, WebhookWorld, answer
from tests.fix_servers import MIGRATIONS


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


@pytest.mark.parametrize("status", ["PAUSED", "DISABLED"])
def test_a_stopped_subscription_at_a_new_url_is_verified_when_it_is_reactivated(
    world: WebhookWorld, user: Actor, status: str
) -> None:
    subscription, _ = world.subscribe(user)
    if status == "PAUSED":
        world.subscriptions.pause(user, subscription.subscription_id, world.ids.new())
    else:
        world.sender.script = answer(410)
        world.consume(world.happen(user))
        world.sender.script = answer(200)
    moved = SubscriptionChanges(url="http://127.0.0.1:9/other")
    update = world.subscriptions.update_subscription
    assert update(user, subscription.subscription_id, moved, world.ids.new()).status.value == status
    world.advance(seconds=1)
    asked = world.subscriptions.reactivate(user, subscription.subscription_id, world.ids.new())
    assert asked.status is SubscriptionStatus.PENDING_VERIFICATION
    world.consume(world.verification_of(subscription))
    found = world.subscriptions.get_subscription(user, subscription.subscription_id)
    assert found.status is SubscriptionStatus.ACTIVE


def test_a_paused_subscription_hears_nothing_and_then_what_it_missed_once(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user)
    pause, reactivate = world.subscriptions.pause, world.subscriptions.reactivate
    on_its_way = world.happen(user)
    world.advance(hours=20)
    heard = world.happen(user)
    world.sender.script = answer(500)
    waiting = world.happen(user)
    world.consume(waiting)
    world.sender.script = answer(200)
    world.consume(heard)
    world.advance(seconds=1)
    operation = world.ids.new()
    paused = pause(user, subscription.subscription_id, operation, if_match=2)
    assert paused == pause(user, subscription.subscription_id, operation, if_match=2)
    assert (paused.status, paused.status_detail, paused.inactive_since) == (
        SubscriptionStatus.PAUSED,
        "paused",
        world.clock.now(),
    )
    with pytest.raises(ConflictError) as refusal:
        pause(user, subscription.subscription_id, world.ids.new())
    assert refusal.value.code == "already_paused"
    world.advance(minutes=10)
    missed = world.happen(user)
    world.consume(on_its_way, missed)
    assert world.retry() == 0
    world.advance(minutes=10)
    again = reactivate(user, subscription.subscription_id, world.ids.new())
    assert (again.status, again.inactive_since) == (SubscriptionStatus.ACTIVE, None)
    with pytest.raises(ConflictError) as refusal:
        reactivate(user, subscription.subscription_id, world.ids.new())
    assert refusal.value.code == "already_active"
    world.consume(missed)
    world.retry()
    told = world.told()
    assert sorted(told) == sorted([waiting.event_id, heard.event_id, waiting.event_id, on_its_way.event_id, missed.event_id])


def test_what_failed_before_it_was_switched_off_comes_with_what_it_missed(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user)
    world.sender.script = answer(200)
    delivered = world.happen(user)
    world.consume(delivered)
    world.sender.script = answer(500)
    world.advance(hours=30)
    failed = [world.happen(user) for _ in range(5)]
    world.consume(*failed)
    for _ in range(6):
        world.advance(hours=7)
        world.retry()
    ill = world.subscriptions.get_subscription(user, subscription.subscription_id)
    assert (ill.status, ill.consecutive_failures) == (SubscriptionStatus.DISABLED, 5)
    world.advance(hours=5)
    missed = world.happen(user)
    world.consume(missed)
    world.advance(hours=5)
    world.sender.script = answer(200)
    world.sender.posts.clear()
    well = world.subscriptions.reactivate(user, subscription.subscription_id, world.ids.new())
    assert (well.status, well.consecutive_failures, well.failing_since) == (SubscriptionStatus.ACTIVE, 0, None)
    world.retry()
    assert sorted(world.told()) == sorted(event.event_id for event in (*failed, missed))
    assert {row["status"] for row in world.sql("SELECT status FROM webhook_deliveries")} == {"DELIVERED"}


def test_what_was_given_up_at_a_410_is_sent_after_the_reactivation(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user)
    world.sender.script = answer(500)
    waiting = world.happen(user)
    world.consume(waiting)
    world.advance(hours=3)
    world.sender.script = answer(410)
    gone = world.happen(user)
    world.consume(gone)
    world.retry()
    assert {row["status"] for row in world.sql("SELECT status FROM webhook_deliveries")} == {"CANCELLED", "FAILED"}
    world.advance(hours=3)
    world.sender.script = answer(200)
    world.sender.posts.clear()
    world.subscriptions.reactivate(user, subscription.subscription_id, world.ids.new())
    world.retry()
    assert sorted(world.told()) == sorted([waiting.event_id, gone.event_id])


def test_what_happened_before_the_first_verification_is_delivered_and_nothing_older(world: WebhookWorld, user: Actor) -> None:
    older = world.happen(user)
    world.advance(seconds=1)
    subscription, _ = world.subscribe(user, verify=False)
    world.advance(seconds=1)
    early = world.happen(user)
    world.consume(older, early)
    world.advance(seconds=1)
    world.consume(world.verification_of(subscription))
    world.retry()
    assert world.told() == [early.event_id]


def test_pause_and_reactivation_at_once_leave_one_of_both_states_and_lose_nothing(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user)
    target, happened = subscription.subscription_id, set()
    for _ in range(6):
        world.advance(seconds=1)
        event = world.happen(user)
        happened.add(event.event_id)
        at_once(
            world.close,
            lambda: world.subscriptions.pause(user, target, world.ids.new()),
            lambda: world.subscriptions.reactivate(user, target, world.ids.new()),
            lambda event=event: world.consume(event),  # type: ignore[misc]  # bound now
        )
    if world.subscriptions.get_subscription(user, target).status is SubscriptionStatus.PAUSED:
        world.subscriptions.reactivate(user, target, world.ids.new())
    while world.retry():
        pass
    assert set(world.told()) == happened
    assert {row["status"] for row in world.sql("SELECT status FROM webhook_deliveries")} == {"DELIVERED"}


def test_one_event_reads_its_owners_subscriptions_alone_however_many_others_there_are(world: WebhookWorld, user: Actor) -> None:
    subscription, _ = world.subscribe(user)
    world.sql(
        "INSERT INTO users (user_id, role, email_sealed, first_name_sealed, last_name_sealed, password_hash, created_at) "
        "SELECT gen_random_uuid(), 'cardholder', '', '', '', '$argon2id$none', created_at FROM users, generate_series(1, 500)"
    )
    world.sql(
        "INSERT INTO webhook_subscriptions (user_id, subscription_id, url, event_types, scope, status, api_version, "
        "secrets_sealed, verified_at, last_operation_id, created_at, updated_at) "
        "SELECT u.user_id, gen_random_uuid(), s.url, s.event_types, 'own', 'ACTIVE', s.api_version, s.secrets_sealed, "
        "s.verified_at, s.last_operation_id, s.created_at, s.updated_at "
        "FROM webhook_subscriptions s, users u, generate_series(1, 20) WHERE u.user_id <> s.user_id"
    )
    world.sql("ANALYZE webhook_subscriptions, users")
    read = "SELECT seq_tup_read + idx_tup_fetch AS rows FROM pg_stat_user_tables WHERE relname = 'webhook_subscriptions'"

    def rows_read() -> int:
        with world.worker_database.transaction(Actor(None, "system")) as tx:
            tx.fetch_all("SELECT pg_stat_force_next_flush()")
        (row,) = world.sql(read)
        return int(row["rows"])

    before = rows_read()
    jobs = world.deliveries.send_event(world.event(user))
    assert [job.subscription_id for job in jobs] == [subscription.subscription_id]
    # Its own row, and that row again under the foreign key.
    assert rows_read() - before <= 5
    assert len(world.sql("SELECT * FROM webhook_deliveries")) == 1


def test_subscriptions_and_deliveries_of_before_are_taken_over(empty_database: str, tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    for file in MIGRATIONS.glob("*.sql"):
        if file.name < "0020":
            (before / file.name).write_bytes(file.read_bytes())
    migrate(empty_database, before)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO users (user_id, role, email_sealed, first_name_sealed, last_name_sealed, password_hash, created_at) "
            "VALUES (gen_random_uuid(), 'cardholder', '', '', '', '$argon2id$none', %s)",
            (NOW,),
        )
        connection.execute(
            "INSERT INTO webhook_subscriptions (user_id, subscription_id, url, event_types, scope, status, secrets_sealed, "
            "consecutive_failures, last_operation_id, created_at, updated_at, deleted_at) "
            "SELECT user_id, gen_random_uuid(), 'https://example.com', '{card.created}', 'own', status, secrets, failures, "
            "gen_random_uuid(), %(now)s, %(now)s, deleted FROM users, (VALUES ('PENDING_VERIFICATION', 1, 0, NULL), "
            "('ACTIVE', 2, 3, NULL), ('VERIFICATION_FAILED', 1, 0, NULL), ('DISABLED', 1, 5, NULL), "
            "('PENDING_VERIFICATION', 0, 0, %(now)s)) AS old (status, many, failures, deleted), "
            "LATERAL (SELECT coalesce(array_agg('x'::bytea), '{}') AS secrets FROM generate_series(1, many)) AS sealed",
            {"now": NOW},
        )
        connection.execute(
            "INSERT INTO webhook_deliveries (user_id, subscription_id, event_id, event_type, payload, status, attempts, "
            "created_at, finished_at) "
            "SELECT user_id, subscription_id, gen_random_uuid(), 'card.created', '{}', 'FAILED', 6, %s, %s "
            "FROM webhook_subscriptions",
            (NOW, NOW),
        )
    assert migrate(empty_database, MIGRATIONS)[0].startswith("0020")
    with psycopg.connect(empty_database) as connection:
        found = connection.execute(
            "SELECT status, cardinality(secrets_until), verified_at IS NOT NULL, inactive_since IS NOT NULL, "
            "failing_since IS NOT NULL FROM webhook_subscriptions WHERE deleted_at IS NULL ORDER BY status"
        ).fetchall()
        assert found == [
            ("ACTIVE", 1, True, False, True),
            ("DISABLED", 0, True, True, True),
            ("PENDING_VERIFICATION", 0, False, True, False),
            ("VERIFICATION_FAILED", 0, False, True, False),
        ]
