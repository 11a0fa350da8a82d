"""Laws of the circuit breaker, its state in a real Valkey and shared by clients that know nothing of each other."""

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from cardwright.kernel.clock import FixedClock
from cardwright.kernel.errors import (
    BrokenInvariantError,
    CircuitOpenError,
    ProviderRefusedError,
    UnavailableError,
)
from cardwright.platform.breaker import Breaker
from cardwright.platform.cache import Cache, Command, Reply
from cardwright.platform.retries import Retry
from tests.builders import NOW
from tests.fakes.tcp import closed_port, listening


class Line:
    """The way to a party as one function has it: a breaker and a cache of its own."""

    def __init__(self, url: str, name: str, clock: FixedClock) -> None:
        self.clock = clock
        self.exchanges = 0
        self.asked = 0
        self.cache = Cache(url, budget_s=2.0)
        exchange = self.cache.exchange

        def counted(commands: Sequence[Command]) -> list[Reply] | None:
            self.exchanges += 1
            return exchange(commands)

        self.cache.exchange = counted  # type: ignore[method-assign]  # the same, counted
        self.breaker = Breaker(self.cache, clock, name, code="processor_unavailable")

    def call(self, outcome: Exception | None = None) -> str:
        """Call once; the party fails as told or answers."""

        def act() -> str:
            self.asked += 1
            if outcome is not None:
                raise outcome
            return "done"

        return self.breaker.call(act)

    def fail(self, times: int = 1) -> None:
        """Calls that the party does not answer."""
        for _ in range(times):
            with pytest.raises(UnavailableError) as failure:
                self.call(UnavailableError("gone"))
            assert not isinstance(failure.value, CircuitOpenError)

    def refused(self) -> bool:
        """Whether a call is refused without anybody being asked."""
        asked = self.asked
        try:
            self.call()
        except CircuitOpenError as error:
            return (error.code, self.asked) == ("processor_unavailable", asked)
        return False

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.at += timedelta(seconds=seconds)


@pytest.fixture
def lines(cache_url: str) -> Iterator[Callable[[], Line]]:
    """Makes lines to one party, each with a client of its own."""
    made: list[Line] = []
    name, clock = secrets.token_hex(8), FixedClock(NOW)

    def make() -> Line:
        made.append(Line(cache_url, name, clock))
        return made[-1]

    yield make
    for line in made:
        line.cache.close()


def test_failures_seen_by_one_function_open_the_circuit_for_another(lines: Callable[[], Line]) -> None:
    one, other = lines(), lines()
    one.fail(3)
    other.fail(1)
    assert other.call() == "done"
    one.fail(4)
    other.fail(1)
    assert one.refused()
    assert other.refused()


def test_after_a_while_one_probe_closes_it_for_everybody(lines: Callable[[], Line]) -> None:
    one, other = lines(), lines()
    one.fail(5)
    one.wait(19)
    assert other.refused()
    one.wait(1)
    assert other.call() == "done"
    assert one.call() == "done"
    one.fail(4)
    assert not one.refused()


def test_a_probe_that_fails_opens_it_again(lines: Callable[[], Line]) -> None:
    line = lines()
    line.fail(5)
    line.wait(20)
    line.fail(1)
    assert line.refused()
    line.wait(19)
    assert line.refused()
    line.wait(1)
    assert line.call() == "done"
    assert not line.refused()


def test_of_fifty_at_once_one_probes(lines: Callable[[], Line]) -> None:
    first = lines()
    first.fail(5)
    first.wait(20)
    gate, release = threading.Barrier(50), threading.Event()
    outcomes: list[str] = []

    def probe() -> str:
        assert release.wait(20)
        return "asked"

    def run(line: Line) -> None:
        gate.wait()
        try:
            outcomes.append(line.breaker.call(probe))
        except CircuitOpenError:
            outcomes.append("refused")
            if outcomes.count("refused") == 49:
                release.set()
        finally:
            line.cache.close()

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(run, [lines() for _ in range(50)]))
    assert sorted(outcomes) == ["asked"] + ["refused"] * 49
    assert first.call() == "done"


def test_failures_too_far_apart_do_not_open_it(lines: Callable[[], Line]) -> None:
    line = lines()
    line.fail(1)
    line.wait(20)
    line.fail(3)
    line.wait(11)
    line.fail(1)
    assert line.call() == "done"
    # The window slides: the sixth failure and the four before it lie 31 s apart, the seventh and its four only 2 s.
    line.fail(2)
    line.wait(29)
    line.fail(2)
    line.wait(2)
    line.fail(2)
    line.fail(1)
    assert line.refused()


def test_a_refusal_of_the_party_is_an_answer(lines: Callable[[], Line]) -> None:
    line = lines()
    for _ in range(2):
        line.fail(4)
        with pytest.raises(ProviderRefusedError):
            line.call(ProviderRefusedError("no"))
    line.fail(5)
    line.wait(20)
    with pytest.raises(ProviderRefusedError):
        line.call(ProviderRefusedError("no"))
    assert not line.refused()


@pytest.mark.parametrize("error", [BrokenInvariantError("ours"), ZeroDivisionError()])
def test_a_fault_of_our_own_says_nothing_of_the_party(lines: Callable[[], Line], error: Exception) -> None:
    line = lines()
    line.fail(4)
    for _ in range(10):
        with pytest.raises(type(error)):
            line.call(error)
    line.fail(1)
    assert line.refused()


def test_a_probe_that_never_comes_back_is_given_up(lines: Callable[[], Line]) -> None:
    one, other = lines(), lines()
    one.fail(5)
    one.wait(20)

    def crash() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.breaker.call(crash)
    one.wait(19)
    assert other.refused()
    one.wait(1)
    assert other.call() == "done"
    assert not one.refused()


def test_what_began_before_the_circuit_opened_neither_closes_nor_prolongs_it(lines: Callable[[], Line]) -> None:
    one, other = lines(), lines()

    def late_success() -> str:
        other.fail(5)
        return "late"

    assert one.breaker.call(late_success) == "late"
    assert other.refused()
    one.wait(20)

    def late_failure() -> str:
        other.wait(20)
        assert other.call() == "done"
        other.fail(5)
        other.wait(10)
        raise UnavailableError("late")

    with pytest.raises(UnavailableError, match="late"):
        one.breaker.call(late_failure)
    one.wait(10)
    assert other.call() == "done"


def test_while_all_is_well_a_call_costs_one_exchange(lines: Callable[[], Line]) -> None:
    line = lines()
    for _ in range(10):
        line.call()
    assert line.exchanges == 10
    line.fail(1)
    assert line.exchanges == 12
    line.call()
    assert line.exchanges == 14
    line.call()
    assert line.exchanges == 15


def test_without_a_cache_every_call_passes() -> None:
    with listening(b"-ERR no scripts here\r\n") as odd, listening(b"$3\r\nabc\r\n") as mad:
        for port in (closed_port(), odd.port, mad.port):
            line = Line(f"redis://127.0.0.1:{port}", "anybody", FixedClock(NOW))
            line.fail(7)
            assert line.call() == "done"
            line.cache.close()


def test_parties_do_not_share_a_circuit(cache_url: str) -> None:
    clock = FixedClock(NOW)
    broken, sound = Line(cache_url, secrets.token_hex(8), clock), Line(cache_url, secrets.token_hex(8), clock)
    broken.fail(5)
    assert broken.refused()
    assert not sound.refused()
    broken.cache.close()
    sound.cache.close()


def test_all_is_forgotten_in_the_end(lines: Callable[[], Line]) -> None:
    line = lines()
    line.fail(5)
    keys = line.breaker._keys
    replies = line.cache.exchange([("TTL", keys[0])])
    assert replies is not None
    assert 0 < int(str(replies[0])) <= 3600


def test_trying_again_ends_when_the_circuit_opens(lines: Callable[[], Line]) -> None:
    line = lines()
    line.fail(3)
    pauses: list[float] = []
    retry = Retry(sleep=pauses.append, jitter=lambda: 0.0)
    with pytest.raises(CircuitOpenError):
        retry.call(lambda: line.call(UnavailableError("gone")))
    assert pauses == [1.0, 2.0]
    assert line.asked == 5
