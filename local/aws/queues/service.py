"""The twin as one object: an operation's name and request in, its answer out."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from local.aws.queues import errors
from local.aws.queues.administration import Administration
from local.aws.queues.arrivals import Arrivals
from local.aws.queues.delivery import Delivery
from local.aws.queues.directory import Answer, Caller, Directory, Request
from local.aws.queues.redrive import Redriving
from local.aws.queues.store import QueueStore


class QueueTwin:
    """SQS standard queues for one account, in every region a client names."""

    def __init__(self, path: Path) -> None:
        """Serve the queues stored in the file at `path`, making it when needed."""
        self._store = QueueStore(path)
        directory, arrivals = Directory(self._store), Arrivals()
        queues = Administration(self._store, directory, arrivals)
        messages = Delivery(self._store, directory, arrivals)
        self._moves = moves = Redriving(self._store, directory, arrivals)
        self._operations: dict[str, Callable[[Request, Caller], Awaitable[Answer]]] = {
            "CancelMessageMoveTask": moves.cancel_message_move_task,
            "ChangeMessageVisibility": messages.change_message_visibility,
            "ChangeMessageVisibilityBatch": messages.change_message_visibility_batch,
            "CreateQueue": queues.create_queue,
            "DeleteMessage": messages.delete_message,
            "DeleteMessageBatch": messages.delete_message_batch,
            "DeleteQueue": queues.delete_queue,
            "GetQueueAttributes": queues.get_queue_attributes,
            "GetQueueUrl": queues.get_queue_url,
            "ListDeadLetterSourceQueues": queues.list_dead_letter_source_queues,
            "ListMessageMoveTasks": moves.list_message_move_tasks,
            "ListQueueTags": queues.list_queue_tags,
            "ListQueues": queues.list_queues,
            "PurgeQueue": queues.purge_queue,
            "ReceiveMessage": messages.receive_message,
            "SendMessage": messages.send_message,
            "SendMessageBatch": messages.send_message_batch,
            "SetQueueAttributes": queues.set_queue_attributes,
            "StartMessageMoveTask": moves.start_message_move_task,
            "TagQueue": queues.tag_queue,
            "UntagQueue": queues.untag_queue,
        }

    async def call(self, action: str, request: Request, caller: Caller) -> Answer:
        """Carry out one operation of the SQS API. Raises QueueError."""
        operation = self._operations.get(action)
        if operation is None:
            raise errors.unknown_action(action)
        return await operation(request, caller)

    async def close(self) -> None:
        """Stop running moves and close the file."""
        await self._moves.close()
        self._store.close()
