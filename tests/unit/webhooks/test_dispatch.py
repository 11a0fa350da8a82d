"""The dispatcher: many posts at once, bounded, and nobody's outcome lost silently."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

from cardwright.kernel.errors import UnavailableError
from cardwright.webhooks.service.dispatch import START_RESERVE_S, Dispatcher, Job
from cardwright.webhooks.service.posting import Posted

DONE = Posted(datetime(2026, 11, 21, tzinfo=UTC), 1, 200, "delivered")


class Gauge:
    """Counts how many jobs run at once, and the most there were."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self._lock = threading.Lock()

    def change(self, by: int) -> None:
        """One more, or one less."""
        with self._lock:
            self.running += by
            self.most = max(self.most, self.running)


class FakeJob:
    """A job that takes a while and keeps what became of it."""

    def __init__(
        self,
        *,
        takes_s: float = 0.0,
        posted: Posted | None = DONE,
        away: bool = False,
        of: UUID | None = None,
        owner: UUID | None = None,
        gauge: Gauge | None = None,
    ) -> None:
        self.subscription_id = of or uuid4()
        self.owner_id = owner or uuid4()
        self.slow_told = 0
        self._takes_s = takes_s
        self._posted = posted
        self._away = away
        self._gauge = gauge or Gauge()
        self.became = ""

    def post(self) -> Posted | None:
        self._gauge.change(1)
        time.sleep(self._takes_s)
        self._gauge.change(-1)
        return self._posted

    def record(self, posted: Posted) -> None:
        if self._away:
            raise UnavailableError("database away")
        self.became = "recorded"

    def slow(self) -> None:
        self.slow_told += 1

    def release(self, *, tried: bool = False) -> None:
        self.became = "tried in vain" if tried else "released"


def forever() -> float:
    """Time left that does not end."""
    return 100.0


def test_no_more_run_at_once_than_allowed_and_all_are_recorded() -> None:
    gauge = Gauge()
    jobs = [FakeJob(takes_s=0.01, gauge=gauge) for _ in range(30)]
    assert Dispatcher(threads=4).run(jobs, forever) == []
    assert {job.became for job in jobs} == {"recorded"}
    assert 2 <= gauge.most <= 4


def test_what_is_over_an_owners_share_is_given_back_and_others_go() -> None:
    owner = uuid4()
    many, other = [FakeJob(owner=owner) for _ in range(5)], FakeJob()
    unfinished = Dispatcher(threads=8, per_owner=3).run([*many, other], forever)
    assert [job.became for job in many] == ["recorded"] * 3 + ["released"] * 2
    assert (unfinished, other.became) == (many[3:], "recorded")


def test_a_slow_one_is_told_of_once_and_while_it_is_still_out() -> None:
    class Clock:
        at = 0.0

        def __call__(self) -> float:
            self.at += 1.0
            return self.at

    slow = FakeJob(takes_s=1.0)
    Dispatcher(monotonic=Clock()).run([slow], forever)
    assert (slow.slow_told, slow.became) == (1, "recorded")


def test_a_quick_one_does_not_wait_for_a_slow_one() -> None:
    slow, quick = FakeJob(takes_s=0.5), FakeJob()
    seen: list[str] = []
    slow.record = lambda posted: seen.append("slow")  # type: ignore[method-assign]  # watches the order
    quick.record = lambda posted: seen.append("quick")  # type: ignore[method-assign]  # as above
    Dispatcher().run([slow, quick], forever)
    assert seen == ["quick", "slow"]


def test_jobs_without_outcome_are_told() -> None:
    unposted, unrecorded, good = FakeJob(posted=None), FakeJob(away=True), FakeJob()
    unfinished = Dispatcher().run([unposted, unrecorded, good], forever)
    assert set(map(id, unfinished)) == {id(unposted), id(unrecorded)}
    assert (unposted.became, unrecorded.became, good.became) == ("tried in vain", "", "recorded")


def test_nothing_starts_that_could_not_end_in_time() -> None:
    jobs = [FakeJob() for _ in range(3)]
    assert Dispatcher().run(jobs, lambda: START_RESERVE_S) == jobs
    assert {job.became for job in jobs} == {"released"}


def test_when_time_is_up_what_is_in_the_air_is_left() -> None:
    began = time.monotonic()
    job = FakeJob(takes_s=3.0)
    assert Dispatcher().run([job], lambda: 100.0 if time.monotonic() - began < 0.2 else 0.0) == [job]
    assert time.monotonic() - began < 2.5
    assert job.became == ""


def test_refilling_asks_for_what_fits_and_tells_what_is_on_its_way() -> None:
    busy_one = uuid4()
    asked: list[tuple[int, dict[UUID, int]]] = []
    until = time.monotonic() + 1.5

    def refill(room: int, flying: Sequence[Job]) -> list[Job]:
        asked.append((room, dict(Counter(job.subscription_id for job in flying))))
        return [FakeJob(takes_s=0.5, of=busy_one) for _ in range(2)] if len(asked) == 1 else []

    dispatcher = Dispatcher(threads=8, per_subscription=2)
    assert dispatcher.run([], lambda: 100.0 if time.monotonic() < until else 5.0, refill=refill, poll_s=0.05) == []
    assert asked[0] == (8, {})
    assert asked[1] == (6, {busy_one: 2})
    assert asked[-1] == (8, {})


def test_where_a_look_found_something_the_next_follows_what_lands_and_does_not_wait_for_its_time() -> None:
    backlog = [FakeJob() for _ in range(50)]
    left = list(backlog)

    def refill(room: int, flying: Sequence[Job]) -> list[Job]:
        found, left[:] = left[: min(room, 4)], left[min(room, 4) :]
        return list(found)

    # One look in its time would be one in an hour.
    run = Dispatcher(threads=8).run
    assert run([], lambda: 100.0 if any(not job.became for job in backlog) else 5.0, refill=refill, poll_s=3600.0) == []
    assert {job.became for job in backlog} == {"recorded"}


def test_what_a_job_raises_ends_no_other_job() -> None:
    def raises(*_arguments: object, **_named: object) -> None:
        raise OverflowError("out of range")

    unposted, unrecorded, unreleased, good = FakeJob(), FakeJob(), FakeJob(posted=None), FakeJob(takes_s=0.05)
    unposted.post = raises  # type: ignore[method-assign]  # a bug
    unrecorded.record = raises  # type: ignore[method-assign]  # as above
    unreleased.release = raises  # type: ignore[method-assign]  # as above
    unfinished = Dispatcher().run([unposted, unrecorded, unreleased, good], forever)
    assert set(map(id, unfinished)) == {id(unposted), id(unrecorded), id(unreleased)}
    assert (unposted.became, good.became) == ("tried in vain", "recorded")


def test_where_nothing_can_be_posted_the_next_look_waits_for_its_time() -> None:
    looks: list[int] = []
    until = time.monotonic() + 0.5

    def refill(room: int, _flying: Sequence[Job]) -> list[Job]:
        looks.append(room)
        return [FakeJob(posted=None)]

    Dispatcher().run([], lambda: 100.0 if time.monotonic() < until else 5.0, refill=refill, poll_s=3600.0)
    assert len(looks) == 1
