"""The settlement file: what is written is read, and nothing that was changed is taken."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.settlement.rules import Detail, DetailKind, FileFault, FileReader
from local.simulators.processor.settlement_file import CASH, CREDIT, FEE, FEE_CREDIT, SALE, Line, write_file
from tests.pans import pan

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
WIDTH = 441
KINDS = {
    SALE: DetailKind.SALE,
    CREDIT: DetailKind.CREDIT,
    CASH: DetailKind.CASH,
    FEE: DetailKind.FEE,
    FEE_CREDIT: DetailKind.FEE_CREDIT,
}


def sale(amount: str = "12.34", currency: str = "USD", **changes: object) -> Line:
    """A sale."""
    told = {
        "type": SALE,
        "card_token": "card_1",
        "reference": "evt_1",
        "authorization_id": "auth_1",
        "amount": Decimal(amount),
        "currency": currency,
        "occurred_at": AT,
        "merchant_category": "5411",
        "final": True,
    }
    return Line(**{**told, **changes})  # type: ignore[arg-type]  # fields of one line, in one table


def written(*batches: tuple[str, list[Line]], file_id: str = "file_1") -> bytes:
    """A file."""
    return b"".join(write_file(file_id, AT, batches))


def read(content: bytes, file_id: str = "file_1", piece: int = 1000) -> list[Detail]:
    """Its details, from pieces that end anywhere."""
    pieces = (content[start : start + piece] for start in range(0, len(content), piece))
    return list(FileReader(file_id, pieces).details())


def refusal(content: bytes, file_id: str = "file_1") -> tuple[int, str]:
    """Where a file is refused, and why."""
    with pytest.raises(FileFault) as caught:
        read(content, file_id)
    assert caught.value.detail.startswith(f"Line {caught.value.line}: ")
    return caught.value.line, caught.value.code


def record(content: bytes, line: int) -> slice:
    """Where a line stands, without its line feed."""
    return slice((line - 1) * WIDTH, line * WIDTH - 1)


def put(content: bytes, line: int, column: int, text: str) -> bytes:
    """The file with other characters in a line, from a column (from 1)."""
    place = (line - 1) * WIDTH + column - 1
    return content[:place] + text.encode() + content[place + len(text) :]


ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="{}"), min_size=1, max_size=128).filter(
    lambda text: not text.isdigit()
)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)


@st.composite
def lines_in(draw: st.DrawFn, currency: str) -> Line:
    """Any line of a currency."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    units = draw(st.integers(1, 999_999_999_999 if currency != "JPY" else 9_999_999_999))
    return Line(
        type=kind,
        card_token=draw(ids),
        reference=draw(ids if kind in (FEE, FEE_CREDIT) else ids | st.just("")),
        authorization_id=draw(ids | st.just("")),
        amount=Decimal(units) if currency == "JPY" else Decimal(units).scaleb(-2),
        currency=currency,
        occurred_at=draw(moments),
        merchant_category=draw(st.sampled_from(["", "5411", "0000"])),
        final=draw(st.booleans()),
    )


batches = st.lists(
    st.sampled_from(["USD", "EUR", "JPY"]).flatmap(lambda code: st.tuples(st.just(code), st.lists(lines_in(code), max_size=4))),
    max_size=4,
)


@given(batches=batches, file_id=ids, piece=st.integers(1, 2000))
def test_what_is_written_is_read(batches: list[tuple[str, list[Line]]], file_id: str, piece: int) -> None:
    found = read(written(*batches, file_id=file_id), file_id, piece)
    wanted = [line for _, lines in batches for line in lines]
    assert [
        (KINDS[line.type], line.card_token, line.reference or None, line.authorization_id or None, line.amount, line.currency)
        for line in wanted
    ] == [(it.kind, it.card_token, it.reference, it.authorization_id, it.amount, it.currency) for it in found]
    assert [(line.occurred_at, line.merchant_category or None, line.final) for line in wanted] == [
        (it.occurred_at, it.merchant_category, it.final) for it in found
    ]
    assert all(str(it.amount.as_tuple().exponent) == "-2" for it in found)


WHOLE = written(("USD", [sale(), sale("3.00", type=CREDIT, reference="evt_2")]), ("JPY", [sale("700", "JPY", reference="evt_3")]))


@given(place=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_a_byte_that_was_changed_is_noticed(place: int, byte: int) -> None:
    changed = WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :]
    if changed == WHOLE:
        assert len(read(changed)) == 3
    else:
        assert refusal(changed)[0] >= 1


@given(length=st.integers(0, len(WHOLE) - 1))
def test_a_file_that_is_cut_anywhere_is_noticed(length: int) -> None:
    assert refusal(WHOLE[:length])[1] == "file_cut"


def test_the_lines_of_a_whole_file_are_counted() -> None:
    reader = FileReader("file_1", [WHOLE])
    assert [detail.line for detail in reader.details()] == [3, 4, 7]
    assert reader.lines == WHOLE.count(b"\n") == 11


def test_a_file_without_a_batch_is_whole() -> None:
    assert read(written()) == []


def test_a_file_is_read_without_being_held() -> None:
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for piece in write_file("file_1", AT, [("USD", (sale(reference=f"evt_{number}") for number in range(100)))]):
            taken += 1
            yield piece

    details = FileReader("file_1", pieces()).details()
    assert next(details).reference == "evt_0"
    assert taken == 3
    assert sum(1 for _ in details) == 99


def resealed(content: bytes) -> bytes:
    """The file with the checksum of what stands in it."""
    start = len(content) - WIDTH
    return put(content, content.count(b"\n"), 25, hashlib.sha256(content[: start + 24]).hexdigest())


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (lambda it: put(it, 1, 11, "02"), (1, "version_unknown")),
        (lambda it: put(it, 1, 141, "2026-02-30T10:00:00Z"), (1, "field_invalid")),
        (lambda it: put(it, 3, 1, "99"), (3, "record_unknown")),
        (lambda it: put(it, 3, 1, "90"), (3, "record_out_of_place")),
        (lambda it: put(it, 3, 1, "80"), (3, "record_out_of_place")),
        (lambda it: put(it, 2, 1, "05"), (2, "record_out_of_place")),
        (lambda it: put(it, 3, 3, "00000004"), (3, "line_number")),
        (lambda it: put(it, 3, 395, "00000000000x"), (3, "amount_invalid")),
        (lambda it: put(it, 3, 395, "000000000000"), (3, "amount_invalid")),
        (lambda it: put(it, 3, 407, "EUR"), (3, "currency_differs")),
        (lambda it: put(it, 2, 17, "XYZ"), (2, "currency_unknown")),
        (lambda it: put(it, 2, 17, "KWD"), (2, "currency_unknown")),
        (lambda it: put(it, 2, 20, "20261131"), (2, "field_invalid")),
        (lambda it: put(it, 2, 11, "000002"), (2, "field_invalid")),
        (lambda it: put(it, 3, 12, " "), (3, "field_invalid")),
        (lambda it: put(it, 3, 430, "54x1"), (3, "field_invalid")),
        (lambda it: put(it, 3, 434, "Y"), (3, "field_invalid")),
        (lambda it: put(it, 3, 440, "x"), (3, "field_invalid")),
        (lambda it: put(it, 5, 17, "00000003"), (5, "batch_count_differs")),
        (lambda it: put(it, 5, 25, "000000000000001235"), (5, "batch_total_differs")),
        (lambda it: put(it, 5, 43, "000000000000000301"), (5, "batch_total_differs")),
        (lambda it: put(it, 9, 14, "00000002"), (9, "file_count_differs")),
        (lambda it: put(it, 9, 22, "000000000000000701"), (9, "file_total_differs")),
        (lambda it: put(it, 10, 11, "GBP"), (10, "file_count_differs")),
        (lambda it: put(it, 11, 11, "000003"), (11, "file_count_differs")),
        (lambda it: it[: 9 * WIDTH] + put(it[10 * WIDTH :], 1, 3, "00000010"), (10, "totals_missing")),
        (lambda it: it + put(it[:WIDTH], 1, 3, "00000012"), (12, "record_out_of_place")),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands_even_with_a_good_checksum(
    change: Callable[[bytes], bytes], refused: tuple[int, str]
) -> None:
    changed = change(WHOLE)
    assert refusal(changed if len(changed) > len(WHOLE) else resealed(changed)) == refused


def test_the_checksum_alone_notices_what_totals_do_not() -> None:
    assert refusal(put(WHOLE, 3, 267, "auth_2")) == (11, "checksum_differs")


def test_another_files_bytes_are_refused() -> None:
    assert refusal(WHOLE, "file_2") == (1, "file_id_differs")


def test_lines_of_another_length_are_refused() -> None:
    assert refusal(WHOLE.replace(b"\n", b"\r\n")) == (1, "line_invalid")


def test_a_card_number_in_a_file_is_refused_and_not_told() -> None:
    content = written(("USD", [sale(card_token=pan())]))
    with pytest.raises(FileFault) as caught:
        read(content)
    assert (caught.value.line, caught.value.code) == (3, "card_number_in_file")
    assert pan() not in str(caught.value)


def test_a_fee_without_its_reference_is_refused() -> None:
    assert refusal(written(("USD", [sale(type=FEE, reference="")]))) == (3, "field_invalid")


def test_a_time_is_kept_to_the_second_in_utc() -> None:
    (detail,) = read(written(("USD", [sale(occurred_at=AT + timedelta(seconds=59))])))
    assert detail.occurred_at == AT + timedelta(seconds=59)
