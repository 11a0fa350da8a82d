"""The stack's database: made when missing, migrated, role passwords set, default programs written."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from cardwright.platform.migrate import MigrationError, migrate
from cardwright.platform.postgres import Actor, Database
from cardwright.programs.service import Program, ProgramService
from local.home import PROJECT, StackError

DATABASE: Final = "cardwright"
_PROGRAMS: Final = Path(__file__).with_name("programs.json")
# Stable ids, so that a seed that runs again finds its own rows.
_PROGRAMS_SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC)
# Twice the largest batch of cards.
_MAX_OPEN_CARDS: Final = 2000
_NAMESPACE: Final = uuid.UUID("6f6f5b4e-52a6-4c0e-9a43-2f1d3c7b8a90")


def prepare_database(admin_url: str, database_url: str, migrator_url: str, role_passwords: Mapping[str, str]) -> list[str]:
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
    _write_programs(migrator_url)
    return applied


def _write_programs(migrator_url: str) -> None:
    """Add the default program of each currency; what is there stays, as an administrator may have changed it."""
    database, service = Database(lambda: migrator_url), ProgramService()
    with database.transaction(Actor(None, "system", reason="seed")) as tx:
        for entry in json.loads(_PROGRAMS.read_text()):
            program = Program(
                program_id=uuid.uuid5(_NAMESPACE, entry["name"]),
                name=entry["name"],
                network=entry["network"],
                bin=entry["bin"],
                currency=entry["currency"],
                created_at=_PROGRAMS_SINCE,
                default_per_transaction=Decimal(entry["per_transaction"]),
                default_daily=Decimal(entry["daily"]),
                default_monthly=Decimal(entry["monthly"]),
                max_open_cards=_MAX_OPEN_CARDS,
                is_default=True,
            )
            service.provision_program(tx, program)
    database.close()


def count_users(database_url: str, user_ids: list[str]) -> int:
    """How many of these users the database has."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM users WHERE user_id = ANY(%s::uuid[])", [user_ids]).fetchone()
        return 0 if row is None else int(row[0])
