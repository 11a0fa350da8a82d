"""Take what a processor tells of transactions: each event once, in any order, with the card's spend row held throughout.

Whatever an event changes commits together: the event, the rows of its group, the spend row, the ledger, the audit and the message
to partners. What belongs to nothing we know is parked and tried again.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Literal
from uuid import UUID

from cardwright.cards.rules import windows
from cardwright.cards.service import spending
from cardwright.cards.service.spending import SpendRow
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import BrokenInvariantError, ConflictError, InvalidRequestError, UnavailableError
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor, Database, Transaction, UniqueViolation
from cardwright.transactions.rules.events import EventType, ProcessorEvent
from cardwright.transactions.rules.holds import hold_expires_at
from cardwright.transactions.service.folding import fold, latest_expiry
from cardwright.transactions.service.searching import keep_words
from cardwright.transactions.store import life as store
from cardwright.transactions.store.life import EventRow, Overdue, TransactionRow

NETWORK = Actor(None, "system")
# Ids of events that are our own begin with this; no processor's may.
OWN = "cardwright:"
_MADE_BY = {EventType.ADVICE: "advice", EventType.FORCE_POSTED: "force_post", EventType.REFUNDED: "refund"}
_LONGEST_WAIT = timedelta(hours=6)
_BATCH = 100
# What is told of no merchant has no category; ISO 18245 keeps 0000 free.
_NO_CATEGORY = "0000"


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
        placed = self._place(tx, spend, row, now)
        store.add_event(tx, placed)
        return self._settle(tx, spend, placed, now)

    def _settle(self, tx: Transaction, spend: SpendRow, placed: EventRow, now: datetime) -> Receipt:
        if placed.transaction_id is None:
            return Receipt("parked", placed.parked_reason)
        bearer = store.get(tx, spend.card_id, placed.transaction_id)
        if bearer is None:
            raise BrokenInvariantError("an event was placed with a transaction that is not there")
        fold(tx, spend, bearer, placed, now)
        if placed.type == EventType.ADVICE and placed.authorization_id is not None:
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

    def _place(self, tx: Transaction, spend: SpendRow, event: EventRow, now: datetime) -> EventRow:
        """The event as APPLIED to its transaction, which is made here where the network posts without asking, or as PARKED."""
        target = None
        if event.type != EventType.FORCE_POSTED and event.authorization_id is not None:
            target = store.by_authorization(tx, spend.card_id, event.authorization_id)
        makes = event.type in (EventType.FORCE_POSTED, EventType.ADVICE) or (
            event.type == EventType.REFUNDED and event.authorization_id is None
        )
        if target is None and not makes:
            return _parked(event, "authorization_unknown", now)
        if event.currency != (spend.currency if target is None else target.currency):
            return _parked(event, "currency_mismatch", now)
        if target is None:
            target = self._make(tx, spend, event, now)
        # What is told of more of an authorization is told of the authorization.
        target = _bearer(tx, spend.card_id, target)
        return replace(
            event, transaction_id=target.transaction_id, state="APPLIED", parked_reason=None, due_at=None, applied_at=now
        )

    def _make(self, tx: Transaction, spend: SpendRow, event: EventRow, now: datetime) -> TransactionRow:
        advice = event.type == EventType.ADVICE
        category = event.merchant_category or _NO_CATEGORY
        nothing = Decimal("0.00")
        made = TransactionRow(
            transaction_id=self._ids.new(),
            # Only what the network decided in our place is an authorization; the rest keeps the id it names as a reference.
            authorization_id=event.authorization_id if advice else None,
            original_authorization_id=None if advice else event.authorization_id,
            root_authorization_id=event.authorization_id,
            type=_MADE_BY[EventType(event.type)],
            status="",
            reason="",
            amount=event.amount,
            approved_amount=nothing,
            held_amount=nothing,
            spent_amount=nothing,
            cleared_amount=nothing,
            reversed_amount=nothing,
            refunded_amount=nothing,
            currency=event.currency,
            merchant_category=category,
            detail=event.detail,
            risk_score=None,
            hold_expires_at=hold_expires_at(category, now) if advice else None,
            decided_at=now,
            confirmed_at=None,
            chain_seq=0,
            flags=(),
        )
        day_start, month_start = windows(now, spend.time_zone)
        # The chain's link stands for the row by this digest: for what was said beside the deed too.
        said = hashlib.sha256(event.request_digest + json.dumps(made.detail, sort_keys=True).encode()).digest()
        store.add_told(tx, made, spend.card_id, said, day_start, month_start)
        keep_words(tx, [(spend.card_id, made.transaction_id)])
        return made

    def _keep_unmatched(self, tx: Transaction, event: ProcessorEvent, now: datetime) -> Receipt:
        nobody = SpendRow(UUID(int=0), UUID(int=0), UUID(int=0), event.currency, "UTC", Decimal(0), None)
        row = _parked(self._row(event, nobody, now), "card_unknown", now)
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
            placed = self._place(tx, spend, event, now)
            store.write_event(tx, placed)
            return self._settle(tx, spend, placed, now).outcome == "applied"

    def _retry_unmatched(self, digest: bytes, event: EventRow, now: datetime) -> bool:
        """Look again for the card of an event; True when it is kept with its card from now on, applied or parked."""
        with self._database.transaction(NETWORK) as tx:
            store.put_off_unmatched(tx, digest, event.event_id, now + _wait(event.tries + 1))
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
            placed = self._place(tx, spend, found, now)
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
            bearer = _bearer(tx, card_id, row)
            if latest_expiry([bearer, *store.more_of(tx, card_id, bearer)]) > now:
                # More was authorized since: the hold is its group's, and goes on.
                fold(tx, spend, bearer, None, now)
                return False
            event = ProcessorEvent(
                event_id=f"{OWN}expiry:{bearer.transaction_id}",
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
        placed = self._place(tx, spend, self._row(event, spend, now), now)
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


def _bearer(tx: Transaction, card_id: UUID, row: TransactionRow) -> TransactionRow:
    """The row that bears the amounts of a row's group."""
    if row.type != "incremental" or row.root_authorization_id in (None, row.authorization_id):
        return row
    return store.by_authorization(tx, card_id, str(row.root_authorization_id)) or row


def _parked(event: EventRow, reason: str, now: datetime) -> EventRow:
    return replace(event, state="PARKED", parked_reason=reason, due_at=now + _wait(event.tries))


def _wait(tries: int) -> timedelta:
    """A second after the first try, then twice as long each time, six hours at most."""
    return min(timedelta(seconds=2 ** min(tries, 20)), _LONGEST_WAIT)


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
