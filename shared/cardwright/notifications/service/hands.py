"""Threads that hand messages to providers, each with a connection of its own until the batch ends."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Self, TypeVar

WorkT = TypeVar("WorkT")
ResultT = TypeVar("ResultT")


class Hands(Generic[WorkT, ResultT]):
    """Runs one function on many pieces of work at once, `most` at a time. Threads begin when they are needed and end with it.

    `work` raises nothing; `finish` runs on each thread when it ends.
    """

    def __init__(self, work: Callable[[WorkT], ResultT], finish: Callable[[], None], most: int) -> None:
        self._work = work
        self._finish = finish
        self._most = most
        self._given: SimpleQueue[WorkT | None] = SimpleQueue()
        self._landed: SimpleQueue[tuple[WorkT, ResultT]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.flying = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Wait for what is in the air and end the threads."""
        for _ in self._threads:
            self._given.put(None)
        for thread in self._threads:
            thread.join()

    @property
    def free(self) -> bool:
        """True while another piece of work would begin at once."""
        return self.flying < self._most

    def give(self, work: WorkT) -> None:
        """Begin a piece of work; there is a free hand."""
        if self.flying == len(self._threads):
            thread = threading.Thread(target=self._run, name="notification", daemon=True)
            self._threads.append(thread)
            thread.start()
        self.flying += 1
        self._given.put(work)

    def take(self) -> tuple[WorkT, ResultT]:
        """Wait for a piece of work to be done; something flies."""
        landed = self._landed.get()
        self.flying -= 1
        return landed

    def _run(self) -> None:
        try:
            while (work := self._given.get()) is not None:
                self._landed.put((work, self._work(work)))
        finally:
            self._finish()
