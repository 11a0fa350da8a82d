"""Forks a process for each line it reads and tells how it ended. The first line says what all of them share.

It has one thread and no connection of its own, so that a fork is a fresh process with everything imported.
"""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.proofs.events_points import Points
from bench.proofs.events_queues import TwinQueue, sqs_client
from bench.proofs.events_world import Means, Process, Reader
from bench.proofs.grounds import Ground
from cardwright.platform.egress import Egress
from local.clock import ClockFile


def main() -> None:
    """Serve until the input ends."""
    # What processes print, metrics above all, is not for whoever reads our answers.
    told, nowhere = os.fdopen(os.dup(1), "w"), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    shared = json.loads(sys.stdin.readline())
    with told, tempfile.TemporaryDirectory(prefix="cardwright-events-") as folder:
        seen = Path(folder) / "seen"
        for line in sys.stdin:
            seen.unlink(missing_ok=True)
            pid = os.fork()
            if pid == 0:
                _live(shared, json.loads(line), seen)
            _, status = os.waitpid(pid, 0)
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            if not killed and status:
                raise RuntimeError(f"a process ended with {status}")
            answer = {"killed": killed, "seen": [] if killed else json.loads(seen.read_text())}
            print(json.dumps(answer), file=told, flush=True)


def _live(shared: dict[str, Any], task: dict[str, Any], seen: Path) -> None:
    """The forked process; never returns."""
    status = 1
    try:
        points = Points(task["act"], task["doom"], by_signal=True)
        client = sqs_client(shared["twin"])
        queue, people = (TwinQueue(client, url) for url in shared["queue_urls"])
        ground = Ground(shared["url"], shared["cache_url"])
        means = Means(ground, ClockFile(Path(shared["clock"])), queue, people, Egress(loopback=True), shared["sealing_key"])
        Process(means, points).run(Reader(ground))
        seen.write_text(json.dumps(points.seen))
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
