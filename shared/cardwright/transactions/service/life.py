"""Take what a processor tells of transactions: each event once, in any order, with the card's spend row held throughout.

Whatever an event changes commits together: the event, the rows of its group, the spend row, the ledger, the audit and the message
to partners. What belongs to nothing we know is parked and tried again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Literal
from uuid import UUID

from cardwright.cards.service import spending
from cardwright.cards.service.spending import SpendRow
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import BrokenInvariantError, ConflictError, InvalidRequestError, UnavailableError
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor, Database, Transaction, UniqueViolation
from cardwright.transactions.rules.events import EventType, ProcessorEvent
from cardwright.transactions.service.folding import fold, latest_expiry
from cardwright.transactions.service.placing import Places, bearer_of, parked, wait
from cardwright.transactions.store import life as store
from cardwright.transactions.store.life import EventRow, Overdue

NETWORK = Actor(None, "system")
# Ids of events that are our own begin with this; no processor's may.
OWN = "cardwright:"
# What may make what parked events name.
_MAKING = (EventType.ADVICE, EventType.FORCE_POSTED)
_BATCH = 100


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an event. `transaction_id` is the transaction that it belongs to, once that is known."""

    outcome: Literal["applied", "parked", "duplicate"]
    parked_reason: str | None = None
    transaction_id: UUID | None = None


class TransactionLife:
    """Applies events. Under role worker: the network acts for no user."""

    def __init__(self, database: Database, clock: Clock, ids: IdSource) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._places = Places(ids)

    def receive(self, event: ProcessorEvent) -> Receipt:
        """Keep an event and apply it, or park it; a second time it changes nothing.

        Raises ConflictError event_id_reused for an id that told something else, InvalidRequestError event_id_reserved, and
        UnavailableError when nothing was kept.
        """
        if event.event_id.startswith(OWN):
            raise InvalidRequestError("This form of event id is kept for our own.", code="event_id_reserved")
        try:
            return self._receive(event)
        except UniqueViolation:
            # The same event, or the authorization it names, was being written at this very moment.
            return self._receive(event)

    def _receive(self, event: ProcessorEvent) -> Receipt:
        now = self._clock.now()
        with self._database.transaction(NETWORK) as tx:
            card_id = spending.card_of_token(tx, event.card_token)
            if card_id is None:
                return self._keep_unmatched(tx, event, now)
            return self._take(tx, spending.lock(tx, card_id), event, now)

    def _take(self, tx: Transaction, spend: SpendRow, event: ProcessorEvent, now: datetime) -> Receipt:
        known = store.get_event(tx, spend.card_id, event.event_id)
        if known is not None:
            if not _told_by_file(known, event):
                _check_same(known.request_digest, event)
            return Receipt("duplicate", known.parked_reason if known.state == "PARKED" else None, known.transaction_id)
        row = self._row(event, spend, now)
        placed = self._places.place(tx, spend, row, now)
        store.add_event(tx, placed)
        return self._settle(tx, spend, placed, now)

    def _settle(self, tx: Transaction, spend: SpendRow, placed: EventRow, now: datetime) -> Receipt:
        if placed.transaction_id is None:
            return Receipt("parked", placed.parked_reason)
        bearer = store.get(tx, spend.card_id, placed.transaction_id)
        if bearer is None:
            raise BrokenInvariantError("an event was placed with a transaction that is not there")
        fold(tx, spend, bearer, placed, now)
        if placed.authorization_id is not None and placed.type in _MAKING:
            store.hurry_parked(tx, spend.card_id, placed.authorization_id, now)
        return Receipt("applied", None, bearer.transaction_id)

    def _row(self, event: ProcessorEvent, spend: SpendRow, now: datetime) -> EventRow:
        return EventRow(
            card_id=spend.card_id,
            event_id=event.event_id,
            record_id=self._ids.new(),
            user_id=spend.user_id,
            transaction_id=None,
            type=event.type,
            authorization_id=event.authorization_id,
            amount=event.amount,
            currency=event.currency,
            final_clearing=event.final_clearing,
            merchant_category=None if event.merchant is None else event.merchant.category_code,
            detail=event.detail(),
            request_digest=event.digest(),
            state="PARKED",
            parked_reason="not_looked_at",
            due_at=now,
            tries=0,
            received_at=now,
            applied_at=None,
        )

    def _keep_unmatched(self, tx: Transaction, event: ProcessorEvent, now: datetime) -> Receipt:
        nobody = SpendRow(UUID(int=0), UUID(int=0), UUID(int=0), event.currency, "UTC", Decimal(0), None)
        row = parked(self._row(event, nobody, now), "card_unknown", now)
        kept = store.add_unmatched(tx, spending.digest_of_token(event.card_token), row)
        if kept is None:
            return Receipt("parked", "card_unknown")
        _check_same(kept, event)
        return Receipt("duplicate", "card_unknown")

    def void(self, card_id: UUID, transaction_id: UUID) -> bool:
        """Give back a hold whose approval the network never got; from then on its id answers issuer_unavailable.

        False, and nothing is changed, when the approval was given for an answer, when the network told of it, or when that was
        done before.
        """
        now = self._clock.now()
        with self._database.transaction(NETWORK) as tx:
            spend = spending.lock(tx, card_id)
            row = store.get(tx, card_id, transaction_id)
            if (
                row is None
                or row.authorization_id is None
                or row.type == "advice"
                or store.told_of(tx, card_id, row.authorization_id)
            ):
                return False
            if not store.mark_voided(tx, card_id, transaction_id):
                return False
            event = ProcessorEvent(
                event_id=f"{OWN}void:{transaction_id}",
                type=EventType.REVERSED,
                card_token="",
                amount=row.approved_amount,
                currency=row.currency,
                authorization_id=row.authorization_id,
                voids=True,
            )
            return self._apply_own(tx, spend, event, now)

    def retry_parked(self, go_on: Callable[[], bool] = _always) -> int:
        """Try every parked event that is due by now once, while `go_on()`; return how many found their place.

        Each is put off before it is tried, so one that cannot be tried keeps nobody waiting: it is raised when all have had their
        turn. Raises UnavailableError.
        """
        now = self._clock.now()
        turn = _Turn(go_on)
        while True:
            with self._database.transaction(NETWORK) as tx:
                unmatched = store.due_unmatched(tx, now, _BATCH)
                due = store.due_events(tx, now, _BATCH)
            turn.take(partial(self._retry_unmatched, digest, event, now) for digest, event in unmatched)
            turn.take(partial(self._retry, card_id, event_id, now) for card_id, event_id in due)
            if (len(unmatched) < _BATCH and len(due) < _BATCH) or not go_on():
                return turn.end()

    def _retry(self, card_id: UUID, event_id: str, now: datetime) -> bool:
        """Try one parked event again; True when it was applied. What still belongs to nothing waits longer each time."""
        with self._database.transaction(NETWORK) as tx:
            if not store.put_off_event(tx, card_id, event_id, now):
                return False
        with self._database.transaction(NETWORK) as tx:
            spend = spending.lock(tx, card_id)
            # Held from here on: who closes it comes before or after.
            event = store.lock_event(tx, card_id, event_id)
            if event is None or event.state != "PARKED":
                return False
            placed = self._places.place(tx, spend, event, now)
            store.write_event(tx, placed)
            return self._settle(tx, spend, placed, now).outcome == "applied"

    def _retry_unmatched(self, digest: bytes, event: EventRow, now: datetime) -> bool:
        """Look again for the card of an event; True when it is kept with its card from now on, applied or parked."""
        with self._database.transaction(NETWORK) as tx:
            store.put_off_unmatched(tx, digest, event.event_id, now + wait(event.tries + 1))
        with self._database.transaction(NETWORK) as tx:
            token = spending.token_of_digest(tx, digest)
            card_id = None if token is None else spending.card_of_token(tx, token)
            if card_id is None:
                return False
            spend = spending.lock(tx, card_id)
            known = store.get_event(tx, card_id, event.event_id)
            if known is not None and known.request_digest != event.request_digest:
                raise ConflictError("Two events of one id say different things.", code="event_id_reused")
            if not store.drop_unmatched(tx, digest, event.event_id) or known is not None:
                return False
            found = replace(event, card_id=card_id, user_id=spend.user_id, record_id=self._ids.new())
            placed = self._places.place(tx, spend, found, now)
            store.add_event(tx, placed)
            self._settle(tx, spend, placed, now)
            return True

    def expire_holds(self, go_on: Callable[[], bool] = _always) -> int:
        """Give back the holds that nobody cleared in time, while `go_on()`; return how many ended.

        One that cannot be ended is raised when all have had their turn. Raises UnavailableError.
        """
        now = self._clock.now()
        turn = _Turn(go_on)
        after: Overdue | None = None
        while True:
            with self._database.transaction(NETWORK) as tx:
                overdue = store.overdue_holds(tx, now, after, _BATCH)
            turn.take(partial(self._expire, one.card_id, one.transaction_id, now) for one in overdue)
            if len(overdue) < _BATCH or not go_on():
                return turn.end()
            after = overdue[-1]

    def _expire(self, card_id: UUID, transaction_id: UUID, now: datetime) -> bool:
        with self._database.transaction(NETWORK) as tx:
            spend = spending.lock(tx, card_id)
            row = store.get(tx, card_id, transaction_id)
            if row is None or row.held_amount == 0 or row.hold_expires_at is None or row.hold_expires_at > now:
                return False
            bearer = bearer_of(tx, card_id, row)
            if latest_expiry([bearer, *store.more_of(tx, card_id, bearer)]) > now:
                # More was authorized since: the hold is its group's, and goes on.
                fold(tx, spend, bearer, None, now)
                return False
            event = ProcessorEvent(
                # One expiry for each sum that was held: more may be approved elsewhere after the first.
                event_id=f"{OWN}expiry:{bearer.transaction_id}:{bearer.held_amount}:{now:%Y%m%d%H%M%S}",
                type=EventType.EXPIRED,
                card_token="",
                amount=bearer.held_amount,
                currency=bearer.currency,
                authorization_id=bearer.authorization_id,
            )
            if not self._apply_own(tx, spend, event, now):
                raise BrokenInvariantError("a hold that expired is still held")
            return True

    def _apply_own(self, tx: Transaction, spend: SpendRow, event: ProcessorEvent, now: datetime) -> bool:
        """Apply an event of our own (an expiry, a void) under a held spend row; False when it was applied before."""
        if store.get_event(tx, spend.card_id, event.event_id) is not None:
            return False
        placed = self._places.place(tx, spend, self._row(event, spend, now), now)
        if placed.state != "APPLIED":
            raise BrokenInvariantError("an event of our own belongs to a transaction of ours")
        store.add_event(tx, placed)
        self._settle(tx, spend, placed, now)
        return True


class _Turn:
    """Works done one by one while there is time: counts those that did something and keeps the first failure for the end."""

    def __init__(self, go_on: Callable[[], bool]) -> None:
        self._go_on = go_on
        self._done = 0
        self._failure: Exception | None = None

    def take(self, works: Iterable[Callable[[], bool]]) -> None:
        """Do each work. Raises UnavailableError at once: the rest would fare no better."""
        for work in works:
            if not self._go_on():
                return
            try:
                self._done += work()
            except UnavailableError:
                raise
            except Exception as error:  # whatever is wrong with one must not keep the others waiting
                self._failure = self._failure or error

    def end(self) -> int:
        """How many did something. Raises the first failure."""
        if self._failure is not None:
            raise self._failure
        return self._done


def _told_by_file(known: EventRow, event: ProcessorEvent) -> bool:
    """Whether one of the two comes from a settlement file, which tells less of the same event: not whether it was the last."""
    same = (known.type, known.amount, known.currency, known.authorization_id) == (
        event.type,
        event.amount,
        event.currency,
        event.authorization_id,
    )
    return same and bool(event.from_file or known.detail.get("from_file"))


def _check_same(digest: bytes, event: ProcessorEvent) -> None:
    if digest != event.digest():
        raise ConflictError("This event id told something else before.", code="event_id_reused")
