"""How fast one subscription is sent events: a hundred in any second, whoever sends them."""

import socket
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from cardwright.kernel.clock import FixedClock
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor
from cardwright.ratelimit.rules import Grant
from cardwright.ratelimit.service import WebhookPace
from tests.fakes.webhook_world import NOW, WebhookWorld

SECOND = timedelta(seconds=1)


@pytest.fixture
def cache(cache_url: str) -> Iterator[Cache]:
    """A cache that does not give up on a busy machine."""
    made = Cache(cache_url, budget_s=2.0, connect_s=2.0)
    yield made
    made.close()


def pace(cache: Cache, clock: FixedClock, *, enabled: bool = True) -> WebhookPace:
    """A pace that counts in a cache."""
    return WebhookPace(cache, clock, IdSource(clock), enabled=enabled)


@pytest.fixture
def world(fresh_database: str, cache: Cache) -> Iterator[WebhookWorld]:
    """A world of one test, kept in pace."""
    clock = FixedClock(NOW)
    made = WebhookWorld(fresh_database, clock=clock, pace=pace(cache, clock))
    yield made
    made.close()


def most_in_a_second(world: WebhookWorld, subscription_id: UUID) -> int:
    """The most attempts that a second of any beginning holds."""
    rows = world.sql(
        "SELECT started_at FROM webhook_attempts WHERE subscription_id = %s ORDER BY started_at, event_id", subscription_id
    )
    times = [row["started_at"] for row in rows]
    return max(bisect_left(times, begin + SECOND) - position for position, begin in enumerate(times))


def due(world: WebhookWorld, user: Actor, count: int) -> None:
    """Make deliveries that are due and that nobody has attempted."""
    for _ in range(count):
        assert world.consume(world.event(user), time_left=5.0) == []


def look(world: WebhookWorld, expected: int) -> None:
    """Let the schedule run until so many were posted in all, however slow the machine is; then a while longer."""
    until = time.monotonic() + 30.0

    def time_left() -> float:
        return 100.0 if len(world.sender.events()) < expected and time.monotonic() < until else 5.0

    world.deliveries.retry_failed(time_left, poll_s=0.02)
    world.retry(0.05)


def test_a_backlog_goes_at_a_hundred_a_second_and_holds_nobody_else_up(world: WebhookWorld) -> None:
    loud, quiet = world.add_user(), world.add_user()
    (noisy, _), (calm, _) = world.subscribe(loud), world.subscribe(quiet, url="http://127.0.0.1:9/quiet")
    due(world, loud, 250)
    # What was counted for these and not sent has left the second that counts.
    world.advance(seconds=1)
    for looks, expected in enumerate([100, 100, 100, 200, 200, 200, 250, 250], start=1):
        due(world, quiet, 1)
        look(world, expected + looks)
        sent = Counter(post.url.rpartition("/")[2] for post in world.sender.events())
        assert sent == {"hook": expected, "quiet": looks}
        world.advance(seconds=0.4)
    assert most_in_a_second(world, noisy.subscription_id) == 100
    assert world.sql("SELECT DISTINCT status, attempts FROM webhook_deliveries") == [{"status": "DELIVERED", "attempts": 1}]
    assert calm.subscription_id != noisy.subscription_id


def test_what_the_queue_hands_out_over_the_pace_is_no_attempt_and_due_a_moment_later(world: WebhookWorld) -> None:
    user = world.add_user()
    world.subscribe(user)
    for _ in range(11):
        assert world.consume(*(world.event(user) for _ in range(10))) == []
    assert len(world.sender.events()) == 100
    waiting = world.sql("SELECT attempts, lease_token, next_attempt_at FROM webhook_deliveries WHERE status = 'PENDING'")
    assert waiting == [{"attempts": 0, "lease_token": None, "next_attempt_at": NOW + SECOND}] * 10
    world.advance(seconds=0.999)
    assert world.retry(0.05) == 0
    world.advance(seconds=0.001)
    assert world.retry() == 10


def test_several_are_granted_at_once_as_many_as_fit_and_the_wait_is_told(cache: Cache) -> None:
    clock = FixedClock(NOW)
    kept, one, other = pace(cache, clock), IdSource(clock).new(), IdSource(clock).new()
    assert kept.grant({one: 60, other: 100}) == {one: Grant(60, 1000), other: Grant(100, 1000)}
    clock.at += timedelta(milliseconds=400)
    assert kept.grant({one: 60, other: 1}) == {one: Grant(40, 600), other: Grant(0, 600)}
    clock.at += timedelta(milliseconds=600)
    # What was counted at the beginning has left, what came 400 ms later has not.
    assert kept.grant({one: 100}) == {one: Grant(60, 400)}
    assert kept.grant({}) == {}


def test_without_the_cache_and_where_limits_are_off_all_may_go(cache: Cache) -> None:
    clock = FixedClock(NOW)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    subscription = IdSource(clock).new()
    for loose in (pace(Cache(f"redis://127.0.0.1:{port}"), clock), pace(cache, clock, enabled=False)):
        for _ in range(2):
            assert loose.grant({subscription: 150}) == {subscription: Grant(150, 0)}
