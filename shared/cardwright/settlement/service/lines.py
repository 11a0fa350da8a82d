"""Settle the lines of a file: what fits is posted, what we never heard of is taken as if it had come, the rest is a case."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from uuid import UUID

from cardwright.kernel.clock import rfc3339
from cardwright.kernel.errors import BrokenInvariantError, ConflictError, InvalidRequestError, UnavailableError
from cardwright.ledger.rules import Posting, PostingKind, check_posting, sides
from cardwright.platform.postgres import Transaction
from cardwright.platform.telemetry import logger
from cardwright.settlement.rules import (
    CaseKind,
    Detail,
    DetailKind,
    Finding,
    LineVerdict,
    OurCard,
    Source,
    Step,
    judge_line,
    line_document,
    posting_id,
)
from cardwright.settlement.service.work import SCHEDULE, LeaseLostError, Work
from cardwright.settlement.store import cases, lines
from cardwright.settlement.store.lines import Settled
from cardwright.transactions.rules.events import EventMerchant, EventType, ProcessorEvent

# So many broken lines in a run are no fault of the lines.
BROKEN_AT_MOST = 100
# Notes in the caller's transaction that lines are dealt with.
Mark = Callable[[Transaction, Sequence[Detail]], None]


@dataclass(frozen=True, slots=True)
class Judged:
    """A line with its card and what it calls for."""

    detail: Detail
    card: OurCard | None
    verdict: LineVerdict


@dataclass(frozen=True, slots=True)
class FilePlace:
    """The file that lines stand in; `found_at` dates the ids of what they post, so that these are the same in every run."""

    file_id: str
    found_at: datetime


def _no_mark(_: Transaction, __: Sequence[Detail]) -> None:
    """Nothing is kept of lines that are looked at again: their file is dealt with."""


class Settler:
    """Settles lines: events that never came are taken first, in transactions of their own."""

    def __init__(self, work: Work, *, broken_at_most: int | None = None) -> None:
        self._work = work
        self._broken_left = broken_at_most

    def take(self, place: FilePlace, details: Sequence[Detail], mark: Mark = _no_mark) -> None:
        """Settle lines and `mark` them as dealt with, in one transaction. A line that breaks is a case and holds up no other.

        Raises UnavailableError, LeaseLostError, and what broke a line when more than `broken_at_most` of them did.
        """
        error = self._try(place, details, mark)
        if error is None:
            return
        if len(details) > 1:
            middle = len(details) // 2
            self.take(place, details[:middle], mark)
            self.take(place, details[middle:], mark)
            return
        if self._broken_left is not None:
            if not self._broken_left:
                raise error
            self._broken_left -= 1
        told = {"file": place.file_id, "line": details[0].line}
        logger.error("a line of a settlement file met an unexpected error", exc_info=error, extra=told)
        self._commit(details, mark, partial(self._give_up, place=place, detail=details[0]))

    def _try(self, place: FilePlace, details: Sequence[Detail], mark: Mark) -> Exception | None:
        """Settle lines, all or none; returns what broke them, if anything did."""
        try:
            self._receive(place, details)
            self._commit(details, mark, partial(self._settle, place=place, details=details))
        except (UnavailableError, LeaseLostError):
            raise
        except Exception as error:  # whatever is wrong with one line must not keep the others waiting
            return error
        return None

    def _commit(self, details: Sequence[Detail], mark: Mark, step: Callable[[Transaction], None]) -> None:
        counted = replace(self._work.tally)
        try:
            with self._work.database.transaction(SCHEDULE) as tx:
                # First of all, so that of two runs only the one that holds the comparison settles.
                ahead = self._work.advance(tx)
                step(tx)
                mark(tx, details)
        except BaseException:
            # What was undone does not count.
            self._work.tally = counted
            raise
        self._work.progress = ahead

    def _give_up(self, tx: Transaction, *, place: FilePlace, detail: Detail) -> None:
        """Make a line that cannot be dealt with a case; it is looked at again as any other."""
        kind = CaseKind.LINE_BROKEN
        self._work.note(tx, _case(place, detail, kind))
        now = self._work.clock.now()
        self._work.tally.cases_closed += cases.mend(tx, self._work.processor, [(_digest(place, detail), kind)], now)

    def _receive(self, place: FilePlace, details: Sequence[Detail]) -> None:
        """Take the events that lines name and we never got."""
        with self._work.database.transaction(SCHEDULE) as tx:
            missing = [one.detail for one in self._judge(tx, place, details) if one.verdict.step is Step.RECEIVE]
        for detail in missing:
            try:
                if self._work.life.receive(_event(detail)).outcome == "applied":
                    self._work.tally.mended += 1
            except (ConflictError, InvalidRequestError):
                # It came meanwhile as something else, or its id is of our own kind: what it is now is judged again.
                continue

    def _settle(self, tx: Transaction, *, place: FilePlace, details: Sequence[Detail]) -> None:
        """Post what fits, keep the rest as cases, close the cases of what fits by now."""
        now = self._work.clock.now()
        judged = self._judge(tx, place, details)
        fitting = {one.detail.line: one for one in judged if one.verdict.step is Step.SETTLE}
        settled = lines.settle(tx, self._work.processor, place.file_id, [_settled(one) for one in fitting.values()], now)
        self._post(tx, [self._posting(place, one, now) for line, one in fitting.items() if line in settled])
        self._work.tally.settled += len(settled)
        still = []
        for one in judged:
            finding = _finding(place, one, settled)
            if finding is not None:
                self._work.note(tx, finding)
            still.append((_digest(place, one.detail), None if finding is None else finding.kind))
        self._work.tally.cases_closed += cases.mend(tx, self._work.processor, still, now)

    def _post(self, tx: Transaction, postings: Sequence[Posting]) -> None:
        for posting in postings:
            check_posting(posting)
        if postings and lines.post(tx, postings):
            raise BrokenInvariantError("what settles a line has been posted as something else")

    def _judge(self, tx: Transaction, place: FilePlace, details: Sequence[Detail]) -> list[Judged]:
        cards = lines.cards_of(tx, self._work.processor, [detail.card_token for detail in details])
        placed = [(detail, cards.get(detail.card_token)) for detail in details]
        named = [(card.card_id, one.reference) for one, card in placed if card and one.reference and not one.kind.is_fee]
        fees = [(card.card_id, one.reference) for one, card in placed if card and one.reference and one.kind.is_fee]
        unnamed = [
            (card.card_id, one.authorization_id) for one, card in placed if card and not one.reference and one.authorization_id
        ]
        events = lines.events_named(tx, named) if named else {}
        others = lines.events_of(tx, unnamed) if unnamed else {}
        known = lines.authorized(tx, unnamed) if unnamed else set()
        paid = lines.settled_by(tx, fees) if fees else {}
        judged = []
        for detail, card in placed:
            key = (UUID(int=0) if card is None else card.card_id, detail.reference or "")
            authorization = (key[0], detail.authorization_id or "")
            candidates = others.get(authorization, [])
            at = (place.file_id, detail.line)
            verdict = judge_line(detail, at, card, events.get(key), candidates, paid.get(key), authorized=authorization in known)
            if verdict.step is Step.SETTLE and verdict.event in candidates:
                # The next line of the same authorization and amount is another event of it.
                candidates[candidates.index(verdict.event)] = replace(verdict.event, settled_by=at)
            judged.append(Judged(detail, card, verdict))
        return judged

    def _posting(self, place: FilePlace, one: Judged, now: datetime) -> Posting:
        detail, card = one.detail, one.card
        if card is None:
            raise LookupError("what is settled has a card")
        kind = PostingKind.FEE if detail.kind.is_fee else PostingKind.SETTLED
        return Posting(
            posting_id=posting_id(self._work.processor, place.file_id, detail.line, place.found_at),
            kind=kind,
            card_id=card.card_id,
            user_id=card.user_id,
            program_id=card.program_id,
            occurred_at=now,
            entries=sides(kind, detail.amount if detail.kind.is_debit else -detail.amount, detail.currency),
            transaction_id=None if one.verdict.event is None else one.verdict.event.transaction_id,
            reference=f"{place.file_id}:{detail.line}",
        )


def _event(detail: Detail) -> ProcessorEvent:
    """What the network would have told of a line."""
    if detail.kind is DetailKind.CREDIT:
        event_type = EventType.REFUNDED
    else:
        event_type = EventType.FORCE_POSTED if detail.authorization_id is None else EventType.CLEARED
    category = detail.merchant_category
    return ProcessorEvent(
        event_id=detail.reference or "",
        type=event_type,
        card_token=detail.card_token,
        amount=detail.amount,
        currency=detail.currency,
        authorization_id=detail.authorization_id,
        final_clearing=detail.final and event_type is EventType.CLEARED,
        merchant=None if category is None else EventMerchant(category_code=category),
        occurred_at=rfc3339(detail.occurred_at),
        from_file=True,
    )


def _settled(one: Judged) -> Settled:
    detail, card = one.detail, one.card
    reference = detail.reference if one.verdict.event is None else one.verdict.event.event_id
    if card is None or reference is None:
        raise LookupError("what is settled has a card and a reference")
    return Settled(card.card_id, reference, detail.kind, detail.line, detail.amount, detail.currency)


def _subject(place: FilePlace, detail: Detail) -> tuple[str, str]:
    return place.file_id, str(detail.line)


def _digest(place: FilePlace, detail: Detail) -> bytes:
    return Finding(kind=CaseKind.AMOUNT_DIFFERS, source=Source.LINE, subject=_subject(place, detail)).digest


def _finding(place: FilePlace, one: Judged, settled: set[int]) -> Finding | None:
    """The case of a line, if it is one."""
    detail, verdict = one.detail, one.verdict
    if verdict.step is Step.NOTHING or detail.line in settled:
        return None
    # What was to be settled and was not, was so by another line a moment ago; what could not be taken is not here.
    kind = verdict.kind or (CaseKind.SETTLED_TWICE if verdict.step is Step.SETTLE else CaseKind.MISSING_WITH_US)
    event = verdict.event
    return replace(
        _case(place, detail, kind),
        card_id=None if one.card is None else one.card.card_id,
        transaction_id=None if event is None else event.transaction_id,
        event_id=detail.reference if event is None else event.event_id,
        our_amount=verdict.our_amount,
        currency=verdict.our_currency,
    )


def _case(place: FilePlace, detail: Detail, kind: CaseKind) -> Finding:
    """A case of a line, as far as the line alone tells it."""
    return Finding(
        kind=kind,
        source=Source.LINE,
        subject=_subject(place, detail),
        authorization_id=detail.authorization_id,
        event_id=detail.reference,
        file_id=place.file_id,
        line=detail.line,
        their_amount=detail.amount,
        their_currency=detail.currency,
        detail={**line_document(detail), "found_at": place.found_at.isoformat()},
    )
