"""Dead letters given back: the operator's command and function, on the twin of SQS."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cardwright.compose.workers import workers
from cardwright.kernel.errors import CardwrightError, ConflictError, InvalidRequestError, NotFoundError, UnavailableError
from cardwright.platform.aws import forget_clients
from cardwright.platform.dead_letters import DeadLetters
from functions.operations import redrive_dead_letters
from functions.operations.routes import REDRIVE_DEAD_LETTERS
from functions.webhooks.routes import PROCESS_EVENT_QUEUE
from local import environment, redrive
from local.gateway.invoker import Handlers
from local.lambda_context import LambdaContext
from local.workers.queues import QueueWorker
from tests.local.programs import aws_client, program
from tests.local.queue_host import Host

RECEIVES = 2


class Poison:
    """A consumer that cannot read some messages until it is mended."""

    def __init__(self) -> None:
        self.broken = {"poison", "hopeless"}
        self.done: list[str] = []

    def __call__(self, event: dict[str, Any], _context: object) -> dict[str, Any]:
        """Take a batch as Lambda hands it out; name what could not be read."""
        failed = [record for record in event["Records"] if record["body"] in self.broken]
        self.done += [record["body"] for record in event["Records"] if record not in failed]
        return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One twin for this module."""
    with program("local.aws", "--data", str(tmp_path_factory.mktemp("aws"))) as running:
        yield Host("twin", running, aws_client("sqs", running.url))


@pytest.fixture
def queue(twin: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The stack's queue of events, of this test alone; its URL."""
    dead = twin.sqs.create_queue(QueueName="cardwright-events-dlq")["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": twin.arn(dead), "maxReceiveCount": RECEIVES})
    made = twin.sqs.create_queue(QueueName="cardwright-events", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})
    settings = {
        "CARDWRIGHT_EVENT_QUEUE_URL": made["QueueUrl"],
        "CARDWRIGHT_STAGE": "local",
        "CARDWRIGHT_PUBLIC_URL": "http://127.0.0.1",
        **environment.aws_environment(int(twin.running.url.rpartition(":")[2])),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    forget_clients()
    yield str(made["QueueUrl"])
    forget_clients()
    workers.cache_clear()
    (task, *_) = twin.sqs.list_message_move_tasks(SourceArn=twin.arn(dead))["Results"] or [{}]
    if "TaskHandle" in task:
        twin.sqs.cancel_message_move_task(TaskHandle=task["TaskHandle"])
    for name in twin.sqs.list_queues()["QueueUrls"]:
        twin.sqs.delete_queue(QueueUrl=name)


class Hasty:
    """The client of a queue that does not wait for messages to come."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.delete_message_batch = client.delete_message_batch

    def receive_message(self, **asked: Any) -> dict[str, Any]:
        """What is there."""
        received: dict[str, Any] = self._client.receive_message(**{**asked, "WaitTimeSeconds": 0})
        return received


@pytest.fixture
def consume(twin: Host, queue: str) -> Callable[[Poison], None]:
    """Lets a consumer take from the queue until there is nothing left to take."""

    def run(consumer: Poison) -> None:
        handlers = Handlers({PROCESS_EVENT_QUEUE.module: consumer})
        client = cast(Any, Hasty(twin.sqs))
        worker = QueueWorker(PROCESS_EVENT_QUEUE, client, queue, handlers=handlers, stop=threading.Event())
        for _ in range(RECEIVES + 1):
            worker.poll_once()
        assert twin.counts(queue) == (0, 0, 0)

    return run


def ask(**event: Any) -> dict[str, Any]:
    """Call the operator's function."""
    return redrive_dead_letters.handler(event, cast(Any, LambdaContext(REDRIVE_DEAD_LETTERS, "req_1")))


def test_a_mended_message_is_consumed_and_a_hopeless_one_comes_back(
    twin: Host, queue: str, consume: Callable[[Poison], None]
) -> None:
    consumer = Poison()
    twin.send(queue, "poison", "good", "hopeless")
    consume(consumer)
    assert consumer.done == ["good"]
    consumer.broken = {"hopeless"}
    assert ask(queue="events") == {"queue": "events", "moved": 2, "waiting": 0, "done": True}
    consume(consumer)
    assert consumer.done == ["good", "poison"]
    dead = twin.sqs.get_queue_url(QueueName="cardwright-events-dlq")["QueueUrl"]
    assert [message["Body"] for message in twin.receive(dead)] == ["hopeless"]


def test_giving_back_twice_gives_back_once(twin: Host, queue: str, consume: Callable[[Poison], None]) -> None:
    twin.send(queue, "poison")
    consume(Poison())
    assert [ask(queue="events", per_second=500)["moved"] for _ in range(2)] == [1, 0]
    assert [message["Body"] for message in twin.receive(queue)] == ["poison"]


def test_a_slow_giving_back_goes_on_by_itself_and_is_not_begun_again(
    twin: Host, queue: str, consume: Callable[[Poison], None]
) -> None:
    consumer = Poison()
    consumer.broken = set("abc")
    twin.send(queue, *"abc")
    consume(consumer)
    told = DeadLetters(queue).redrive(lambda: 0.0, per_second=1)
    assert (told.done, told.moved + told.waiting) == (False, 3)
    with pytest.raises(ConflictError) as refused:
        DeadLetters(queue).redrive(lambda: 9.0)
    assert refused.value.code == "redrive_running"


@pytest.mark.parametrize(
    ("event", "error", "code"),
    [
        ({"queue": "nope"}, NotFoundError, "queue_not_found"),
        ({}, NotFoundError, "queue_not_found"),
        ({"queue": "events", "per_second": 0}, InvalidRequestError, "rate_invalid"),
        ({"queue": "events", "per_second": 501}, InvalidRequestError, "rate_invalid"),
        ({"queue": "events", "per_second": "many"}, InvalidRequestError, "rate_invalid"),
    ],
)
def test_what_cannot_be_given_back_is_said(queue: str, event: dict[str, Any], error: type[CardwrightError], code: str) -> None:
    with pytest.raises(error) as refused:
        ask(**event)
    assert refused.value.code == code


def test_a_queue_that_does_not_answer_is_said(twin: Host, queue: str) -> None:
    twin.sqs.delete_queue(QueueUrl=queue)
    with pytest.raises(UnavailableError):
        ask(queue="events")


def test_the_command_gives_back_on_the_running_stack(
    twin: Host, queue: str, consume: Callable[[Poison], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("CARDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["redrive", "events"])
    assert redrive.main() == 1
    assert "make up" in capsys.readouterr().err
    twin.send(queue, "poison")
    consume(Poison())
    (tmp_path / "stack.json").write_text(json.dumps({"aws_endpoint_url": twin.running.url}))
    assert redrive.main() == 0
    assert capsys.readouterr().out == "1 dead letters given back to events\n"
    assert [message["Body"] for message in twin.receive(queue)] == ["poison"]
    monkeypatch.setattr("sys.argv", ["redrive", "events", "--per-second", "501"])
    assert redrive.main() == 1
    assert "1 to 500" in capsys.readouterr().err
