"""Which record of the processor's belongs to what we know, and what a difference calls for. Pure.

What is mended without asking is what cannot be wrong: an event that we never got is taken as if it had come, and a hold that the
processor never got our approval for is given back. All else is a case.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from cardwright.kernel import ids
from cardwright.settlement.rules.cases import CaseKind
from cardwright.settlement.rules.files import Detail, DetailKind
from cardwright.transactions.rules.events import EventType
from cardwright.transactions.rules.history import TransactionStatus

# What was said so shortly ago may still be on its way to one of us.
GRACE = timedelta(minutes=10)
# How long an event of ours may wait for the file that settles it: networks settle within two days, holidays come on top.
SETTLED_WITHIN = timedelta(days=5)
# How long an event may be parked before somebody has to look at it.
PARKED_AT_MOST = timedelta(days=1)
_SPENT = frozenset({EventType.CLEARED, EventType.FORCE_POSTED})
_GIVEN_BACK = frozenset({EventType.REFUNDED})
_NOTHING = Decimal("0.00")


class Step(StrEnum):
    """What a record calls for."""

    NOTHING = "nothing"
    SETTLE = "settle"
    # An event that we never got: take it, then look again.
    RECEIVE = "receive"
    VOID = "void"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class OurCard:
    """The card of a token."""

    card_id: UUID
    user_id: UUID
    program_id: UUID


@dataclass(frozen=True, slots=True)
class OurEvent:
    """An event of a card as we keep it; `settled_by` is the (file, line) that settled it."""

    event_id: str
    type: EventType
    state: str
    authorization_id: str | None
    transaction_id: UUID | None
    amount: Decimal
    currency: str
    settled_by: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class LineVerdict:
    """What a line calls for. `event` is what it settles; amounts and currency are ours, where a case is to be made."""

    step: Step
    kind: CaseKind | None = None
    event: OurEvent | None = None
    our_amount: Decimal | None = None
    our_currency: str | None = None


def settles(kind: DetailKind) -> frozenset[EventType]:
    """Types of events that a detail of this kind settles; none for fees."""
    if kind.is_fee:
        return frozenset()
    return _GIVEN_BACK if kind is DetailKind.CREDIT else _SPENT


def judge_line(
    detail: Detail,
    place: tuple[str, int],
    card: OurCard | None,
    named: OurEvent | None,
    others: Sequence[OurEvent],
    fee_settled_by: tuple[str, int] | None,
    *,
    authorized: bool,
) -> LineVerdict:
    """Return what a line at `place` (file, line) calls for.

    `named` is the event it names; `others` are the events of its authorization, the earliest first, for a line that names none;
    `fee_settled_by` is the place that settled the fee it names; `authorized`: we know the authorization that it names.
    """
    if card is None:
        return LineVerdict(Step.REPORT, CaseKind.UNKNOWN_CARD)
    if detail.kind.is_fee:
        return _judge_settled(fee_settled_by, place, None)
    if detail.reference is not None:
        return LineVerdict(Step.RECEIVE) if named is None else _judge_event(detail, place, named)
    return _judge_unnamed(detail, place, others, authorized=authorized)


def _judge_settled(settled_by: tuple[str, int] | None, place: tuple[str, int], event: OurEvent | None) -> LineVerdict:
    if settled_by is None:
        return LineVerdict(Step.SETTLE, event=event)
    if settled_by == place:
        return LineVerdict(Step.NOTHING, event=event)
    return LineVerdict(Step.REPORT, CaseKind.SETTLED_TWICE, event)


def _judge_event(detail: Detail, place: tuple[str, int], event: OurEvent) -> LineVerdict:
    ours = (event.amount, event.currency)
    if event.currency != detail.currency:
        return LineVerdict(Step.REPORT, CaseKind.CURRENCY_DIFFERS, event, *ours)
    if event.amount != detail.amount or event.type not in settles(detail.kind):
        return LineVerdict(Step.REPORT, CaseKind.AMOUNT_DIFFERS, event, *ours)
    if event.state != "APPLIED":
        return LineVerdict(Step.REPORT, CaseKind.UNKNOWN_AUTHORIZATION, event, *ours)
    return _judge_settled(event.settled_by, place, event)


def _judge_unnamed(detail: Detail, place: tuple[str, int], others: Sequence[OurEvent], *, authorized: bool) -> LineVerdict:
    """A line without an event's id is the earliest event of its authorization that fits and is not settled yet."""
    if detail.authorization_id is None:
        return LineVerdict(Step.REPORT, CaseKind.MISSING_WITH_US)
    for event in others:
        if event.settled_by == place:
            return LineVerdict(Step.NOTHING, event=event)
    alike = [event for event in others if event.type in settles(detail.kind) and event.state == "APPLIED"]
    fitting = [event for event in alike if (event.amount, event.currency) == (detail.amount, detail.currency)]
    waiting = [event for event in fitting if event.settled_by is None]
    if waiting:
        return LineVerdict(Step.SETTLE, event=waiting[0])
    if fitting:
        return LineVerdict(Step.REPORT, CaseKind.SETTLED_TWICE, fitting[0])
    unsettled = [event for event in alike if event.settled_by is None]
    if not unsettled:
        kind = CaseKind.MISSING_WITH_US if authorized else CaseKind.UNKNOWN_AUTHORIZATION
        return LineVerdict(Step.REPORT, kind)
    nearest = unsettled[0]
    kind = CaseKind.AMOUNT_DIFFERS if nearest.currency == detail.currency else CaseKind.CURRENCY_DIFFERS
    return LineVerdict(Step.REPORT, kind, nearest, nearest.amount, nearest.currency)


def posting_id(processor: str, file_id: str, line: int, found_at: datetime) -> UUID:
    """The id of what a line posts: the same in every run, and dated by when its file was found."""
    name = f"{processor}\x1f{file_id}\x1f{line}"
    return ids.uuid7(found_at, hashlib.sha256(name.encode()).digest()[: ids.ENTROPY_BYTES])


class TheirState(StrEnum):
    """How the processor ended an authorization."""

    APPROVED = "APPROVED"
    DECLINED = "DECLINED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorTransaction:
    """An authorization as the processor has it; `cleared_amount` is what was cleared or posted under its id."""

    card_token: str
    authorization_id: str
    state: TheirState
    approved_amount: Decimal
    cleared_amount: Decimal
    currency: str
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OurTransaction:
    """The same authorization as we have it; `approved_amount` as the network's advice left it, zero once voided."""

    transaction_id: UUID
    status: TransactionStatus
    approved_amount: Decimal
    cleared_amount: Decimal
    currency: str
    decided_at: datetime
    changed_at: datetime
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListVerdict:
    """What a transaction calls for; the amounts are those that differ."""

    step: Step
    kind: CaseKind | None = None
    ours: Decimal | None = None
    theirs: Decimal | None = None


_FINE = ListVerdict(Step.NOTHING)


def judge_transaction(
    ours: OurTransaction | None, theirs: ProcessorTransaction | None, now: datetime, *, may_void: bool = True
) -> ListVerdict:
    """Compare one authorization. `theirs` is None for one that the processor's list should have held and did not."""
    if ours is None:
        if theirs is None or theirs.state is TheirState.DECLINED or theirs.approved_amount == 0:
            # A request that never reached us was answered for us; nothing is held for it.
            return _FINE
        return ListVerdict(Step.REPORT, CaseKind.MISSING_WITH_US, None, theirs.approved_amount)
    if theirs is None or theirs.state is TheirState.DECLINED:
        return _judge_without_approval(ours, theirs, now, may_void=may_void)
    return _FINE if ours.changed_at > now - GRACE else _judge_both(ours, theirs)


def _judge_both(ours: OurTransaction, theirs: ProcessorTransaction) -> ListVerdict:
    if ours.currency != theirs.currency:
        return ListVerdict(Step.REPORT, CaseKind.CURRENCY_DIFFERS, ours.approved_amount, theirs.approved_amount)
    if ours.approved_amount != theirs.approved_amount:
        return ListVerdict(Step.REPORT, CaseKind.AMOUNT_DIFFERS, ours.approved_amount, theirs.approved_amount)
    if ours.cleared_amount != theirs.cleared_amount:
        return ListVerdict(Step.REPORT, CaseKind.AMOUNT_DIFFERS, ours.cleared_amount, theirs.cleared_amount)
    return _FINE


def _judge_without_approval(
    ours: OurTransaction, theirs: ProcessorTransaction | None, now: datetime, *, may_void: bool
) -> ListVerdict:
    """Ours, where the processor has no approval for it."""
    if ours.status is TransactionStatus.AUTHORIZED and ours.approved_amount > 0:
        # Who asked again has been given the approval since.
        confirmed = theirs is not None and ours.confirmed_at is not None and ours.confirmed_at >= theirs.changed_at
        if ours.decided_at > now - GRACE or confirmed:
            return _FINE
        # A decline of theirs says that our approval never arrived. That they do not know it says nothing: we may have been asked
        # another way, and an approval that was given for an answer holds.
        return ListVerdict(Step.VOID) if theirs is not None and may_void else _missing(ours)
    if ours.cleared_amount > 0:
        return (
            _missing(ours) if theirs is None else ListVerdict(Step.REPORT, CaseKind.AMOUNT_DIFFERS, ours.cleared_amount, _NOTHING)
        )
    return _FINE


def _missing(ours: OurTransaction) -> ListVerdict:
    return ListVerdict(Step.REPORT, CaseKind.MISSING_AT_PROCESSOR, max(ours.approved_amount, ours.cleared_amount), _NOTHING)


@dataclass(frozen=True, slots=True)
class CardSums:
    """What a card's spend row, transactions and ledger say, in its currency; `balance` is None where limits alone fund it.

    `ledger_spend` and `ledger_funds` are the sums of its accounts cardholder_spend and cardholder_funds; debits are positive.
    """

    card_id: UUID
    currency: str
    held: Decimal
    balance: Decimal | None
    held_by_transactions: Decimal
    spent_by_transactions: Decimal
    ledger_spend: Decimal
    ledger_funds: Decimal

    @property
    def differences(self) -> list[tuple[str, Decimal, Decimal]]:
        """What does not agree: (which, what is kept, what it should be)."""
        pairs = [("held", self.held, self.held_by_transactions), ("spent", self.ledger_spend, self.spent_by_transactions)]
        if self.balance is not None:
            pairs.append(("balance", self.balance, -(self.ledger_funds + self.ledger_spend)))
        return [pair for pair in pairs if pair[1] != pair[2]]
