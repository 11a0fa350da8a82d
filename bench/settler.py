"""One process that reconciles settlement as the schedule's function does, and measures itself.

`python -m bench.settler` reads its task as JSON on standard input and writes its figures as JSON on standard output.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from cardwright.platform.clock import SystemClock
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database
from cardwright.settlement.ports import ListedFile, TransactionPage
from cardwright.settlement.service import Reconciliation
from cardwright.transactions.service.life import TransactionLife

_PIECE = 1 << 20
# Linux tells kilobytes, macOS bytes.
_RSS_UNIT = 1024 if sys.platform == "darwin" else 1
_LONGEST_S = 36_000.0


class FileSource:
    """A processor with one file and no list."""

    name = "bench"

    def __init__(self, file_id: str, path: Path) -> None:
        self._file_id = file_id
        self._path = path

    def transactions(self, since: datetime, cursor: str | None) -> TransactionPage:
        """Nothing."""
        return TransactionPage((), None)

    def files(self, since: datetime) -> Sequence[ListedFile]:
        """The file."""
        return [ListedFile(self._file_id, None)]

    def open(self, file_id: str) -> Iterator[bytes]:
        """The file in pieces."""
        with self._path.open("rb") as content:
            while piece := content.read(_PIECE):
                yield piece


def peak_rss_mb() -> float:
    """The most memory this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _RSS_UNIT / 1024


def main() -> None:
    """Reconcile once; memory is in MB, before the first line and at its most."""
    task = json.loads(sys.stdin.readline())
    database = Database(lambda: str(task["database_url"]), budget_s=35.0)
    clock = SystemClock()
    ids = IdSource(clock)
    source = FileSource(str(task["file_id"]), Path(task["path"]))
    runs = Reconciliation(database, clock, ids, TransactionLife(database, clock, ids), source.name, source)
    before = peak_rss_mb()
    started, cpu = time.perf_counter(), time.process_time()
    done = runs.run(lambda: _LONGEST_S)
    figures = {
        "elapsed_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "rss_before_mb": before,
        "rss_peak_mb": peak_rss_mb(),
        "settled": 0 if done is None else done.settled,
        "cases": 0 if done is None else done.cases_opened,
    }
    database.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
