"""The migration runner: SQL files in order, each with its check; the same on a laptop, in tests and in Lambda."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.pq import TransactionStatus

FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
# One lock per database: two deployments at once apply each file once.
LOCK_KEY = 0x43415244
LEDGER = """
CREATE TABLE IF NOT EXISTS public.schema_migrations (
    version integer PRIMARY KEY CHECK (version > 0),
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(RuntimeError):
    """A migration cannot be applied; nothing of it was kept. The message names the file."""


@dataclass(frozen=True)
class Migration:
    """One file of the directory with its check."""

    version: int
    name: str
    sql: str
    check: str

    @property
    def sha256(self) -> str:
        """Digest of the migration's own text; the check may be improved later."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(directory: Path) -> list[Migration]:
    """Read `NNNN_name.sql` with `NNNN_name.check.sql` from a directory, in order.

    Raises MigrationError for a file of another name, a gap or a double in the numbers, or a missing check.
    """
    migrations: list[Migration] = []
    paths = sorted(path for path in directory.glob("*.sql") if not path.name.endswith(".check.sql"))
    if not paths:
        raise MigrationError(f"no migrations in {directory}")
    for expected, path in enumerate(paths, start=1):
        found = FILE_NAME.fullmatch(path.name)
        if found is None:
            raise MigrationError(f"{path.name}: a migration is called NNNN_name.sql")
        if int(found.group(1)) != expected:
            raise MigrationError(f"{path.name}: its number should be {expected:04d}")
        check = path.with_suffix(".check.sql")
        if not check.is_file():
            raise MigrationError(f"{path.name}: its check {check.name} is missing")
        migrations.append(Migration(expected, path.stem, path.read_text("utf-8"), check.read_text("utf-8")))
    return migrations


def migrate(conninfo: str, directory: Path) -> list[str]:
    """Apply what is not yet applied and return the names of it, in order.

    Each file runs in one transaction with its check, every statement of which must return no row: a row, an error or a
    file changed after it was applied raises MigrationError and leaves the database as it was before that file.
    Versions in the database that the directory does not know yet (the code was rolled back) are left alone.
    """
    migrations = read_migrations(directory)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return [migration.name for migration in migrations if _apply(connection, migration)]


def _apply(connection: psycopg.Connection, migration: Migration) -> bool:
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_KEY])
            # A role's deadlines are for requests; a lock on a busy table is still not waited for without end.
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SET LOCAL lock_timeout = '10s'")
            connection.execute("SET LOCAL client_min_messages = 'warning'")
            connection.execute(LEDGER)
            known = connection.execute(
                "SELECT name, sha256 FROM public.schema_migrations WHERE version = %s", [migration.version]
            ).fetchone()
            if known is not None:
                _compare(migration, known)
                return False
            _run(connection, migration)
            connection.execute(
                "INSERT INTO public.schema_migrations (version, name, sha256) VALUES (%s, %s, %s)",
                [migration.version, migration.name, migration.sha256],
            )
            return True
    except psycopg.Error as error:
        raise MigrationError(f"{migration.name}: {error.diag.message_primary or error}") from error


def _compare(migration: Migration, known: Sequence[str]) -> None:
    if tuple(known) != (migration.name, migration.sha256):
        raise MigrationError(f"{migration.name}: changed after it was applied (as {known[0]}); write a new migration instead")


def _run(connection: psycopg.Connection, migration: Migration) -> None:
    connection.execute(migration.sql.encode())
    if connection.info.transaction_status is not TransactionStatus.INTRANS:
        raise MigrationError(f"{migration.name}: it ends its own transaction; leave BEGIN and COMMIT to the runner")
    # A file may put on another role or path; the check and the ledger are the runner's.
    connection.execute("SET LOCAL ROLE NONE; SET LOCAL search_path = DEFAULT")
    cursor = connection.execute(migration.check.encode())
    statement = 1
    while True:
        if cursor.description is not None and (row := cursor.fetchone()) is not None:
            raise MigrationError(f"{migration.name}: statement {statement} of its check found {tuple(row)!r}")
        if not cursor.nextset():
            return
        statement += 1
