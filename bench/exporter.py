"""One process that writes an export as the schedule's function does, and measures itself.

`python -m bench.exporter` reads its task as JSON on standard input and writes its figures as JSON on standard output.
"""

import contextlib
import json
import resource
import sys
import time

from cardwright.platform.clock import SystemClock
from cardwright.platform.objects import ObjectStore, Part
from cardwright.platform.postgres import Database
from cardwright.transactions.service.export_runs import RESERVE_S, ExportRunner

_IDLE_S = 15.0
# Linux tells kilobytes, macOS bytes.
_RSS_UNIT = 1024 if sys.platform == "darwin" else 1


class TimedObjects(ObjectStore):
    """The object store, with the time that was spent waiting for it."""

    waited_s = 0.0
    parts = 0

    def put_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part | None:
        """Store a part."""
        started = time.perf_counter()
        try:
            return super().put_part(key, upload_id, number, body)
        finally:
            self.waited_s += time.perf_counter() - started
            self.parts += 1


def peak_rss_mb() -> float:
    """The most memory this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _RSS_UNIT / 1024


class _NothingDueError(Exception):
    """Nothing is due any more."""


def main() -> None:
    """Write what is due; memory is in MB, before the first row and at its most."""
    task = json.loads(sys.stdin.readline())
    database = Database(lambda: str(task["database_url"]), budget_s=35.0)
    objects = TimedObjects(task["bucket"])

    idle_s = 0.0

    def idle(seconds: float) -> None:
        nonlocal idle_s
        # A first try may fail, for instance when the emulator is slow to join the parts; the next one is due after ten seconds.
        if idle_s > _IDLE_S:
            raise _NothingDueError
        idle_s += seconds
        time.sleep(seconds)

    before_mb, started, cpu = peak_rss_mb(), time.perf_counter(), time.process_time()
    with contextlib.suppress(_NothingDueError):
        ExportRunner(database, SystemClock(), objects, sleep=idle).run(lambda: RESERVE_S + 3600)
    figures = {
        "elapsed_s": time.perf_counter() - started - idle_s,
        "cpu_s": time.process_time() - cpu,
        "store_s": objects.waited_s,
        "parts": objects.parts,
        "rss_before_mb": before_mb,
        "rss_peak_mb": peak_rss_mb(),
    }
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
