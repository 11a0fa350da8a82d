"""Run the catalogue's queues and schedules: `python -m local.workers --queues '{"events": "<url>"}' --clock FILE`."""

import argparse
import json
import signal
import threading
import time
from pathlib import Path

import boto3
from botocore.config import Config

from cardwright.kernel.rows import Queue, Schedule
from local.clock import ClockFile
from local.gateway.invoker import Handlers
from local.hosting import load_rows, tell_ready
from local.workers.invocations import serve_invocations
from local.workers.queues import QueueWorker
from local.workers.schedules import ScheduleWorker

# A batch under way may finish; what does not finish in this time comes again, which every consumer allows for.
_GRACE_S = 4.0


def main() -> None:
    """Start every worker and wait for SIGTERM."""
    parser = argparse.ArgumentParser(prog="local.workers", description=__doc__)
    parser.add_argument("--queues", type=json.loads, required=True, help="JSON object: logical queue name -> URL")
    parser.add_argument("--clock", type=Path, required=True, help="the shared clock's file")
    parser.add_argument("--invocations", type=int, help="port on which functions are invoked by name")
    parser.add_argument("--ready-fd", type=int, help="pipe to write a byte to once everything polls")
    parser.add_argument("--catalogue", default="functions.catalogue:CATALOGUE", help="module:name of the rows")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    handlers, clock = Handlers(), ClockFile(arguments.clock)
    config = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}, max_pool_connections=50)
    client = boto3.client("sqs", config=config)
    waiting: list[threading.Thread] = []
    rows = load_rows(arguments.catalogue)
    if arguments.invocations is not None:
        serve_invocations(rows, handlers, arguments.invocations)
    for row in rows:
        if isinstance(row, Queue):
            queue = QueueWorker(row, client, arguments.queues[row.queue], handlers=handlers, stop=stop)
            queue.start()
            waiting += queue.threads
        elif isinstance(row, Schedule):
            ScheduleWorker(row, clock.now, handlers, stop).start()
    tell_ready(arguments.ready_fd)
    stop.wait()
    deadline = time.monotonic() + _GRACE_S
    for thread in waiting:
        thread.join(max(0.0, deadline - time.monotonic()))


if __name__ == "__main__":
    main()
