"""Many posts at once, none holding up another: each on a thread of its own, all bookkeeping on the caller's."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from queue import Empty, SimpleQueue
from typing import Protocol
from uuid import UUID

from cardwright.kernel.errors import UnavailableError
from cardwright.platform.egress import TOTAL_S
from cardwright.platform.telemetry import logger
from cardwright.webhooks.service.posting import Posted

# A post that starts with less than this left would be cut off by the function's end.
START_RESERVE_S = TOTAL_S + 2.0
_PATIENCE_S = 0.2


class Job(Protocol):
    """One post and what becomes of it."""

    @property
    def subscription_id(self) -> UUID:
        """Whose receiver it goes to."""
        ...

    def post(self) -> Posted | None:
        """Send, on a thread of its own and without the database; None when there was no attempt. Never raises."""
        ...

    def record(self, posted: Posted) -> None:
        """Note the outcome. Raises UnavailableError when the database does not answer."""
        ...

    def release(self) -> None:
        """Leave the job to others. Raises UnavailableError when the database does not answer."""
        ...


# Asked for as many jobs as there is room for, and told how many of each subscription are on their way.
Refill = Callable[[int, Mapping[UUID, int]], Collection[Job]]


class Dispatcher:
    """Runs jobs, at most `threads` at once and with `refill` at most `per_subscription` of one receiver."""

    def __init__(self, *, threads: int = 16, per_subscription: int = 4, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._threads = threads
        self._monotonic = monotonic
        self.per_subscription = per_subscription

    def run(
        self,
        jobs: Iterable[Job],
        time_left: Callable[[], float],
        *,
        refill: Refill | None = None,
        poll_s: float = 1.0,
    ) -> list[Job]:
        """Run the jobs, then with `refill` more until START_RESERVE_S are left.

        Where a look found something there may be more: the next follows as soon as something has landed. Else it comes after
        `poll_s`.

        Returns the jobs without a recorded outcome. With no time left at all it returns at once and what is in the air is
        lost to it: leases end by themselves.
        """
        waiting, flying = deque(jobs), list[Job]()
        landed: SimpleQueue[tuple[Job, Posted | None]] = SimpleQueue()
        unfinished: list[Job] = []
        look_at, more = self._monotonic(), False
        while True:
            may_start = time_left() > START_RESERVE_S
            room = self._threads - len(flying)
            if may_start and refill is not None and room > 0 and not waiting and self._monotonic() >= look_at:
                found = refill(room, Counter(job.subscription_id for job in flying))
                waiting.extend(found)
                more, look_at = bool(found), self._monotonic() + poll_s
            while may_start and waiting and len(flying) < self._threads:
                flying.append(self._start(waiting.popleft(), landed))
            if time_left() <= 0 or (not flying and (not may_start or (refill is None and not waiting))):
                break
            for job, posted in _landed(landed, min(poll_s, _PATIENCE_S)):
                flying.remove(job)
                if not _finish(job, posted):
                    unfinished.append(job)
                if more:
                    look_at = self._monotonic()
        for job in waiting:
            _finish(job, None)
        return [*unfinished, *flying, *waiting]

    @staticmethod
    def _start(job: Job, landed: "SimpleQueue[tuple[Job, Posted | None]]") -> Job:
        threading.Thread(target=lambda: landed.put((job, job.post())), name="webhook-post", daemon=True).start()
        return job


def _landed(landed: "SimpleQueue[tuple[Job, Posted | None]]", patience_s: float) -> Iterable[tuple[Job, Posted | None]]:
    """What has landed: waits a while for the first, for no other."""
    try:
        yield landed.get(timeout=patience_s)
        while True:
            yield landed.get_nowait()
    except Empty:
        return


def _finish(job: Job, posted: Posted | None) -> bool:
    try:
        if posted is None:
            job.release()
            return False
        job.record(posted)
    except UnavailableError:
        logger.warning(
            "the outcome of a webhook attempt could not be recorded", extra={"subscription_id": str(job.subscription_id)}
        )
        return False
    return True
