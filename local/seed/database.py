"""The stack's database: made when missing, migrated, role passwords set, default programs written."""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from cardwright.platform.migrate import MigrationError, migrate
from local.home import PROJECT, StackError

DATABASE: Final = "cardwright"
_PROGRAMS: Final = Path(__file__).with_name("programs.json")
# Stable ids, so that a seed that runs again finds its own rows.
_NAMESPACE: Final = uuid.UUID("6f6f5b4e-52a6-4c0e-9a43-2f1d3c7b8a90")


def prepare_database(admin_url: str, database_url: str, role_passwords: Mapping[str, str]) -> list[str]:
    """Create the database, apply migrations, set passwords, write programs; returns the migrations applied.

    Raises StackError when a migration fails.
    """
    with psycopg.connect(admin_url, autocommit=True) as connection:
        known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    try:
        applied = migrate(database_url, PROJECT / "database" / "migrations")
    except MigrationError as error:
        raise StackError(f"the database cannot be migrated: {error}; `make reset` begins with an empty one") from error
    with psycopg.connect(database_url) as connection:
        # A statement that fails is told of without its text: it holds the password.
        connection.execute("SET LOCAL log_min_error_statement = 'panic'")
        for role, password in role_passwords.items():
            change = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
            connection.execute(change)
        _write_programs(connection)
    return applied


def _write_programs(connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
    for program in json.loads(_PROGRAMS.read_text()):
        connection.execute(
            """
            INSERT INTO programs (program_id, name, network, bin, currency, is_default, default_per_transaction,
                                  default_daily, default_monthly, created_at)
            VALUES (%(id)s, %(name)s, %(network)s, %(bin)s, %(currency)s, true, %(per_transaction)s, %(daily)s,
                    %(monthly)s, clock_timestamp())
            ON CONFLICT DO NOTHING
            """,
            {**program, "id": uuid.uuid5(_NAMESPACE, program["name"])},
        )


def count_users(database_url: str, user_ids: list[str]) -> int:
    """How many of these users the database has."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM users WHERE user_id = ANY(%s::uuid[])", [user_ids]).fetchone()
        return 0 if row is None else int(row[0])
