"""SQS as a port: sending in batches; receiving is the event source mapping's work."""

from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError

from cardwright.kernel.errors import UnavailableError
from cardwright.platform.aws import client

BATCH = 10


class QueueSender:
    """Sends messages to one queue by its URL."""

    def __init__(self, queue_url: str) -> None:
        self._queue_url = queue_url
        self._client = client("sqs")

    def send_batch(self, bodies: Sequence[str]) -> list[bool]:
        """Send up to 10 messages; return for each whether the queue took it. Raises UnavailableError when none could be sent."""
        if not 1 <= len(bodies) <= BATCH:
            raise ValueError("a batch holds 1 to 10 messages")
        try:
            answer = self._client.send_message_batch(
                QueueUrl=self._queue_url,
                Entries=[{"Id": str(position), "MessageBody": body} for position, body in enumerate(bodies)],
            )
        except (BotoCoreError, ClientError) as error:
            raise UnavailableError("The queue does not answer.", code="queue_unavailable") from error
        taken = {entry["Id"] for entry in answer.get("Successful", [])}
        return [str(position) in taken for position in range(len(bodies))]
