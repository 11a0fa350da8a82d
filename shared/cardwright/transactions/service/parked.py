"""Parked events as staff sees them: what the network told of nothing we know."""

from dataclasses import replace
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.cards.service import spending
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import NotFoundError
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.transactions.store import life as store
from cardwright.transactions.store.life import EventRow

__all__ = ["EventRow", "ParkedEvents"]


class ParkedEvents:
    """Lists parked events and closes those that will never find their place."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def list_events(self, actor: Actor, *, limit: int, after: UUID | None = None) -> list[EventRow]:
        """Return up to `limit` parked events of cards of ours, the newest first; events that name no card are not among them."""
        with self._database.transaction(actor) as tx:
            return store.parked(tx, limit, after)

    def close(self, actor: Actor, record_id: UUID, note: str, *, operation_id: UUID) -> EventRow:
        """Try an event no more: somebody has seen to it otherwise. It stays where it is, with an audit entry of who and why.

        Raises NotFoundError event_not_found when there is none, or it is parked no more.
        """
        now = self._clock.now()
        with self._database.transaction(replace(actor, reason=note)) as tx:
            event = _held(tx, store.parked_record(tx, record_id))
            if event is None or event.state != "PARKED":
                raise NotFoundError("There is no such parked event.", code="event_not_found")
            store.close_event(tx, event)
            audit.append(
                tx,
                subject_type="card",
                subject_id=event.card_id,
                entry_id=operation_id,
                action="processor_event.closed",
                occurred_at=now,
                old={"state": event.state, "parked_reason": event.parked_reason},
                new={"state": "CLOSED", "event_id": event.event_id, "type": event.type, "amount": f"{event.amount:.2f}"},
            )
            return replace(event, state="CLOSED", due_at=None)


def _held(tx: Transaction, found: EventRow | None) -> EventRow | None:
    """The event once nobody else can try it: as there, the spend row first, then the event, and the audit's head last."""
    if found is None:
        return None
    spending.lock(tx, found.card_id)
    return store.lock_event(tx, found.card_id, found.event_id)
