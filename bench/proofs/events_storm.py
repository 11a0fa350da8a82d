"""A storm on the queue: messages doubled, delayed and brought back, acknowledgements lost, consumers that die when all is done.

The deployed parts run as they do locally: relay, two pollers of the event source, the schedule, PostgreSQL, the twin of SQS over
its API, subscribers on sockets. A consumer that drops what it has seen before, by `webhook-id`, must see each event exactly once.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from bench.proofs.events_points import Points
from bench.proofs.events_queues import LossyWay, MemoryQueue, TwinQueue, sqs_client, waiting
from bench.proofs.events_receiver import Receiver, listening
from bench.proofs.events_twin import running_twin
from bench.proofs.events_world import Means, Process, Reader, Told, card_event, judge, reading, subscribe
from bench.proofs.grounds import Ground, own_ground
from cardwright.kernel.errors import UnavailableError
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
from local.workers.queues import QueueWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_sqs import SQSClient

PEOPLE = 4
# Of batches whose consumer dies when all of it is done and nothing acknowledged.
CRASHED = 0.02
VISIBILITY_S = 4
_BATCH = 50
_PATIENCE_S = 900.0


@dataclass(slots=True)
class _Storm:
    """What the parts share while it lasts."""

    means: Means
    client: "SQSClient"
    queue_url: str
    way: LossyWay
    stop: threading.Event
    failures: list[BaseException]
    crashed: int = 0


def measure(*, seed: int | None = None, messages: int = 10_000, ground: Ground | None = None) -> dict[str, Any]:
    """Send so many events through the storm; figures, with what was lost, doubled or made up in `found`."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    print(f"events_storm: seed {seed}", flush=True)
    with ExitStack() as stack:
        if ground is None:
            ground, _ = stack.enter_context(own_ground(durable=False))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="cardwright-events-")))
        twin = stack.enter_context(running_twin(folder / "twin"))
        receiver = Receiver(strict=True)
        port = stack.enter_context(listening(receiver))
        clock = stack.enter_context(ClockFile.create(folder / "clock"))
        client = sqs_client(twin)
        url = client.create_queue(QueueName="events", Attributes={"VisibilityTimeout": str(VISIBILITY_S)})["QueueUrl"]
        means = Means(ground, clock, TwinQueue(client, url), MemoryQueue(), Egress(loopback=True))
        stack.enter_context(closing(means))
        reader = stack.enter_context(reading(ground))
        people = [subscribe(means, receiver, f"http://127.0.0.1:{port}", "good") for _ in range(PEOPLE)]
        Process(means, Points("verify")).run(reader)
        storm = _Storm(means, client, url, LossyWay(client, seed), threading.Event(), [])
        return {"seed": seed, "messages": messages, **_run(storm, reader, receiver, people, messages, seed)}


def _run(storm: _Storm, reader: Reader, receiver: Receiver, people: Sequence[Told], messages: int, seed: int) -> dict[str, Any]:
    committed = _commit(storm.means, people, messages)
    began = time.monotonic()
    with _parts(storm, seed):
        _wait(storm, reader, receiver, messages)
    seconds = time.monotonic() - began
    found = []
    for told in people:
        found += judge(reader, receiver, told, committed[told.paths[0]])
    receipts = len(receiver.receipts)
    seen_once = len({(one.path, one.event_id) for one in receiver.receipts})
    if seen_once != messages:
        found.append(f"{seen_once} events were seen where {messages} happened")
    return {
        "doubled": storm.way.doubled, "delayed": storm.way.delayed, "acknowledgements_lost": storm.way.lost,
        "batches_crashed": storm.crashed, "receipts": receipts, "seen_once": seen_once, "forged": len(receiver.forged),
        "receipts_per_second": round(receipts / seconds, 1), "found": found[:20], "violations": len(found),
    }  # fmt: skip


def _commit(means: Means, people: Sequence[Told], messages: int) -> dict[str, set[str]]:
    """Events of each person in transactions of many, every tenth of which is rolled back; the ids that are to be heard of."""
    ids, app = IdSource(means.clock), means.database("app")
    committed: dict[str, set[str]] = {told.paths[0]: set() for told in people}
    made = number = 0
    while made < messages:
        told, number = people[number % len(people)], number + 1
        events = [card_event(ids.new(), means.clock.now(), told) for _ in range(min(_BATCH, messages - made))]
        with suppress(_Undone), app.transaction(told.actor) as tx:
            for event in events:
                outbox.append(tx, event)
            if number % 10 == 0:
                raise _Undone
            made += len(events)
            committed[told.paths[0]].update(str(event.event_id) for event in events)
    return committed


class _Undone(Exception):
    pass


class _Dies(Exception):
    pass


class _LossySender:
    """The relay's way to the queue."""

    def __init__(self, storm: _Storm) -> None:
        self._storm = storm

    def send_batch(self, bodies: Sequence[str]) -> list[bool]:
        """Send messages into the storm."""
        entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
        answer = self._storm.way.send_message_batch(QueueUrl=self._storm.queue_url, Entries=entries)
        taken = {one["Id"] for one in answer["Successful"]}
        return [str(number) in taken for number in range(len(bodies))]


@contextmanager
def _parts(storm: _Storm, seed: int) -> "Iterator[None]":
    """Relay, event source and schedule, each on threads of its own."""
    means, chance, lock = storm.means, random.Random(seed + 1), threading.Lock()  # noqa: S311 - a fault is no secret
    worker_database = means.ground.as_role("worker")
    ids, sources = IdSource(means.clock), [TransactionEvents()]
    service = WebhookService(worker_database, means.clock, ids, means.sealer(), lambda: means.sender, sources=sources)
    worker = WebhookWorker(service)
    relay = OutboxRelay(worker_database, sources, [QueueRoute("events", _LossySender(storm), for_partners)], means.clock)

    def consume(event: dict[str, Any], context: Any) -> dict[str, Any]:
        answer = worker.process_event_queue(event, lambda: context.get_remaining_time_in_millis() / 1000)
        with lock:
            if chance.random() < CRASHED:
                storm.crashed += 1
                raise _Dies
        return answer

    def relaying() -> None:
        if relay.relay_once() == 0:
            storm.stop.wait(0.05)

    def attempting() -> None:
        service.retry_failed(lambda: 0.0 if storm.stop.is_set() else 100.0, poll_s=0.2)

    handlers, client = Handlers({PROCESS_EVENT_QUEUE.module: consume}), cast("SQSClient", storm.way)
    source = QueueWorker(PROCESS_EVENT_QUEUE, client, storm.queue_url, handlers=handlers, stop=storm.stop, pollers=0)
    parts = (relaying, attempting, source.poll_once, source.poll_once)
    threads = [threading.Thread(target=_until_stopped, args=(storm, worker_database, part)) for part in parts]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        storm.stop.set()
        for thread in threads:
            thread.join()
    if storm.failures:
        raise storm.failures[0]


def _until_stopped(storm: _Storm, database: Database, part: Callable[[], object]) -> None:
    try:
        while not storm.stop.is_set():
            with suppress(UnavailableError):
                part()
    except BaseException as error:
        storm.failures.append(error)
    finally:
        database.close()


def _wait(storm: _Storm, reader: Reader, receiver: Receiver, messages: int) -> None:
    """Until all is received, nothing is due and the queue is empty, so that all that comes twice has come."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and not storm.failures:
        if len(receiver.receipts) >= messages and reader.next_due() is None and waiting(storm.client, storm.queue_url) == 0:
            return
        time.sleep(0.2)
