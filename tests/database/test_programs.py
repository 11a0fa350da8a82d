"""Programs in the real database: one default a currency, every write audited, nobody but administrators writes."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo

from cardwright.kernel.errors import BrokenInvariantError, ConflictError, NotFoundError, StaleVersionError, UnprocessableError
from cardwright.platform.postgres import Actor
from cardwright.programs.rules import Limits, Network, Program, ProgramStatus
from cardwright.programs.service import NewProgram, ProgramAdministration
from local.seed.database import _write_programs
from tests.fakes.card_world import NOW, CardWorld, as_role

DEFAULTS = Limits(Decimal("100.00"), Decimal("200.00"), Decimal("300.00"))
WISH = NewProgram(name="Travel", network=Network.VISA, bin="40009910", currency="CHF", defaults=DEFAULTS)
INSERT = (
    "INSERT INTO programs (program_id, name, network, bin, currency, default_per_transaction, default_daily, default_monthly, "
    "created_at) VALUES (%s, 'Mine', 'visa', '40009911', 'CHF', 1, 1, 1, %s)"
)


@pytest.fixture
def world(fresh_database: str) -> Iterator[CardWorld]:
    """A world in a database of its own."""
    world = CardWorld(fresh_database)
    yield world
    world.close()


@pytest.fixture
def programs(world: CardWorld) -> ProgramAdministration:
    """Programs under role app."""
    return ProgramAdministration(world.database, world.clock)


@pytest.fixture
def admin(world: CardWorld) -> Actor:
    """An administrator."""
    return world.add_user("admin")


def audit_of(world: CardWorld, program_id: UUID) -> list[dict[str, Any]]:
    """The audit entries of a program, in their order."""
    return world.sql("SELECT * FROM audit_log WHERE subject_type = 'program' AND subject_id = %s ORDER BY seq", program_id)


def defaults_of(world: CardWorld, currency: str) -> list[UUID]:
    """Ids of the currency's default programs."""
    return [
        row["program_id"] for row in world.sql("SELECT program_id FROM programs WHERE currency = %s AND is_default", currency)
    ]


def at_once(world: CardWorld, works: list[Callable[[], Program]]) -> list[Program | Exception]:
    """Run the works in threads that begin together; return what each came to, in their order."""
    barrier = threading.Barrier(len(works))
    results: list[Program | Exception] = [ValueError("did not run")] * len(works)

    def run(position: int, work: Callable[[], Program]) -> None:
        barrier.wait()
        try:
            results[position] = work()
        except Exception as error:
            results[position] = error
        finally:
            world.close()

    threads = [threading.Thread(target=run, args=(position, work)) for position, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_a_program_is_made_once_however_often_its_operation_runs(
    world: CardWorld, programs: ProgramAdministration, admin: Actor
) -> None:
    operation_id = world.ids.new()
    made = programs.create_program(admin, WISH, operation_id)
    assert made.program_id == operation_id
    assert (made.status, made.version, made.created_at) == ("ACTIVE", 1, NOW)
    assert programs.create_program(admin, replace(WISH, name="Later"), operation_id) == made
    assert programs.get_program(admin, operation_id) == made
    (entry,) = audit_of(world, operation_id)
    assert (entry["entry_id"], entry["action"], entry["actor_id"]) == (operation_id, "program.created", admin.user_id)
    assert entry["old_values"] is None
    assert (entry["new_values"]["default_daily"], entry["new_values"]["is_default"]) == ("200.00", False)


def test_the_same_operation_at_once_makes_one_program(world: CardWorld, programs: ProgramAdministration, admin: Actor) -> None:
    operation_id = world.ids.new()
    results = at_once(world, [lambda: programs.create_program(admin, WISH, operation_id)] * 6)
    assert results == [programs.get_program(admin, operation_id)] * 6
    assert len(audit_of(world, operation_id)) == 1


def test_a_change_is_audited_with_old_and_new_values(world: CardWorld, programs: ProgramAdministration, admin: Actor) -> None:
    program = programs.create_program(admin, WISH, world.ids.new())
    operation_id = world.ids.new()
    changed = programs.update_program(
        admin, program.program_id, {"default_daily": Decimal("250.00"), "name": "Travel"}, operation_id=operation_id, if_match=1
    )
    assert (changed.default_daily, changed.version) == (Decimal("250.00"), 2)
    assert programs.get_program(admin, program.program_id) == changed
    entry = audit_of(world, program.program_id)[1]
    assert (entry["entry_id"], entry["action"]) == (operation_id, "program.changed")
    assert (entry["old_values"], entry["new_values"]) == ({"default_daily": "200.00"}, {"default_daily": "250.00"})


def test_a_change_runs_once_for_its_operation(world: CardWorld, programs: ProgramAdministration, admin: Actor) -> None:
    program = programs.create_program(admin, WISH, world.ids.new())
    operation_id = world.ids.new()

    def change() -> Program:
        return programs.update_program(admin, program.program_id, {"max_open_cards": 20}, operation_id=operation_id, if_match=1)

    first = change()
    assert change() == first
    assert len(audit_of(world, program.program_id)) == 2


def test_a_second_run_after_somebody_elses_change_changes_nothing(
    world: CardWorld, programs: ProgramAdministration, admin: Actor
) -> None:
    program, operation_id = world.add_program("CHF"), world.ids.new()
    programs.update_program(admin, program.program_id, {"max_open_cards": 20}, operation_id=operation_id)
    programs.update_program(admin, program.program_id, {"max_open_cards": 30}, operation_id=world.ids.new())
    again = programs.update_program(admin, program.program_id, {"max_open_cards": 20}, operation_id=operation_id)
    assert (again.max_open_cards, again.version) == (30, 3)
    assert len(audit_of(world, program.program_id)) == 2


def test_what_is_so_already_is_a_conflict(world: CardWorld, programs: ProgramAdministration, admin: Actor) -> None:
    program = programs.create_program(admin, WISH, world.ids.new())
    for _ in range(2):
        with pytest.raises(ConflictError) as refusal:
            programs.update_program(admin, program.program_id, {"max_open_cards": 10}, operation_id=world.ids.new())
        assert refusal.value.code == "program_unchanged"
    with pytest.raises(NotFoundError):
        programs.update_program(admin, world.ids.new(), {"max_open_cards": 11}, operation_id=world.ids.new())
    assert len(audit_of(world, program.program_id)) == 1


def test_of_administrators_who_saw_the_same_version_one_wins(
    world: CardWorld, programs: ProgramAdministration, admin: Actor
) -> None:
    program = programs.create_program(admin, WISH, world.ids.new())

    def asking(most: int) -> Callable[[], Program]:
        return lambda: programs.update_program(
            admin, program.program_id, {"max_open_cards": most}, operation_id=world.ids.new(), if_match=1
        )

    results = at_once(world, [asking(most) for most in range(20, 28)])
    won = [result for result in results if isinstance(result, Program)]
    assert len(won) == 1
    assert sum(isinstance(result, StaleVersionError) for result in results) == 7
    assert programs.get_program(admin, program.program_id) == won[0]
    assert len(audit_of(world, program.program_id)) == 2


def test_without_a_version_no_change_is_lost(world: CardWorld, programs: ProgramAdministration, admin: Actor) -> None:
    program_id = programs.create_program(admin, WISH, world.ids.new()).program_id
    results = at_once(
        world,
        [
            lambda: programs.update_program(admin, program_id, {"max_open_cards": 20}, operation_id=world.ids.new()),
            lambda: programs.update_program(admin, program_id, {"card_lifetime_months": 12}, operation_id=world.ids.new()),
            lambda: programs.update_program(admin, program_id, {"name": "Trips"}, operation_id=world.ids.new()),
        ],
    )
    assert all(isinstance(result, Program) for result in results)
    now = programs.get_program(admin, program_id)
    assert (now.max_open_cards, now.card_lifetime_months, now.name, now.version) == (20, 12, "Trips", 4)


def test_the_default_moves_with_both_programs_audited(world: CardWorld, programs: ProgramAdministration, admin: Actor) -> None:
    first = programs.create_program(admin, replace(WISH, is_default=True), world.ids.new())
    second = programs.create_program(admin, replace(WISH, is_default=True), world.ids.new())
    assert defaults_of(world, "CHF") == [second.program_id]
    operation_id = world.ids.new()
    back = programs.update_program(admin, first.program_id, {"is_default": True}, operation_id=operation_id)
    assert defaults_of(world, "CHF") == [first.program_id]
    # The one that was deposed and made the default again has changed twice since it was made.
    assert (back.version, programs.get_program(admin, second.program_id).version) == (3, 2)
    deposed, crowned = audit_of(world, second.program_id)[-1], audit_of(world, first.program_id)[-1]
    assert (deposed["entry_id"], deposed["old_values"]) == (operation_id, {"is_default": True})
    assert (crowned["entry_id"], crowned["new_values"]) == (operation_id, {"is_default": True})


def test_administrators_at_once_leave_one_default(world: CardWorld, programs: ProgramAdministration, admin: Actor) -> None:
    made = [programs.create_program(admin, WISH, world.ids.new()) for _ in range(3)]

    def crowning(program: Program) -> Callable[[], Program]:
        return lambda: programs.update_program(admin, program.program_id, {"is_default": True}, operation_id=world.ids.new())

    def making() -> Program:
        return programs.create_program(admin, replace(WISH, is_default=True), world.ids.new())

    results = at_once(world, [*(crowning(program) for program in made), making, making, making])
    assert all(isinstance(result, Program) for result in results)
    assert len(defaults_of(world, "CHF")) == 1
    crowned = world.sql("SELECT new_values FROM audit_log WHERE new_values->>'is_default' = 'true'")
    deposed = world.sql("SELECT new_values FROM audit_log WHERE old_values->>'is_default' = 'true'")
    assert (len(crowned), len(deposed)) == (6, 5)


def test_a_second_run_that_comes_late_does_not_take_the_default_back(
    world: CardWorld, programs: ProgramAdministration, admin: Actor
) -> None:
    first, second = (programs.create_program(admin, WISH, world.ids.new()) for _ in range(2))
    slow = world.ids.new()
    programs.update_program(admin, first.program_id, {"is_default": True}, operation_id=slow)
    programs.update_program(admin, second.program_id, {"is_default": True}, operation_id=world.ids.new())
    late = programs.update_program(admin, first.program_id, {"is_default": True}, operation_id=slow)
    assert not late.is_default
    assert defaults_of(world, "CHF") == [second.program_id]


def test_a_write_that_ends_halfway_leaves_nothing(world: CardWorld, programs: ProgramAdministration, admin: Actor) -> None:
    former = programs.create_program(admin, replace(WISH, is_default=True), world.ids.new())
    world.sql("ALTER TABLE audit_log ADD CONSTRAINT broken CHECK (action <> 'program.created') NOT VALID")
    operation_id = world.ids.new()
    with pytest.raises(errors.CheckViolation):
        programs.create_program(admin, replace(WISH, is_default=True), operation_id)
    assert programs.get_program(admin, former.program_id) == former
    world.sql("ALTER TABLE audit_log DROP CONSTRAINT broken")
    assert programs.create_program(admin, replace(WISH, is_default=True), operation_id).program_id == operation_id
    assert defaults_of(world, "CHF") == [operation_id]


def test_the_default_is_not_retired_but_another_is(world: CardWorld, programs: ProgramAdministration, admin: Actor) -> None:
    program_id = programs.create_program(admin, replace(WISH, is_default=True), world.ids.new()).program_id

    def refused(**changes: Any) -> str:
        with pytest.raises(ConflictError) as refusal:
            programs.update_program(admin, program_id, {**changes}, operation_id=world.ids.new())  # type: ignore[typeddict-item]  # as a test gives them
        return refusal.value.code

    assert refused(status=ProgramStatus.RETIRED) == "program_is_default"
    retired = programs.update_program(
        admin, program_id, {"status": ProgramStatus.RETIRED, "is_default": False}, operation_id=world.ids.new()
    )
    assert (retired.status, retired.is_default) == ("RETIRED", False)
    assert refused(is_default=True) == "program_retired"
    assert refused(status=ProgramStatus.RETIRED) == "program_unchanged"
    with pytest.raises(UnprocessableError) as refusal, world.database.transaction(admin) as tx:
        world.programs.for_issuing(tx, program_id, "CHF")
    assert refusal.value.code == "program_retired"


@pytest.mark.parametrize("role", ["support", "compliance_officer", "cardholder", "merchant", "system", "nobody"])
def test_nobody_but_an_administrator_writes_even_with_sql(
    world: CardWorld, programs: ProgramAdministration, admin: Actor, role: str
) -> None:
    program = programs.create_program(admin, WISH, world.ids.new())
    other = Actor(world.ids.new(), role)
    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"), world.database.transaction(other) as tx:
        tx.execute(INSERT, (world.ids.new(), NOW))
    with world.database.transaction(other) as tx:
        assert tx.execute("UPDATE programs SET name = 'Mine', is_default = true") == 0
        assert tx.fetch_all("SELECT 1 FROM programs FOR NO KEY UPDATE") == []
    with pytest.raises(errors.InsufficientPrivilege), world.database.transaction(other) as tx:
        tx.execute("DELETE FROM programs")
    with pytest.raises(errors.InsufficientPrivilege):
        programs.create_program(other, WISH, world.ids.new())
    with pytest.raises(BrokenInvariantError):
        programs.update_program(other, program.program_id, {"name": "Mine"}, operation_id=world.ids.new())
    assert programs.get_program(other, program.program_id) == program
    assert len(audit_of(world, program.program_id)) == 1


def test_an_administrator_cannot_change_what_its_cards_are_nor_delete_a_program(
    world: CardWorld, programs: ProgramAdministration, admin: Actor
) -> None:
    program = programs.create_program(admin, WISH, world.ids.new())
    for column, value in (("bin", "40009999"), ("network", "mastercard"), ("currency", "USD"), ("funding", "balance")):
        with pytest.raises(errors.InsufficientPrivilege), world.database.transaction(admin) as tx:
            tx.execute(f"UPDATE programs SET {column} = %s WHERE program_id = %s", (value, program.program_id))  # noqa: S608 - columns named above
    with pytest.raises(errors.InsufficientPrivilege), world.database.transaction(admin) as tx:
        tx.execute("DELETE FROM programs WHERE program_id = %s", (program.program_id,))
    for role in ("worker", "auditor"):
        database = as_role(world.url, role)
        with pytest.raises(errors.Error, match=r"permission denied|read-only"), database.transaction(admin) as tx:
            tx.execute("UPDATE programs SET name = 'Mine'")
        database.close()
    assert programs.get_program(admin, program.program_id) == program


def test_programs_are_listed_newest_first_whatever_their_ids(
    world: CardWorld, programs: ProgramAdministration, admin: Actor
) -> None:
    oldest = world.add_program("CHF", program_id=UUID(int=2**128 - 1), created_at=NOW.replace(year=2020))
    made = [programs.create_program(admin, WISH, world.ids.new()) for _ in range(3)]
    listed = programs.list_programs(admin, 50)
    assert listed[-1] == oldest
    assert {program.program_id for program in listed[:-1]} == {world.program.program_id, *(one.program_id for one in made)}
    page = programs.list_programs(admin, 2)
    assert page + programs.list_programs(admin, 50, page[-1].program_id) == listed
    assert programs.list_programs(admin, 50, oldest.program_id) == []


def test_a_second_seed_leaves_what_an_administrator_changed(
    world: CardWorld, programs: ProgramAdministration, admin: Actor
) -> None:
    migrator_url = make_conninfo(world.url, options="-c role=migrator")
    _write_programs(migrator_url)
    with world.database.transaction(admin) as tx:
        seeded = world.programs.default_for(tx, "USD")
    assert seeded.max_open_cards >= 1000
    kept = programs.update_program(admin, seeded.program_id, {"name": "Ours", "is_default": False}, operation_id=world.ids.new())
    mine = programs.create_program(admin, replace(WISH, currency="USD", is_default=True), world.ids.new())
    before = programs.list_programs(admin, 200)
    _write_programs(migrator_url)
    assert programs.list_programs(admin, 200) == before
    world.sql("DELETE FROM programs WHERE program_id = %s", kept.program_id)
    _write_programs(migrator_url)
    assert not programs.get_program(admin, seeded.program_id).is_default
    assert defaults_of(world, "USD") == [mine.program_id]
