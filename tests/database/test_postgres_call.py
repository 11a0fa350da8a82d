"""One statement by itself: what comes back is what a cursor gives, and a connection left half way is not used again."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from cardwright.platform.postgres import Database, Jsonb, UniqueViolation
from tests.builders import add_user, as_role, new_id

EVERY_KIND = (
    "SELECT %s::text AS text, %s::int AS number, %s::bigint AS large, %s::numeric(12, 2) AS amount, %s::uuid AS id, "
    "%s::bytea AS octets, %s::timestamptz AS moment, %s::boolean AS flag, %s::jsonb AS document, "
    "%s::text[] AS list, %s::text AS nothing"
)
VALUES: tuple[Any, ...] = (
    "caf\u00e9 %s", 7, 2**40, Decimal("12.30"), UUID(int=5), b"\x00\xff", datetime(2026, 11, 21, 12, 0, 0, 1, tzinfo=UTC), True,
    Jsonb({"a": [1, None]}), ["a", "b"], None,
)  # fmt: skip


@pytest.fixture
def app(database_url: str) -> Iterator[Database]:
    """The database as role app."""
    database = as_role(database_url, "app")
    yield database
    database.close()


def test_values_of_every_kind_come_back_as_a_cursor_gives_them(app: Database, database_url: str) -> None:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        expected = connection.execute(EVERY_KIND.encode(), VALUES).fetchone()
    assert expected is not None
    for _ in range(2):
        told = app.call(EVERY_KIND, VALUES)
        assert told == expected
        assert [type(value) for value in told.values()] == [type(value) for value in expected.values()]


def test_the_first_of_many_rows_is_given_and_none_for_no_row(app: Database) -> None:
    assert app.call("SELECT n FROM generate_series(3, 9) AS n") == {"n": 3}
    assert app.call("SELECT 1 AS one WHERE false") is None
    assert app.call("SELECT n FROM generate_series(3, 9) AS n OFFSET %s", (2,)) == {"n": 5}


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [("SELECT %s::int AS n", ()), ("SELECT 1 AS n", (1,)), ("SELECT %(n)s AS n", (1,)), ("SELECT 7 %% 4 AS n", ())],
)
def test_placeholders_that_do_not_fit_are_an_error_of_ours(app: Database, sql: str, parameters: tuple[int, ...]) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        app.call(sql, parameters)
    assert app.ping()


def test_an_error_of_the_server_is_told_and_the_connection_goes_on(app: Database, database_url: str) -> None:
    before = app.call("SELECT pg_backend_pid() AS pid")
    with pytest.raises(psycopg.errors.DivisionByZero):
        app.call("SELECT 1 / %s AS n", (0,))
    with pytest.raises(psycopg.ProgrammingError):
        app.call("SET LOCAL statement_timeout = 0")
    owner = Database(lambda: database_url)
    user_id, event_id = add_user(database_url), new_id()
    write = (
        "INSERT INTO outbox (event_id, type, user_id, data, created_at) VALUES (%s, 'tests.made_up', %s, '{}', '2026-11-21Z') "
        "RETURNING event_id"
    )
    assert owner.call(write, (event_id, user_id)) == {"event_id": event_id}
    with pytest.raises(UniqueViolation):
        owner.call(write, (event_id, user_id))
    owner.close()
    assert app.call("SELECT pg_backend_pid() AS pid") == before


def test_after_an_interruption_half_way_no_answer_goes_to_another_question(
    app: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    assert app.ping()
    with monkeypatch.context() as patch:
        patch.setattr("cardwright.platform.postgres.waiting.wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            app.call("SELECT 'the old one' AS answer")
    assert app.call("SELECT 'the new one' AS answer") == {"answer": "the new one"}


def test_columns_follow_a_function_that_changes_under_an_open_connection(fresh_database: str) -> None:
    owner = Database(lambda: fresh_database)
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        connection.execute("CREATE FUNCTION told(OUT one int) LANGUAGE sql RETURN 1")
        assert owner.call("SELECT * FROM told()") == {"one": 1}
        connection.execute("DROP FUNCTION told")
        connection.execute("CREATE FUNCTION told(OUT two text, OUT three int) LANGUAGE sql BEGIN ATOMIC SELECT 'b', 3; END")
        assert owner.call("SELECT * FROM told()") == {"two": "b", "three": 3}
    owner.close()
