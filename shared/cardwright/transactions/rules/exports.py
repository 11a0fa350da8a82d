"""Exports of a card's history as CSV: columns, cells no spreadsheet takes for a formula, and the states of a job.

RFC 4180, UTF-8 without a byte order mark: programs would take the mark for a part of the first column's name.
"""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from uuid import UUID

from cardwright.kernel import ids
from cardwright.kernel.clock import rfc3339
from cardwright.transactions.rules.enrichment import enrich
from cardwright.transactions.rules.history import CardTransaction

# Up to here a file is the answer itself; API Gateway and Lambda take 6 MB, and count what JSON makes of the text.
INLINE_MAX_BYTES = 5_000_000
_ANSWER_MAX_BYTES = 5_900_000
PAGE = 1000
# No file with as many rows fits into an answer: the ids, times and words of a row alone are longer than this.
_ROW_MIN_BYTES = 130
INLINE_MAX_ROWS = INLINE_MAX_BYTES // _ROW_MIN_BYTES
# Jobs a user may have waiting or running.
OPEN_MAX = 5
# How long a finished file can be had (infra/objects.py removes it then), and how long one link to it works.
KEPT = timedelta(days=7)
LINK_LIFE = timedelta(minutes=15)
TRIES = 5
# How long after each failed try the next one is due.
_PAUSES = (timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
# Spreadsheets take what begins with one of these for a formula, the full-width forms too (OWASP, "CSV Injection").
_FORMULA = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_MERCHANT = ("id", "name", "city", "country")
_BLANKS = " \u00a0\u3000\ufeff\u200b"


class ExportStatus(StrEnum):
    """How far a job is."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionExport:
    """A job that writes a card's history to a file. `done` and `total` count rows, `size` is in bytes.

    The last ones are there when it is DONE, `failure` (a problem's code) when it FAILED.
    """

    user_id: UUID
    job_id: UUID
    card_id: UUID
    status: ExportStatus
    total: int
    done: int = 0
    created_at: datetime
    finished_at: datetime | None = None
    size: int | None = None
    sha256: bytes | None = None
    failure: str | None = None


COLUMNS = (
    "id",
    "created_at",
    "updated_at",
    "type",
    "status",
    "reason",
    "currency",
    "amount",
    "approved_amount",
    "held_amount",
    "cleared_amount",
    "reversed_amount",
    "refunded_amount",
    "flags",
    "merchant_currency",
    "merchant_amount",
    "merchant_id",
    "merchant_name",
    "merchant_clean_name",
    "merchant_category",
    "merchant_category_name",
    "merchant_city",
    "merchant_country",
    "channel",
    "risk_score",
    "authorization_id",
    "original_authorization_id",
)


def header() -> str:
    """The first line."""
    return ",".join(COLUMNS) + "\r\n"


def lines(transactions: Iterable[CardTransaction]) -> str:
    """A line for each transaction, in the order of COLUMNS."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(_cells(transaction) for transaction in transactions)
    return text.getvalue()


def cell(value: object) -> str:
    """Text as a spreadsheet shows it and does not run it: an apostrophe goes before what would begin a formula."""
    text = "" if value is None else str(value)
    # Some skip blanks before they look.
    first = text.lstrip(_BLANKS)[:1]
    return f"'{text}" if first and first in _FORMULA else text


def fits(text: str) -> bool:
    """True when a file, or what there is of it, may be an answer by itself."""
    return len(text.encode()) <= INLINE_MAX_BYTES and len(json.dumps(text)) <= _ANSWER_MAX_BYTES


def will_fit(first_page: str, rows: int) -> bool:
    """False when so many rows like those of the first page, which is a full one, are a fifth too long for an answer."""
    return 5 * len(first_page.encode()) * rows <= 6 * INLINE_MAX_BYTES * PAGE


def ceiling(moment: datetime) -> UUID:
    """The first id that is later than every transaction's until this moment, to the microsecond."""
    return ids.uuid7(moment + timedelta(microseconds=1), bytes(ids.ENTROPY_BYTES))


def next_try(tries: int, now: datetime) -> datetime | None:
    """When a job is due again whose try number `tries` failed; None when that was the last one."""
    return now + _PAUSES[tries - 1] if tries < TRIES else None


def kept_until(job: TransactionExport) -> datetime | None:
    """When a finished file goes; None while there is none."""
    return None if job.finished_at is None or job.status is not ExportStatus.DONE else job.finished_at + KEPT


def object_key(job_id: UUID) -> str:
    """The name of a job's file in the object store."""
    return f"transactions/{job_id}.csv"


def filename(card_id: UUID, moment: datetime) -> str:
    """The name a file is downloaded under."""
    return f"transactions-{card_id}-{moment:%Y-%m-%d}.csv"


def _cells(transaction: CardTransaction) -> list[object]:
    # What the network or a merchant wrote goes through cell(); the rest is ours: ids, times, amounts, words of a list.
    detail = transaction.detail
    told = transaction.merchant
    merchant = _merchant_cells(*(_text(told.get(name)) for name in _MERCHANT), transaction.merchant_category)
    return [
        transaction.transaction_id,
        rfc3339(transaction.decided_at),
        "" if transaction.updated_at is None else rfc3339(transaction.updated_at),
        transaction.type,
        transaction.status.value,
        transaction.reason,
        transaction.currency,
        _amount(transaction.amount),
        _amount(transaction.approved_amount),
        _amount(transaction.held_amount),
        _amount(transaction.cleared_amount),
        _amount(transaction.reversed_amount),
        _amount(transaction.refunded_amount),
        " ".join(transaction.flags),
        cell(detail.get("merchant_currency")),
        cell(detail.get("merchant_amount")),
        *merchant,
        cell(detail.get("channel")),
        "" if transaction.risk_score is None else transaction.risk_score,
        cell(transaction.authorization_id),
        cell(transaction.original_authorization_id),
    ]


@lru_cache(maxsize=4096)
def _merchant_cells(
    merchant_id: str | None, name: str | None, city: str | None, country: str | None, category_code: str
) -> tuple[str, ...]:
    """What a row tells of its merchant; a card is used at few of them, and often."""
    told = {"id": merchant_id, "name": name, "city": city, "country": country}
    merchant = enrich(told, category_code)
    return (
        cell(merchant.id),
        cell(merchant.name),
        cell(merchant.clean_name),
        category_code,
        cell(merchant.category),
        cell(merchant.city),
        cell(merchant.country),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _amount(amount: Decimal) -> str:
    return f"{amount:.2f}"
