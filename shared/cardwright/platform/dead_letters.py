"""Messages their consumer gave up: given back to the queue they came from once the cause is mended."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from cardwright.kernel.errors import ConflictError, InvalidRequestError, UnavailableError
from cardwright.platform.aws import client

PER_SECOND_MAX = 500
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Redriven:
    """What a redrive came to: messages given back, and those that wait in the dead-letter queue still. `done` is False
    while SQS goes on by itself."""

    moved: int
    waiting: int
    done: bool


class DeadLetters:
    """The dead letters of one queue, by the queue's URL."""

    def __init__(
        self,
        queue_url: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue_url = queue_url
        self._client = client("sqs")
        self._sleep = sleep
        self._monotonic = monotonic

    def redrive(self, time_left: Callable[[], float], per_second: object = None) -> Redriven:
        """Give all back, `per_second` at most (a number from 1 to 500; as fast as SQS can without), and wait for it as long as
        `time_left()`, in seconds, allows.

        A message that fails again is a dead letter again after its receives. SQS refuses a second giving back beside a running
        one. Raises InvalidRequestError rate_invalid, ConflictError redrive_running, UnavailableError.
        """
        if not (per_second is None or (isinstance(per_second, int) and 1 <= per_second <= PER_SECOND_MAX)):
            raise InvalidRequestError(f"A rate is 1 to {PER_SECOND_MAX} messages a second.", code="rate_invalid")
        try:
            return self._redrive(time_left, per_second)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code", "").endswith("UnsupportedOperation"):
                raise ConflictError(
                    "The dead letters of this queue are being given back already.", code="redrive_running"
                ) from error
            raise UnavailableError("The queue does not answer.", code="queue_unavailable") from error
        except BotoCoreError as error:
            raise UnavailableError("The queue does not answer.", code="queue_unavailable") from error

    def _redrive(self, time_left: Callable[[], float], per_second: int | None) -> Redriven:
        found = self._client.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["RedrivePolicy"])
        arn = str(json.loads(found["Attributes"]["RedrivePolicy"])["deadLetterTargetArn"])
        if per_second is None:
            self._client.start_message_move_task(SourceArn=arn)
        else:
            self._client.start_message_move_task(SourceArn=arn, MaxNumberOfMessagesPerSecond=per_second)
        while True:
            (task,) = self._client.list_message_move_tasks(SourceArn=arn, MaxResults=1)["Results"]
            moved, done = task.get("ApproximateNumberOfMessagesMoved", 0), task.get("Status") != "RUNNING"
            if done or time_left() <= _POLL_S:
                return Redriven(moved, max(0, task.get("ApproximateNumberOfMessagesToMove", moved) - moved), done)
            self._sleep(_POLL_S)
