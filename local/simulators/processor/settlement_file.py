"""The processor's settlement file, written as its own manual says; the issuer's copy is docs/reference/settlement-file.md."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

_WIDTH: Final = 440
_WHOLE: Final = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split())
SALE, CREDIT, CASH, FEE, FEE_CREDIT = "05", "06", "07", "10", "20"
_DEBITS: Final = frozenset({SALE, CASH, FEE})


@dataclass(frozen=True, slots=True)
class Line:
    """One detail record. `reference` is the id of the event; of a fee its own."""

    type: str
    card_token: str
    reference: str
    authorization_id: str
    amount: Decimal
    currency: str
    occurred_at: datetime
    merchant_category: str = ""
    final: bool = False


@dataclass(slots=True)
class _Sums:
    count: int = 0
    debits: int = 0
    credits: int = 0


@dataclass(slots=True)
class _Writer:
    """Numbers the records and keeps what the trailers say."""

    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    number: int = 0

    def record(self, kind: str, content: str) -> bytes:
        """One line of the file."""
        self.number += 1
        text = f"{kind}{self.number:08d}{content}"
        if len(text) > _WIDTH:
            raise ValueError("a field is too long for its record")
        line = f"{text:<{_WIDTH}}\n".encode("ascii")
        self.digest.update(line)
        return line

    def trailer(self, content: str) -> bytes:
        """The last line, with the checksum over all that stands before it."""
        self.number += 1
        text = f"92{self.number:08d}{content}"
        self.digest.update(text.encode("ascii"))
        return f"{text + self.digest.hexdigest():<{_WIDTH}}\n".encode("ascii")


def write_file(file_id: str, created_at: datetime, batches: Iterable[tuple[str, Iterable[Line]]]) -> Iterator[bytes]:
    """The file's lines. Each batch is of one currency; lines are taken as they come, so a file may be as long as it likes."""
    writer = _Writer()
    totals: dict[str, _Sums] = {}
    yield writer.record("90", f"01{file_id:<128}{_stamp(created_at)}")
    count = number = 0
    for number, (currency, lines) in enumerate(batches, start=1):
        sums = _Sums()
        yield writer.record("80", f"{number:06d}{currency}{created_at.astimezone(UTC):%Y%m%d}")
        for line in lines:
            units = _units(line.amount, currency)
            sums.count += 1
            if line.type in _DEBITS:
                sums.debits += units
            else:
                sums.credits += units
            yield writer.record(line.type, _detail(line, units, currency))
        yield writer.record("91", f"{number:06d}{sums.count:08d}{sums.debits:018d}{sums.credits:018d}")
        of_currency = totals.setdefault(currency, _Sums())
        of_currency.count += sums.count
        of_currency.debits += sums.debits
        of_currency.credits += sums.credits
        count += sums.count
    for currency in sorted(totals):
        of_currency = totals[currency]
        yield writer.record("93", f"{currency}{of_currency.count:08d}{of_currency.debits:018d}{of_currency.credits:018d}")
    yield writer.trailer(f"{number:06d}{count:08d}")


def _detail(line: Line, units: int, currency: str) -> str:
    category = line.merchant_category or "    "
    return (
        f"{line.card_token:<128}{line.reference:<128}{line.authorization_id:<128}{units:012d}{currency}"
        f"{_stamp(line.occurred_at)}{category}{'F' if line.final else 'N'}"
    )


def _units(amount: Decimal, currency: str) -> int:
    """Minor units of the currency."""
    return int(amount if currency in _WHOLE else amount.scaleb(2))


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
