"""When a message may go: quiet hours, the hour of the digest, and the wait before a message is tried again."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cardwright.notifications.rules.wishes import QuietHours

# After each attempt but the last, the wait before the next; the first is at once.
RETRY_DELAYS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=60))
ATTEMPTS_MAX = len(RETRY_DELAYS) + 1
# The same within this time is told once.
COLLAPSE_WINDOW = timedelta(minutes=5)
_DAY = timedelta(days=1)
# A day becomes 0.864 s: what happened a tenth of a second apart stays apart in microseconds.
_SQUEEZE = 100_000


def quiet_until(quiet: QuietHours | None, time_zone: str, now: datetime) -> datetime | None:
    """When the quiet hours that hold `now` end, in UTC; None outside of them.

    Hours are those of the wall clock, also on days when it is set: an end that comes twice is the later one, one that does not
    come at all stands for the time an hour after it.
    """
    if quiet is None:
        return None
    zone = ZoneInfo(time_zone)
    today = now.astimezone(zone).date()
    # The hours that began yesterday may go on; a day's own may have begun.
    for day in (today - _DAY, today):
        begins = datetime.combine(day, quiet.start, zone).astimezone(UTC)
        ends = _latest(day + (_DAY if quiet.until <= quiet.start else timedelta(0)), quiet.until, zone)
        if begins <= now < ends:
            return ends
    return None


def in_order(quiet_end: datetime, happened_at: datetime) -> datetime:
    """When a message that quiet hours hold goes: within a second after their end, the sooner the earlier its event happened.

    So the order of what is due, which an index has, is that in which things happened.
    """
    age = min(max(quiet_end - happened_at, timedelta(0)), _DAY)
    return quiet_end + (_DAY - age) / _SQUEEZE


def next_hour(hour: int, time_zone: str, now: datetime) -> datetime:
    """The next time, after `now`, that the wall clock shows the full hour; in UTC."""
    zone = ZoneInfo(time_zone)
    today = now.astimezone(zone).date()
    for days in range(3):
        at = _latest(today + days * _DAY, time(hour), zone)
        if at > now:
            return at
    raise AssertionError("an hour comes within three days")


def digest_due(hour: int, time_zone: str, quiet: QuietHours | None, now: datetime) -> datetime:
    """When the digest of a day goes: at its hour, after quiet hours that hold it."""
    at = next_hour(hour, time_zone, now)
    return quiet_until(quiet, time_zone, at) or at


def next_attempt(attempts: int, now: datetime) -> datetime | None:
    """When the attempt after `attempts` that failed is due, or None when they are spent."""
    return now + RETRY_DELAYS[attempts - 1] if attempts < ATTEMPTS_MAX else None


def _latest(day: date, at: time, zone: ZoneInfo) -> datetime:
    both = (datetime.combine(day, at.replace(fold=fold), zone).astimezone(UTC) for fold in (0, 1))
    return max(both)
