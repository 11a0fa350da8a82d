"""SQL of programs."""

from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.programs.rules import Program

_COLUMNS = ", ".join(field.name for field in fields(Program))
_VALUES = ", ".join(f"%({field.name})s" for field in fields(Program))
# What a program is stays as it was made; the app role may not write these columns.
_FIXED = frozenset({"program_id", "network", "bin", "currency", "funding", "created_at"})
_CHANGES = ", ".join(f"{field.name} = %({field.name})s" for field in fields(Program) if field.name not in _FIXED)


def get(tx: Transaction, program_id: UUID) -> Program | None:
    """Load one program."""
    return _program(tx.fetch_one(f"SELECT {_COLUMNS} FROM programs WHERE program_id = %s", (program_id,)))  # noqa: S608 - our own column names


def default_for(tx: Transaction, currency: str) -> Program | None:
    """Load the default program of a currency."""
    return _program(
        tx.fetch_one(f"SELECT {_COLUMNS} FROM programs WHERE currency = %s AND is_default", (currency,))  # noqa: S608 - our own column names
    )


def newest(tx: Transaction, limit: int, after: UUID | None) -> list[Program]:
    """Up to `limit` programs, newest first, those that come after the program `after`. Ids of seeded ones tell no time."""
    rows = tx.fetch_all(
        f"SELECT {_COLUMNS} FROM programs WHERE %(after)s::uuid IS NULL OR (created_at, program_id) < "  # noqa: S608 - our own column names
        "(SELECT created_at, program_id FROM programs WHERE program_id = %(after)s) "
        "ORDER BY created_at DESC, program_id DESC LIMIT %(limit)s",
        {"after": after, "limit": limit},
    )
    return [Program(**row) for row in rows]


def one_at_a_time(tx: Transaction, currency: str) -> None:
    """Make other changes of this currency's programs wait until this transaction ends, so that one default stays one."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"programs:{currency}",))


def insert(tx: Transaction, program: Program) -> bool:
    """Insert a program; False when its id is there already."""
    return (
        tx.execute(
            f"INSERT INTO programs ({_COLUMNS}) VALUES ({_VALUES}) ON CONFLICT (program_id) DO NOTHING",  # noqa: S608 - our own column names
            _values(program),
        )
        == 1
    )


def update(tx: Transaction, program: Program) -> bool:
    """Write what of a program may change; False when this actor may not, or the program is not there."""
    return tx.execute(f"UPDATE programs SET {_CHANGES} WHERE program_id = %(program_id)s", _values(program)) == 1  # noqa: S608 - our own column names


def _values(program: Program) -> dict[str, Any]:
    # Members of the enumerations go as the text they are.
    return {name: str(value) if isinstance(value, str) else value for name, value in asdict(program).items()}


def _program(row: Row | None) -> Program | None:
    return None if row is None else Program(**row)
