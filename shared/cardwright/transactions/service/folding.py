"""Write what an event made of a group: its rows, the spend row, the ledger, the audit and the message to partners."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from cardwright.audit import service as audit
from cardwright.cards.service import spending
from cardwright.cards.service.funding import carry_on
from cardwright.cards.service.spending import Movement, SpendRow
from cardwright.kernel.clock import rfc3339
from cardwright.ledger import service as ledger
from cardwright.ledger.rules import Posting, PostingKind, sides
from cardwright.outbox import service as outbox
from cardwright.outbox.rules import Event
from cardwright.platform.postgres import Transaction
from cardwright.transactions.rules.events import EventType
from cardwright.transactions.rules.holds import hold_expires_at
from cardwright.transactions.rules.life import Flag, Life, Member, Told, live
from cardwright.transactions.store import life as store
from cardwright.transactions.store.life import EventRow, TransactionRow

# An approval given elsewhere is news of an authorization; the rest is called as the processor calls it.
_TOLD_AS = {EventType.ADVICE: "transaction.authorized"}
# What moves no money for good is not posted: holds live in the spend row.
_POSTED_AS = {
    EventType.CLEARED: PostingKind.CLEARING,
    EventType.FORCE_POSTED: PostingKind.FORCE_POST,
    EventType.REFUNDED: PostingKind.REFUND,
}
_EARLIEST = datetime.min.replace(tzinfo=UTC)


def fold(tx: Transaction, spend: SpendRow, bearer: TransactionRow, event: EventRow | None, now: datetime) -> Life:
    """Count a group anew from its events and write what changed; `event` is the one that is new, if one is.

    The spend row is held by the caller, so nobody else changes the card's transactions meanwhile.
    """
    more = store.more_of(tx, spend.card_id, bearer)
    events = store.events_of(tx, spend.card_id, bearer.transaction_id)
    rows = [bearer, *more]
    members = [_member(row, events) for row in rows if row.type in ("authorization", "incremental", "advice")]
    told = [Told(EventType(one.type), one.amount, one.final_clearing) for one in events]
    life = live(members, told, bearer.merchant_category)
    _write_rows(tx, spend, rows, life, events, now)
    held = life.held - sum((row.held_amount for row in rows), Decimal(0))
    balance = (bearer.cleared_amount - bearer.refunded_amount) - (life.cleared - life.refunded)
    movements = [Movement(row.chain_seq, share - row.spent_amount) for row, share in zip(rows, life.spent, strict=True)]
    spending.move(tx, spend.card_id, held=held, balance=balance, movements=[one for one in movements if one.spent != 0])
    if event is not None:
        _tell(tx, spend, bearer, event, life, now)
        if spend.balance is not None:
            carry_on(tx, spend.card_id, event.record_id, now)
    return life


def latest_expiry(rows: Sequence[TransactionRow]) -> datetime:
    """When the hold of a group ends: with the last of its rows."""
    return max((row.hold_expires_at for row in rows if row.hold_expires_at is not None), default=_EARLIEST)


def _member(row: TransactionRow, events: Sequence[EventRow]) -> Member:
    advices = [one for one in events if one.type == EventType.ADVICE and one.authorization_id == row.authorization_id]
    # Several advices: the one of the latest moment counts, whichever came last.
    latest = max(advices, key=lambda one: (_moment(one), one.event_id), default=None)
    return Member(row.approved_amount if row.reason == "approved" else None, None if latest is None else latest.amount)


def _moment(event: EventRow) -> datetime:
    try:
        moment = datetime.fromisoformat(str(event.detail.get("occurred_at")))
    except ValueError:
        return _EARLIEST
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _write_rows(
    tx: Transaction, spend: SpendRow, rows: Sequence[TransactionRow], life: Life, events: Sequence[EventRow], now: datetime
) -> None:
    bearer, *more = rows
    voided = {one.authorization_id for one in events if one.detail.get("voids")}
    flags: list[str] = [*life.flags, *([Flag.VOIDED] if bearer.authorization_id in voided else [])]
    # What we declined and the network approved in our place has a hold, and no end of it yet.
    expiry = max(latest_expiry(rows), hold_expires_at(bearer.merchant_category, bearer.decided_at)) if life.held else None
    store.write_bearer(tx, spend.card_id, bearer, life, flags, expiry, now)
    for row, share in zip(more, life.spent[1:], strict=True):
        own: list[str] = [Flag.VOIDED] if row.authorization_id in voided else []
        store.write_incremental(tx, spend.card_id, row.transaction_id, life.status, share, own, now)


def _tell(tx: Transaction, spend: SpendRow, bearer: TransactionRow, event: EventRow, life: Life, now: datetime) -> None:
    posted_as = _POSTED_AS.get(EventType(event.type))
    if posted_as is not None and event.amount:
        ledger.post(tx, _posting(spend, bearer, event, posted_as, now))
    figures: dict[str, object] = {
        "held_amount": f"{life.held:.2f}",
        "cleared_amount": f"{life.cleared:.2f}",
        "reversed_amount": f"{life.reversed:.2f}",
        "refunded_amount": f"{life.refunded:.2f}",
    }
    audit.append(
        tx,
        subject_type="card",
        subject_id=spend.card_id,
        entry_id=event.record_id,
        action=event.type,
        occurred_at=now,
        old={"transaction_id": str(bearer.transaction_id), "status": bearer.status},
        new={"event_id": event.event_id, "amount": f"{event.amount:.2f}", "status": life.status, **figures},
    )
    outbox.append(
        tx,
        Event(
            event_id=event.record_id,
            type=_TOLD_AS.get(EventType(event.type), event.type),
            created_at=now,
            user_id=spend.user_id,
            card_id=spend.card_id,
            data={
                "id": str(bearer.transaction_id),
                "authorization_id": bearer.authorization_id,
                "card_id": str(spend.card_id),
                "type": bearer.type,
                "status": life.status,
                "amount": f"{bearer.amount:.2f}",
                "event_amount": f"{event.amount:.2f}",
                **figures,
                "currency": bearer.currency,
                "merchant": bearer.detail.get("merchant"),
                "reason": bearer.reason,
                "flags": [str(flag) for flag in life.flags],
                "created_at": rfc3339(bearer.decided_at),
            },
        ),
    )


def _posting(spend: SpendRow, bearer: TransactionRow, event: EventRow, kind: PostingKind, now: datetime) -> Posting:
    return Posting(
        posting_id=event.record_id,
        kind=kind,
        card_id=spend.card_id,
        user_id=spend.user_id,
        program_id=spend.program_id,
        occurred_at=now,
        entries=sides(kind, event.amount, event.currency),
        transaction_id=bearer.transaction_id,
        reference=event.event_id,
    )
