"""Many posts at once, none holding up another: each on a thread of its own, all bookkeeping on the caller's."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol
from uuid import UUID

from cardwright.kernel.errors import UnavailableError
from cardwright.platform.egress import TOTAL_S
from cardwright.platform.telemetry import logger
from cardwright.webhooks.rules import SLOW_MS
from cardwright.webhooks.service.posting import Posted

# A post that starts with less than this left would be cut off by the function's end.
START_RESERVE_S = TOTAL_S + 2.0
_PATIENCE_S = 0.2
# After a look the next one rests this many times as long as it took: meanwhile more threads get free for it to fill.
_REST = 3


class Job(Protocol):
    """One post and what becomes of it."""

    @property
    def owner_id(self) -> UUID:
        """Whose subscription it is."""
        ...

    @property
    def subscription_id(self) -> UUID:
        """Which receiver it goes to."""
        ...

    def post(self) -> Posted | None:
        """Send, on a thread of its own and without the database; None when there was no attempt. Never raises."""
        ...

    def record(self, posted: Posted) -> None:
        """Note the outcome. Raises UnavailableError when the database does not answer."""
        ...

    def slow(self) -> None:
        """Hear that the post takes long. Raises UnavailableError when the database does not answer."""
        ...

    def release(self, *, tried: bool = False) -> None:
        """Leave the job to others, for some seconds to nobody when it was tried in vain. Raises UnavailableError as above."""
        ...


# Asked for as many jobs as there is room for, and told which are on their way.
Refill = Callable[[int, Sequence[Job]], Collection[Job]]


class Dispatcher:
    """Runs jobs, at most `threads` at once, at most `per_owner` of them for subscriptions of one owner, and with `refill` at most
    `per_subscription` of one receiver: whoever's receivers hang keeps no thread from others."""

    def __init__(
        self,
        *,
        threads: int = 64,
        per_owner: int = 16,
        per_subscription: int = 4,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads = threads
        self.per_owner = per_owner
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

        Where a look found something there may be more: the next follows as soon as an outcome was recorded, after a dear look
        a little later. Else, and while nothing can be posted, it comes after `poll_s`. What a job raises is logged and ends
        that job alone.

        What is over an owner's share of the threads is given back before anything starts. Returns the jobs without a recorded
        outcome. With no time left at all it returns at once and what is in the air is lost to it: leases end by themselves.
        """
        waiting, surplus = self._shared_out(jobs)
        flying = list[Job]()
        landed: SimpleQueue[tuple[Job, Posted | None]] = SimpleQueue()
        unfinished = list(surplus)
        for job in surplus:
            _settle(job, job.release)
        patient_until: dict[Job, float] = {}
        look_at, more, rested_at = self._monotonic(), False, 0.0
        while True:
            may_start = time_left() > START_RESERVE_S
            room = self._threads - len(flying)
            if may_start and refill is not None and room > 0 and not waiting and self._monotonic() >= look_at:
                began = self._monotonic()
                found = refill(room, flying)
                waiting.extend(found)
                ended = self._monotonic()
                more, look_at, rested_at = bool(found), ended + poll_s, ended + min(poll_s, _REST * (ended - began))
            while may_start and waiting and len(flying) < self._threads:
                flying.append(self._start(waiting.popleft(), landed))
                patient_until[flying[-1]] = self._monotonic() + SLOW_MS / 1000
            if time_left() <= 0 or (not flying and (not may_start or (refill is None and not waiting))):
                break
            for job, posted in _landed(landed, min(poll_s, _PATIENCE_S, _until(look_at, self._monotonic()))):
                flying.remove(job)
                patient_until.pop(job, None)
                if not _finish(job, posted):
                    unfinished.append(job)
                elif more:
                    look_at = rested_at
            for job in [job for job, until in patient_until.items() if self._monotonic() > until]:
                # At once, not when it has landed: what comes meanwhile must not be held up by the same receiver.
                del patient_until[job]
                _settle(job, job.slow)
        for job in waiting:
            _settle(job, job.release)
        return [*unfinished, *flying, *waiting]

    def _shared_out(self, jobs: Iterable[Job]) -> tuple[deque[Job], list[Job]]:
        """The jobs that may take threads, and those over their owner's share."""
        shares, within, over = Counter[UUID](), deque[Job](), list[Job]()
        for job in jobs:
            shares[job.owner_id] += 1
            (within if shares[job.owner_id] <= self.per_owner else over).append(job)
        return within, over

    @staticmethod
    def _start(job: Job, landed: "SimpleQueue[tuple[Job, Posted | None]]") -> Job:
        threading.Thread(target=lambda: landed.put((job, _post(job))), name="webhook-post", daemon=True).start()
        return job


def _post(job: Job) -> Posted | None:
    try:
        return job.post()
    except Exception:
        logger.exception("a webhook could not be posted", extra={"subscription_id": str(job.subscription_id)})
        return None


def _until(look_at: float, now: float) -> float:
    """How long until the next look; one that is overdue waits for a landing, not for its time."""
    return look_at - now if look_at > now else _PATIENCE_S


def _landed(landed: "SimpleQueue[tuple[Job, Posted | None]]", patience_s: float) -> Iterable[tuple[Job, Posted | None]]:
    """What has landed: waits a while for the first, for no other."""
    try:
        yield landed.get(timeout=patience_s)
        while True:
            yield landed.get_nowait()
    except Empty:
        return


def _finish(job: Job, posted: Posted | None) -> bool:
    """Record the outcome; False when there is none, or when it could not be recorded."""
    if posted is None:
        _settle(job, lambda: job.release(tried=True))
        return False
    return _settle(job, lambda: job.record(posted))


def _settle(job: Job, note: Callable[[], None]) -> bool:
    """One job's bookkeeping. What fails is logged and holds up no other job: its lease ends by itself."""
    told = {"subscription_id": str(job.subscription_id)}
    try:
        note()
    except UnavailableError:
        logger.warning("what became of a webhook could not be noted", extra=told)
        return False
    except Exception:
        logger.exception("what became of a webhook could not be noted", extra=told)
        return False
    return True
