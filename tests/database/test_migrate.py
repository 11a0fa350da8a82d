"""The migration runner against the real server."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from cardwright.cards.rules import Limits
from cardwright.cards.store import issuances
from cardwright.platform.migrate import MigrationError, migrate, read_migrations
from cardwright.platform.postgres import Actor
from tests.builders import as_role, new_id

MIGRATIONS = Path(__file__).parents[2] / "database" / "migrations"
GOOD = "SELECT 1 WHERE to_regclass('public.one') IS NULL;"


def write(folder: Path, number: int, name: str, sql: str, check: str | None = "SELECT 1 WHERE false;") -> Path:
    """Write one migration with its check and return the migration's path."""
    path = folder / f"{number:04d}_{name}.sql"
    path.write_text(sql)
    if check is not None:
        path.with_suffix(".check.sql").write_text(check)
    return path


def tables(url: str) -> set[str]:
    """Return the tables of schema public."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {row[0] for row in rows}


def test_each_file_is_applied_once_and_in_order(empty_database: str, tmp_path: Path) -> None:
    write(tmp_path, 1, "one", "CREATE TABLE one (id int); INSERT INTO one VALUES (5);", GOOD)
    write(tmp_path, 2, "two", "CREATE TABLE two AS SELECT id FROM one;")
    assert migrate(empty_database, tmp_path) == ["0001_one", "0002_two"]
    assert migrate(empty_database, tmp_path) == []
    write(tmp_path, 3, "three", "CREATE TABLE three AS SELECT id FROM two;")
    assert migrate(empty_database, tmp_path) == ["0003_three"]
    assert tables(empty_database) == {"one", "two", "three", "schema_migrations"}


@pytest.mark.parametrize(
    ("sql", "check", "told"),
    [
        ("CREATE TABLE two (id int);", "SELECT 7 WHERE false; SELECT 8;", r"statement 2 of its check found \(8,\)"),
        ("CREATE TABLE two (id int);", "SELECT nothing;", 'column "nothing" does not exist'),
        ("CREATE TABLE two (id int); SELECT 1/0;", "SELECT 1 WHERE false;", "division by zero"),
        ("SELECT 1; COMMIT; SELECT 2;", "SELECT 1 WHERE false;", "ends its own transaction"),
    ],
)
def test_a_failed_file_or_check_leaves_nothing_of_it(
    empty_database: str, tmp_path: Path, sql: str, check: str, told: str
) -> None:
    write(tmp_path, 1, "one", "CREATE TABLE one (id int);", GOOD)
    write(tmp_path, 2, "two", sql, check)
    with pytest.raises(MigrationError, match=f"0002_two: .*{told}"):
        migrate(empty_database, tmp_path)
    assert tables(empty_database) == {"one", "schema_migrations"}


def test_a_file_changed_after_it_was_applied_is_refused(empty_database: str, tmp_path: Path) -> None:
    path = write(tmp_path, 1, "one", "CREATE TABLE one (id int);", GOOD)
    migrate(empty_database, tmp_path)
    path.write_text("CREATE TABLE one (id bigint);")
    with pytest.raises(MigrationError, match="0001_one: changed after it was applied"):
        migrate(empty_database, tmp_path)


def test_a_newer_schema_is_left_alone_by_older_code(empty_database: str, tmp_path: Path) -> None:
    write(tmp_path, 1, "one", "CREATE TABLE one (id int);", GOOD)
    newer = write(tmp_path, 2, "two", "CREATE TABLE two (id int);")
    migrate(empty_database, tmp_path)
    newer.unlink()
    assert migrate(empty_database, tmp_path) == []
    assert "two" in tables(empty_database)


def test_two_deployments_at_once_apply_a_file_once(empty_database: str, tmp_path: Path) -> None:
    write(tmp_path, 1, "one", "CREATE TABLE one (id int); SELECT pg_sleep(0.2);", GOOD)
    write(tmp_path, 2, "two", "CREATE TABLE two (id int);")
    applied: list[str] = []
    threads = [threading.Thread(target=lambda: applied.extend(migrate(empty_database, tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == ["0001_one", "0002_two"]


def test_a_directory_out_of_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="no migrations"):
        read_migrations(tmp_path)
    write(tmp_path, 2, "two", "SELECT 1;")
    with pytest.raises(MigrationError, match="its number should be 0001"):
        read_migrations(tmp_path)
    write(tmp_path, 1, "one", "SELECT 1;", None)
    with pytest.raises(MigrationError, match=r"0001_one\.check\.sql is missing"):
        read_migrations(tmp_path)
    (tmp_path / "0000-odd.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=r"called NNNN_name\.sql"):
        read_migrations(tmp_path)


def test_issuances_from_before_wishes_were_kept_can_still_be_finished(empty_database: str, tmp_path: Path) -> None:
    for path in sorted(MIGRATIONS.glob("000*.sql")):
        (tmp_path / path.name).write_text(path.read_text())
    migrate(empty_database, tmp_path)
    user_id, program_id, now = new_id(), new_id(), datetime(2026, 11, 1, tzinfo=UTC)
    with psycopg.connect(empty_database) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            "INSERT INTO programs (program_id, name, network, bin, currency, default_per_transaction, default_daily, "
            "default_monthly, created_at) VALUES (%s, 'Old', 'visa', '424242', 'USD', 5, 10, 20, %s)",
            (program_id, now),
        )
        for state in ("REQUESTED", "FAILED"):
            connection.execute(
                "INSERT INTO card_issuances (user_id, card_id, program_id, state, expiry_year, expiry_month, requested_at, "
                "lease_until, finished_at) VALUES (%s, %s, %s, %s, 2029, 11, %s, %s, %s)",
                (user_id, new_id(), program_id, state, now, now, None if state == "REQUESTED" else now),
            )
    migrate(empty_database, MIGRATIONS)
    worker = as_role(empty_database, "worker")
    with worker.transaction(Actor(None, "system")) as tx:
        (found,) = issuances.take_unfinished(tx, 10, now + timedelta(hours=1), now + timedelta(hours=2))
        assert issuances.take_unclean(tx, 10, now + timedelta(hours=1), now + timedelta(hours=2)) == []
    worker.close()
    assert found.wish.controls.limits == Limits(Decimal("5.00"), Decimal("10.00"), Decimal("20.00"))
