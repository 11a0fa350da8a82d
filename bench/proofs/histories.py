"""What clients saw: each operation with the moments of its call and its return, kept as lines of JSON."""

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one client about one card. Moments are nanoseconds of one monotonic clock.

    `returned` and `answer` are None when the client never learned the outcome: it may have happened at any time since, or never.
    `place` is where the database says that it came, for whoever searches an order: a wrong one costs time, not truth.
    """

    card: str
    client: int
    name: str
    asked: dict[str, Any]
    called: int
    returned: int | None
    answer: dict[str, Any] | None
    place: int | None = None


class HistoryFile:
    """A history on disk, written line by line as it happens, so that it outlives whoever is killed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()

    def add(self, operation: Operation) -> None:
        """Write one operation."""
        line = json.dumps(asdict(operation), separators=(",", ":"))
        with self._lock:
            self._file.write(line + "\n")

    def close(self) -> None:
        """End the file."""
        self._file.close()


def read(path: Path) -> Iterator[Operation]:
    """The operations of a file, in the order they were written; a last line that was cut is left out."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield Operation(**json.loads(line))


def by_card(operations: Iterable[Operation]) -> dict[str, list[Operation]]:
    """The operations of each card: cards share nothing, so each history may be judged alone."""
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        found.setdefault(operation.card, []).append(operation)
    return found
