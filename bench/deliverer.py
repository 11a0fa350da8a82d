"""One process that delivers: turns of a bare loop of the HTTP client, and of the worker, over the same posts.

`python -m bench.deliverer` reads its task as JSON on standard input and writes its figures as JSON on standard output.
"""

import base64
import gc
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.cpu import used_us
from bench.proofs.events_queues import MemoryQueue
from bench.proofs.events_world import Means, Told, card_event
from bench.proofs.grounds import Ground, ProofCard
from cardwright.kernel.secret import Secret
from cardwright.kernel.signatures import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from cardwright.outbox.rules import Event, message
from cardwright.platform.cache import Cache
from cardwright.platform.egress import Egress
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor
from cardwright.ratelimit.service import WebhookPace
from cardwright.transactions.service import TransactionEvents
from cardwright.webhooks.service import WebhookService, WebhookWorker
from local.clock import ClockFile

# Messages of one batch, which is what one sandbox of the worker has in hand at a time.
BATCH = 10
_WARM = 5


def main() -> None:
    """Measure what was asked for."""
    task = json.loads(sys.stdin.readline())
    figures, nowhere = os.fdopen(os.dup(1), "w"), os.open(os.devnull, os.O_WRONLY)
    # Metrics are written as in production, and read by nobody.
    os.dup2(nowhere, 1)
    clock = ClockFile(Path(task["clock"]))
    ground, egress = Ground(task["url"], task["cache_url"]), Egress(loopback=True)
    means = Means(ground, clock, MemoryQueue(), MemoryQueue(), egress, task["key"])
    people = [
        Told(Actor(UUID(user), "cardholder"), (), {}, ProofCard(UUID(card), UUID(user), "")) for user, card in task["people"]
    ]
    bare, worker = Turns(task["postgres_pid"]), Turns(task["postgres_pid"])
    ids = IdSource(clock)
    for number in range(task["turns"] + 1):
        count = task["events"] if number else _WARM * BATCH
        events = [card_event(ids.new(), clock.now(), told) for told in itertools.islice(itertools.cycle(people), count)]
        bare.take(_bare(means, task["receiver"], events), count, counts=bool(number))
        worker.take(_worker(means, events), count, counts=bool(number))
    means.close()
    ratio = statistics.median(one / other for one, other in zip(worker.per_second, bare.per_second, strict=True))
    print(json.dumps({"worker": worker.told(), "bare_loop": bare.told(), "ratio": round(ratio, 3)}), file=figures, flush=True)


class Turns:
    """What the turns of one kind came to."""

    def __init__(self, postgres_pid: int) -> None:
        self._postgres_pid = postgres_pid
        self.per_second: list[float] = []
        self._python_us: list[float] = []
        self._postgres_us: list[float] = []

    def take(self, work: Callable[[], None], count: int, *, counts: bool) -> None:
        """Do the work, of so many posts, and measure it."""
        gc.collect()
        postgres, python, began = used_us(self._postgres_pid), time.process_time(), time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        if counts:
            self.per_second.append(count / seconds)
            self._python_us.append((time.process_time() - python) * 1e6 / count)
            self._postgres_us.append((used_us(self._postgres_pid) - postgres) / count)

    def told(self) -> dict[str, Any]:
        """Medians of the turns: by the clock for one process, and by the CPU for one core that does nothing else."""
        python_us, postgres_us = statistics.median(self._python_us), statistics.median(self._postgres_us)
        return {
            "per_second": round(statistics.median(self.per_second), 1),
            "per_core_second": round(1e6 / python_us, 1),
            "python_us": round(python_us),
            "postgres_us": round(postgres_us),
        }


def _bare(means: Means, port: int, events: Sequence[Event]) -> Callable[[], None]:
    """The posts alone, made and signed before, as many at once as the worker makes."""
    secret = Secret("whsec_" + base64.b64encode(bytes(32)).decode())
    url, posts = f"http://127.0.0.1:{port}/bare", []
    for event in events:
        body, moment = json.dumps(message(event)["event"], separators=(",", ":")).encode(), int(event.created_at.timestamp())
        headers = {
            "Content-Type": "application/json",
            ID_HEADER: str(event.event_id),
            TIMESTAMP_HEADER: str(moment),
            SIGNATURE_HEADER: sign([secret], str(event.event_id), moment, body),
        }
        posts.append((headers, body))

    def work() -> None:
        with ThreadPoolExecutor(BATCH) as pool:
            for answer in pool.map(lambda post: means.sender.post(url, *post), posts):
                if answer.status != 200:
                    raise RuntimeError(f"answered {answer.status}")

    return work


def _worker(means: Means, events: Sequence[Event]) -> Callable[[], None]:
    """The queue's consumer, batch by batch: fan-out, attempt, record."""
    ids = IdSource(means.clock)
    pace = WebhookPace(Cache(means.ground.cache_url), means.clock, ids, enabled=True)
    service = WebhookService(
        means.database("worker"), means.clock, ids, means.sealer(), lambda: means.sender, sources=[TransactionEvents()], pace=pace
    )
    worker = WebhookWorker(service)
    records = [
        {"messageId": str(event.event_id), "body": json.dumps(message(event)), "eventSource": "aws:sqs"} for event in events
    ]

    def work() -> None:
        for start in range(0, len(records), BATCH):
            answer = worker.process_event_queue({"Records": records[start : start + BATCH]}, lambda: 100.0)
            if answer["batchItemFailures"]:
                raise RuntimeError("a message was not taken")

    return work


if __name__ == "__main__":
    main()
