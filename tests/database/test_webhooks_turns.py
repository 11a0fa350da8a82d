"""What waits behind an earlier event of its card costs a look nothing, and is never forgotten."""

import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from uuid import UUID

import pytest

from cardwright.kernel.errors import ConflictError
from cardwright.outbox.rules import Event
from cardwright.platform.postgres import Actor, Transaction
from cardwright.webhooks.rules import Attempt, DeliveryStatus, Subscription
from cardwright.webhooks.service import NewSubscription, ReplayRequest
from cardwright.webhooks.service.dispatch import Job
from cardwright.webhooks.service.jobs import WORKER, DeliveryJob
from cardwright.webhooks.service.ordering import fan_out_in_order
from cardwright.webhooks.service.posting import Posted
from cardwright.webhooks.service.webhooks import LEASE
from cardwright.webhooks.store import claiming, measuring, subscriptions
from cardwright.webhooks.store import deliveries as store
from cardwright.webhooks.store.claiming import Walk, claim_due
from tests.fakes.webhook_world import WebhookWorld, answer

FORGOTTEN = (
    "SELECT event_id FROM webhook_deliveries d WHERE status = 'PENDING' AND blocked AND NOT EXISTS ("
    "  SELECT FROM webhook_deliveries o WHERE o.subscription_id = d.subscription_id AND o.card_id = d.card_id"
    "    AND o.status = 'PENDING' AND o.ordered AND o.event_id < d.event_id)"
)
WAITS = "SELECT 1 AS one FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def world(fresh_database: str) -> Iterator[WebhookWorld]:
    """A world of one test."""
    made = WebhookWorld(fresh_database)
    yield made
    made.close()


def ordered(world: WebhookWorld, user: Actor) -> Subscription:
    """A verified subscription that wants the events of a card in order."""
    wanted = NewSubscription("http://127.0.0.1:9/ordered", ("card.frozen",), ordered=True)
    made, _ = world.subscriptions.create_subscription(user, wanted, world.ids.new())
    world.consume(world.verification_of(made))
    world.retry(0.05)
    return world.subscriptions.get_subscription(user, made.subscription_id)


def happen(world: WebhookWorld, user: Actor, card: UUID) -> Event:
    """Commit an event of a card."""
    world.advance(milliseconds=1)
    return world.happen(user, "card.frozen", card)


def backlog(world: WebhookWorld, of: Subscription, rows: int, cards: int) -> None:
    """Many events wait for the subscription, spread over so many cards; all are due."""
    world.sql(
        "INSERT INTO webhook_deliveries (user_id, subscription_id, event_id, event_type, card_id, ordered, blocked, payload, "
        "status, next_attempt_at, event_created_at, created_at) SELECT %s, %s, lpad(to_hex(n), 32, '0')::uuid, 'card.frozen', "
        "lpad(to_hex(n %% %s), 32, '0')::uuid, true, n > %s, '{}', 'PENDING', at, at, at "
        "FROM generate_series(1, %s) AS n, (SELECT %s::timestamptz AS at) AS t",
        of.user_id,
        of.subscription_id,
        cards,
        cards,
        rows,
        world.clock.now(),
    )
    assert world.sql(FORGOTTEN) == []
    world.sql("ANALYZE webhook_deliveries")


def look(world: WebhookWorld, walk: Walk | None = None, limit: int = 16) -> tuple[list[store.Lease], int]:
    """What one look leases, and how many rows it read."""
    now, token = world.clock.now(), world.ids.new()
    read = (
        "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) AS rows FROM pg_stat_xact_user_tables "
        "WHERE relname IN ('webhook_subscriptions', 'webhook_deliveries')"
    )
    with world.worker_database.transaction(WORKER) as tx:
        (before,) = tx.fetch_all(read)
        leases = claim_due(
            tx, now=now, token=token, lease_until=now + LEASE, limit=limit, per_subscription=4, flying={}, walk=walk
        )
        (after,) = tx.fetch_all(read)
    return leases, int(after["rows"] - before["rows"])


def copies(world: WebhookWorld, of: Subscription, count: int) -> None:
    """So many more subscriptions like it."""
    kept = "secrets_sealed, api_version, verified_at, inactive_since, last_operation_id, created_at, updated_at"
    world.sql(
        f"INSERT INTO webhook_subscriptions (user_id, subscription_id, url, event_types, scope, status, {kept}) "  # noqa: S608  # constant names
        f"SELECT user_id, gen_random_uuid(), url, event_types, scope, status, {kept} "
        "FROM webhook_subscriptions, generate_series(1, %s) WHERE subscription_id = %s",
        count,
        of.subscription_id,
    )
    world.sql(
        "INSERT INTO webhook_deliveries (user_id, subscription_id, event_id, event_type, payload, status, next_attempt_at, "
        "event_created_at, created_at) SELECT user_id, subscription_id, gen_random_uuid(), 'card.created', '{}', 'PENDING', "
        "%s, created_at, created_at FROM webhook_subscriptions, generate_series(1, 2)",
        world.clock.now(),
    )
    world.sql("ANALYZE webhook_subscriptions, webhook_deliveries")


@pytest.mark.parametrize("cards", [1, 2_000, 20_000])
def test_a_look_does_not_walk_what_waits_in_order(world: WebhookWorld, cards: int) -> None:
    user = world.add_user()
    subscription = ordered(world, user)
    backlog(world, subscription, 20_000, cards)
    taken, rows = look(world)
    assert len(taken) == min(4, cards)
    assert rows <= 100
    with world.worker_database.transaction(WORKER) as tx:
        assert measuring.oldest_due(tx, world.clock.now()) == world.clock.now()
    world.sql("UPDATE webhook_deliveries SET next_attempt_at = next_attempt_at + interval '1 hour' WHERE NOT blocked")
    taken, rows = look(world)
    assert (taken, rows <= 100) == ([], True)
    with world.worker_database.transaction(WORKER) as tx:
        assert measuring.oldest_due(tx, world.clock.now()) is None
    world.advance(hours=1)
    world.subscriptions.pause(user, subscription.subscription_id, world.ids.new())
    taken, rows = look(world)
    assert (taken, rows <= 10) == ([], True)


def test_of_many_subscriptions_that_wait_each_look_takes_in_some_and_one_after_the_other_all(world: WebhookWorld) -> None:
    user = world.add_user()
    made, _ = world.subscribe(user)
    world.retry(0.05)
    copies(world, made, 2_999)
    walk, claimed, most = Walk(), list[UUID](), 0
    for _ in range(200):
        taken, rows = look(world, walk, limit=64)
        claimed += [lease.event_id for lease in taken]
        if len(claimed) == 6_000:
            break
        # Later it steps over what is leased, which nowhere else is so much.
        most = max(most, rows) if len(claimed) < 1_000 else most
    assert len(claimed) == len(set(claimed)) == 6_000
    # Six thousand at most to find what it leases in a small table again; walking all would be twelve thousand more.
    assert most <= 8_000


def test_many_that_may_not_be_sent_to_are_stepped_over_a_part_at_a_look(
    world: WebhookWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "STEPS", 50)
    user = world.add_user()
    made, _ = world.subscribe(user)
    world.retry(0.05)
    world.subscriptions.pause(user, made.subscription_id, world.ids.new())
    copies(world, made, 500)
    # The last of them all.
    world.advance(seconds=1)
    last = world.add_user()
    active, _ = world.subscribe(last)
    world.consume(world.event(last), time_left=5.0)
    walk, taken, looks = Walk(), list[store.Lease](), 0
    while not taken and looks < 30:
        taken, rows = look(world, walk)
        assert rows <= 160
        looks += 1
    assert (looks, [lease.subscription_id for lease in taken]) == (11, [active.subscription_id])


def waiting(world: WebhookWorld, user: Actor, card: UUID) -> Event:
    """An event of a card that waits for its next attempt."""
    early = happen(world, user, card)
    world.sender.script = answer(500)
    world.consume(early)
    assert world.delivery(early)["status"] == "PENDING"
    return early


def give_up(world: WebhookWorld, subscription: Subscription, tx: Transaction) -> None:
    """End all that waits for the subscription, as its last failure does."""
    subscriptions.lock_health(tx, subscription.user_id, subscription.subscription_id)
    store.cancel_pending(tx, subscription.user_id, subscription.subscription_id, world.clock.now())


def beside(world: WebhookWorld, work: Callable[[], object]) -> threading.Thread:
    """Begin the work on a thread of its own and return when it waits for a lock."""

    def run() -> None:
        work()
        world.worker_database.close()

    thread = threading.Thread(target=run)
    thread.start()
    while not world.sql(WAITS):
        assert thread.is_alive()
        time.sleep(0.01)
    return thread


def test_what_comes_while_what_is_before_it_is_given_up_does_not_wait_for_that(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription = ordered(world, user)
    card = world.ids.new()
    waiting(world, user, card)
    late = happen(world, user, card)
    with world.worker_database.transaction(WORKER) as tx:
        give_up(world, subscription, tx)
        other = beside(world, lambda: world.deliveries.send_event(late))
    other.join()
    row = world.delivery(late)
    assert (row["status"], row["blocked"]) == ("PENDING", False)
    (lease,) = look(world)[0]
    assert lease.event_id == late.event_id


def test_what_comes_while_what_is_before_it_ends_is_not_behind_it(world: WebhookWorld) -> None:
    user = world.add_user()
    ordered(world, user)
    card = world.ids.new()
    (job,) = world.deliveries.send_event(happen(world, user, card))
    assert isinstance(job, DeliveryJob)
    late, now = happen(world, user, card), world.clock.now()
    with world.worker_database.transaction(WORKER) as tx:
        assert store.record_attempt(
            tx, job._lease, Attempt(1, now, 1, 200, "delivered", None), DeliveryStatus.DELIVERED, None, now
        )
        other = beside(world, lambda: world.deliveries.send_event(late))
    other.join()
    row = world.delivery(late)
    assert (row["blocked"], row["lease_token"] is None) == (False, False)


def test_what_is_given_up_takes_with_it_what_has_just_come(world: WebhookWorld) -> None:
    user = world.add_user()
    subscription = ordered(world, user)
    card = world.ids.new()
    waiting(world, user, card)
    late = happen(world, user, card)

    def end() -> None:
        with world.worker_database.transaction(WORKER) as tx:
            give_up(world, subscription, tx)

    with world.worker_database.transaction(WORKER) as tx:
        wanting = [(subscription.user_id, subscription.subscription_id)]
        now = world.clock.now()
        assert fan_out_in_order(tx, [], late, wanting, now=now, token=world.ids.new(), lease_until=now + LEASE) == []
        other = beside(world, end)
    other.join()
    assert world.delivery(late)["status"] == "CANCELLED"
    assert world.sql(FORGOTTEN) == []


class Storm:
    """Workers that do all there is to do at once, at random: one event of a card at a time, whatever happens."""

    def __init__(self, world: WebhookWorld, user: Actor, made: Subscription, cards: int, events: int) -> None:
        self.world, self.user, self.subscription_id = world, user, made.subscription_id
        ids = [world.ids.new() for _ in range(cards)]
        self.events = [happen(world, user, ids[n % cards]) for n in range(events)]
        self.out: set[UUID | None] = set()
        self.most = 0
        self.failures: list[BaseException] = []
        self._lock = threading.Lock()

    def attempt(self, jobs: Collection[Job], chance: random.Random) -> None:
        """Hold the attempts a moment, then record them, most of them delivered."""
        held = [job for job in jobs if isinstance(job, DeliveryJob)]
        cards = [job._lease.card_id for job in held]
        with self._lock:
            for card in cards:
                assert card is not None
                assert card not in self.out
                self.out.add(card)
            self.most = max(self.most, len(self.out))
        time.sleep(chance.random() * 0.004)
        for job, card in zip(held, cards, strict=True):
            with self._lock:
                self.out.discard(card)
            fate = chance.random()
            if fate < 0.1:
                job.postpone(self.world.clock.now())
            else:
                outcome, code = ("delivered", 200) if fate < 0.8 else ("http_error", 500)
                job.record(Posted(self.world.clock.now(), 1, code, outcome))

    def one(self, chance: random.Random) -> None:
        """Do one of the things that happen."""
        world, event, act = self.world, chance.choice(self.events), chance.random()
        if act < 0.35:
            self.attempt(world.deliveries.send_event(event), chance)
        elif act < 0.65:
            self.attempt(world.deliveries._claim(8, []), chance)
        elif act < 0.75:
            with suppress(ConflictError):
                world.subscriptions.replay(self.user, self.subscription_id, ReplayRequest(event.event_id), world.ids.new())
        elif act < 0.9:
            world.deliveries._replays.step(20)
        elif act < 0.93:
            with suppress(ConflictError):
                world.subscriptions.pause(self.user, self.subscription_id, world.ids.new())
        elif act < 0.95:
            with world.worker_database.transaction(WORKER) as tx:
                give_up(world, world.subscriptions.get_subscription(self.user, self.subscription_id), tx)
        else:
            with suppress(ConflictError):
                world.subscriptions.reactivate(self.user, self.subscription_id, world.ids.new())

    def work(self, seed: int, rounds: int) -> None:
        """Do so many things."""
        chance = random.Random(seed)  # noqa: S311  # no secret
        try:
            for _ in range(rounds):
                self.one(chance)
                assert self.world.sql(FORGOTTEN) == []
        except BaseException as failure:
            self.failures.append(failure)
        finally:
            self.world.close()


def test_whatever_happens_at_once_nothing_that_waits_is_forgotten(world: WebhookWorld) -> None:
    user = world.add_user()
    storm = Storm(world, user, ordered(world, user), cards=6, events=60)
    threads = [threading.Thread(target=storm.work, args=(seed, 60)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storm.failures == []
    assert storm.most > 1
    with suppress(ConflictError):
        world.subscriptions.reactivate(user, storm.subscription_id, world.ids.new())
    for _ in range(400):
        world.advance(hours=7)
        world.deliveries._replays.step()
        for job in world.deliveries._claim(16, []):
            job.record(Posted(world.clock.now(), 1, 200, "delivered"))
        if not world.sql("SELECT 1 AS one FROM webhook_deliveries WHERE status = 'PENDING' LIMIT 1"):
            break
    assert world.sql("SELECT event_id FROM webhook_deliveries WHERE status = 'PENDING'") == []
