"""Named points of input and output at which a process can be made to die: before each, and after it.

A name tells the act, who asks and what for, and the how-manieth time it is: `deliver/worker:webhooks.deliveries.fan_out#2`.
Names of statements are those of the functions that make them, so that new ones are points without being told.
"""

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import _GeneratorContextManager as ContextManager  # what `Database.transaction` returns
from contextlib import contextmanager
from typing import Any, TypeVar

from cardwright.kernel.errors import UnavailableError
from cardwright.platform.egress import Answer
from cardwright.platform.keys import Sealer
from cardwright.platform.postgres import Actor, Database, Parameters, Row, Transaction
from cardwright.webhooks.ports import Sender

T = TypeVar("T")
BEFORE, AFTER = "before", "after"


class Killed(BaseException):
    """The process is dead: nothing of ours may stop this."""


class Points:
    """What one process asks of the outside. `doom` is the moment it dies at, such as `before deliver/queue.send#1`.

    Within a test the thread that made this raises Killed at the doom and at everything it asks for afterwards; with `by_signal`
    the process sends itself SIGKILL.
    """

    def __init__(self, act: str, doom: str | None = None, *, by_signal: bool = False) -> None:
        self.seen: list[str] = []
        self.dead = False
        self._act = act
        self._doom = doom
        self._by_signal = by_signal
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._thread = threading.get_ident()

    def around(self, name: str, call: Callable[[], T]) -> T:
        """Make the call, unless the process dies before it; it may die after it too."""
        numbered = self.reach(name)
        result = call()
        self.leave(numbered)
        return result

    def reach(self, name: str) -> str:
        """About to ask; gives the point's name with its number."""
        with self._lock:
            self._counts[name] += 1
            numbered = f"{self._act}/{name}#{self._counts[name]}"
            self.seen.append(numbered)
        self._die_at(BEFORE, numbered)
        return numbered

    def leave(self, numbered: str) -> None:
        """It was done, and its answer is here."""
        self._die_at(AFTER, numbered)

    def _die_at(self, side: str, numbered: str) -> None:
        if self._doom == f"{side} {numbered}":
            self.dead = True
            if self._by_signal:
                os.kill(os.getpid(), signal.SIGKILL)
        if self.dead:
            if threading.get_ident() == self._thread:
                raise Killed(numbered)
            # A thread beside it: it stops asking, and its process ends when it looks up next.
            raise UnavailableError("The process is dead.", code="process_dead")


class PointedTransaction(Transaction):
    """A transaction whose statements are points."""

    def __init__(self, inner: Transaction, points: Points, part: str) -> None:
        self._inner = inner
        self._points = points
        self._part = part

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run a statement."""
        return self._points.around(f"{self._part}:{_asking()}", lambda: self._inner.execute(sql, parameters))

    def fetch_one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """Run a statement."""
        return self._points.around(f"{self._part}:{_asking()}", lambda: self._inner.fetch_one(sql, parameters))

    def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Run a statement."""
        return self._points.around(f"{self._part}:{_asking()}", lambda: self._inner.fetch_all(sql, parameters))


class PointedDatabase(Database):
    """A database whose begins, statements and commits are points."""

    def __init__(self, inner: Database, points: Points, part: str) -> None:
        self._inner = inner
        self._points = points
        self._part = part

    def call(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """Run one statement by itself."""
        return self._points.around(f"{self._part}:{_asking()}", lambda: self._inner.call(sql, parameters))

    def transaction(self, actor: Actor) -> "ContextManager[Transaction]":
        """Open a transaction."""
        return self._transaction(actor, f"{self._part}:{_asking()}")

    @contextmanager
    def _transaction(self, actor: Actor, name: str) -> Iterator[Transaction]:
        point = self._points.reach(f"{name}.begin")
        with self._inner.transaction(actor) as tx:
            self._points.leave(point)
            yield PointedTransaction(tx, self._points, self._part)
            point = self._points.reach(f"{name}.commit")
        self._points.leave(point)

    def close(self) -> None:
        """Close this thread's connection."""
        self._inner.close()


class PointedSender:
    """Posts are points."""

    def __init__(self, inner: Sender, points: Points) -> None:
        self._inner = inner
        self._points = points

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post, on whichever thread this is."""
        return self._points.around("post", lambda: self._inner.post(url, headers, body))


class PointedSealer(Sealer):
    """Opening a secret is a point: in production a key may have to be fetched first."""

    def __init__(self, inner: Sealer, points: Points) -> None:
        self._inner = inner
        self._points = points

    def open(self, sealed: bytes, context: str) -> bytes:
        """Open a secret."""
        return self._points.around("sealer.open", lambda: self._inner.open(sealed, context))

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """Seal a secret."""
        return self._points.around("sealer.seal", lambda: self._inner.seal(plaintext, context))


def _asking() -> str:
    """Domain, module and function of ours that asked: `outbox.take_unpublished`, `webhooks.deliveries.fan_out`."""
    frame = sys._getframe(2)
    while frame.f_code.co_name.startswith("<") and frame.f_back is not None:
        frame = frame.f_back
    module = [part for part in str(frame.f_globals.get("__name__", "")).split(".")[1:] if part not in {"service", "store"}]
    return ".".join([*module, frame.f_code.co_name])
