"""A way to a server on loopback that loses answers: what is asked arrives and is done, and nobody hears of it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fakes.tcp import carrying


class LossyWay:
    """`lose(n)`: of the next n answers nothing arrives, and their connections end; with -1 of all, until `lose(0)`."""

    port: int

    def __init__(self) -> None:
        self._left = 0
        self._lock = threading.Lock()

    def lose(self, answers: int) -> None:
        """From now on lose so many answers."""
        with self._lock:
            self._left = answers

    def loses(self) -> bool:
        """Whether this answer is lost; it is counted."""
        with self._lock:
            lost = self._left != 0
            self._left -= self._left > 0
            return lost


@contextmanager
def losing(to_port: int) -> Iterator[LossyWay]:
    """Pass on what a server on loopback is asked and answers until the block ends, but for the answers that get lost."""
    way = LossyWay()
    with carrying(to_port, lambda message, answers: None if answers and way.loses() else message) as way.port:
        yield way
