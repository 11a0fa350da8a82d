"""SQL of programs."""

from dataclasses import asdict, fields
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.programs.rules import Program

_COLUMNS = ", ".join(field.name for field in fields(Program))
_VALUES = ", ".join(f"%({field.name})s" for field in fields(Program))


def get(tx: Transaction, program_id: UUID) -> Program | None:
    """Load one program."""
    return _program(tx.fetch_one(f"SELECT {_COLUMNS} FROM programs WHERE program_id = %s", (program_id,)))  # noqa: S608 - our own column names


def default_for(tx: Transaction, currency: str) -> Program | None:
    """Load the default program of a currency."""
    return _program(
        tx.fetch_one(f"SELECT {_COLUMNS} FROM programs WHERE currency = %s AND is_default", (currency,))  # noqa: S608 - our own column names
    )


def insert(tx: Transaction, program: Program) -> bool:
    """Insert a program; False when its id is there already."""
    return (
        tx.execute(
            f"INSERT INTO programs ({_COLUMNS}) VALUES ({_VALUES}) ON CONFLICT (program_id) DO NOTHING",  # noqa: S608 - our own column names
            asdict(program),
        )
        == 1
    )


def _program(row: Row | None) -> Program | None:
    return None if row is None else Program(**row)
