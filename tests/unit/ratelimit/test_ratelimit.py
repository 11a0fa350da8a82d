"""Quotas against a real Valkey: exact at every moment of the window, and no obstacle when the cache is gone."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest

from cardwright.kernel.clock import FixedClock
from cardwright.kernel.errors import RateLimitedError
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.ratelimit.rules import LOGIN, PER_ADDRESS, PER_ORGANIZATION, PER_USER, Quota, Standing, tightest
from cardwright.ratelimit.service import RateLimiter
from tests.builders import NOW
from tests.fakes.tcp import closed_port, listening


@pytest.fixture
def clock() -> FixedClock:
    """A standing clock."""
    return FixedClock(NOW)


@pytest.fixture
def limiter(cache_url: str, clock: FixedClock) -> Iterator[RateLimiter]:
    """Quotas of this worker's Valkey."""
    cache = Cache(cache_url, budget_s=2.0)
    yield RateLimiter(cache, clock, IdSource(clock), enabled=True)
    cache.close()


def address() -> str:
    """An address of nobody else."""
    return f"test-{uuid4()}"


def test_the_figures_are_those_of_the_contract() -> None:
    assert [(q.limit, q.window_s) for q in (PER_USER, PER_ORGANIZATION, PER_ADDRESS, LOGIN)] == [
        (100, 60),
        (1000, 60),
        (1000, 60),
        (10, 900),
    ]


def test_ten_logins_in_any_quarter_of_an_hour(limiter: RateLimiter, clock: FixedClock) -> None:
    where = address()
    for _ in range(10):
        limiter.login(where, b"account")
        clock.at += timedelta(minutes=1)
    with pytest.raises(RateLimitedError) as spent:
        limiter.login(where, b"account")
    assert (spent.value.quota, spent.value.limit, spent.value.window_s, spent.value.retry_after_s) == ("login", 10, 900, 300)
    clock.at = NOW + timedelta(seconds=899, milliseconds=999)
    with pytest.raises(RateLimitedError) as almost:
        limiter.login(where, b"account")
    assert almost.value.retry_after_s == 1
    clock.at = NOW + timedelta(seconds=900)
    limiter.login(where, b"account")
    with pytest.raises(RateLimitedError):
        limiter.login(where, b"account")


def test_a_refused_attempt_does_not_count(limiter: RateLimiter, clock: FixedClock) -> None:
    where = address()
    for _ in range(10):
        limiter.login(where, b"account")
    for _ in range(50):
        clock.at += timedelta(seconds=1)
        with pytest.raises(RateLimitedError):
            limiter.login(where, b"account")
    clock.at = NOW + timedelta(seconds=900)
    for _ in range(10):
        limiter.login(where, b"account")


def test_accounts_and_addresses_are_counted_apart(limiter: RateLimiter) -> None:
    where = address()
    for _ in range(10):
        limiter.login(where, b"one")
    limiter.login(where, b"two")
    limiter.login(address(), b"one")
    with pytest.raises(RateLimitedError):
        limiter.login(where, b"one")


def test_the_tightest_standing_is_told(limiter: RateLimiter) -> None:
    user, where = uuid4(), address()
    first = limiter.spend(user_id=user, organization_id=None, address=where)
    assert first == Standing(PER_USER, True, 99, 60)
    for _ in range(99):
        limiter.spend(user_id=user, organization_id=uuid4(), address=where)
    with pytest.raises(RateLimitedError) as spent:
        limiter.spend(user_id=user, organization_id=None, address=where)
    assert (spent.value.quota, spent.value.limit) == ("user", 100)
    assert limiter.spend(user_id=None, organization_id=None, address=where) == Standing(PER_ADDRESS, True, 898, 60)


def test_of_many_at_once_exactly_the_limit_gets_through(limiter: RateLimiter, cache_url: str, clock: FixedClock) -> None:
    where, passed = address(), []
    gate = threading.Barrier(20)

    def attempt() -> None:
        cache = Cache(cache_url, budget_s=2.0)
        own = RateLimiter(cache, clock, IdSource(clock), enabled=True)
        gate.wait()
        try:
            own.login(where, b"account")
            passed.append(True)
        except RateLimitedError:
            passed.append(False)
        finally:
            cache.close()

    threads = [threading.Thread(target=attempt) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passed) == [False] * 10 + [True] * 10


def test_without_the_cache_calls_pass(clock: FixedClock) -> None:
    gone = RateLimiter(Cache(f"redis://127.0.0.1:{closed_port()}"), clock, IdSource(clock), enabled=True)
    assert [gone.spend(user_id=uuid4(), organization_id=None, address="a") for _ in range(200)] == [None] * 200
    with listening(b"-ERR unknown command\r\n" * 3) as server:
        cache = Cache(f"redis://127.0.0.1:{server.port}", budget_s=0.2)
        assert (
            RateLimiter(cache, clock, IdSource(clock), enabled=True).spend(user_id=None, organization_id=None, address="a")
            is None
        )
        cache.close()


def test_switched_off_nothing_is_asked(clock: FixedClock) -> None:
    with listening(None) as server:
        off = RateLimiter(Cache(f"redis://127.0.0.1:{server.port}"), clock, IdSource(clock), enabled=False)
        assert off.spend(user_id=None, organization_id=None, address="a") is None
        off.login("a", b"account")
        assert server.connections == 0


def test_keys_live_no_longer_than_their_window(limiter: RateLimiter, cache_url: str) -> None:
    where = address()
    limiter.spend(user_id=None, organization_id=None, address=where)
    cache = Cache(cache_url, budget_s=2.0)
    replies = cache.exchange([("PTTL", f"rate:address:{{{where}}}")])
    cache.close()
    assert replies is not None
    assert 0 < int(str(replies[0])) <= 60_000


def test_a_refusal_counts_as_tighter_than_any_remainder() -> None:
    small, large = Quota("small", 1, 1), Quota("large", 9, 1)
    refused, left = Standing(large, False, 5, 1), Standing(small, True, 0, 1)
    assert tightest([left, refused]) is refused
    assert tightest([Standing(large, True, 3, 1), left]) is left
