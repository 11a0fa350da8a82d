"""The one clock of the local stack: the system's UTC clock plus an offset shared through a mapped file.

The file holds 8 bytes, a little-endian signed 64-bit count of microseconds to add to the system clock.
Every process maps the file, so an advance is seen by all of them without a message.
"""

import fcntl
import mmap
import os
import re
import struct
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_FORMAT: Final = struct.Struct("<q")
_DURATION: Final = re.compile(
    r"P(?:(?P<weeks>\d{1,5})W|(?:(?P<days>\d{1,5})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,7})H)?(?:(?P<minutes>\d{1,7})M)?(?:(?P<seconds>\d{1,9})S)?)?)",
    re.ASCII,
)
_LONGEST: Final = timedelta(days=36_525)


class ClockError(ValueError):
    """A clock file that is not one, or an advance the clock refuses."""


def parse_duration(text: str) -> timedelta:
    """Read an ISO 8601 duration of whole weeks, or of days, hours, minutes and seconds (`PT6H`, `P1D`, `P1DT2H3M4S`).

    Years and months are refused because their length depends on the date; so are signs, fractions and empty durations.
    Raises ClockError.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ClockError("not a duration: give whole weeks, days, hours, minutes or seconds such as PT6H or P1DT30M")
    return timedelta(**{unit: int(number) for unit, number in match.groupdict().items() if number is not None})


class ClockFile:
    """A clock all local processes share; reading it costs no system call beyond asking the system's own time."""

    def __init__(self, path: Path) -> None:
        """Map an existing clock file. Raises ClockError when the file is missing or is not 8 bytes long."""
        if sys.byteorder != "little":
            raise ClockError("the shared clock needs a little-endian machine")
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ClockError(f"no clock file at {path}; create it first") from None
        if os.fstat(self._descriptor).st_size != _FORMAT.size:
            os.close(self._descriptor)
            raise ClockError(f"{path} is not a clock file: it must be {_FORMAT.size} bytes long")
        self._map = mmap.mmap(self._descriptor, _FORMAT.size)
        # One aligned 8-byte store and load: struct would copy byte by byte and a reader could see half an advance.
        self._cell = memoryview(self._map).cast("q")

    @classmethod
    def create(cls, path: Path) -> Self:
        """Open the clock at `path`, first making it with offset zero if it is not there; an existing offset is kept."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_bytes(_FORMAT.pack(0))
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return cls(path)

    @property
    def offset_us(self) -> int:
        """Microseconds this clock is ahead of the system's clock."""
        return self._cell[0]

    def now(self) -> datetime:
        """The stack's time, in UTC."""
        return datetime.now(UTC) + timedelta(microseconds=self.offset_us)

    def advance(self, by: timedelta) -> datetime:
        """Move the clock forward for all processes and return the new time.

        Simultaneous advances add up. Raises ClockError for a negative step or for more than 100 years altogether.
        """
        if by < timedelta(0):
            raise ClockError("the clock only goes forward")
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            ahead = timedelta(microseconds=self.offset_us) + by
            if ahead > _LONGEST:
                raise ClockError("the clock cannot be more than 100 years ahead")
            self._cell[0] = ahead // timedelta(microseconds=1)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return self.now()

    def close(self) -> None:
        """Unmap the file."""
        self._cell.release()
        self._map.close()
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """Use the clock as a context that closes it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the clock."""
        self.close()


def rfc3339(moment: datetime) -> str:
    """Write a UTC time as RFC 3339 with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
