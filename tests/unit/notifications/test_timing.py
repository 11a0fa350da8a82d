"""When messages may go: quiet hours by the wall clock, also on days it is set; the hour of the digest; waits between attempts."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.notifications.rules import QuietHours, digest_due, next_attempt, next_hour, quiet_until

BERLIN = "Europe/Berlin"
NIGHT = QuietHours(time(22), time(7))


def utc(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-11-21 20:59:59", None),
        ("2026-11-21 21:00:00", "2026-11-22 06:00:00"),
        ("2026-11-22 05:59:59", "2026-11-22 06:00:00"),
        ("2026-11-22 06:00:00", None),
        # Summer: the same wall clock is an hour earlier.
        ("2026-07-01 20:00:00", "2026-07-02 05:00:00"),
        # The night in which clocks go forward is an hour shorter, the one in which they go back an hour longer.
        ("2026-03-28 21:00:00", "2026-03-29 05:00:00"),
        ("2026-10-24 20:00:00", "2026-10-25 06:00:00"),
    ],
)
def test_a_night_is_quiet_by_the_wall_clock(now: str, end: str | None) -> None:
    assert quiet_until(NIGHT, BERLIN, utc(now)) == (None if end is None else utc(end))


@pytest.mark.parametrize(
    ("now", "end"),
    [
        # 02:30 comes twice on this night: it is quiet until the second time.
        ("2026-10-25 00:29:00", "2026-10-25 01:30:00"),
        ("2026-10-25 01:29:00", "2026-10-25 01:30:00"),
        # 02:30 does not come on this one: it is quiet until an hour after it.
        ("2026-03-29 00:59:00", "2026-03-29 01:30:00"),
    ],
)
def test_an_end_that_comes_twice_or_never_is_told(now: str, end: str) -> None:
    assert quiet_until(QuietHours(time(23), time(2, 30)), BERLIN, utc(now)) == utc(end)


@pytest.mark.parametrize(("now", "quiet"), [("11:59:59", False), ("12:00:00", True), ("13:59:59", True), ("14:00:00", False)])
def test_hours_within_a_day_are_quiet_too(now: str, quiet: bool) -> None:
    found = quiet_until(QuietHours(time(12), time(14)), "UTC", utc(f"2026-11-21 {now}"))
    assert found == (utc("2026-11-21 14:00:00") if quiet else None)


def test_nobody_is_quiet_without_wishing_so() -> None:
    assert quiet_until(None, BERLIN, utc("2026-11-21 23:00:00")) is None


@given(
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
    start=st.integers(0, 1439),
    length=st.integers(1, 1439),
    zone=st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]),
)
def test_an_end_is_never_past_and_never_days_away(moment: datetime, start: int, length: int, zone: str) -> None:
    quiet = QuietHours(_clock(start), _clock((start + length) % 1440))
    now = moment.replace(tzinfo=UTC)
    end = quiet_until(quiet, zone, now)
    if end is not None:
        # Clocks may be set by a day: Samoa left one out, and came back from another.
        assert now < end <= now + timedelta(hours=49)


def _clock(minutes: int) -> time:
    return time(minutes // 60, minutes % 60)


@pytest.mark.parametrize(
    ("hour", "now", "at"),
    [
        (8, "2026-11-21 06:59:59", "2026-11-21 07:00:00"),
        (8, "2026-11-21 07:00:00", "2026-11-22 07:00:00"),
        # 02:00 does not come on the 29th of March 2026 and comes twice on the 25th of October.
        (2, "2026-03-28 12:00:00", "2026-03-29 01:00:00"),
        (2, "2026-10-24 12:00:00", "2026-10-25 01:00:00"),
    ],
)
def test_the_hour_of_a_digest_is_of_the_wall_clock(hour: int, now: str, at: str) -> None:
    assert next_hour(hour, BERLIN, utc(now)) == utc(at)


def test_a_digest_whose_hour_is_quiet_comes_at_the_end_of_the_quiet_hours() -> None:
    assert digest_due(5, BERLIN, NIGHT, utc("2026-11-21 12:00:00")) == utc("2026-11-22 06:00:00")
    assert digest_due(8, BERLIN, NIGHT, utc("2026-11-21 12:00:00")) == utc("2026-11-22 07:00:00")


def test_attempts_are_spread_over_an_hour_and_a_half_and_end() -> None:
    now = utc("2026-11-21 12:00:00")
    waits = [next_attempt(attempts, now) for attempts in range(1, 6)]
    assert [wait - now if wait else None for wait in waits] == [*(timedelta(minutes=wait) for wait in (1, 5, 15, 60)), None]
