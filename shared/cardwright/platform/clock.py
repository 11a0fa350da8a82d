"""The system's clock, and the local stage's clock that can be advanced."""

import mmap
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path


class SystemClock:
    """The machine's clock in UTC."""

    def now(self) -> datetime:
        """Return the current time, timezone UTC."""
        return datetime.now(UTC)


class OffsetClock:
    """The machine's clock plus an offset shared by all parts of a local stack.

    The file holds eight bytes: a little-endian signed integer, microseconds to add.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)

    def now(self) -> datetime:
        """Return the current time of the local stack, timezone UTC."""
        (offset_us,) = struct.unpack("<q", self._map[:8])
        return datetime.now(UTC) + timedelta(microseconds=offset_us)
