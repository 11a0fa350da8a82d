"""The settlement file: fixed-width records with totals that must fit, read as a stream (docs/reference/settlement-file.md).

Its kinds of records follow the networks' clearing files (05 sale, 06 credit, 07 cash, 10 fee, 20 funds; 9x trailers).
Nothing of a file may be used before the reader has come to its end: only there are its totals and its checksum known to fit.
"""

import hashlib
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from cardwright.kernel.errors import FieldValueError
from cardwright.kernel.money import CURRENCIES, MAX_AMOUNT, ZERO_DIGIT
from cardwright.kernel.secret import luhn_valid

VERSION = b"01"
# Characters of a record, and after them a line feed.
WIDTH = 440
_LINE = WIDTH + 1
# The line number has eight digits.
LINES_MAX = 99_999_999
_PREFIX = "2s8s"
_PRINTABLE = bytes(range(0x20, 0x7F))
_TOKEN = re.compile(rb"[!-z|~]{1,128}")
_PAN_LENGTHS = range(13, 20)


class DetailKind(StrEnum):
    """What a detail record tells of: money spent, given back, drawn, or a fee between the network and us."""

    SALE = "sale"
    CREDIT = "credit"
    CASH = "cash"
    FEE = "fee"
    FEE_CREDIT = "fee_credit"

    @property
    def is_fee(self) -> bool:
        """True for what no cardholder's transaction stands behind."""
        return self in (DetailKind.FEE, DetailKind.FEE_CREDIT)

    @property
    def is_debit(self) -> bool:
        """True where the settlement account pays."""
        return self not in (DetailKind.CREDIT, DetailKind.FEE_CREDIT)


_KINDS = {
    b"05": DetailKind.SALE,
    b"06": DetailKind.CREDIT,
    b"07": DetailKind.CASH,
    b"10": DetailKind.FEE,
    b"20": DetailKind.FEE_CREDIT,
}


class FileFault(FieldValueError):
    """A file is refused as a whole: `line` is where (from 1), `code` what."""

    def __init__(self, line: int, code: str, detail: str) -> None:
        super().__init__(code, f"Line {line}: {detail}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Detail:
    """One detail record. `reference` is the event's id; of a fee its own. Amounts are above zero, the kind is the sign."""

    line: int
    kind: DetailKind
    card_token: str
    reference: str | None
    authorization_id: str | None
    amount: Decimal
    currency: str
    occurred_at: datetime
    merchant_category: str | None
    final: bool


@dataclass(slots=True)
class _Totals:
    """What a trailer must say of what stood before it, in minor units."""

    count: int = 0
    debits: int = 0
    credits: int = 0

    def add(self, units: int, *, is_debit: bool) -> None:
        self.count += 1
        if is_debit:
            self.debits += units
        else:
            self.credits += units


class _Layout:
    """The fields of one type of record, by name and width; what is left of the line is filled with spaces."""

    def __init__(self, **widths: int) -> None:
        self.names = tuple(widths)
        filled = WIDTH - struct.calcsize(_PREFIX) - sum(widths.values())
        self._struct = struct.Struct(_PREFIX + "".join(f"{width}s" for width in widths.values()) + f"{filled}s")
        self._filler = b" " * filled

    def fields(self, record: bytes, line: int) -> dict[str, bytes]:
        """The fields as they stand there. Raises FileFault field_invalid for anything in the filler."""
        _, _, *values, filler = self._struct.unpack(record)
        if filler != self._filler:
            raise FileFault(line, "field_invalid", "filler is not blank")
        return dict(zip(self.names, values, strict=True))


_HEADER = _Layout(version=2, file_id=128, created_at=20)
_BATCH = _Layout(batch=6, currency=3, processing_date=8)
_DETAIL = _Layout(
    card_token=128, reference=128, authorization_id=128, amount=12, currency=3, occurred_at=20, merchant_category=4, final=1
)
_BATCH_TRAILER = _Layout(batch=6, count=8, debits=18, credits=18)
_CURRENCY = _Layout(currency=3, count=8, debits=18, credits=18)
_TRAILER = _Layout(batches=6, count=8, checksum=64)
# Bytes of the last record before its checksum, which is over all that stands before it.
_BEFORE_CHECKSUM = 2 + 8 + 6 + 8


class FileReader:
    """Reads one file from the beginning to its end, in bounded memory; `lines` is how many there are, once that is known."""

    def __init__(self, file_id: str, chunks: Iterable[bytes]) -> None:
        self._file_id = file_id
        self._chunks = chunks
        self._digest = hashlib.sha256()
        self._batch: tuple[int, str, _Totals] | None = None
        self._batches = 0
        self._count = 0
        self._currencies: dict[str, _Totals] = {}
        self._told: list[str] = []
        self._ended = False
        self.lines = 0

    def details(self) -> Iterator[Detail]:
        """Give the detail records in order. Raises FileFault where the file is not as it must be, also at its very end."""
        for record in self._records():
            self.lines += 1
            line, kind = self.lines, record[:2]
            if self._ended:
                raise FileFault(line, "record_out_of_place", "something stands after the file trailer")
            if record[2:10] != b"%08d" % line:
                raise FileFault(line, "line_number", "the record has another number than its line")
            if kind in _KINDS:
                yield self._detail(record, line, _KINDS[kind])
            else:
                self._frame(record, line, kind)
            if kind != b"92":
                self._digest.update(record + b"\n")
        if not self._ended:
            raise FileFault(self.lines + 1, "file_cut", "the file ends before its trailer")

    def _records(self) -> Iterator[bytes]:
        rest, line = b"", 0
        for chunk in self._chunks:
            data = rest + chunk
            whole = len(data) // _LINE * _LINE
            for start in range(0, whole, _LINE):
                line += 1
                record = data[start : start + _LINE]
                if record[WIDTH] != 0x0A or record[:WIDTH].translate(None, _PRINTABLE):
                    raise FileFault(line, "line_invalid", f"a record is {WIDTH} printable ASCII characters and a line feed")
                if line > LINES_MAX:
                    raise FileFault(line, "file_too_long", "a file has less than a hundred million lines")
                yield record[:WIDTH]
            rest = data[whole:]
        if rest:
            raise FileFault(line + 1, "file_cut", "the last record is cut")

    def _frame(self, record: bytes, line: int, kind: bytes) -> None:
        """A record that is not a detail."""
        if (line == 1) != (kind == b"90"):
            raise FileFault(line, "record_out_of_place", "the file header is the first record and no other")
        frames: Mapping[bytes, Callable[[bytes, int], None]] = {
            b"90": self._header,
            b"80": self._open_batch,
            b"91": self._close_batch,
            b"93": self._currency_totals,
            b"92": self._trailer,
        }
        if kind not in frames:
            raise FileFault(line, "record_unknown", "there is no such type of record")
        frames[kind](record, line)

    def _header(self, record: bytes, line: int) -> None:
        fields = _HEADER.fields(record, line)
        if fields["version"] != VERSION:
            raise FileFault(line, "version_unknown", "the file is of another version")
        if _text(fields, "file_id", line) != self._file_id:
            raise FileFault(line, "file_id_differs", "the file says that it is another")
        _moment(fields, "created_at", line)

    def _open_batch(self, record: bytes, line: int) -> None:
        if self._batch is not None or self._told:
            raise FileFault(line, "record_out_of_place", "a batch begins where none may")
        fields = _BATCH.fields(record, line)
        number = _number(fields, "batch", line)
        if number != self._batches + 1:
            raise FileFault(line, "field_invalid", "batches are numbered from 1 without a gap")
        _day(fields, "processing_date", line)
        self._batch = (number, _currency(fields, line), _Totals())
        self._batches = number

    def _detail(self, record: bytes, line: int, kind: DetailKind) -> Detail:
        if self._batch is None:
            raise FileFault(line, "record_out_of_place", "a detail stands outside of a batch")
        fields = _DETAIL.fields(record, line)
        _, currency, totals = self._batch
        if fields["currency"] != currency.encode():
            raise FileFault(line, "currency_differs", "the detail is in another currency than its batch")
        units = _number(fields, "amount", line)
        detail = _read_detail(fields, line, kind, currency, units)
        totals.add(units, is_debit=kind.is_debit)
        return detail

    def _close_batch(self, record: bytes, line: int) -> None:
        if self._batch is None:
            raise FileFault(line, "record_out_of_place", "a batch ends that has not begun")
        fields = _BATCH_TRAILER.fields(record, line)
        number, currency, totals = self._batch
        if _number(fields, "batch", line) != number:
            raise FileFault(line, "field_invalid", "the trailer is of another batch")
        _check_totals(fields, totals, line, "batch")
        sums = self._currencies.setdefault(currency, _Totals())
        sums.count += totals.count
        sums.debits += totals.debits
        sums.credits += totals.credits
        self._count += totals.count
        self._batch = None

    def _currency_totals(self, record: bytes, line: int) -> None:
        if self._batch is not None:
            raise FileFault(line, "record_out_of_place", "totals stand within a batch")
        fields = _CURRENCY.fields(record, line)
        currency = _currency(fields, line)
        _check_totals(fields, self._currencies.get(currency, _Totals()), line, "file")
        self._told.append(currency)

    def _trailer(self, record: bytes, line: int) -> None:
        if self._batch is not None:
            raise FileFault(line, "record_out_of_place", "the file ends within a batch")
        fields = _TRAILER.fields(record, line)
        if sorted(self._currencies) != self._told or any(one == other for one, other in pairwise(self._told)):
            raise FileFault(line, "totals_missing", "each currency has its totals once, in alphabetical order")
        if (_number(fields, "batches", line), _number(fields, "count", line)) != (self._batches, self._count):
            raise FileFault(line, "file_count_differs", "the trailer counts other batches or details")
        self._digest.update(record[:_BEFORE_CHECKSUM])
        if fields["checksum"] != self._digest.hexdigest().encode():
            raise FileFault(line, "checksum_differs", "the checksum is another")
        self._ended = True


def _read_detail(fields: Mapping[str, bytes], line: int, kind: DetailKind, currency: str, units: int) -> Detail:
    token = _text(fields, "card_token", line)
    if len(token) in _PAN_LENGTHS and luhn_valid(token):
        raise FileFault(line, "card_number_in_file", "what stands for the card may be its number")
    amount = Decimal(units) if currency in ZERO_DIGIT else Decimal(units).scaleb(-2)
    if not 0 < amount <= MAX_AMOUNT:
        raise FileFault(line, "amount_invalid", "an amount is above zero")
    reference = _text(fields, "reference", line, may_be_blank=not kind.is_fee)
    category = fields["merchant_category"]
    if not (category.isdigit() or category == b"    "):
        raise FileFault(line, "field_invalid", "merchant_category is not four digits")
    if fields["final"] not in (b"F", b"N"):
        raise FileFault(line, "field_invalid", "final is neither F nor N")
    return Detail(
        line=line,
        kind=kind,
        card_token=token,
        reference=reference or None,
        authorization_id=_text(fields, "authorization_id", line, may_be_blank=True) or None,
        amount=amount.quantize(Decimal("0.01")),
        currency=currency,
        occurred_at=_moment(fields, "occurred_at", line),
        merchant_category=category.decode() if category.isdigit() else None,
        final=fields["final"] == b"F",
    )


def _check_totals(fields: Mapping[str, bytes], totals: _Totals, line: int, whose: str) -> None:
    if _number(fields, "count", line) != totals.count:
        raise FileFault(line, f"{whose}_count_differs", "the trailer counts other details")
    if (_number(fields, "debits", line), _number(fields, "credits", line)) != (totals.debits, totals.credits):
        raise FileFault(line, f"{whose}_total_differs", "the trailer has other sums")


def _number(fields: Mapping[str, bytes], name: str, line: int) -> int:
    if not fields[name].isdigit():
        code = "amount_invalid" if name == "amount" else "field_invalid"
        raise FileFault(line, code, f"{name} is not a number")
    return int(fields[name])


def _text(fields: Mapping[str, bytes], name: str, line: int, *, may_be_blank: bool = False) -> str:
    """A word filled up with spaces behind it."""
    value = fields[name].rstrip(b" ")
    if not (_TOKEN.fullmatch(value) or (may_be_blank and not value)):
        raise FileFault(line, "field_invalid", f"{name} is not one word")
    return value.decode("ascii")


def _currency(fields: Mapping[str, bytes], line: int) -> str:
    code = fields["currency"].decode("ascii")
    if code not in CURRENCIES:
        raise FileFault(line, "currency_unknown", "the currency is none we can hold")
    return code


def _moment(fields: Mapping[str, bytes], name: str, line: int) -> datetime:
    text = fields[name].decode("ascii")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    # Written back it is the same: the standard library takes other ways to write a time too.
    if found is None or found.tzinfo is not UTC or found.isoformat() != f"{text[:-1]}+00:00" or text[-1] != "Z":
        raise FileFault(line, "field_invalid", f"{name} is not a time in UTC")
    return found


def _day(fields: Mapping[str, bytes], name: str, line: int) -> None:
    text = fields[name].decode("ascii")
    try:
        fits = date.fromisoformat(text).strftime("%Y%m%d") == text
    except ValueError:
        fits = False
    if not fits:
        raise FileFault(line, "field_invalid", f"{name} is not a day")
