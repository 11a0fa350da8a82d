"""Which process is which: identity that survives reuse of process ids, and ending what a killed stack left behind."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from local.home import Home

_RECORD = "processes.json"
_POLL_S = 0.05


def started_at(pid: int) -> str | None:
    """When a process started, in the system's own terms; None when there is none. With the id it names one process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    else:
        # proc(5): field 3 is the state, field 22 the start time in ticks since boot; a zombie is no longer running.
        return None if fields[0] in "ZX" else fields[19]
    told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], check=False, capture_output=True, text=True)
    return told.stdout.strip() or None


def record(home: Home, pids: Iterable[int]) -> None:
    """Write down the processes of this stack, so that a later run can tell its own leftovers from strangers."""
    entries = {str(pid): start for pid in pids if (start := started_at(pid)) is not None}
    home.write_json(_RECORD, {"supervisor": {str(os.getpid()): started_at(os.getpid())}, "parts": entries})


def _running(entries: dict[str, Any]) -> list[int]:
    return [int(pid) for pid, start in entries.items() if started_at(int(pid)) == start]


def supervisor_of(home: Home) -> int | None:
    """The id of the folder's supervisor when it runs."""
    running = _running(home.read_json(_RECORD).get("supervisor", {}))
    return running[0] if running else None


def leftovers(home: Home) -> list[int]:
    """Recorded parts that still run."""
    return _running(home.read_json(_RECORD).get("parts", {}))


def forget(home: Home) -> None:
    """Drop the record: everything has stopped."""
    (home.root / _RECORD).unlink(missing_ok=True)


def end_all(pids: Iterable[int], *, grace_s: float) -> list[int]:
    """End processes by SIGTERM, after `grace_s` by SIGKILL; returns those that would not go."""
    waiting = {pid: start for pid in pids if (start := started_at(pid)) is not None}
    for number, seconds in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 2.0)):
        for pid in waiting:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            waiting = {pid: start for pid, start in waiting.items() if started_at(pid) == start}
        if not waiting:
            return []
    return list(waiting)
