"""Files of exports: what RFC 4180 wants, what spreadsheets must not run, and when a file is too long for an answer."""

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.ids import uuid7
from cardwright.transactions.rules import exports as rules
from cardwright.transactions.rules.exports import ExportStatus, TransactionExport, cell
from cardwright.transactions.rules.history import CardTransaction, TransactionStatus
from tests.pans import pan

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def transaction(merchant: dict[str, object] | None = None, **changes: Any) -> CardTransaction:
    """A purchase."""
    fields: dict[str, Any] = {
        "transaction_id": uuid7(NOW, bytes(10)),
        "card_id": UUID(int=1),
        "authorization_id": "auth_1",
        "original_authorization_id": None,
        "root_authorization_id": "auth_1",
        "type": "authorization",
        "status": TransactionStatus.AUTHORIZED,
        "reason": "approved",
        "amount": Decimal("42.10"),
        "approved_amount": Decimal("42.10"),
        "held_amount": Decimal("42.10"),
        "cleared_amount": Decimal(0),
        "reversed_amount": Decimal(0),
        "refunded_amount": Decimal(0),
        "flags": (),
        "currency": "USD",
        "merchant_category": "5411",
        "detail": {"merchant": merchant or {}, "channel": "chip"},
        "risk_score": None,
        "hold_expires_at": None,
        "decided_at": NOW,
        "updated_at": None,
    }
    return CardTransaction(**{**fields, **changes})


def read(*transactions: CardTransaction) -> list[dict[str, str]]:
    """The rows of a file of these, as a program reads them."""
    text = rules.header() + rules.lines(transactions)
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_every_line_ends_as_rfc_4180_wants_and_has_every_column() -> None:
    text = rules.header() + rules.lines([transaction(), transaction()])
    assert text.endswith("\r\n")
    assert len(text.replace("\r\n", "").splitlines()) == 1
    assert text.count("\r\n") == 3
    assert {len(line) for line in csv.reader(io.StringIO(text))} == {len(rules.COLUMNS)}
    assert text[0] == "i", "no byte order mark"


def test_commas_quotes_and_line_ends_stay_within_their_cell() -> None:
    (row,) = read(transaction({"name": 'Bed, "Bath"\r\n& more', "city": "São Paulo"}))
    assert (row["merchant_name"], row["merchant_city"]) == ('Bed, "Bath"\r\n& more', "São Paulo")
    assert row["channel"] == "chip"


def test_amounts_are_plain_numbers_with_two_decimals() -> None:
    (row,) = read(
        transaction(amount=Decimal("1234567.5"), refunded_amount=Decimal("0E-2"), flags=("over_cleared", "over_reversed"))
    )
    assert (row["amount"], row["refunded_amount"]) == ("1234567.50", "0.00")
    assert row["flags"] == "over_cleared over_reversed"


def test_what_is_not_known_is_empty() -> None:
    (row,) = read(transaction(authorization_id=None))
    unknown = {name for name, value in row.items() if value == ""}
    assert {"authorization_id", "original_authorization_id", "risk_score", "merchant_name", "merchant_amount"} <= unknown


@pytest.mark.parametrize("first", [*"=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"])
@pytest.mark.parametrize("blank", ["", "  ", "\u00a0", "\ufeff"])
def test_no_cell_begins_a_formula(first: str, blank: str) -> None:
    text = f'{blank}{first}HYPERLINK("http://evil.example","x")'
    assert cell(text) == f"'{text}"
    (row,) = read(transaction({"id": text, "name": text, "city": text, "country": text}, authorization_id=text))
    shown = [value for name, value in row.items() if "HYPERLINK" in value]
    assert len(shown) >= 5
    # A cleaned name has lost its sign.
    assert all(value.lstrip(" \u00a0\ufeff")[0] in "'H" for value in shown)


@given(st.text(max_size=30))
def test_whatever_a_merchant_is_called_reads_back_as_one_cell(name: str) -> None:
    shown = cell(name)
    line = next(csv.reader(io.StringIO(_written(shown), newline=""), strict=True))
    assert line == [shown, "next"]
    assert shown.removeprefix("'") == name.removeprefix("'") or shown == f"'{name}"
    assert shown[:1] not in set("=+-@\t\r")


def _written(value: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow([value, "next"])
    return text.getvalue()


@pytest.mark.parametrize("harmless", ["Corner Shop", "7-Eleven", "a=b", "'tis", "", "Ünal", "\uff11"])
def test_other_text_stays_as_it_is(harmless: str) -> None:
    assert cell(harmless) == harmless


def test_nothing_that_looks_like_a_card_number_is_written() -> None:
    number = pan()
    text = rules.lines([transaction({"id": number, "name": f"REF {number} SHOP", "city": number, "country": "FR"})])
    assert number not in text
    assert "****" in text


def test_no_row_is_shorter_than_the_bound_that_counts_rely_on() -> None:
    short = transaction(
        {}, authorization_id=None, root_authorization_id=None, type="refund", status=TransactionStatus.CLEARED, reason="",
        amount=Decimal(0), approved_amount=Decimal(0), held_amount=Decimal(0), merchant_category="0000", detail={}
    )  # fmt: skip
    assert len(rules.lines([short])) * rules.INLINE_MAX_ROWS >= rules.INLINE_MAX_BYTES * 0.99


def test_an_answer_is_measured_as_the_gateway_measures_it() -> None:
    assert rules.fits("x" * rules.INLINE_MAX_BYTES)
    assert not rules.fits("x" * (rules.INLINE_MAX_BYTES + 1))
    # Two bytes here, six in the JSON that Lambda makes of the answer.
    assert not rules.fits("é" * 1_000_000)
    assert rules.fits("é" * 900_000)


def test_a_first_page_tells_when_the_whole_is_far_too_long() -> None:
    page = "x" * 200 * rules.PAGE
    assert rules.will_fit(page, 20_000)
    assert not rules.will_fit(page, 31_000)


def test_the_ceiling_lies_between_this_millisecond_and_the_next() -> None:
    last, following = uuid7(NOW, b"\xff" * 10), uuid7(NOW + timedelta(milliseconds=1), b"\x00" * 9 + b"\x01")
    assert last < rules.ceiling(NOW) < following


def test_tries_come_later_and_later_and_have_an_end() -> None:
    pauses = [rules.next_try(tries, NOW) for tries in range(1, rules.TRIES + 1)]
    waits = [pause - NOW for pause in pauses if pause is not None]
    assert waits == sorted(waits)
    assert len(waits) == rules.TRIES - 1
    assert pauses[-1] is None


def test_a_file_is_kept_for_a_week_after_it_was_made() -> None:
    job = TransactionExport(
        user_id=UUID(int=1), job_id=UUID(int=2), card_id=UUID(int=3), status=ExportStatus.RUNNING, total=1, created_at=NOW
    )
    assert rules.kept_until(job) is None
    done = TransactionExport(
        user_id=UUID(int=1), job_id=UUID(int=2), card_id=UUID(int=3), status=ExportStatus.DONE, total=1, created_at=NOW,
        finished_at=NOW,
    )  # fmt: skip
    assert rules.kept_until(done) == NOW + timedelta(days=7)
