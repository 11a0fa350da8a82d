"""Days and months of a card: windows by the calendar of its IANA time zone, right on days that have 23 or 25 hours."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

_TICK = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)
# Names that a system's files add: its own setting, and a placeholder of the IANA database for "not set".
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})


@dataclass(frozen=True, slots=True)
class Window:
    """A day or month of a time zone's calendar, in UTC: from `start`, until before `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class WindowUse:
    """What of a limit is spent and remains, in the card's currency, and when it begins anew (UTC)."""

    spent: Decimal
    remaining: Decimal
    resets_at: datetime


WindowOf = Callable[[datetime, str], Window]


def known_time_zone(name: str) -> bool:
    """True for the exact name of a zone or link of the IANA time zone database."""
    return name in _zone_names()


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_ZONES


def windows(now: datetime, time_zone: str) -> tuple[datetime, datetime]:
    """Start of the card's current day and month, in UTC, by the calendar of its IANA time zone."""
    local = now.astimezone(ZoneInfo(time_zone))
    return _day_at(now, local, time_zone).start, _month_at(now, local, time_zone).start


def day_window(now: datetime, time_zone: str) -> Window:
    """The day of a zone that holds a moment. Days follow each other without gap or overlap, whatever a clock is set to."""
    return _day_at(now, now.astimezone(ZoneInfo(time_zone)), time_zone)


def month_window(now: datetime, time_zone: str) -> Window:
    """The month of a zone that holds a moment; months follow each other as days do."""
    return _month_at(now, now.astimezone(ZoneInfo(time_zone)), time_zone)


def window_use(limit: Decimal, spent: Decimal, counted_from: datetime, now: datetime, time_zone: str, of: WindowOf) -> WindowUse:
    """What remains of a daily (`of` day_window) or monthly limit (month_window).

    `spent` and `counted_from` are the spend row's sum and the start it was counted from. The sum is over with the first window
    that starts after that; a change of time zone may have put it ahead of now.
    """
    counted = spent if counted_from >= of(now, time_zone).start else Decimal("0.00")
    return WindowUse(counted, max(limit - counted, Decimal("0.00")), of(max(now, counted_from), time_zone).end)


def approvals_in_hour(approvals: Iterable[datetime], now: datetime) -> int:
    """How many of the approvals are of the last hour; as the engine counts velocity."""
    return sum(approved_at > now - _HOUR for approved_at in approvals)


def carried_day(counted_from: datetime, now: datetime, old_zone: str, new_zone: str) -> datetime:
    """From when on a day's sum is counted after a change of time zone: it is kept until its own day would have ended.

    The new zone's first midnight from then on ends it. Without that, whoever moves through zones had a midnight as often as
    they liked.
    """
    current = day_window(now, old_zone)
    # What was carried before and is not over since stays carried to the same time: to go back is to be where one was.
    kept = counted_from if counted_from >= current.start and _carried(counted_from) else current.end - _TICK
    return max(day_window(now, new_zone).start, kept)


def carried_month(counted_from: datetime, now: datetime, old_zone: str, new_zone: str) -> datetime:
    """From when on a month's sum is counted after a change of time zone: it is the same calendar month's in the new one.

    So it ends up to 26 hours sooner or later. Where the next month has begun already the sum is carried into that one, as a
    day's is: a change of zone never gives a fresh month.
    """
    anchor = max(counted_from, month_window(now, old_zone).start)
    if _carried(anchor):
        return max(month_window(now, new_zone).start, anchor)
    month = _month_index(anchor, old_zone)
    if _month_index(now, new_zone) > month:
        return _month(month, old_zone).end - _TICK
    return max(anchor, _month(month, new_zone).start)


def _carried(counted_from: datetime) -> bool:
    """True for the last microsecond before a window's end; windows start with whole seconds. One that starts then is later."""
    return counted_from.microsecond == 999999


def _day_at(now: datetime, local: datetime, time_zone: str) -> Window:
    window = _day(local.toordinal(), time_zone)
    # A clock set back over midnight shows the former day again; that day is over.
    return window if now < window.end else _day(local.toordinal() + 1, time_zone)


def _month_at(now: datetime, local: datetime, time_zone: str) -> Window:
    index = local.year * 12 + local.month - 1
    window = _month(index, time_zone)
    return window if now < window.end else _month(index + 1, time_zone)


def _month_index(moment: datetime, time_zone: str) -> int:
    local = moment.astimezone(ZoneInfo(time_zone))
    index = local.year * 12 + local.month - 1
    return index if moment < _month(index, time_zone).end else index + 1


@lru_cache(maxsize=4096)
def _day(ordinal: int, time_zone: str) -> Window:
    return Window(_beginning(ordinal, time_zone), _beginning(ordinal + 1, time_zone))


@lru_cache(maxsize=4096)
def _month(index: int, time_zone: str) -> Window:
    first, following = (date(number // 12, number % 12 + 1, 1).toordinal() for number in (index, index + 1))
    return Window(_beginning(first, time_zone), _beginning(following, time_zone))


@lru_cache(maxsize=8192)
def _beginning(ordinal: int, time_zone: str) -> datetime:
    """First moment at which a zone's calendar shows this day, or a later one where it skips it."""
    zone = ZoneInfo(time_zone)
    day = date.fromordinal(ordinal)
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    moment = midnight.astimezone(UTC)
    if (moment - _TICK).astimezone(zone).date() < day:
        return moment
    # Midnight lies inside what a clock set forward skips: the day begins with that change, which is between these two.
    before = midnight.replace(fold=1).astimezone(UTC)
    while moment - before > _SECOND:
        middle = before + (moment - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).date() < day:
            before = middle
        else:
            moment = middle
    return moment
