"""Cases and runs as staff sees them, and the closing of a case by hand."""

from uuid import UUID

from cardwright.audit import service as audit
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.platform.postgres import Actor, Database
from cardwright.settlement.rules import Case, CaseKind, CaseState, Run, closable
from cardwright.settlement.store import cases, sources


class SettlementDesk:
    """What staff does about settlement, under role app: row-level security shows it to staff alone."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def list_cases(self, actor: Actor, *, kind: CaseKind | None, state: CaseState, limit: int, after: UUID | None) -> list[Case]:
        """Up to `limit` cases older than `after`, newest first. Raises UnavailableError."""
        with self._database.transaction(actor) as tx:
            return cases.newest(tx, kind=kind, state=state, limit=limit, after=after)

    def list_runs(self, actor: Actor, *, limit: int, after: UUID | None) -> list[Run]:
        """Up to `limit` runs older than `after`, newest first. Raises UnavailableError."""
        with self._database.transaction(actor) as tx:
            return sources.newest_runs(tx, limit=limit, after=after)

    def close_case(self, actor: Actor, case_id: UUID, note: str, *, operation_id: UUID) -> Case:
        """Close an open case with a note of what was done about it; found again with the same amounts it stays closed.

        Repeated with its operation id it answers the case as it is. Raises NotFoundError case_not_found, ConflictError
        case_already_closed, UnavailableError.
        """
        if actor.user_id is None:
            raise BrokenInvariantError("a case is closed by somebody")
        now = self._clock.now()
        with self._database.transaction(actor) as tx:
            case = cases.lock(tx, case_id)
            if case is not None and audit.knows(tx, "settlement_case", case_id, operation_id):
                return case
            case = closable(case)
            closed = cases.close_by_hand(tx, case_id, actor.user_id, note, now)
            audit.append(
                tx,
                subject_type="settlement_case",
                subject_id=case_id,
                entry_id=operation_id,
                action="settlement_case.closed",
                occurred_at=now,
                old={"kind": case.kind.value, "state": case.state.value},
                new={"state": closed.state.value, "note": note},
            )
        return closed
