"""Filters of a history: what they bound, and that they can be written down and read again."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.ids import uuid7
from cardwright.transactions.rules.history import HistoryFilters, Scope, TransactionStatus
from tests.builders import NOW

MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC))
AMOUNTS = st.none() | st.decimals(0, 9999, places=2)


@given(MOMENTS, MOMENTS, st.none() | st.sampled_from(TransactionStatus), AMOUNTS, AMOUNTS, st.none() | st.text(min_size=1))
def test_filters_that_are_written_down_are_read_again(
    since: datetime | None,
    until: datetime | None,
    status: TransactionStatus | None,
    least: Decimal | None,
    most: Decimal | None,
    text: str | None,
) -> None:
    filters = HistoryFilters(since=since, until=until, status=status, min_amount=least, max_amount=most, text=text)
    assert HistoryFilters.of(filters.document()) == filters


def test_no_filter_is_an_empty_document() -> None:
    assert HistoryFilters().document() == {}
    assert HistoryFilters.of({}) == HistoryFilters()


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)), st.binary(min_size=10, max_size=10))
def test_ids_of_the_time_that_is_meant_lie_between_the_bounds(moment: datetime, entropy: bytes) -> None:
    filters = HistoryFilters(since=moment, until=moment + timedelta(milliseconds=1))
    assert filters.lowest_id is not None
    assert filters.highest_id is not None
    # The id may have been made on a machine whose clock differs a little.
    for apart in (timedelta(0), timedelta(seconds=50), timedelta(seconds=-50)):
        assert filters.lowest_id <= uuid7(moment + apart, entropy) < filters.highest_id


@pytest.mark.parametrize("end", [datetime.min, datetime.max])
def test_the_ends_of_the_calendar_bound_nothing(end: datetime) -> None:
    moment = end.replace(tzinfo=UTC)
    filters = HistoryFilters(since=moment, until=moment)
    assert filters.lowest_id is not None
    assert filters.highest_id is not None
    now = uuid7(NOW, bytes(10))
    assert (filters.lowest_id <= now) == (end is datetime.min)
    assert (filters.highest_id > now) == (end is datetime.max)


def test_a_list_is_one_cards_or_one_users() -> None:
    with pytest.raises(ValueError, match="one card's or one user's"):
        Scope()
    with pytest.raises(ValueError, match="one card's or one user's"):
        Scope(card_id=UUID(int=1), user_id=UUID(int=2))
