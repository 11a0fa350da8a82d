"""Moments in query parameters: a time, or how long from now."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Query

from cardwright.kernel.errors import FieldError, InvalidFieldsError

ForceAfter = Annotated[
    str | None,
    Query(
        max_length=40,
        description="A time (RFC 3339) or a duration from now (ISO 8601, such as `PT6H` or `P7D`).",
        examples=["2026-11-28T10:00:00Z", "P7D"],
    ),
]
_DURATION = re.compile(r"P(?:([0-9]{1,3})D)?(?:T(?=[0-9])(?:([0-9]{1,4})H)?(?:([0-9]{1,5})M)?(?:([0-9]{1,7})S)?)?", re.ASCII)


def moment(text: str | None, now: datetime) -> datetime | None:
    """The moment a parameter names. Raises InvalidFieldsError force_after_invalid for anything but a time or a duration."""
    if text is None:
        return None
    # A plus in a query reads as a space, and an offset has no other use for one.
    duration = _DURATION.fullmatch(text)
    if duration is not None and any(duration.groups()):
        days, hours, minutes, seconds = (int(part or 0) for part in duration.groups())
        return now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    try:
        found = datetime.fromisoformat(text.replace(" ", "+")) if "T" in text else None
        if found is not None and found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        # At either end of the calendar there is no such time in UTC.
        pass
    detail = "A time such as 2026-11-28T10:00:00Z, or a duration such as P7D."
    raise InvalidFieldsError([FieldError("force_after", "force_after_invalid", detail)])
