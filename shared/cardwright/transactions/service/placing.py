"""Find the transaction an event belongs to, make it where the network posted without asking, or park the event."""

import hashlib
import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from cardwright.cards.rules import windows
from cardwright.cards.service.spending import SpendRow
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Transaction
from cardwright.transactions.rules.events import EventType
from cardwright.transactions.rules.holds import hold_expires_at
from cardwright.transactions.service.folding import fold
from cardwright.transactions.service.searching import keep_words
from cardwright.transactions.store import life as store
from cardwright.transactions.store.life import EventRow, TransactionRow

_MADE_BY = {EventType.ADVICE: "advice", EventType.FORCE_POSTED: "force_post", EventType.REFUNDED: "refund"}
_LONGEST_WAIT = timedelta(hours=6)
# What is told of no merchant has no category; ISO 18245 keeps 0000 free.
_NO_CATEGORY = "0000"


class Places:
    """Places events under a held spend row."""

    def __init__(self, ids: IdSource) -> None:
        self._ids = ids

    def place(self, tx: Transaction, spend: SpendRow, event: EventRow, now: datetime) -> EventRow:
        """The event as APPLIED to its transaction, which is made here where the network posts without asking, or as PARKED."""
        target = _named(tx, spend.card_id, event)
        makes = event.type in (EventType.FORCE_POSTED, EventType.ADVICE) or (
            event.type == EventType.REFUNDED and event.authorization_id is None
        )
        if target is None and not makes:
            return parked(event, "authorization_unknown", now)
        if event.currency != (spend.currency if target is None else target.currency):
            return parked(event, "currency_mismatch", now)
        if target is None:
            target = self._make(tx, spend, event, now)
            if event.type == EventType.FORCE_POSTED:
                _take_refunds(tx, spend, target, now)
        # What is told of more of an authorization is told of the authorization.
        target = bearer_of(tx, spend.card_id, target)
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


def parked(event: EventRow, reason: str, now: datetime) -> EventRow:
    """The event as it waits for its next try."""
    return replace(event, state="PARKED", parked_reason=reason, due_at=now + wait(event.tries))


def wait(tries: int) -> timedelta:
    """A second after the first try, then twice as long each time, six hours at most."""
    return min(timedelta(seconds=2 ** min(tries, 20)), _LONGEST_WAIT)


def _named(tx: Transaction, card_id: UUID, event: EventRow) -> TransactionRow | None:
    """The transaction that an event speaks of. A refund is of what was force posted under its id, where anything was.

    Other events never are: so it makes no difference whether the force post or the authorization of an id is known first.
    """
    if event.authorization_id is None or event.type == EventType.FORCE_POSTED:
        return None
    if event.type == EventType.REFUNDED:
        posted = store.force_post_of(tx, card_id, event.authorization_id)
        if posted is not None:
            return posted
    return store.by_authorization(tx, card_id, event.authorization_id)


def _take_refunds(tx: Transaction, spend: SpendRow, posted: TransactionRow, now: datetime) -> None:
    """Give a force post the refunds of its id that came before it and went to the authorization."""
    named = posted.root_authorization_id
    authorization = None if named is None else store.by_authorization(tx, spend.card_id, named)
    if named is None or authorization is None or not store.move_refunds(tx, spend.card_id, named, posted.transaction_id):
        return
    fold(tx, spend, bearer_of(tx, spend.card_id, authorization), None, now)


def bearer_of(tx: Transaction, card_id: UUID, row: TransactionRow) -> TransactionRow:
    """The row that bears the amounts of a row's group."""
    if row.type != "incremental" or row.root_authorization_id in (None, row.authorization_id):
        return row
    return store.by_authorization(tx, card_id, str(row.root_authorization_id)) or row
