"""Find the program a card is issued under, and add programs."""

from uuid import UUID

from cardwright.kernel.errors import ConflictError, UnprocessableError
from cardwright.platform.postgres import Transaction
from cardwright.programs import store
from cardwright.programs.rules import Program

__all__ = ["Program", "ProgramService"]


class ProgramService:
    """Programs change by deployment or by staff, never by a cardholder."""

    def get(self, tx: Transaction, program_id: UUID) -> Program:
        """Return a program. Raises UnprocessableError program_not_found."""
        program = store.get(tx, program_id)
        if program is None:
            raise UnprocessableError("There is no such program.", code="program_not_found")
        return program

    def default_for(self, tx: Transaction, currency: str) -> Program:
        """Return the default program of a currency. Raises UnprocessableError currency_unsupported."""
        program = store.default_for(tx, currency)
        if program is None:
            raise UnprocessableError(f"No cards are issued in {currency}.", code="currency_unsupported")
        return program

    def add_program(self, tx: Transaction, program: Program) -> None:
        """Add a program; the same one again changes nothing.

        Needs a transaction of the migrator role, which alone may write programs. Raises ConflictError program_exists when the
        id is another program's.
        """
        if not store.insert(tx, program) and store.get(tx, program.program_id) != program:
            raise ConflictError("Another program has this id.", code="program_exists")
