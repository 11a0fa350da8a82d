"""The shared clock: one offset for all processes, forward only, strict durations."""

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.clock import ClockError, ClockFile, parse_duration, rfc3339
from tests.local.programs import PROJECT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT6H", 21_600),
        ("P1D", 86_400),
        ("PT1M30S", 90),
        ("P7D", 604_800),
        ("P2W", 1_209_600),
        ("P1DT2H3M4S", 93_784),
        ("PT0S", 0),
    ],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "6H",
        "P1DT",
        "P1M",
        "P1Y",
        "-PT1H",
        "PT-1H",
        "PT1.5H",
        "PT1S1H",
        "P1W1D",
        "pt1h",
        "PT1H ",
        "PT\u0661H",
    ],
)
def test_everything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ClockError):
        parse_duration(text)


def test_a_new_clock_tells_the_systems_time_in_eight_zero_bytes(tmp_path: Path) -> None:
    with ClockFile.create(tmp_path / "clock") as clock:
        before = datetime.now(UTC)
        told = clock.now()
        assert before <= told <= datetime.now(UTC)
        assert told.tzinfo is UTC
    assert (tmp_path / "clock").read_bytes() == bytes(8)


def test_an_advance_is_seen_by_others_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    with ClockFile.create(path) as mine, ClockFile(path) as other:
        mine.advance(timedelta(hours=6))
        mine.advance(timedelta(microseconds=1))
        assert other.offset_us == 6 * 3_600 * 1_000_000 + 1
        assert other.now() - datetime.now(UTC) > timedelta(hours=5, minutes=59)
    assert int.from_bytes(path.read_bytes(), "little", signed=True) == 21_600_000_001
    with ClockFile.create(path) as again:
        assert again.offset_us == 21_600_000_001


def test_the_clock_goes_forward_only_and_not_without_bound(tmp_path: Path) -> None:
    with ClockFile.create(tmp_path / "clock") as clock:
        with pytest.raises(ClockError):
            clock.advance(timedelta(microseconds=-1))
        with pytest.raises(ClockError):
            clock.advance(timedelta(days=40_000))
        assert clock.offset_us == 0


def test_simultaneous_advances_add_up_among_processes_and_threads(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    ClockFile.create(path).close()
    code = (
        "import sys, pathlib, datetime; from local.clock import ClockFile\n"
        "clock = ClockFile(pathlib.Path(sys.argv[1]))\n"
        "for _ in range(500): clock.advance(datetime.timedelta(microseconds=3))"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=PROJECT) for _ in range(2)]

    def advance() -> None:
        with ClockFile(path) as clock:
            for _ in range(500):
                clock.advance(timedelta(microseconds=5))

    threads = [threading.Thread(target=advance) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [other.wait(30) for other in others] == [0, 0]
    with ClockFile(path) as clock:
        assert clock.offset_us == 2 * 500 * 3 + 2 * 500 * 5


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClockError, match="no clock file"):
        ClockFile(tmp_path / "clock")
    (tmp_path / "other").write_bytes(b"not a clock")
    with pytest.raises(ClockError, match="8 bytes"):
        ClockFile(tmp_path / "other")


def test_times_are_written_in_rfc_3339() -> None:
    assert rfc3339(datetime(2026, 11, 21, 10, 0, 0, 5_000, tzinfo=UTC)) == "2026-11-21T10:00:00.005Z"
