"""What a list of transactions is filtered by (CONTRACT: from, to, status, merchant_category, min_amount, max_amount, q)."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from fastapi import Depends, Query

from cardwright.http.fields import Amount, FreeText, Mcc
from cardwright.kernel.errors import FieldError, InvalidFieldsError
from cardwright.transactions.rules.history import HistoryFilters, TransactionStatus

# What a filter that cannot be meant is refused with, for the documents of the doors that take filters.
FILTER_CODES = [
    "amount_invalid",
    "card_number_not_allowed",
    "not_allowed",
    "range_invalid",
    "time_invalid",
    "too_long",
    "too_short",
]
_MOMENT = "A time (RFC 3339), or a date for the whole day in UTC."
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}.*", re.ASCII)


async def read_filters(
    since: Annotated[
        str | None,
        Query(alias="from", max_length=40, description=f"Decided then or later. {_MOMENT}", examples=["2026-11-01"]),
    ] = None,
    until: Annotated[
        str | None,
        Query(alias="to", max_length=40, description=f"Decided before then. {_MOMENT}", examples=["2026-11-21T10:00:00Z"]),
    ] = None,
    status: TransactionStatus | None = None,
    merchant_category: Annotated[Mcc | None, Query(description="An ISO 18245 code.", examples=["5411"])] = None,
    min_amount: Annotated[Amount | None, Query(description="Of what was asked for, in the card's currency.")] = None,
    max_amount: Annotated[Amount | None, Query(description="Of what was asked for, in the card's currency.")] = None,
    q: Annotated[
        FreeText | None,
        Query(
            description="Words of the merchant's name, its city or category, or the amount. All are looked for; `or`, `-` and "
            "quotation marks do what they do in search engines.",
            examples=["coffee lyon", '"corner shop" -paris', "42.10"],
        ),
    ] = None,
) -> HistoryFilters:
    """The filters of a request. Raises InvalidFieldsError time_invalid, range_invalid."""
    first, end = _moment("from", since, timedelta(0)), _moment("to", until, timedelta(days=1))
    if first is not None and end is not None and first > end:
        raise InvalidFieldsError([FieldError("to", "range_invalid", "It lies before `from`.")])
    if min_amount is not None and max_amount is not None and min_amount > max_amount:
        raise InvalidFieldsError([FieldError("max_amount", "range_invalid", "It is less than `min_amount`.")])
    return HistoryFilters(
        since=first,
        until=end,
        status=status,
        merchant_category=merchant_category,
        min_amount=min_amount,
        max_amount=max_amount,
        text=q,
    )


Filters = Annotated[HistoryFilters, Depends(read_filters)]


def _moment(field: str, text: str | None, of_date: timedelta) -> datetime | None:
    """The moment a parameter names; a date is its beginning, or `of_date` later."""
    if text is None:
        return None
    try:
        if _DATE.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), time(), UTC) + of_date
        # A plus in a query reads as a space, and an offset has no other use for one.
        found = datetime.fromisoformat(text.replace(" ", "+")) if _TIME.fullmatch(text) else None
        if found is not None and found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        # There is no such day, or at either end of the calendar no such time in UTC.
        pass
    detail = "A time such as 2026-11-21T10:00:00Z, or a date such as 2026-11-21."
    raise InvalidFieldsError([FieldError(field, "time_invalid", detail)])
