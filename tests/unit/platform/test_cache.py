"""The cache client against a real Valkey that is well, stopped, killed and restarted, and against servers that talk nonsense."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cardwright.platform import cache as module
from cardwright.platform.cache import Cache
from local.servers.valkey import ValkeyServer
from tests.fakes.tcp import closed_port, listening


@pytest.fixture
def cache(cache_url: str) -> Iterator[Cache]:
    """A client of this worker's Valkey."""
    made = Cache(cache_url, budget_s=2.0)
    yield made
    made.close()


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a client try again at once after a failure."""
    monkeypatch.setattr(module, "REST_S", 0.0)


def at(port: int, budget_s: float = 0.1) -> Cache:
    """A client of a server on loopback."""
    return Cache(f"redis://127.0.0.1:{port}", budget_s=budget_s)


def test_replies_stand_in_the_order_of_their_commands(cache: Cache) -> None:
    replies = cache.exchange(
        [("SET", "{a}1", "x"), ("GET", "{a}1"), ("INCR", "{a}n"), ("LRANGE", "{a}l", 0, -1), ("GET", "{a}none")]
    )
    assert replies == [b"OK", b"x", 1, [], None]
    assert cache.get_many(["{a}1", "{a}none"]) == [b"x", None]
    assert cache.ping()


def test_an_error_stands_in_its_place_and_the_connection_goes_on(cache: Cache) -> None:
    replies = cache.exchange([("SET", "{b}1", "x"), ("INCR", "{b}1"), ("GET", "{b}1")])
    assert replies is not None
    assert isinstance(replies[1], Exception)
    assert (replies[0], replies[2]) == (b"OK", b"x")
    crossed = cache.exchange([("MGET", "one", "two")])
    assert crossed is not None
    assert "CROSSSLOT" in str(crossed[0])
    assert cache.get_many(["one", "two"]) is None
    assert cache.ping()


def test_what_is_sent_without_waiting_arrives_and_its_replies_are_not_taken_for_others(cache: Cache) -> None:
    for number in range(50):
        cache.send([("SET", "{c}1", number), ("INCR", "{c}n")])
    assert cache.exchange([("GET", "{c}1"), ("GET", "{c}n")]) == [b"49", b"50"]


def test_bytes_pass_unchanged(cache: Cache) -> None:
    value = bytes(range(256)) * 1000
    assert cache.exchange([("SET", "{d}1", value), ("GET", "{d}1")]) == [b"OK", value]


def test_nobody_there_is_no_answer_and_asked_again_only_after_a_rest() -> None:
    cache = at(closed_port())
    assert cache.get_many(["a"]) is None
    began = time.monotonic()
    assert all(cache.exchange([("PING",)]) is None for _ in range(1000))
    assert time.monotonic() - began < 0.5
    cache.send([("SET", "a", "b")])
    assert not cache.ping()


def test_silence_costs_the_budget_once() -> None:
    with listening(None) as server:
        cache = at(server.port, budget_s=0.1)
        began = time.monotonic()
        assert cache.get_many(["a"]) is None
        first = time.monotonic() - began
        assert all(cache.get_many(["a"]) is None for _ in range(100))
        assert 0.09 < first < 1.0
        assert time.monotonic() - began < first + 0.5
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\x13garbage\r\n",
        b"*-5\r\n$x\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"$3\r\nabc\r\n",
        b"*1\r\n$1\r\na\r\n",
    ],
)
def test_nonsense_counts_as_no_answer(answer: bytes) -> None:
    with listening(answer) as server:
        cache = at(server.port)
        assert cache.get_many(["a", "b"]) is None
        cache.close()


def test_a_server_that_hangs_up_is_no_answer() -> None:
    with listening(b"", hang_up=True) as server:
        cache = at(server.port)
        assert cache.exchange([("PING",)]) is None
        cache.close()


def test_refused_credentials_are_no_answer() -> None:
    with listening(b"-WRONGPASS invalid username-password pair\r\n") as server:
        cache = Cache(f"redis://:sesame@127.0.0.1:{server.port}", budget_s=0.1)
        assert not cache.ping()
        assert server.heard == [b"*2\r\n$4\r\nAUTH\r\n$6\r\nsesame\r\n"]


def test_short_lived_credentials_are_asked_for_at_each_connect(no_rest: None) -> None:
    given: list[tuple[str, str]] = []

    def credentials() -> tuple[str, str]:
        given.append(("app", f"token{len(given)}"))
        return given[-1]

    with listening(b"+OK\r\n") as server:
        cache = Cache(f"redis://127.0.0.1:{server.port}", credentials=credentials)
        cache.exchange([("PING",)])
        cache.close()
        cache.exchange([("PING",)])
        cache.close()
        assert [user for user, _ in given] == ["app", "app"]
        assert b"$6\r\ntoken0\r\n" in server.heard[0]
        assert b"$6\r\ntoken1\r\n" in b"".join(server.heard)


def test_a_stopped_valkey_is_given_up_in_time_and_found_again(make_server_folder: Callable[[str], Path], no_rest: None) -> None:
    server = ValkeyServer(make_server_folder("valkey"))
    server.start()
    try:
        cache = Cache(server.url, budget_s=0.2)
        assert cache.exchange([("SET", "a", "1")]) == [b"OK"]
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert cache.exchange([("GET", "a")]) is None
            assert time.monotonic() - began < 1.5
        finally:
            os.kill(pid, signal.SIGCONT)
        # The late answer to the question given up is not the answer to this one.
        assert cache.exchange([("SET", "b", "2"), ("GET", "b")]) == [b"OK", b"2"]
        os.kill(pid, signal.SIGKILL)
        assert cache.exchange([("GET", "a")]) is None
        assert cache.get_many(["a"]) is None
        server.stop()
        server.start()
        again = Cache(server.url, budget_s=2.0)
        assert again.ping()
        again.close()
    finally:
        server.stop()
