"""Schedules: each row's handler at its rate by the shared clock, in its own threads, at once after an advance."""

import threading
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from cardwright.kernel.rows import Schedule
from local.clock import rfc3339
from local.gateway.invoker import Handlers, log_failure
from local.lambda_context import ACCOUNT, REGION, LambdaContext

_LOOK_EVERY_S = 0.1
# EventBridge starts the next run whether or not the last has ended; two at once show what that does.
_RUNS_AT_ONCE = 2


def schedule_event(row: Schedule, at: datetime) -> dict[str, object]:
    """Build the event an EventBridge rule sends."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": rfc3339(at),
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{row.name}"],
        "detail": {},
    }


class ScheduleWorker:
    """Runs one row at its rate until told to stop; missed runs are not made up one by one."""

    def __init__(self, row: Schedule, now: Callable[[], datetime], handlers: Handlers, stop: threading.Event) -> None:
        """`now` is the shared clock: when it is advanced past the next run, that run is due at once."""
        self._row = row
        self._now = now
        self._handlers = handlers
        self._stop = stop
        self._room = threading.Semaphore(_RUNS_AT_ONCE)
        self.thread = threading.Thread(target=self._watch, name=row.name, daemon=True)

    def start(self) -> None:
        """Begin; the first run is at once."""
        self.thread.start()

    def _watch(self) -> None:
        due = self._now()
        while not self._stop.is_set():
            now = self._now()
            if now >= due and self._room.acquire(blocking=False):
                threading.Thread(target=self._run, args=(now,), name=f"{self._row.name}-run", daemon=True).start()
                due = now + timedelta(seconds=self._row.every_s)
            self._stop.wait(_LOOK_EVERY_S)

    def _run(self, at: datetime) -> None:
        request_id = str(uuid.uuid4())
        try:
            context = LambdaContext(self._row, request_id, stopping=self._stop.is_set)
            self._handlers.get(self._row)(schedule_event(self._row, at), context)
        except Exception as error:
            log_failure(self._row, request_id, error)
        finally:
            self._room.release()
