"""SQL of settlement files: which were taken, how far each is, and which were refused."""

from dataclasses import dataclass
from datetime import datetime

from cardwright.platform.postgres import Transaction


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as we know it. `state` is READING, DONE or REFUSED; every line up to `lines_done` is dealt with."""

    file_id: str
    digest: bytes
    state: str
    lines: int
    lines_done: int
    found_at: datetime


def get(tx: Transaction, processor: str, file_id: str) -> FileRow | None:
    """Load what is known of a file."""
    row = tx.fetch_one(
        "SELECT file_id, digest, state, lines, lines_done, found_at FROM settlement_files WHERE processor = %s AND file_id = %s",
        (processor, file_id),
    )
    return None if row is None else FileRow(**row)


def begin(tx: Transaction, processor: str, file: FileRow) -> None:
    """Take a file that was found to be whole, also one that was refused before as other bytes."""
    tx.execute(
        "INSERT INTO settlement_files (processor, file_id, digest, state, lines, found_at) "
        "VALUES (%s, %s, %s, 'READING', %s, %s) ON CONFLICT (processor, file_id) DO UPDATE SET "
        "digest = excluded.digest, state = 'READING', lines = excluded.lines, "
        "lines_done = 0, refused_line = NULL, refused_code = NULL, found_at = excluded.found_at, finished_at = NULL "
        "WHERE settlement_files.state = 'REFUSED'",
        (processor, file.file_id, file.digest, file.lines, file.found_at),
    )


def refuse(tx: Transaction, processor: str, file_id: str, digest: bytes, line: int, code: str, now: datetime) -> None:
    """Keep that a file is refused, and why; nothing of it was used."""
    tx.execute(
        "INSERT INTO settlement_files (processor, file_id, digest, state, lines, refused_line, refused_code, found_at, "
        "finished_at) VALUES (%(processor)s, %(file_id)s, %(digest)s, 'REFUSED', 0, %(line)s, %(code)s, %(now)s, %(now)s) "
        "ON CONFLICT (processor, file_id) DO UPDATE SET digest = excluded.digest, refused_line = excluded.refused_line, "
        "refused_code = excluded.refused_code, finished_at = excluded.finished_at WHERE settlement_files.state = 'REFUSED'",
        {"processor": processor, "file_id": file_id, "digest": digest, "line": line, "code": code, "now": now},
    )


def advance(tx: Transaction, processor: str, file_id: str, first: int, last: int) -> bool:
    """Note that the lines from one to another are dealt with; False when somebody else has done so meanwhile."""
    touched = tx.execute(
        "UPDATE settlement_files SET lines_done = %s WHERE processor = %s AND file_id = %s "
        "AND state = 'READING' AND lines_done < %s",
        (last, processor, file_id, first),
    )
    return touched == 1


def finish(tx: Transaction, processor: str, file: FileRow, now: datetime) -> None:
    """Note that every line of a file is dealt with."""
    tx.execute(
        "UPDATE settlement_files SET state = 'DONE', lines_done = lines, finished_at = %s "
        "WHERE processor = %s AND file_id = %s AND state = 'READING' AND lines_done = %s",
        (now, processor, file.file_id, file.lines_done),
    )


def any_done(tx: Transaction, processor: str) -> bool:
    """True once a file of the processor's was settled to its end."""
    return (
        tx.fetch_one("SELECT 1 FROM settlement_files WHERE processor = %s AND state = 'DONE' LIMIT 1", (processor,)) is not None
    )
