"""Laws of windows: days and months tile time in every zone, and no journey through zones makes limits begin more often."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import example, given
from hypothesis import strategies as st

from cardwright.cards.rules import carried_day, carried_month, day_window, known_time_zone, month_window, windows

ZONES = sorted(filter(known_time_zone, available_timezones()))
# Where clocks change at midnight, by half an hour, by hours, or lie at the ends of the world.
ODD = (
    "Africa/Cairo", "America/Havana", "America/Nuuk", "America/Santiago", "Antarctica/Casey", "Antarctica/Troll", "Asia/Almaty",
    "Asia/Beirut", "Asia/Gaza", "Asia/Kathmandu", "Asia/Tehran", "Atlantic/Azores", "Australia/Lord_Howe", "Etc/GMT+12",
    "Pacific/Apia", "Pacific/Chatham", "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC",
)  # fmt: skip
zones = st.sampled_from(ZONES) | st.sampled_from(ODD)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 12, 31), timezones=st.just(UTC))
# Seen in all zones from 2020 to 2035: Casey, which has jumped by three hours both ways.
SHORTEST_DAY, LONGEST_DAY = timedelta(hours=21), timedelta(hours=27)


@given(moment=moments, time_zone=zones)
@example(moment=datetime(2020, 10, 4, 1, tzinfo=UTC), time_zone="Antarctica/Casey")
@example(moment=datetime(2022, 3, 12, 20, tzinfo=UTC), time_zone="Antarctica/Casey")
@example(moment=datetime(2024, 2, 29, 18, 30, tzinfo=UTC), time_zone="Asia/Almaty")
@example(moment=datetime(2020, 10, 24, 21, 30, tzinfo=UTC), time_zone="Asia/Gaza")
def test_a_day_holds_its_moment_and_is_about_as_long_as_days_are(moment: datetime, time_zone: str) -> None:
    day = day_window(moment, time_zone)
    assert day.start <= moment < day.end
    assert SHORTEST_DAY <= day.end - day.start <= LONGEST_DAY
    assert day.start.astimezone(ZoneInfo(time_zone)).date() == moment.astimezone(ZoneInfo(time_zone)).date()
    month = month_window(moment, time_zone)
    assert month.start <= day.start
    assert day.end <= month.end
    assert timedelta(days=27, hours=23) < month.end - month.start < timedelta(days=31, hours=4)
    assert windows(moment, time_zone) == (day.start, month.start)


@given(moment=moments, time_zone=zones)
def test_days_and_months_follow_each_other_without_gap(moment: datetime, time_zone: str) -> None:
    for window_of in (day_window, month_window):
        window = window_of(moment, time_zone)
        assert window_of(window.start, time_zone) == window
        assert window_of(window.end - timedelta(microseconds=1), time_zone) == window
        assert window_of(window.end, time_zone).start == window.end


@given(moment=moments, later=st.timedeltas(timedelta(0), timedelta(days=3)), time_zone=zones)
def test_windows_never_go_back(moment: datetime, later: timedelta, time_zone: str) -> None:
    before, after = windows(moment, time_zone), windows(moment + later, time_zone)
    assert before[0] <= after[0]
    assert before[1] <= after[1]


@dataclass
class Sum:
    """A spend row's sum under a limit of one spending a window, as `record_authorization` and `set_card_limits` keep it."""

    time_zone: str
    month: bool
    counted_from: datetime
    spent: bool = False

    def _start(self, now: datetime, time_zone: str) -> datetime:
        return windows(now, time_zone)[self.month]

    def spend(self, now: datetime) -> bool:
        """Spend the whole limit where nothing is spent yet."""
        start = self._start(now, self.time_zone)
        if self.spent and self.counted_from >= start:
            return False
        self.counted_from, self.spent = max(self.counted_from, start), True
        return True

    def move(self, now: datetime, time_zone: str) -> None:
        """Move to another zone."""
        if time_zone == self.time_zone:
            return
        carried = carried_month if self.month else carried_day
        ahead = carried(self.counted_from, now, self.time_zone, time_zone)
        self.spent = self.spent and self.counted_from >= self._start(now, self.time_zone)
        self.counted_from, self.time_zone = max(self.counted_from, ahead), time_zone


def spendings(journey: list[tuple[timedelta, str | None]], begin: datetime, time_zone: str, *, month: bool) -> list[datetime]:
    """When the limit could be spent, by somebody who tries whenever something has changed."""
    kept = Sum(time_zone, month, windows(begin, time_zone)[month])
    now, found = begin, []
    for later, moved_to in journey:
        now += later
        if kept.spend(now):
            found.append(now)
        if moved_to is not None:
            kept.move(now, moved_to)
            if found:
                assert not (kept.spend(now) and found[-1] == now), "a move gave a second limit"
    return found


hours = st.timedeltas(timedelta(0), timedelta(hours=14))
days = st.timedeltas(timedelta(0), timedelta(hours=9)) | st.timedeltas(timedelta(0), timedelta(days=12))
# About the turn of a month, when it is another month in half of the zones.
turns = st.builds(
    lambda moment, off: month_window(moment, "UTC").end + off, moments, st.timedeltas(-timedelta(hours=20), timedelta(hours=20))
)
stops = st.none() | zones


@given(journey=st.lists(st.tuples(hours, stops), min_size=3, max_size=40), begin=moments, time_zone=zones)
def test_no_journey_gives_a_third_daily_limit_within_a_day(
    journey: list[tuple[timedelta, str | None]], begin: datetime, time_zone: str
) -> None:
    found = spendings(journey, begin, time_zone, month=False)
    # Two may be close, before and after a midnight; the third has a whole day before it.
    assert all(third - first >= SHORTEST_DAY for first, third in zip(found, found[2:], strict=False))


@given(journey=st.lists(st.tuples(days, stops), min_size=3, max_size=30), begin=turns, time_zone=zones)
@example(
    journey=[(timedelta(0), None), (timedelta(hours=2), "America/New_York"), (timedelta(hours=5), None)],
    begin=datetime(2026, 11, 30, 23, tzinfo=UTC),
    time_zone="UTC",
)
def test_no_journey_gives_a_third_monthly_limit_within_a_month(
    journey: list[tuple[timedelta, str | None]], begin: datetime, time_zone: str
) -> None:
    found = spendings(journey, begin, time_zone, month=True)
    assert all(third - first >= timedelta(days=26, hours=18) for first, third in zip(found, found[2:], strict=False))


@given(moment=moments | turns, here=zones, there=zones)
def test_there_and_back_is_where_one_was(moment: datetime, here: str, there: str) -> None:
    for month, (carried, window_of) in enumerate(((carried_day, day_window), (carried_month, month_window))):
        start = windows(moment, here)[month]
        away = max(start, carried(start, moment, here, there))
        back = max(away, carried(away, moment, there, here))
        assert window_of(max(moment, back), here) == window_of(moment, here)


def test_the_zones_are_many() -> None:
    assert len(ZONES) > 400
    assert all(known_time_zone(name) for name in ODD)
    assert all(first < second for first, second in pairwise(ZONES))
