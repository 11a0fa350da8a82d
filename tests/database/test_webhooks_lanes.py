"""Who attempts what when: the queue and the schedule, leases, crashes, slow receivers."""

import socket
import threading
from collections.abc import Iterator
from uuid import UUID

import pytest

from cardwright.kernel.errors import UnavailableError
from cardwright.platform.egress import Answer
from cardwright.platform.postgres import Actor, Database
from cardwright.webhooks.service import WebhookService
from cardwright.webhooks.service.jobs import WORKER, DeliveryJob
from cardwright.webhooks.store.claiming import claim_due
from tests.fakes.webhook_world import WebhookWorld, answer


@pytest.fixture
def world(fresh_database: str) -> Iterator[WebhookWorld]:
    """A world of one test."""
    made = WebhookWorld(fresh_database)
    yield made
    made.close()


def test_a_receiver_that_failed_is_served_by_the_schedule_until_it_answers(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    world.sender.script = answer(500)
    world.consume(world.event(user))
    world.sender.script = answer(200)
    second = world.event(user)
    world.consume(second)
    assert len(world.sender.events()) == 1
    assert world.delivery(second)["lease_token"] is None
    assert world.retry() == 1
    assert world.delivery(second)["status"] == "DELIVERED"
    world.consume(world.event(user))
    assert len(world.sender.events()) == 3


def test_a_slow_receiver_does_not_hold_up_the_others(world: WebhookWorld) -> None:
    release, arrived = threading.Event(), threading.Event()

    def script(url: str, _body: bytes) -> Answer:
        if url.endswith("slow"):
            assert release.wait(10)
        else:
            arrived.set()
        return Answer(200, {}, b"")

    world.sender.script = script
    slow, quick = world.add_user(), world.add_user()
    world.subscribe(slow, url="http://127.0.0.1:9/slow")
    world.subscribe(quick, url="http://127.0.0.1:9/quick")
    events = [world.event(slow) for _ in range(9)] + [world.event(quick)]

    def consume() -> None:
        world.consume(*events)
        world.worker_database.close()

    batch = threading.Thread(target=consume)
    batch.start()
    assert arrived.wait(10)
    release.set()
    batch.join()
    assert {world.delivery(event)["status"] for event in events} == {"DELIVERED"}


def test_the_schedule_takes_few_of_each_receiver_so_that_a_backlog_hides_nobody(world: WebhookWorld) -> None:
    loud, quiet = world.add_user(), world.add_user()
    world.subscribe(loud, url="http://127.0.0.1:9/loud")
    world.subscribe(quiet, url="http://127.0.0.1:9/quiet")
    for _ in range(5):
        world.consume(*(world.event(loud) for _ in range(10)), time_left=5.0)
    world.consume(world.event(quiet), time_left=5.0)
    now, token = world.clock.now(), world.ids.new()
    with world.worker_database.transaction(WORKER) as tx:
        taken = claim_due(tx, now=now, token=token, lease_until=now, limit=16, per_subscription=4, flying={})
    assert sorted(lease.url.rpartition("/")[2] for lease in taken) == ["loud"] * 4 + ["quiet"]


def test_what_there_was_no_time_for_is_left_to_the_schedule(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    event = world.event(user)
    assert world.consume(event, time_left=5.0) == []
    assert world.sender.events() == []
    assert world.delivery(event)["lease_token"] is None
    assert world.retry() == 1
    assert world.delivery(event)["status"] == "DELIVERED"


def test_a_delivery_in_the_air_is_nobody_elses_until_its_lease_ends(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    event = world.event(user)
    (job,) = world.deliveries.send_event(event)
    assert world.retry(0.05) == 0
    world.advance(seconds=61)
    assert world.retry() == 1
    posted = job.post()
    assert posted is not None
    job.record(posted)
    job.release()
    assert world.attempts() == [(1, "delivered")]
    assert world.delivery(event)["attempts"] == 1


def test_many_workers_at_once_make_one_attempt_each(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    events = [world.event(user) for _ in range(12)]
    for event in events:
        world.consume(event, time_left=5.0)
    begun: list[int] = []

    def work() -> None:
        begun.append(world.retry(0.5))
        world.worker_database.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(begun) == 12
    assert len(world.sender.events()) == 12
    assert {world.delivery(event)["status"] for event in events} == {"DELIVERED"}


def test_a_crash_between_fan_out_and_attempt_loses_nothing(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    event = world.event(user)
    world.deliveries.send_event(event)
    assert world.consume(event) == []
    assert world.sender.events() == []
    world.advance(seconds=61)
    assert world.retry() == 1
    assert world.delivery(event)["status"] == "DELIVERED"


def test_keys_that_cannot_be_had_are_no_attempt(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    event = world.event(user)
    world.secrets.away = True
    assert world.consume(event) == []
    assert world.attempts() == []
    world.secrets.away = False
    assert world.retry(0.05) == 0
    world.advance(seconds=15)
    assert world.retry() == 1
    assert world.delivery(event)["status"] == "DELIVERED"


def test_a_lost_lease_records_nothing(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, _ = world.subscribe(user)
    (job,) = world.deliveries.send_event(world.event(user))
    assert isinstance(job, DeliveryJob)
    world.subscriptions.delete_subscription(user, subscription.subscription_id, world.ids.new())
    posted = job.post()
    assert posted is not None
    job.record(posted)
    assert world.attempts() == []


def test_the_schedule_tells_when_the_database_stays_away(world: WebhookWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    away = Database(lambda: f"host=127.0.0.1 port={port} user=worker dbname=nowhere")
    service = WebhookService(away, world.clock, world.ids, world.secrets.sealer(), lambda: world.sender)
    left = iter([100.0, 100.0, 100.0, 100.0])
    with pytest.raises(UnavailableError):
        service.retry_failed(lambda: next(left, 5.0), poll_s=0.01)
    assert world.sender.posts == []


def test_who_has_least_on_the_way_is_served_first_so_that_old_backlogs_do_not_starve_a_quiet_one(world: WebhookWorld) -> None:
    flying, owners = dict[UUID, int](), dict[UUID, int]()
    for number in range(4):
        loud = world.add_user()
        subscription, _ = world.subscribe(loud, url=f"http://127.0.0.1:9/loud{number}")
        world.consume(*(world.event(loud) for _ in range(6)), time_left=5.0)
        flying[subscription.subscription_id] = 3
        owners |= _of(loud, 3)
    world.advance(seconds=1)
    quiet = world.add_user()
    world.subscribe(quiet, url="http://127.0.0.1:9/quiet")
    world.consume(world.event(quiet), time_left=5.0)
    now, token = world.clock.now(), world.ids.new()
    with world.worker_database.transaction(WORKER) as tx:
        (lease,) = claim_due(tx, now=now, token=token, lease_until=now, limit=1, per_subscription=4, flying=flying, owners=owners)
        assert lease.url.endswith("quiet")
        more = claim_due(tx, now=now, token=token, lease_until=now, limit=16, per_subscription=4, flying=flying, owners=owners)
    # One each of the others: three of theirs are on their way already.
    assert sorted(lease.url[-5:] for lease in more) == ["loud0", "loud1", "loud2", "loud3", "quiet"]


def test_subscriptions_with_nothing_to_send_cost_a_look_nothing(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, _ = world.subscribe(user)
    world.retry(0.05)
    kept = "secrets_sealed, api_version, verified_at, last_operation_id, created_at, updated_at"
    world.sql(
        f"INSERT INTO webhook_subscriptions (user_id, subscription_id, url, event_types, scope, status, {kept}) "  # noqa: S608  # constant names
        f"SELECT user_id, gen_random_uuid(), url, event_types, scope, status, {kept} "
        "FROM webhook_subscriptions, generate_series(1, 10000) WHERE subscription_id = %s",
        subscription.subscription_id,
    )
    world.sql(
        "INSERT INTO webhook_deliveries (user_id, subscription_id, event_id, event_type, payload, status, next_attempt_at, "
        "event_created_at, created_at) SELECT user_id, subscription_id, gen_random_uuid(), 'card.created', '{}', 'PENDING', "
        "created_at, created_at, created_at FROM (SELECT * FROM webhook_subscriptions LIMIT 20) s, generate_series(1, 500)"
    )
    world.sql("ANALYZE webhook_subscriptions, webhook_deliveries")
    now, token = world.clock.now(), world.ids.new()
    read = (
        "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) AS rows FROM pg_stat_xact_user_tables "
        "WHERE relname IN ('webhook_subscriptions', 'webhook_deliveries') ORDER BY relname"
    )
    with world.worker_database.transaction(WORKER) as tx:
        taken = claim_due(tx, now=now, token=token, lease_until=now, limit=16, per_subscription=4, flying={})
        rows = {row["relname"]: row["rows"] for row in tx.fetch_all(read)}
    assert len(taken) == 16
    assert len({lease.subscription_id for lease in taken}) == 16
    # Four of each of the twenty, their subscriptions, and a little for the walk: not the ten thousand there are of both.
    assert rows["webhook_subscriptions"] <= 100
    assert rows["webhook_deliveries"] <= 300


def test_an_owner_whose_receivers_hang_keeps_no_turn_from_another(world: WebhookWorld) -> None:
    many, one = world.add_user(), world.add_user()
    for _ in range(5):
        world.subscribe(many)
    world.subscribe(one)
    world.sql("UPDATE webhook_subscriptions SET background = true")
    world.consume(*[world.event(many) for _ in range(3)])
    world.advance(seconds=1)
    world.consume(world.event(one))
    world.advance(seconds=1)
    now, token = world.clock.now(), world.ids.new()
    with world.worker_database.transaction(WORKER) as tx:
        first = claim_due(tx, now=now, token=token, lease_until=now, limit=2, per_subscription=4, flying={})
    assert {lease.user_id for lease in first} == {many.user_id, one.user_id}
    with world.worker_database.transaction(WORKER) as tx:
        shared = claim_due(
            tx, now=now, token=token, lease_until=now, limit=16, per_subscription=4, flying={}, per_owner=4, owners=_of(many, 3)
        )
    assert sorted(lease.user_id == one.user_id for lease in shared) == [False, True]


def _of(actor: Actor, count: int) -> dict[UUID, int]:
    assert actor.user_id is not None
    return {actor.user_id: count}


def test_a_receiver_that_takes_long_is_left_to_the_schedule_before_it_has_answered(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    (job,) = world.deliveries.send_event(world.event(user))
    assert world.sql("SELECT background FROM webhook_subscriptions") == [{"background": False}]
    job.slow()
    assert world.sql("SELECT background FROM webhook_subscriptions") == [{"background": True}]


def test_what_was_fanned_out_while_its_subscription_was_deleted_is_ended(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription, _ = world.subscribe(user)
    world.sender.script = answer(500)
    event = world.event(user)
    world.consume(event)
    world.subscriptions.delete_subscription(user, subscription.subscription_id, world.ids.new())
    # As a fan-out leaves it that saw the subscription and committed after its end.
    world.sql("UPDATE webhook_deliveries SET status = 'PENDING', next_attempt_at = %s, finished_at = NULL", world.clock.now())
    assert world.retry() == 0
    assert world.delivery(event)["status"] == "CANCELLED"
