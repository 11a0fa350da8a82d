"""Calls that begin at the same moment."""

import threading
from collections.abc import Callable

from cardwright.kernel.errors import CardwrightError


def at_once(close: Callable[[], None], *calls: Callable[[], object]) -> list[object]:
    """What the calls answer, each on a thread of its own; errors as their codes. `close` ends what a thread has opened."""
    answers: list[object] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(place: int) -> None:
        barrier.wait()
        try:
            answers[place] = calls[place]()
        except CardwrightError as error:
            answers[place] = error.code
        close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
