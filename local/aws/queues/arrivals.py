"""Waking receivers that wait for a queue: the event side of long polling."""

import asyncio


class Arrivals:
    """One event per queue that somebody waits for."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._events: dict[int, asyncio.Event] = {}

    def announce(self, queue_id: int) -> None:
        """Wake everyone waiting for the queue, once; each looks again and waits anew if others were quicker."""
        event = self._events.pop(queue_id, None)
        if event is not None:
            event.set()

    async def wait(self, queue_id: int, at_most_s: float) -> None:
        """Wait for the next announcement, at most so long."""
        event = self._events.setdefault(queue_id, asyncio.Event())
        try:
            await asyncio.wait_for(event.wait(), at_most_s)
        except TimeoutError:
            return
