"""Try a call to an outside party again while its faults are transient."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from cardwright.kernel.errors import CircuitOpenError, UnavailableError

T = TypeVar("T")


class Retry:
    """Up to three more tries, after about 1, 2 and 4 seconds, and none that begins later than `window_s`.

    Only UnavailableError is tried again, so the call must be one that may be repeated; CircuitOpenError, which means that
    nobody was asked, is the caller's at once. Waiting, the time and the jitter
    (up to +25 %, so that many callers do not come back together) are given by the caller.
    """

    def __init__(
        self,
        *,
        waits_s: tuple[float, ...] = (1.0, 2.0, 4.0),
        window_s: float = 12.0,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._waits_s = waits_s
        self._window_s = window_s
        self._sleep = sleep
        self._monotonic = monotonic
        self._jitter = jitter

    def call(self, action: Callable[[], T]) -> T:
        """Run the action; return its value or raise its last error."""
        begun = self._monotonic()
        for wait_s in self._waits_s:
            try:
                return action()
            except CircuitOpenError:
                # The circuit stays open for longer than any pause here.
                raise
            except UnavailableError:
                pause_s = wait_s * (1 + self._jitter() / 4)
                if self._monotonic() - begun + pause_s > self._window_s:
                    raise
                self._sleep(pause_s)
        return action()
