"""The SQS event source: polls a queue, hands batches to the real handler, deletes what it did not report as failed."""

import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from cardwright.kernel.rows import Queue
from local.gateway.invoker import Handlers, log_failure
from local.lambda_context import REGION, LambdaContext

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

_WAIT_S = 2
_AFTER_ERROR_S = 1.0


class BatchAnswerError(Exception):
    """The handler's answer is not a partial batch response; as on Lambda the whole batch then counts as failed."""


def queue_event(messages: Sequence["MessageTypeDef"], queue_arn: str) -> dict[str, Any]:
    """Build the event an SQS event source mapping sends."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": dict(message.get("Attributes", {})),
                "messageAttributes": dict(message.get("MessageAttributes", {})),
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": queue_arn,
                "awsRegion": REGION,
            }
            for message in messages
        ]
    }


def failed_ids(answer: object, sent: Sequence[str]) -> set[str]:
    """Message ids of a batch that are to be seen again. Raises BatchAnswerError for an answer Lambda would refuse.

    As on Lambda an empty answer means success and an unknown or empty identifier fails the whole batch.
    """
    if answer is None or answer == {}:
        return set()
    if not isinstance(answer, Mapping) or not isinstance(answer.get("batchItemFailures", []), list):
        raise BatchAnswerError("not an object with batchItemFailures")
    failed = set()
    for failure in answer.get("batchItemFailures", []):
        identifier = failure.get("itemIdentifier") if isinstance(failure, Mapping) else None
        if identifier not in sent:
            raise BatchAnswerError("batchItemFailures names a message that was not in the batch")
        failed.add(str(identifier))
    return failed


class QueueWorker:
    """Polls one row's queue in `pollers` threads until told to stop."""

    def __init__(
        self,
        row: Queue,
        client: "SQSClient",
        queue_url: str,
        *,
        handlers: Handlers,
        stop: threading.Event,
        pollers: int = 5,
    ) -> None:
        """`client` reads `queue_url`; visibility timeout and dead-letter queue were set when it was made."""
        self._row = row
        self._client = client
        self._queue_url = queue_url
        self._handlers = handlers
        self._stop = stop
        self._arn = f"arn:aws:sqs:{REGION}:{':'.join(queue_url.split('/')[-2:])}"
        self.threads = [
            threading.Thread(target=self._poll, name=f"{row.name}-{number}", daemon=True) for number in range(pollers)
        ]

    def start(self) -> None:
        """Begin polling."""
        for thread in self.threads:
            thread.start()

    def _poll(self) -> None:
        told = False
        while not self._stop.is_set():
            try:
                self.poll_once()
                told = False
            except (BotoCoreError, ClientError) as error:
                if not told and not self._stop.is_set():
                    print(f"queue {self._row.queue} does not answer: {type(error).__name__}", file=sys.stderr, flush=True)
                told = True
                self._stop.wait(_AFTER_ERROR_S)

    def poll_once(self) -> int:
        """Receive one batch, run it, delete what succeeded; returns how many messages were received."""
        received = self._client.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=min(self._row.batch_size, 10),
            WaitTimeSeconds=_WAIT_S,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        if received:
            self._run(received)
        return len(received)

    def _run(self, messages: Sequence["MessageTypeDef"]) -> None:
        request_id = str(uuid.uuid4())
        began = time.monotonic()
        sent = [message["MessageId"] for message in messages]
        try:
            context = LambdaContext(self._row, request_id)
            answer = self._handlers.get(self._row)(queue_event(messages, self._arn), context)
            failed = failed_ids(answer, sent)
        except Exception as error:
            log_failure(self._row, request_id, error)
            return
        if time.monotonic() - began > self._row.timeout_s:
            # Lambda would have ended the function and deleted nothing.
            print(f"{self._row.name} took longer than {self._row.timeout_s} s; its batch comes again", file=sys.stderr)
            return
        done = [message for message in messages if message["MessageId"] not in failed]
        if done:
            self._client.delete_message_batch(
                QueueUrl=self._queue_url,
                Entries=[{"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(done)],
            )
