"""The system's clock, and the local stage's clock that can be advanced."""

import mmap
from datetime import UTC, datetime, timedelta
from pathlib import Path


class SystemClock:
    """The machine's clock in UTC."""

    def now(self) -> datetime:
        """Return the current time, timezone UTC."""
        return datetime.now(UTC)


class OffsetClock:
    """The machine's clock plus an offset shared by all parts of a local stack.

    The file holds eight bytes: a little-endian signed integer, microseconds to add. It is read as one machine word, so that an
    advance is seen whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._offset_us = memoryview(mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)).cast("q")

    def now(self) -> datetime:
        """Return the current time of the local stack, timezone UTC."""
        return datetime.now(UTC) + timedelta(microseconds=self._offset_us[0])
