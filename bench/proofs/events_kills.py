"""Relay, worker and schedule killed before and after everything they ask of the outside: no event is lost, none is made up.

A first run without a kill lists the points (bench/proofs/events_points.py). Then each is the end of a process once on either
side; another process takes over, and a reader judges what subscribers got. The quick form dies by an exception that nothing of
ours may stop, at after the first of each kind of point, the long one by SIGKILL at all of them.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from bench.machine import pipe
from bench.proofs.events_points import AFTER, BEFORE, Killed, Points
from bench.proofs.events_queues import MemoryQueue, TwinQueue, sqs_client
from bench.proofs.events_receiver import Receiver, listening
from bench.proofs.events_twin import running_twin
from bench.proofs.events_world import LEASES_OVER, HandClock, Means, Process, Reader, happen, judge, reading, subscribe, unsent
from bench.proofs.grounds import Ground, own_ground
from local.clock import ClockFile

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KINDS = ("good", "late", "gone")


class Driver(Protocol):
    """Lets a process run to its end."""

    def __call__(self, means: Means, reader: Reader, act: str, doom: str | None) -> tuple[list[str], bool]:
        """Run until nothing is left, or the doom; the points that were seen (none of a killed process), and whether it died."""
        ...


def in_process(means: Means, reader: Reader, act: str, doom: str | None) -> tuple[list[str], bool]:
    """Run within this process; death is an exception, after which nothing is asked any more."""
    points = Points(act, doom)
    try:
        Process(means, points).run(reader)
    except Killed:
        return [], True
    return points.seen, points.dead


def measure_quick(ground: Ground, *, kill: bool = True) -> dict[str, Any]:
    """Kill once after every kind of point, on a migrated database without rows; figures.

    Between one point and the next nothing is done that could be lost: after one is before the next.
    """
    queue, receiver = MemoryQueue(), Receiver()
    means = Means(ground, HandClock(NOW), queue, MemoryQueue(), receiver)

    def revive() -> None:
        queue.show_all()
        means.clock.advance(LEASES_OVER)

    return _measure(
        _Setting(means, receiver, "http://127.0.0.1:9", in_process, revive, 1, firsts_only=True, sides=(AFTER,) if kill else ())
    )


def measure(*, seed: int | None = None, every: int = 1) -> dict[str, Any]:
    """Kill at every point by SIGKILL, with PostgreSQL, a queue over SQS's API and subscribers on sockets; figures.

    With `every` only each so manieth point has its turn.
    """
    del seed  # Nothing is drawn: every point has its turn.
    receiver = Receiver()
    with ExitStack() as stack:
        ground, _ = stack.enter_context(own_ground(durable=False))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="cardwright-events-")))
        twin = stack.enter_context(running_twin(folder / "twin"))
        port = stack.enter_context(listening(receiver))
        clock = stack.enter_context(ClockFile.create(folder / "clock"))
        client = sqs_client(twin)
        url = client.create_queue(QueueName="events", Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
        people = client.create_queue(QueueName="people")["QueueUrl"]
        means = Means(ground, clock, TwinQueue(client, url), TwinQueue(client, people), receiver)
        drive = stack.enter_context(_mortal(means, twin, [url, people], folder / "clock"))
        base = f"http://127.0.0.1:{port}"
        return _measure(_Setting(means, receiver, base, drive, lambda: clock.advance(LEASES_OVER), 2, every=every))


@dataclass(frozen=True, slots=True)
class _Setting:
    """Where lives are played, and what brings back to the light what a dead process held."""

    means: Means
    receiver: Receiver
    base_url: str
    drive: Driver
    revive: Callable[[], object]
    events: int
    # Which points of the recording, and on which sides of them.
    firsts_only: bool = False
    every: int = 1
    sides: tuple[str, ...] = (BEFORE, AFTER)


def _measure(setting: _Setting) -> dict[str, Any]:
    with reading(setting.means.ground) as reader, closing(setting.means):
        recorded, died, found = _play(setting, reader, None)
        if died:
            raise RuntimeError("the recording was killed")
        points = [point for point in dict.fromkeys(recorded) if not setting.firsts_only or point.endswith("#1")][:: setting.every]
        killed: list[str] = []
        receipts = 0
        for point in points:
            for doom in [f"{side} {point}" for side in setting.sides]:
                _, died, wrong = _play(setting, reader, doom)
                receipts += len(setting.receiver.receipts)
                found += [f"killed {doom}: {one}" for one in wrong]
                if died:
                    killed.append(doom)
                else:
                    found.append(f"{doom} was not reached")
    return {
        "points": points, "kinds": sorted({re.sub(r"#\d+$", "", point) for point in recorded}), "killed": killed,
        "kills": len(killed), "receipts": receipts, "found": found[:20], "violations": len(found),
    }  # fmt: skip


def _play(setting: _Setting, reader: Reader, doom: str | None) -> tuple[list[str], bool, list[str]]:
    """One life from subscribing to the last attempt, one process of which dies; points seen, whether it died, what was wrong."""
    means, receiver = setting.means, setting.receiver
    receiver.receipts.clear()
    told = subscribe(means, receiver, setting.base_url, *KINDS)
    seen, died = _to_the_end(setting, reader, "verify", doom)
    committed, _ = happen(means, told, setting.events)
    more, died_now = _to_the_end(setting, reader, "deliver", doom)
    wrong = judge(reader, receiver, told, committed) + unsent(means.people, committed)
    return [*seen, *more], died or died_now, wrong


def _to_the_end(setting: _Setting, reader: Reader, act: str, doom: str | None) -> tuple[list[str], bool]:
    seen, died = setting.drive(setting.means, reader, act, doom)
    if not died:
        return seen, False
    setting.revive()
    _, again = setting.drive(setting.means, reader, act, None)
    if again:
        raise RuntimeError("a process died that was not to be killed")
    return [], True


@contextmanager
def _mortal(means: Means, twin: str, queue_urls: list[str], clock: Path) -> Iterator[Driver]:
    """A driver whose processes are real: forked one by one by a program that has everything imported."""
    shared = {
        "url": means.ground.url, "cache_url": means.ground.cache_url, "twin": twin, "queue_urls": queue_urls, "clock": str(clock),
        "sealing_key": means.sealing_key,
    }  # fmt: skip
    command = [sys.executable, "-m", "bench.proofs.events_runner"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as runner:
        asked, told = pipe(runner.stdin), pipe(runner.stdout)
        asked.write(json.dumps(shared) + "\n")

        def drive(means: Means, reader: Reader, act: str, doom: str | None) -> tuple[list[str], bool]:
            del means, reader  # The processes have their own.
            asked.write(json.dumps({"act": act, "doom": doom}) + "\n")
            asked.flush()
            line = told.readline()
            if not line:
                raise RuntimeError("the program that forks has ended")
            answer = json.loads(line)
            return answer["seen"], answer["killed"]

        try:
            yield drive
        finally:
            asked.close()
