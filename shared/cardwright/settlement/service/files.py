"""Settlement files: fetched whole, found to be whole, then settled piece by piece, each piece in one transaction.

A file is kept on disk while it is worked on: what is settled are the very bytes whose totals and checksum fitted.
"""

import gzip
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import IO

from cardwright.platform.postgres import Transaction
from cardwright.platform.telemetry import logger
from cardwright.settlement.ports import ListedFile, SettlementSource
from cardwright.settlement.rules import CaseKind, Detail, FileFault, FileReader, Finding, Source
from cardwright.settlement.service.lines import BROKEN_AT_MOST, FilePlace, Settler
from cardwright.settlement.service.work import SCHEDULE, LeaseLostError, Turns, Work, batches
from cardwright.settlement.store import cases, files
from cardwright.settlement.store.files import FileRow

# Lines that one transaction settles.
CHUNK = 1_000
# How far back the processor's files are looked through: each run does so, and knows most of them.
LOOK_BACK = timedelta(days=35)
# Some four million lines. More is no file of a few days.
BYTES_MAX = 2_000_000_000
_PIECE = 1 << 20


class OutOfTimeError(Exception):
    """The run's time is over; the next one goes on. Never leaves the run."""


@dataclass(frozen=True, slots=True)
class Spool:
    """A file on disk, compressed: records are mostly blanks."""

    digest: bytes
    store: IO[bytes]

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, from the beginning."""
        self.store.seek(0)
        with gzip.GzipFile(fileobj=self.store, mode="rb") as unpacked:
            while piece := unpacked.read(_PIECE):
                yield piece


def spool(pieces: Iterable[bytes], store: IO[bytes]) -> Spool:
    """Write a file to a temporary one. Raises FileFault file_too_long."""
    digest = hashlib.sha256()
    size = 0
    with gzip.GzipFile(fileobj=store, mode="wb", compresslevel=1) as packed:
        for piece in pieces:
            size += len(piece)
            if size > BYTES_MAX:
                raise FileFault(1, "file_too_long", "the file is longer than any of a few days")
            digest.update(piece)
            packed.write(piece)
    return Spool(digest.digest(), store)


class FileWork:
    """One run's work on files."""

    def __init__(self, work: Work, source: SettlementSource, *, chunk: int = CHUNK) -> None:
        self._work = work
        self._source = source
        self._settler = Settler(work, broken_at_most=BROKEN_AT_MOST)
        self._chunk = chunk

    def run(self) -> None:
        """Take every file that is not done, the earliest first; one that breaks holds up none of those behind it.

        Raises UnavailableError, ProviderRefusedError, LeaseLostError, and what broke a file when all have had their turn.
        """
        turns = Turns()
        for listed in self._source.files(self._work.clock.now() - LOOK_BACK):
            if not self._work.has_time():
                break
            turns.take(partial(self._look_at, listed))
        turns.end()

    def _look_at(self, listed: ListedFile) -> None:
        with self._work.database.transaction(SCHEDULE) as tx:
            known = files.get(tx, self._work.processor, listed.file_id)
        if known is not None and self._nothing_to_do(known, listed):
            return
        with tempfile.TemporaryFile() as store:
            try:
                self._take(listed.file_id, known, spool(self._source.open(listed.file_id), store))
            except FileFault as fault:
                self._refuse(listed.file_id, known, listed.digest or hashlib.sha256(b"").digest(), fault)
            except OutOfTimeError:
                return
        self._work.reach()

    def _nothing_to_do(self, known: FileRow, listed: ListedFile) -> bool:
        if known.state == "READING" or (known.state == "REFUSED" and listed.digest is None):
            return False
        if listed.digest is not None and listed.digest != known.digest:
            return False
        self._mend(known.file_id, CaseKind.FILE_REFUSED if known.state == "REFUSED" else None)
        return True

    def _take(self, file_id: str, known: FileRow | None, spooled: Spool) -> None:
        if known is not None and known.digest != spooled.digest and known.state != "REFUSED":
            # Lines of the other bytes are settled, or about to be: which of the two is right is not for a program to say.
            self._report(file_id, CaseKind.FILE_CHANGED, {"digest": spooled.digest.hex(), "taken": known.digest.hex()})
            return
        if known is not None and known.digest == spooled.digest and known.state != "READING":
            return
        try:
            lines = self._verify(file_id, spooled)
        except FileFault as fault:
            self._refuse(file_id, known, spooled.digest, fault)
            return
        if known is None or known.state == "REFUSED":
            known = FileRow(file_id, spooled.digest, "READING", lines, 0, self._work.clock.now())
            with self._work.database.transaction(SCHEDULE) as tx:
                files.begin(tx, self._work.processor, known)
        self._settle(known, spooled)
        self._mend(file_id, None)

    def _verify(self, file_id: str, spooled: Spool) -> int:
        """Read the file to its end; how many lines it has. Raises FileFault, OutOfTimeError."""
        reader = FileReader(file_id, spooled.pieces())
        for _ in batches(reader.details(), 10 * CHUNK):
            if not self._work.has_time():
                raise OutOfTimeError
        return reader.lines

    def _settle(self, file: FileRow, spooled: Spool) -> None:
        """Settle what is not settled yet. Raises OutOfTimeError between two pieces."""
        place = FilePlace(file.file_id, file.found_at)
        done = file.lines_done
        left = (detail for detail in FileReader(file.file_id, spooled.pieces()).details() if detail.line > done)
        for details in batches(left, self._chunk):
            if not self._work.has_time():
                raise OutOfTimeError
            self._settler.take(place, details, partial(self._mark, file.file_id))
            self._work.tally.lines += len(details)
            file = replace(file, lines_done=details[-1].line)
        with self._work.database.transaction(SCHEDULE) as tx:
            files.finish(tx, self._work.processor, file, self._work.clock.now())

    def _mark(self, file_id: str, tx: Transaction, details: Sequence[Detail]) -> None:
        if not files.advance(tx, self._work.processor, file_id, details[0].line, details[-1].line):
            raise LeaseLostError

    def _refuse(self, file_id: str, known: FileRow | None, digest: bytes, fault: FileFault) -> None:
        """Use nothing of a file, and say why."""
        logger.error("a settlement file is refused", extra={"file": file_id, "line": fault.line, "code": fault.code})
        if known is None or known.state == "REFUSED":
            with self._work.database.transaction(SCHEDULE) as tx:
                files.refuse(tx, self._work.processor, file_id, digest, fault.line, fault.code, self._work.clock.now())
        self._report(file_id, CaseKind.FILE_REFUSED, {"code": fault.code, "detail": fault.detail}, fault.line)

    def _report(self, file_id: str, kind: CaseKind, detail: dict[str, object], line: int | None = None) -> None:
        finding = Finding(kind=kind, source=Source.FILE, subject=(file_id,), file_id=file_id, line=line, detail=detail)
        with self._work.database.transaction(SCHEDULE) as tx:
            self._work.note(tx, finding)

    def _mend(self, file_id: str, still: CaseKind | None) -> None:
        subject = Finding(kind=CaseKind.FILE_REFUSED, source=Source.FILE, subject=(file_id,)).digest
        with self._work.database.transaction(SCHEDULE) as tx:
            now = self._work.clock.now()
            self._work.tally.cases_closed += cases.mend(tx, self._work.processor, [(subject, still)], now)
