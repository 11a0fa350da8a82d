"""Webhooks: deliveries a second beside a bare loop of the same HTTP client, the relay, and the delay of the whole way."""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from bench.machine import pipe, server_folder
from bench.proofs.events_points import Points
from bench.proofs.events_queues import MemoryQueue, TwinQueue, sqs_client
from bench.proofs.events_receiver import Receiver
from bench.proofs.events_twin import running_twin
from bench.proofs.events_world import Means, Process, Told, card_event, reading, subscribe
from bench.proofs.grounds import own_ground
from cardwright.outbox import service as outbox
from cardwright.outbox.ports import QueueRoute
from cardwright.outbox.rules import for_partners
from cardwright.outbox.service import OutboxRelay
from cardwright.platform.egress import Egress
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database
from cardwright.transactions.service import TransactionEvents
from cardwright.webhooks.service import WebhookService, WebhookWorker
from functions.webhooks.routes import PROCESS_EVENT_QUEUE
from local.clock import ClockFile
from local.gateway.invoker import Handlers
from local.servers.postgres import PostgresServer
from local.workers.queues import QueueWorker

PEOPLE = 20
TURNS = 3
DELIVERIES = 400
RELAYED = 2_000
# Of the whole way: events a second, for so long.
PACE, SECONDS = 20, 12


def measure() -> dict[str, Any]:
    """Run servers of its own, durable; returns rates a second, CPU in microseconds and delays in milliseconds."""
    with (
        own_ground(durable=True) as (ground, postgres),
        server_folder() as folder,
        running_twin(folder / "twin") as twin,
        _hearing() as hearer,
        ClockFile.create(folder / "clock") as clock,
        reading(ground) as reader,
    ):
        means = Means(ground, clock, MemoryQueue(), MemoryQueue(), Egress(loopback=True))
        with closing(means):
            people = [subscribe(means, Receiver(), f"http://127.0.0.1:{hearer.port}", "good") for _ in range(PEOPLE)]
            with _quiet():
                Process(means, Points("verify")).run(reader)
            figures = _deliveries(means, postgres, hearer, people, folder / "clock")
            client = sqs_client(twin)
            url = client.create_queue(QueueName="events", Attributes={"VisibilityTimeout": "30"})["QueueUrl"]
            queued = replace(means, queue=TwinQueue(client, url))
            relay = _relay(queued)
            client.purge_queue(QueueUrl=url)
            return {"deliveries": figures, "relay": relay, "commit_to_receipt": _whole_way(queued, client, url, hearer, people)}


@dataclass(frozen=True, slots=True)
class _Hearer:
    port: int
    asked: IO[str]
    told: IO[str]

    def heard(self) -> dict[str, float]:
        """When each event first came, of those since the last call."""
        self.asked.write("\n")
        self.asked.flush()
        first: dict[str, float] = {}
        for event_id, moment in json.loads(self.told.readline()):
            first.setdefault(event_id, moment)
        return first


@contextmanager
def _hearing() -> Iterator[_Hearer]:
    command = [sys.executable, "-m", "bench.hearer"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        asked, told = pipe(process.stdin), pipe(process.stdout)
        try:
            yield _Hearer(int(told.readline()), asked, told)
        finally:
            process.terminate()


def _deliveries(means: Means, postgres: PostgresServer, hearer: _Hearer, people: Sequence[Told], clock: Path) -> dict[str, Any]:
    """Turns of the bare loop and of the worker, in a process of their own."""
    task = {
        "url": means.ground.url, "cache_url": means.ground.cache_url, "key": means.sealing_key, "receiver": hearer.port,
        "people": [(str(told.card.user_id), str(told.card.card_id)) for told in people], "events": DELIVERIES, "turns": TURNS,
        "postgres_pid": postgres.pid, "clock": str(clock),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "bench.deliverer"], input=json.dumps(task) + "\n", capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError("the timed process failed: " + done.stderr[-800:])
    hearer.heard()
    figures: dict[str, Any] = json.loads(done.stdout)
    return {"subscriptions": PEOPLE, "batch": 10, **figures}


def _relay(means: Means) -> dict[str, Any]:
    """Events that were committed before, relayed to the twin as fast as it goes."""
    told = subscribe(means, Receiver(), "http://127.0.0.1:9", "good")
    ids, app = IdSource(means.clock), means.database("app")
    with app.transaction(told.actor) as tx:
        for _ in range(RELAYED):
            outbox.append(tx, card_event(ids.new(), means.clock.now(), told))
    relay, moved = _new_relay(means, means.database("worker", "relay")), 0
    python, began = time.process_time(), time.perf_counter()
    while found := relay.relay_once():
        moved += found
    seconds = time.perf_counter() - began
    return {
        "events": moved,
        "per_second": round(moved / seconds, 1),
        "python_us": round((time.process_time() - python) * 1e6 / moved),
    }


def _new_relay(means: Means, database: Database) -> OutboxRelay:
    return OutboxRelay(database, [TransactionEvents()], [QueueRoute("events", means.queue, for_partners)], means.clock)


def _whole_way(means: Means, client: Any, url: str, hearer: _Hearer, people: Sequence[Told]) -> dict[str, Any]:
    """From the commit of an event to its receipt: relay, twin, event source, worker, subscriber."""
    database, stop = means.ground.as_role("worker"), threading.Event()
    ids = IdSource(means.clock)
    service = WebhookService(database, means.clock, ids, means.sealer(), lambda: means.sender, sources=[TransactionEvents()])
    worker, relay = WebhookWorker(service), _new_relay(means, database)
    handlers = Handlers({PROCESS_EVENT_QUEUE.module: lambda event, _: worker.process_event_queue(event, lambda: 100.0)})
    source = QueueWorker(PROCESS_EVENT_QUEUE, client, url, handlers=handlers, stop=stop, pollers=0)

    def relaying() -> None:
        # As the deployed function does: until little time is left, with its own pause.
        relay.run(lambda: 0.0 if stop.is_set() else 100.0)
        database.close()

    def consuming() -> None:
        while not stop.is_set():
            source.poll_once()
        database.close()

    threads = [threading.Thread(target=part) for part in (relaying, consuming, consuming)]
    committed: dict[str, float] = {}
    heard: dict[str, float] = {}
    with _quiet():
        for thread in threads:
            thread.start()
        begin = time.monotonic()
        for number in range(PACE * SECONDS):
            time.sleep(max(0.0, begin + number / PACE - time.monotonic()))
            told = people[number % len(people)]
            event = card_event(ids.new(), means.clock.now(), told)
            with means.database("app").transaction(told.actor) as tx:
                outbox.append(tx, event)
            committed[str(event.event_id)] = time.time()
        deadline = time.monotonic() + 30
        while len(heard.keys() & committed.keys()) < len(committed) and time.monotonic() < deadline:
            time.sleep(0.2)
            heard = {**hearer.heard(), **heard}
        stop.set()
        for thread in threads:
            thread.join()
    delays = sorted((heard[event_id] - moment) * 1000 for event_id, moment in committed.items() if event_id in heard)
    cut = statistics.quantiles(delays, n=100)
    return {
        "events": len(committed),
        "received": len(delays),
        "events_per_second": PACE,
        "ms": {"p50": round(cut[49], 1), "p95": round(cut[94], 1), "longest": round(delays[-1], 1)},
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Metrics are written as in production, and not into the figures."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
