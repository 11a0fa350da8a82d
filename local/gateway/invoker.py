"""Runs handlers in a bounded set of threads, as Lambda runs them in a bounded set of sandboxes."""

import asyncio
import importlib
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from cardwright.kernel.rows import Row
from local.lambda_context import LambdaContext

Handler = Callable[[dict[str, Any], LambdaContext], Any]


class ThrottledError(Exception):
    """All threads are busy and the waiting room is full."""


class HandlerTimeoutError(Exception):
    """The handler did not answer in time; it may still be running, and its answer is dropped."""


class HandlerFailedError(Exception):
    """The handler raised or could not be imported; the log has where."""


@dataclass(slots=True)
class _Job:
    row: Row
    event: dict[str, Any]
    request_id: str
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop
    deadline: float
    abandoned: bool = False
    running: bool = False

    def is_overdue(self) -> bool:
        """Whether the caller stopped waiting while it ran."""
        return self.running and self.abandoned


def log_failure(row: Row, request_id: str, error: BaseException) -> None:
    """Write where a handler failed: type and code lines, without the message, which may hold a caller's data."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames[-5:]))
    # An import happens before there is a caller: its message can only be about our own modules.
    kind = f"{type(error).__name__}: {error}" if isinstance(error, ImportError) else type(error).__name__
    print(f"{row.name} failed: {kind} at {where} (request {request_id})", file=sys.stderr, flush=True)


class Handlers:
    """Imports handlers when first needed and keeps them; one import at a time: modules share most of it."""

    def __init__(self, known: Mapping[str, Handler] | None = None) -> None:
        """`known` gives handlers by module name that need no import."""
        self._known: dict[str, Handler] = dict(known or {})
        self._lock = threading.Lock()

    def get(self, row: Row) -> Handler:
        """The row's handler. Raises whatever its import raises."""
        known = self._known.get(row.module)
        if known is not None:
            return known
        with self._lock:
            handler: Handler = importlib.import_module(row.module).handler
            self._known[row.module] = handler
            return handler


class Invoker:
    """Calls handlers from an event loop. At most `threads` run, at most `waiting` wait; beyond that: ThrottledError."""

    def __init__(self, handlers: Handlers, *, threads: int = 40, waiting: int = 1000) -> None:
        self._handlers = handlers
        self._limit = threads
        self._waiting_limit = waiting
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._pending = 0
        self._overdue = 0

    async def invoke(self, row: Row, event: dict[str, Any], request_id: str, timeout_s: float) -> Any:
        """Run the row's handler on `event`. Raises ThrottledError, HandlerTimeoutError or HandlerFailedError."""
        loop = asyncio.get_running_loop()
        job = _Job(row, event, request_id, loop.create_future(), loop, time.monotonic() + timeout_s)
        with self._lock:
            if self._pending - self._overdue >= self._limit + self._waiting_limit:
                raise ThrottledError
            self._pending += 1
            self._add_thread_if_useful()
        self._jobs.put(job)
        timer = loop.call_later(timeout_s, self._give_up, job)
        try:
            return await job.future
        finally:
            timer.cancel()

    def _add_thread_if_useful(self) -> None:
        """Needs the lock. Threads stuck in an overdue handler do not count."""
        if self._threads - self._overdue < min(self._pending - self._overdue, self._limit):
            self._threads += 1
            threading.Thread(target=self._work, name=f"handler-{self._threads}", daemon=True).start()

    def _give_up(self, job: _Job) -> None:
        if job.future.done():
            return
        with self._lock:
            job.abandoned = True
            # The stuck thread no longer counts: Lambda would have ended its sandbox and started another.
            if job.running:
                self._overdue += 1
                self._add_thread_if_useful()
        job.future.set_exception(HandlerTimeoutError())

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            with self._lock:
                if job.abandoned:
                    self._pending -= 1
                    continue
                job.running = True
            try:
                context = LambdaContext(job.row, job.request_id)
                outcome: Any = self._handlers.get(job.row)(job.event, context)
                error: BaseException | None = None
            except BaseException as caught:
                log_failure(job.row, job.request_id, caught)
                outcome, error = None, HandlerFailedError()
            with self._lock:
                self._pending -= 1
                self._overdue -= job.is_overdue()
                leave = self._threads - self._overdue > self._limit
                if leave:
                    self._threads -= 1
            if not job.loop.is_closed():
                job.loop.call_soon_threadsafe(_settle, job, outcome, error)
            if leave:
                return


def _settle(job: _Job, outcome: Any, error: BaseException | None) -> None:
    if job.future.done():
        return
    if error is None:
        job.future.set_result(outcome)
    else:
        job.future.set_exception(error)
