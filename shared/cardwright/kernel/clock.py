"""Time as an argument: decisions read the injected clock, never the system's."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Gives the current time, aware and in UTC."""

    def now(self) -> datetime:
        """Return the current time, timezone UTC."""
        ...


class FixedClock:
    """A clock that stands until it is set; for replays and tests."""

    def __init__(self, at: datetime) -> None:
        self.at = at.astimezone(UTC)

    def now(self) -> datetime:
        """Return the time it was set to."""
        return self.at


def rfc3339(moment: datetime) -> str:
    """Format an aware time as RFC 3339 in UTC with `Z`, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
