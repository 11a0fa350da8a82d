"""Parked events and overdue holds, looked after by schedules within the time of a run."""

import time
from collections.abc import Callable

from cardwright.transactions.service.life import TransactionLife

# A run ends while this much of its time is left, enough for an event that has just been begun.
RESERVE_S = 8.0


class TransactionSweeps:
    """What schedules do with the life of transactions. `deadline()` gives the seconds that are left of a run."""

    def __init__(self, life: TransactionLife, *, sleep: Callable[[float], None] = time.sleep, poll_s: float = 1.0) -> None:
        self._life = life
        self._sleep = sleep
        self._poll_s = poll_s

    def watch_parked(self, deadline: Callable[[], float]) -> int:
        """Try parked events as they become due, until the time is over; return how many found their place.

        Raises UnavailableError.
        """
        placed = 0
        while (left := deadline() - RESERVE_S) > 0:
            placed += self._life.retry_parked(lambda: deadline() > RESERVE_S)
            self._sleep(min(self._poll_s, left))
        return placed

    def expire_holds(self, deadline: Callable[[], float]) -> int:
        """Give back the holds that nobody cleared in time; return how many ended. Raises UnavailableError."""
        return self._life.expire_holds(lambda: deadline() > RESERVE_S)
