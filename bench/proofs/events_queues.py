"""Queues of the proofs: one in memory, the twin of SQS over its API, and a way to the twin that loses, doubles and reorders."""

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_sqs import SQSClient

# Of messages sent twice, of messages that come late, of deletions that never arrive.
DOUBLED, DELAYED, LOST = 0.2, 0.3, 0.05
DELAY_S = 2


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was handed out."""

    message_id: str
    body: str
    receipt: str


class MessageQueue(Protocol):
    """What the relay sends to and the event source reads from."""

    def send_batch(self, bodies: Sequence[str]) -> list[bool]:
        """Send up to ten messages."""
        ...

    def receive(self) -> list[Message]:
        """Hand out up to ten messages, which others do not see for a while."""
        ...

    def delete(self, messages: Sequence[Message]) -> None:
        """These are done."""
        ...

    def count(self) -> int:
        """Messages that are not done."""
        ...


class MemoryQueue:
    """Messages that stay until they are deleted; `show_all` is what the end of all visibility time-outs does."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}
        self._hidden: set[str] = set()
        self._sent = 0

    def send_batch(self, bodies: Sequence[str]) -> list[bool]:
        """Take all."""
        for body in bodies:
            self._sent += 1
            self._waiting[f"m{self._sent}"] = body
        return [True] * len(bodies)

    def receive(self) -> list[Message]:
        """Hand out the oldest."""
        found = [identity for identity in self._waiting if identity not in self._hidden][:10]
        self._hidden.update(found)
        return [Message(identity, self._waiting[identity], identity) for identity in found]

    def delete(self, messages: Sequence[Message]) -> None:
        """Forget messages."""
        for message in messages:
            self._waiting.pop(message.receipt, None)

    def count(self) -> int:
        """Messages not deleted."""
        return len(self._waiting)

    def show_all(self) -> None:
        """Let all be seen again."""
        self._hidden.clear()


def sqs_client(url: str) -> "SQSClient":
    """A client of the emulator at this URL, from a session of its own."""
    make = cast("Callable[..., SQSClient]", boto3.session.Session().client)
    return make(
        "sqs",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - the emulator takes any
        config=Config(retries={"max_attempts": 0}, read_timeout=30, max_pool_connections=20),
    )


class TwinQueue:
    """One queue of the twin."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send_batch(self, bodies: Sequence[str]) -> list[bool]:
        """Send messages."""
        entries: list[Any] = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
        taken = {one["Id"] for one in self._client.send_message_batch(QueueUrl=self._url, Entries=entries).get("Successful", [])}
        return [str(number) in taken for number in range(len(bodies))]

    def receive(self) -> list[Message]:
        """Receive messages without waiting."""
        found = self._client.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages", [])
        return [Message(one["MessageId"], one["Body"], one["ReceiptHandle"]) for one in found]

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages."""
        entries: list[Any] = [{"Id": str(number), "ReceiptHandle": one.receipt} for number, one in enumerate(messages)]
        self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)

    def count(self) -> int:
        """Messages waiting, delayed or in flight."""
        return waiting(self._client, self._url)


def waiting(client: "SQSClient", url: str) -> int:
    """Messages of a queue that are waiting, delayed or in flight."""
    found = cast("dict[str, str]", client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])
    return sum(int(found[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible", "Delayed"))


class LossyWay:
    """Stands for a client of SQS: doubles and delays what is sent, loses what acknowledges, and counts what it did."""

    def __init__(self, client: "SQSClient", seed: int) -> None:
        self._client = client
        self._chance = random.Random(seed)  # noqa: S311 - a fault is no secret
        self._lock = threading.Lock()
        self.doubled = self.delayed = self.lost = 0

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Any]) -> Any:
        """Send each message, some later than those after them, some twice."""
        with self._lock:
            late = [{**entry, "DelaySeconds": self._delay()} for entry in Entries]
            again = [{**entry, "DelaySeconds": self._delay()} for entry in Entries if self._chance.random() < DOUBLED]
            self._chance.shuffle(late)
            self.doubled += len(again)
        answer = self._client.send_message_batch(QueueUrl=QueueUrl, Entries=cast(Any, late))
        if again:
            self._client.send_message_batch(QueueUrl=QueueUrl, Entries=cast(Any, again))
        return answer

    def _delay(self) -> int:
        if self._chance.random() >= DELAYED:
            return 0
        self.delayed += 1
        return self._chance.randint(1, DELAY_S)

    def receive_message(self, **asked: Any) -> Any:
        """Receive messages."""
        return self._client.receive_message(**asked)

    def delete_message_batch(self, *, QueueUrl: str, Entries: Sequence[Any]) -> Any:
        """Delete messages, but for those whose deletion is lost on the way: they come again."""
        with self._lock:
            kept = [entry for entry in Entries if self._chance.random() >= LOST]
            self.lost += len(Entries) - len(kept)
        return self._client.delete_message_batch(QueueUrl=QueueUrl, Entries=cast(Any, kept)) if kept else {"Successful": []}
