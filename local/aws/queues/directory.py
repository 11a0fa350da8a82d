"""How queues are named: URLs, ARNs, and which queue is whose dead-letter queue."""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from local.aws.queues import errors, settings
from local.aws.queues.store import Queue, QueueStore

ACCOUNT: Final = "123456789012"

Request: TypeAlias = dict[str, Any]
Answer: TypeAlias = dict[str, Any]


def arn_of_name(region: str, name: str) -> str:
    """The ARN of the queue of that name."""
    return f"arn:aws:sqs:{region}:{ACCOUNT}:{name}"


def arn_of(queue: Queue) -> str:
    """The queue's ARN."""
    return arn_of_name(queue.region, queue.name)


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request came in: the region it was signed for, and the address it reached us under."""

    region: str
    base_url: str

    def url(self, queue: Queue) -> str:
        """The queue's URL as this caller can reach it."""
        return f"{self.base_url}/{ACCOUNT}/{queue.name}"


class Directory:
    """Finds queues by what requests call them."""

    def __init__(self, store: QueueStore) -> None:
        """Look into `store`."""
        self._store = store

    def queue(self, request: Request, caller: Caller) -> Queue:
        """The queue of a request's QueueUrl; the host in it does not matter, so URLs outlive a change of port.

        Raises QueueError.
        """
        url = request.get("QueueUrl")
        if not isinstance(url, str) or not url:
            raise errors.missing("QueueUrl")
        account, _, name = urlsplit(url).path.strip("/").partition("/")
        queue = self._store.find(caller.region, name) if account == ACCOUNT else None
        if queue is None:
            raise errors.no_such_queue()
        return queue

    def by_arn(self, arn: str) -> Queue | None:
        """The queue of that ARN."""
        parts = arn.split(":")
        region, name = (parts[3], parts[-1]) if ":sqs:" in arn and parts[3:] else ("", "")
        return self._store.find(region, name) if arn == arn_of_name(region, name) else None

    def dead_letters(self, queue: Queue) -> Queue | None:
        """Where this queue's dead letters go."""
        redrive = queue.redrive
        return self.by_arn(redrive.target_arn) if redrive else None

    def sources(self, dead_letters: Queue) -> list[Queue]:
        """The queues whose dead letters go to this one."""
        arn = arn_of(dead_letters)
        return [
            queue
            for queue in self._store.names(dead_letters.region)
            if queue.redrive is not None and queue.redrive.target_arn == arn
        ]

    def check_redrive(self, attributes: dict[str, str]) -> None:
        """Refuse a RedrivePolicy toward a queue that does not exist. Raises QueueError."""
        policy = attributes.get("RedrivePolicy")
        if policy and self.by_arn(settings.read_redrive(policy).target_arn) is None:
            raise errors.bad_attribute_value("RedrivePolicy", "Dead letter target does not exist.")
