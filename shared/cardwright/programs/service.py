"""Find the program a card is issued under; add programs, and change them as an administrator does."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import BrokenInvariantError, ConflictError, NotFoundError, StaleVersionError, UnprocessableError
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.programs import rules, store
from cardwright.programs.rules import Funding, Limits, Network, Program, ProgramChanges, ProgramStatus

__all__ = ["NewProgram", "Program", "ProgramAdministration", "ProgramService"]


class ProgramService:
    """What cards and the seed ask of programs, in their own transactions."""

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

    def for_issuing(self, tx: Transaction, program_id: UUID | None, currency: str) -> Program:
        """Return the program a new card is made in: the one named, else the currency's default.

        Raises UnprocessableError program_not_found, program_retired, currency_unsupported.
        """
        if program_id is None:
            return self.default_for(tx, currency)
        program = self.get(tx, program_id)
        if program.status != ProgramStatus.ACTIVE:
            raise UnprocessableError("This program issues no more cards.", code="program_retired")
        return program

    def add_program(self, tx: Transaction, program: Program) -> None:
        """Add a program; the same one again changes nothing.

        Needs a transaction of the migrator role. Raises ConflictError program_exists when the id is another program's.
        """
        if not store.insert(tx, program) and store.get(tx, program.program_id) != program:
            raise ConflictError("Another program has this id.", code="program_exists")

    def provision_program(self, tx: Transaction, program: Program) -> bool:
        """Add a program unless its id is known: what is there stays, as an administrator may have changed it.

        Needs a transaction of the migrator role. A currency that has a default keeps it. True when the program was added.
        """
        store.one_at_a_time(tx, program.currency)
        if program.is_default and store.default_for(tx, program.currency) is not None:
            program = replace(program, is_default=False)
        return store.insert(tx, program)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProgram:
    """A program wished for. Amounts are in its currency, lifetime in months."""

    name: str
    network: Network
    bin: str
    currency: str
    defaults: Limits
    default_velocity_per_hour: int | None = 5
    funding: Funding = Funding.LIMITS
    is_default: bool = False
    max_open_cards: int = 10
    card_lifetime_months: int = 36
    step_up_above: Decimal | None = None


class ProgramAdministration:
    """Programs as staff handles them, under role app; the database too lets nobody but administrators write."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def list_programs(self, actor: Actor, limit: int, after: UUID | None = None) -> list[Program]:
        """Return up to `limit` programs, newest first, those that come after `after`."""
        with self._database.transaction(actor) as tx:
            return store.newest(tx, limit, after)

    def get_program(self, actor: Actor, program_id: UUID) -> Program:
        """Return a program. Raises NotFoundError program_not_found."""
        with self._database.transaction(actor) as tx:
            return _found(store.get(tx, program_id))

    def create_program(self, actor: Actor, wanted: NewProgram, operation_id: UUID) -> Program:
        """Make a program, whose id is the operation's; a second run finds the first one's.

        As the default it takes the place of the currency's former one. Raises InvalidFieldsError.
        """
        program = _program(wanted, operation_id, self._clock.now())
        rules.check_program(program)
        with self._database.transaction(actor) as tx:
            store.one_at_a_time(tx, program.currency)
            earlier = store.get(tx, operation_id)
            if earlier is not None:
                return earlier
            if program.is_default:
                self._depose(tx, program, operation_id)
            if not store.insert(tx, program):
                raise ConflictError("Another program has this id.", code="program_exists")
            audit.append(
                tx,
                subject_type="program",
                subject_id=program.program_id,
                entry_id=operation_id,
                action="program.created",
                occurred_at=program.created_at,
                new=rules.settings(program),
            )
        return program

    def update_program(
        self,
        actor: Actor,
        program_id: UUID,
        changes: ProgramChanges,
        *,
        operation_id: UUID,
        if_match: int | None = None,
    ) -> Program:
        """Change a program; cards it has issued stay as they are. The same operation again changes nothing.

        Made the default, it takes the place of the currency's former one. Raises NotFoundError program_not_found;
        StaleVersionError; InvalidFieldsError; ConflictError program_is_default, program_retired, and program_unchanged when it
        is so already.
        """
        with self._database.transaction(actor) as tx:
            # A program's currency never changes; everything else is read again under the currency's lock.
            store.one_at_a_time(tx, _found(store.get(tx, program_id)).currency)
            before = _found(store.get(tx, program_id))
            if audit.knows(tx, "program", program_id, operation_id):
                return before
            if if_match is not None and if_match != before.version:
                raise StaleVersionError("The program has changed since.")
            after = replace(before, **changes)
            rules.check_program(after)
            rules.check_default(before, after)
            if after == before:
                raise ConflictError("The program is so already.", code="program_unchanged")
            if after.is_default and not before.is_default:
                self._depose(tx, after, operation_id)
            return self._write(tx, before, replace(after, last_operation_id=operation_id), operation_id)

    def _depose(self, tx: Transaction, successor: Program, operation_id: UUID) -> None:
        """Take the currency's default away from the program that is it. Its own last operation stays known to it."""
        former = store.default_for(tx, successor.currency)
        if former is not None:
            self._write(tx, former, replace(former, is_default=False), operation_id)

    def _write(self, tx: Transaction, before: Program, after: Program, operation_id: UUID) -> Program:
        now = self._clock.now()
        after = replace(after, version=before.version + 1, updated_at=now)
        if not store.update(tx, after):
            raise BrokenInvariantError("a program was not written under its lock")
        old, new = rules.differences(before, after)
        audit.append(
            tx,
            subject_type="program",
            subject_id=after.program_id,
            entry_id=operation_id,
            action="program.changed",
            occurred_at=now,
            old=old,
            new=new,
        )
        return after


def _program(wanted: NewProgram, program_id: UUID, now: datetime) -> Program:
    return Program(
        program_id=program_id,
        name=wanted.name,
        network=wanted.network,
        bin=wanted.bin,
        currency=wanted.currency,
        created_at=now,
        default_per_transaction=wanted.defaults.per_transaction,
        default_daily=wanted.defaults.daily,
        default_monthly=wanted.defaults.monthly,
        default_velocity_per_hour=wanted.default_velocity_per_hour,
        funding=wanted.funding,
        is_default=wanted.is_default,
        max_open_cards=wanted.max_open_cards,
        card_lifetime_months=wanted.card_lifetime_months,
        step_up_above=wanted.step_up_above,
        last_operation_id=program_id,
        updated_at=now,
    )


def _found(program: Program | None) -> Program:
    if program is None:
        raise NotFoundError("There is no such program.", code="program_not_found")
    return program
