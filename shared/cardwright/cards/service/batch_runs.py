"""Work off batches: an item is an issuance under the card id it was given, so that however often it is run it makes one card."""

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from cardwright.cards import rules
from cardwright.cards.rules import Failure, Origin
from cardwright.cards.service.batches import read_wish_document
from cardwright.cards.service.issuing import Issuing
from cardwright.cards.service.tools import SCHEDULE, CardTools
from cardwright.cards.store import batches as store
from cardwright.cards.store import issuances
from cardwright.cards.store.batches import DueItem
from cardwright.kernel.errors import BrokenInvariantError, CardwrightError, UnavailableError
from cardwright.kernel.rows import Role
from cardwright.platform.postgres import Actor
from cardwright.platform.telemetry import logger

THREADS = 4
PAGE = 20
POLL_S = 0.5
# Longer than a run may last: while it lasts nobody else takes the item.
LEASE = timedelta(seconds=120)
# What is left of a run's time when no further item is begun: one that is asked for in vain takes some 20 seconds.
RESERVE_S = 30.0


class _Feed:
    """What was taken and is not begun. One thread at a time looks for more; the others wait for what it finds."""

    def __init__(self, tools: CardTools, deadline: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._tools = tools
        self._deadline = deadline
        self._sleep = sleep
        self._lock = threading.Lock()
        self._waiting: deque[DueItem] = deque()
        self.failure: UnavailableError | None = None
        self.stopped = False

    def next(self) -> DueItem | None:
        """The next item; None when there is no time left to begin one."""
        with self._lock:
            while not self.stopped and self._deadline() > RESERVE_S:
                if not self._waiting:
                    self._look()
                if self._waiting:
                    return self._waiting.popleft()
                self._sleep(POLL_S)
        return None

    def _look(self) -> None:
        now = self._tools.clock.now()
        try:
            with self._tools.database.transaction(SCHEDULE) as tx:
                self._waiting.extend(store.take_due(tx, PAGE, now, now + LEASE))
            self.failure = None
        except UnavailableError as error:
            self.failure = error

    def give_back(self) -> None:
        """Leave to others what was not begun; without the database their leases end by themselves."""
        left = list(self._waiting)
        if not left:
            return
        try:
            with self._tools.database.transaction(SCHEDULE) as tx:
                store.give_back(tx, left, self._tools.clock.now())
        except UnavailableError as error:
            self.failure = error


class BatchRunner:
    """Works off items, some at a time. Any number may run at once: each item is taken by one, for the time of its lease."""

    def __init__(
        self, tools: CardTools, issuing: Issuing, *, threads: int = THREADS, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._tools = tools
        self._issuing = issuing
        self._threads = threads
        self._sleep = sleep

    def run(self, deadline: Callable[[], float]) -> int:
        """Run what is due, and what becomes due, until `deadline()`, the seconds left, is under RESERVE_S; return how many.

        Goes on after a database that did not answer. Raises UnavailableError when it did not answer at the last look either.
        """
        feed = _Feed(self._tools, deadline, self._sleep)
        run: list[DueItem] = []
        ends: list[BaseException] = []

        def work() -> None:
            try:
                while (item := feed.next()) is not None:
                    self._run(item)
                    run.append(item)
            except BaseException as error:
                # It is raised where the others have ended, too.
                ends.append(error)
                feed.stopped = True
            finally:
                self._tools.database.close()

        # Daemons: a process that is told to end does not wait for them.
        threads = [threading.Thread(target=work, name="card-batch", daemon=True) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if ends:
            raise ends[0]
        feed.give_back()
        if feed.failure is not None:
            raise feed.failure
        return len(run)

    def _run(self, item: DueItem) -> None:
        """Make one attempt at an item and note what became of it."""
        told = {"job_id": str(item.job_id), "position": item.position, "card_id": str(item.card_id)}
        try:
            self._attempt(item)
        except UnavailableError:
            logger.warning("the outcome of a batch's item could not be recorded", extra=told)
        except Exception:
            # One item's trouble is not the others'; its lease ends by itself.
            logger.exception("a batch's item could not be run", extra=told)

    def _attempt(self, item: DueItem) -> None:
        actor = Actor(item.user_id, Role.CARDHOLDER.value, item.request_id)
        try:
            self._issuing.issue(actor, read_wish_document(item.wish), item.card_id, Origin.BATCH)
        except (UnavailableError, BrokenInvariantError) as error:
            self._later(item, error)
        except CardwrightError as error:
            self._fail(item, rules.failure_of(error))
        except Exception as error:
            self._later(item, error)
        else:
            self._done(item)

    def _later(self, item: DueItem, error: Exception) -> None:
        """Try an item again that got no answer, unless that was its last attempt."""
        if not isinstance(error, UnavailableError):
            logger.error("a batch's item met an unexpected error", exc_info=error, extra={"card_id": str(item.card_id)})
        due_at = rules.next_attempt(item.attempts, self._tools.clock.now())
        if due_at is None:
            self._fail(item, rules.failure_of(error))
            return
        with self._tools.database.transaction(SCHEDULE) as tx:
            store.postpone(tx, item, due_at)

    def _done(self, item: DueItem) -> None:
        now = self._tools.clock.now()
        with self._tools.database.transaction(SCHEDULE) as tx:
            if store.settle(tx, item, None, now):
                store.finish_settled(tx, item.user_id, item.job_id, now)

    def _fail(self, item: DueItem, failure: Failure) -> None:
        """Note a failure, and let no card come of it afterwards: what an earlier attempt may have left is closed by the sweeper.

        A card that is there all the same, because somebody else finished it, makes the item succeed.
        """
        now: datetime = self._tools.clock.now()
        with self._tools.database.transaction(SCHEDULE) as tx:
            issuances.lock_issuing(tx, item.user_id)
            issuance = issuances.get(tx, item.user_id, item.card_id)
            made = issuance is not None and issuance.state == "ISSUED"
            if not store.settle(tx, item, None if made else failure, now):
                return
            store.finish_settled(tx, item.user_id, item.job_id, now)
            if issuance is not None and not made and not store.wanted_elsewhere(tx, item):
                issuances.finish(tx, item.user_id, item.card_id, failure.code, now)
