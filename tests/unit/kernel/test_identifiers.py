"""UUID version 7, clocks and times as text."""

import os
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.clock import FixedClock, rfc3339
from cardwright.kernel.ids import ENTROPY_BYTES, uuid7
from cardwright.platform.ids import IdSource, random_bytes, random_digits, random_token

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
ENTROPY = st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES)


def test_the_example_of_rfc_9562_is_met() -> None:
    # Appendix A.6: 2022-02-22T19:22:22.000Z, rand_b 0x18C4DC0C0C07398F; its rand_a is random, ours the time's fraction.
    entropy = bytes.fromhex("0cc3" + "18c4dc0c0c07398f")
    moment = datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)
    assert str(uuid7(moment, entropy)) == "017f22e2-79b0-7000-98c4-dc0c0c07398f"
    # Section 6.2, method 3: half a millisecond is half of the 12 bits.
    assert str(uuid7(moment + timedelta(microseconds=500), entropy)) == "017f22e2-79b0-7800-98c4-dc0c0c07398f"


@given(MOMENTS, ENTROPY)
def test_version_variant_and_time_are_in_their_places(moment: datetime, entropy: bytes) -> None:
    made = uuid7(moment, entropy)
    assert (made.version, made.variant) == (7, UUID(int=1 << 63).variant)
    assert made.int >> 80 == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@given(MOMENTS, ENTROPY, ENTROPY)
def test_a_later_microsecond_sorts_later(moment: datetime, first: bytes, second: bytes) -> None:
    assert uuid7(moment, first) < uuid7(moment + timedelta(microseconds=1), second)


def test_the_zone_of_the_time_does_not_matter_and_entropy_is_counted() -> None:
    moment = datetime(2026, 11, 21, 12, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert uuid7(moment, b"x" * 10) == uuid7(elsewhere, b"x" * 10)
    with pytest.raises(ValueError, match="10 bytes"):
        uuid7(moment, os.urandom(9))


def test_a_source_takes_its_time_from_the_clock_and_never_repeats() -> None:
    clock = FixedClock(datetime(2026, 11, 21, 12, tzinfo=UTC))
    source = IdSource(clock)
    made = {source.new() for _ in range(1000)}
    assert len(made) == 1000
    assert {identifier.int >> 80 for identifier in made} == {int(clock.at.timestamp() * 1000)}


def test_random_values_have_their_size() -> None:
    assert len(random_bytes(32)) == 32
    assert len(random_token(32)) == 43
    codes = [random_digits(6) for _ in range(200)]
    assert all(len(code) == 6 and code.isdigit() for code in codes)
    assert len(set(codes)) > 150


def test_times_are_told_in_utc_with_milliseconds() -> None:
    moment = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=-5)))
    assert rfc3339(moment) == "2026-11-21T17:00:00.123Z"
    assert FixedClock(moment).now() == moment
    assert FixedClock(moment).now().tzinfo is UTC
