"""PostgreSQL through psycopg: one connection a thread, a deadline on every wait, the actor set in every transaction."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg import adapt, errors, generators, pq, waiting
from psycopg.abc import PQGen, Transformer
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cardwright.kernel.errors import UnavailableError

__all__ = ["Actor", "Database", "Jsonb", "Row", "Transaction", "UniqueViolation"]

T = TypeVar("T")
Row = dict[str, Any]
Parameters = Sequence[Any] | Mapping[str, Any]
UniqueViolation = errors.UniqueViolation

# As psycopg's cursors do: text or binary, whichever a type's dumper does best.
_AS_BEST = (adapt.PyFormat.AUTO,) * 64
# The server says these while it restarts or fails over; with lost connections they mean "not now".
_NOT_NOW = (psycopg.OperationalError, psycopg.InterfaceError)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: row-level security and the audit read it. `role` is a person's role or `system`."""

    user_id: UUID | None
    role: str
    request_id: str | None = None
    reason: str | None = None


class _Connection(psycopg.Connection[Row]):
    """A connection whose waits end at a deadline, because a proxied server takes no cancel request."""

    budget_s: float = 4.0
    _adapter: Transformer | None = None

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Run a libpq exchange, giving up after the budget: the socket is closed and the outcome is unknown."""
        limit = self.budget_s if timeout is None else timeout
        deadline = time.monotonic() + limit
        try:
            return super().wait(gen, interval, limit)
        except psycopg.OperationalError:
            if time.monotonic() >= deadline:
                self.pgconn.finish()
            raise

    def call(self, sql: str, parameters: Sequence[Any]) -> Row | None:
        """Run one statement by itself and return its first row: what `execute` does, without a cursor to build and throw away."""
        statement, placeholders = _numbered(sql)
        if len(parameters) != placeholders:
            raise psycopg.ProgrammingError(f"{placeholders} placeholders, {len(parameters)} parameters")
        if self._adapter is None:
            # Kept: what it learns about types to dump and load holds for the connection.
            self._adapter = adapt.Transformer(self)
        adapter, pgconn = self._adapter, self.pgconn
        values = adapter.dump_sequence(parameters, _AS_BEST[:placeholders])
        pgconn.send_query_params(statement, values, adapter.types, adapter.formats)
        try:
            # In slices, so that a signal is heard meanwhile.
            results = waiting.wait(generators.execute(pgconn), pgconn.socket, 0.1, self.budget_s)
        except errors.Error:
            raise
        except BaseException:
            # Interrupted half way: what comes next on this connection would be the answer to this statement.
            pgconn.finish()
            raise
        result = results[0]
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise errors.error_from_result(result) if result.status == pq.ExecStatus.FATAL_ERROR else _no_rows()
        if result.ntuples == 0:
            return None
        adapter.set_pgresult(result)
        row = adapter.load_row(0, tuple)
        return {(result.fname(number) or b"").decode(): value for number, value in enumerate(row)}


@lru_cache(maxsize=64)
def _numbered(sql: str) -> tuple[bytes, int]:
    """A statement with $1, $2, ... for its %s, and how many there are."""
    parts = sql.split("%s")
    if any("%" in part for part in parts):
        raise psycopg.ProgrammingError("a statement run by itself knows no placeholder but %s")
    text = parts[0] + "".join(f"${number}{part}" for number, part in enumerate(parts[1:], 1))
    return text.encode(), len(parts) - 1


def _no_rows() -> psycopg.Error:
    return psycopg.ProgrammingError("the statement gives no rows")


class Transaction:
    """Statements inside one open transaction; stores take it as their first argument."""

    def __init__(self, connection: "psycopg.Connection[Row]") -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run a statement; return the number of rows it touched."""
        return self._connection.execute(sql.encode(), parameters).rowcount

    def fetch_one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """Run a statement; return its first row as a dict, or None."""
        return self._connection.execute(sql.encode(), parameters).fetchone()

    def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Run a statement; return all its rows as dicts."""
        return self._connection.execute(sql.encode(), parameters).fetchall()


class Database:
    """One role's way to the database. `conninfo` is asked at each connect, so that IAM tokens are fresh."""

    def __init__(self, conninfo: Callable[[], str], *, budget_s: float = 4.0) -> None:
        self._conninfo = conninfo
        self._budget_s = budget_s
        self._local = threading.local()

    def _connect(self) -> _Connection:
        try:
            connection = _Connection.connect(
                self._conninfo(), autocommit=True, row_factory=dict_row, prepare_threshold=None, connect_timeout=3
            )
        except _NOT_NOW as error:
            raise UnavailableError("The database does not answer.", code="database_unavailable") from error
        connection.budget_s = self._budget_s
        self._local.connection = connection
        return connection

    def _current(self) -> tuple[_Connection, bool]:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is not None and not connection.closed and not connection.broken:
            return connection, True
        return self._connect(), False

    def call(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """Run one statement by itself, committed when it returns; one round trip. Gives its first row, None when there is none.

        Only for statements that may safely run twice: after a lost connection it is tried once more, unless the budget is spent.
        Raises UnavailableError when the database does not answer.
        """
        connection, reused = self._current()
        deadline = time.monotonic() + self._budget_s
        try:
            return connection.call(sql, parameters)
        except _NOT_NOW as error:
            connection.close()
            if not reused or time.monotonic() >= deadline or isinstance(error, errors.QueryCanceled | errors.LockNotAvailable):
                raise UnavailableError("The database does not answer.", code="database_unavailable") from error
        try:
            return self._connect().call(sql, parameters)
        except _NOT_NOW as error:
            raise UnavailableError("The database does not answer.", code="database_unavailable") from error

    @contextmanager
    def transaction(self, actor: Actor) -> Iterator[Transaction]:
        """Open a transaction in the actor's context; commit at the end, roll back on any exception.

        Raises UnavailableError when the database does not answer; after a failed commit the outcome is unknown.
        """
        connection = self._begin(actor)
        try:
            yield Transaction(connection)
        except _NOT_NOW as error:
            self._abandon(connection)
            raise UnavailableError("The database does not answer.", code="database_unavailable") from error
        except BaseException:
            try:
                connection.execute("ROLLBACK")
            except psycopg.Error:
                self._abandon(connection)
            raise
        try:
            connection.execute("COMMIT")
        except _NOT_NOW as error:
            self._abandon(connection)
            raise UnavailableError("The database did not confirm.", code="database_unavailable") from error

    def _begin(self, actor: Actor) -> _Connection:
        """Begin and set the context. A connection that died while idle is replaced once: nothing has run on it yet."""
        connection, reused = self._current()
        try:
            _open(connection, actor)
        except _NOT_NOW as error:
            self._abandon(connection)
            if not reused:
                raise UnavailableError("The database does not answer.", code="database_unavailable") from error
            connection = self._connect()
            try:
                _open(connection, actor)
            except _NOT_NOW as again:
                self._abandon(connection)
                raise UnavailableError("The database does not answer.", code="database_unavailable") from again
        return connection

    def _abandon(self, connection: _Connection) -> None:
        connection.close()
        self._local.connection = None

    def ping(self) -> bool:
        """True when the database answers. Raises UnavailableError."""
        return self.call("SELECT 1 AS one") == {"one": 1}

    def close(self) -> None:
        """Close this thread's connection."""
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            self._abandon(connection)


def _open(connection: _Connection, actor: Actor) -> None:
    connection.execute("BEGIN")
    # is_local: the setting ends with the transaction, and with it what may pin a proxied connection (decision 2).
    connection.execute(
        "SELECT set_config('cardwright.actor_id', %s, true), set_config('cardwright.actor_role', %s, true), "
        "set_config('cardwright.request_id', %s, true), set_config('cardwright.reason', %s, true)",
        (str(actor.user_id or ""), actor.role, actor.request_id or "", actor.reason or ""),
    )
