"""Days and months by the calendars of the world, and what becomes of their sums when a card moves through them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from cardwright.cards.rules import (
    approvals_in_hour,
    carried_day,
    carried_month,
    day_window,
    known_time_zone,
    month_window,
    window_use,
    windows,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
LIMIT, SPENT = Decimal("100.00"), Decimal("30.00")


def utc(*parts: int) -> datetime:
    """A time in UTC."""
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]  # a datetime's parts, as a test writes them


@pytest.mark.parametrize(
    ("time_zone", "moment", "start", "end"),
    [
        ("UTC", NOON, utc(2026, 11, 21), utc(2026, 11, 22)),
        ("Asia/Kathmandu", NOON, utc(2026, 11, 20, 18, 15), utc(2026, 11, 21, 18, 15)),
        # 23 and 25 hours.
        ("Europe/Paris", utc(2026, 3, 29, 0, 30), utc(2026, 3, 28, 23), utc(2026, 3, 29, 22)),
        ("Europe/Paris", utc(2026, 10, 25, 12), utc(2026, 10, 24, 22), utc(2026, 10, 25, 23)),
        # Days that begin at one o'clock.
        ("Asia/Beirut", utc(2026, 3, 28, 22), utc(2026, 3, 28, 22), utc(2026, 3, 29, 21)),
        ("Africa/Cairo", utc(2026, 4, 23, 22, 30), utc(2026, 4, 23, 22), utc(2026, 4, 24, 21)),
        ("America/Sao_Paulo", utc(2018, 11, 4, 3), utc(2018, 11, 4, 3), utc(2018, 11, 5, 2)),
        # A midnight that comes twice: the day begins with the first.
        ("America/Havana", utc(2026, 11, 1, 5, 30), utc(2026, 11, 1, 4), utc(2026, 11, 2, 5)),
        # The last hour of a day twice.
        ("America/Sao_Paulo", utc(2019, 2, 17, 2, 30), utc(2019, 2, 16, 2), utc(2019, 2, 17, 3)),
        # The day that Samoa left out when it crossed the date line.
        ("Pacific/Apia", utc(2011, 12, 30, 9, 59), utc(2011, 12, 29, 10), utc(2011, 12, 30, 10)),
        ("Pacific/Apia", utc(2011, 12, 30, 10), utc(2011, 12, 30, 10), utc(2011, 12, 31, 10)),
        # A clock set back over midnight does not bring yesterday back.
        ("America/St_Johns", utc(2010, 11, 7, 2, 45), utc(2010, 11, 7, 2, 30), utc(2010, 11, 8, 3, 30)),
        # A clock set forward over midnight: 23:30 to 00:30.
        ("America/Toronto", utc(1919, 3, 31, 4, 45), utc(1919, 3, 31, 4, 30), utc(1919, 4, 1, 4)),
        ("America/Toronto", utc(1919, 3, 31, 4, 29), utc(1919, 3, 30, 5), utc(1919, 3, 31, 4, 30)),
    ],
)
def test_a_day_is_the_calendars(time_zone: str, moment: datetime, start: datetime, end: datetime) -> None:
    window = day_window(moment, time_zone)
    assert (window.start, window.end) == (start, end)
    assert windows(moment, time_zone)[0] == start


@pytest.mark.parametrize(
    ("time_zone", "moment", "start", "end"),
    [
        ("UTC", NOON, utc(2026, 11, 1), utc(2026, 12, 1)),
        ("UTC", utc(2026, 12, 31, 23, 59), utc(2026, 12, 1), utc(2027, 1, 1)),
        ("Pacific/Kiritimati", utc(2026, 10, 31, 10), utc(2026, 10, 31, 10), utc(2026, 11, 30, 10)),
        ("America/New_York", utc(2026, 11, 1, 3, 59), utc(2026, 10, 1, 4), utc(2026, 11, 1, 4)),
        ("America/New_York", NOON, utc(2026, 11, 1, 4), utc(2026, 12, 1, 5)),
    ],
)
def test_a_month_is_the_calendars(time_zone: str, moment: datetime, start: datetime, end: datetime) -> None:
    window = month_window(moment, time_zone)
    assert (window.start, window.end) == (start, end)
    assert windows(moment, time_zone)[1] == start


@pytest.mark.parametrize("name", ["UTC", "Europe/Paris", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "US/Eastern", "EST5EDT"])
def test_names_of_the_iana_database_are_known(name: str) -> None:
    assert known_time_zone(name)
    assert ZoneInfo(name).key == name


@pytest.mark.parametrize(
    "name",
    ["", "localtime", "Factory", "posixrules", "europe/paris", "Europe", "Mars/Olympus", "../etc/passwd", "/etc/localtime",
     "posix/UTC", "right/UTC", "+02:00", "CEST", "UTC0", "Europe/Paris ", "Europe\\Paris", "UTC\x00"],
)  # fmt: skip
def test_no_other_name_is(name: str) -> None:
    assert not known_time_zone(name)


def test_a_sum_of_the_running_day_counts_and_an_older_one_does_not() -> None:
    use = window_use(LIMIT, SPENT, utc(2026, 11, 21), NOON, "UTC", day_window)
    assert (use.spent, use.remaining, use.resets_at) == (SPENT, Decimal("70.00"), utc(2026, 11, 22))
    over = window_use(LIMIT, SPENT, utc(2026, 11, 20), NOON, "UTC", day_window)
    assert (over.spent, over.remaining, over.resets_at) == (Decimal("0.00"), LIMIT, utc(2026, 11, 22))


def test_what_is_spent_beyond_a_lowered_limit_leaves_nothing() -> None:
    use = window_use(Decimal("20.00"), SPENT, utc(2026, 11, 1), NOON, "UTC", month_window)
    assert (use.remaining, use.resets_at) == (Decimal("0.00"), utc(2026, 12, 1))


def test_a_sum_counted_from_ahead_of_now_is_over_with_the_first_window_after_that() -> None:
    ahead = utc(2026, 11, 22) - TICK
    use = window_use(LIMIT, SPENT, ahead, NOON, "Europe/Paris", day_window)
    assert (use.spent, use.resets_at) == (SPENT, utc(2026, 11, 22, 23))
    sharp = window_use(LIMIT, SPENT, ahead, NOON, "Europe/London", day_window)
    assert sharp.resets_at == utc(2026, 11, 22)


def test_a_day_is_carried_to_where_it_would_have_ended_and_back() -> None:
    start = utc(2026, 11, 21)
    tokyo = carried_day(start, NOON, "UTC", "Asia/Tokyo")
    assert tokyo == utc(2026, 11, 22) - TICK
    assert carried_day(tokyo, NOON, "Asia/Tokyo", "America/New_York") == tokyo
    assert window_use(LIMIT, SPENT, carried_day(tokyo, NOON, "Asia/Tokyo", "UTC"), NOON, "UTC", day_window).resets_at == utc(
        2026, 11, 22
    )


def test_a_day_that_is_over_is_not_carried_but_the_running_one_is() -> None:
    assert carried_day(utc(2026, 11, 3), NOON, "UTC", "Asia/Tokyo") == utc(2026, 11, 22) - TICK


def test_a_month_goes_on_as_the_same_month_of_the_new_zone() -> None:
    start = utc(2026, 11, 1)
    for time_zone, end in (("Europe/Paris", utc(2026, 11, 30, 23)), ("America/New_York", utc(2026, 12, 1, 5))):
        moved = carried_month(start, NOON, "UTC", time_zone)
        assert window_use(LIMIT, SPENT, moved, NOON, time_zone, month_window).resets_at == end


def test_a_month_that_has_begun_elsewhere_is_no_fresh_one() -> None:
    late = utc(2026, 11, 30, 20)
    moved = carried_month(utc(2026, 11, 1), late, "UTC", "Asia/Tokyo")
    use = window_use(LIMIT, SPENT, moved, late, "Asia/Tokyo", month_window)
    assert (use.spent, use.resets_at) == (SPENT, utc(2026, 12, 31, 15))
    back = carried_month(moved, late, "Asia/Tokyo", "UTC")
    assert window_use(LIMIT, SPENT, back, late, "UTC", month_window).resets_at == utc(2026, 12, 1)


def test_a_month_that_has_not_begun_elsewhere_is_not_had_twice() -> None:
    early = utc(2026, 12, 1, 2)
    moved = carried_month(utc(2026, 12, 1), early, "UTC", "America/New_York")
    use = window_use(LIMIT, SPENT, moved, early, "America/New_York", month_window)
    assert (use.spent, use.resets_at) == (SPENT, utc(2027, 1, 1, 5))


def test_approvals_count_for_an_hour() -> None:
    ages = (3600, 3599, 60, 0)
    assert approvals_in_hour([NOON - timedelta(seconds=age) for age in ages], NOON) == 3
    assert approvals_in_hour([], NOON) == 0
