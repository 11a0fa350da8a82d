"""Message move tasks: dead letters given back to the queues they came from."""

import asyncio
from typing import Any

from local.aws.queues import errors, settings
from local.aws.queues.arrivals import Arrivals
from local.aws.queues.directory import Answer, Caller, Directory, Request
from local.aws.queues.store import Queue, QueueStore


class Redriving:
    """Message move operations of SQS. The list of tasks is forgotten at a restart; the messages are not."""

    def __init__(self, store: QueueStore, directory: Directory, arrivals: Arrivals) -> None:
        """Move what is in `store`."""
        self._store = store
        self._directory = directory
        self._arrivals = arrivals
        self._moves: list[dict[str, Any]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop moves still under way; what they have not moved stays where it is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start_message_move_task(self, request: Request, caller: Caller) -> Answer:
        """StartMessageMoveTask: gives dead letters back, at a rate if one is asked for."""
        source = self._directory.by_arn(str(request.get("SourceArn")))
        if source is None:
            raise errors.no_such_task()
        if not self._directory.sources(source):
            raise errors.bad_value("SourceArn", "Source queue must be configured as a Dead Letter Queue.")
        target_arn = request.get("DestinationArn")
        target = self._directory.by_arn(str(target_arn)) if target_arn else None
        if target_arn and target is None:
            raise errors.no_such_task()
        if any(move["SourceArn"] == request["SourceArn"] and move["Status"] == "RUNNING" for move in self._moves):
            raise errors.unsupported("There is already a task running. Only one active task is allowed for a source queue.")
        rate = request.get("MaxNumberOfMessagesPerSecond")
        rate = 0 if rate is None else settings.check_range("MaxNumberOfMessagesPerSecond", rate, 1, 500)
        move = {
            "TaskHandle": f"{source.name}-{len(self._moves)}-{self._store.now_ms()}",
            "Status": "RUNNING",
            "SourceArn": request["SourceArn"],
            "ApproximateNumberOfMessagesMoved": 0,
            "ApproximateNumberOfMessagesToMove": self._store.counts(source)[settings.COUNTED[0]],
            "StartedTimestamp": self._store.now_ms(),
        }
        if target_arn:
            move["DestinationArn"] = target_arn
        self._moves.append(move)
        task = asyncio.create_task(self._move(move, source, target, rate))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return {"TaskHandle": move["TaskHandle"]}

    async def _move(self, move: dict[str, Any], source: Queue, target: Queue | None, rate: int) -> None:
        while move["Status"] == "RUNNING":
            moved, reached = self._store.move(source, target, rate or -1)
            move["ApproximateNumberOfMessagesMoved"] += moved
            for queue_id in reached:
                self._arrivals.announce(queue_id)
            if not moved or not rate:
                move["Status"] = "COMPLETED"
                return
            await asyncio.sleep(1)
        move["Status"] = "CANCELLED"

    async def cancel_message_move_task(self, request: Request, caller: Caller) -> Answer:
        """CancelMessageMoveTask: stops a running move after what it has moved."""
        for move in self._moves:
            if move["TaskHandle"] == request.get("TaskHandle") and move["Status"] == "RUNNING":
                move["Status"] = "CANCELLING"
                return {"ApproximateNumberOfMessagesMoved": move["ApproximateNumberOfMessagesMoved"]}
        raise errors.no_such_task()

    async def list_message_move_tasks(self, request: Request, caller: Caller) -> Answer:
        """ListMessageMoveTasks: the latest first; only a running one shows its handle."""
        most = settings.check_range("MaxResults", request.get("MaxResults", 1), 1, 10)
        found = [move for move in reversed(self._moves) if move["SourceArn"] == request.get("SourceArn")][:most]
        return {
            "Results": [
                {key: value for key, value in move.items() if key != "TaskHandle" or move["Status"] == "RUNNING"}
                for move in found
            ]
        }
