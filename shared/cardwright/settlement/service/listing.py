"""The processor's list of transactions beside ours, page by page; a pass is over when its end was read and nothing misses."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from cardwright.kernel.errors import ProviderRefusedError
from cardwright.platform.postgres import Transaction
from cardwright.platform.telemetry import logger
from cardwright.settlement.ports import SettlementSource, TransactionPage
from cardwright.settlement.rules import (
    GRACE,
    CaseKind,
    Finding,
    ListVerdict,
    ProcessorTransaction,
    Source,
    Step,
    TheirState,
    judge_transaction,
    transaction_document,
)
from cardwright.settlement.service.work import SCHEDULE, Work
from cardwright.settlement.store import cases, lines, listing
from cardwright.settlement.store.listing import Compared

# What the first pass looks at: as long as most holds live.
FIRST_LOOK = timedelta(days=7)
# Longer than any hold lives.
REMEMBERED = timedelta(days=45)
PAGE = 1_000
_FORGOTTEN_AT_ONCE = 5_000
Pair = tuple[UUID, str]


class ListWork:
    """One run's work on the processor's list."""

    def __init__(self, work: Work, source: SettlementSource) -> None:
        self._work = work
        self._source = source

    def run(self) -> None:
        """Go on with the pass, or begin the next one. Raises UnavailableError, ProviderRefusedError."""
        self._begin()
        if self._work.progress.listed_from == self._work.progress.listed_to:
            return
        while not self._work.progress.list_read:
            if not self._work.has_time():
                return
            self._take_page()
        if not self._look_for_missing():
            return
        # Its interval is empty from here on: the next run begins where this pass ended.
        self._work.reach(listed_from=self._work.progress.listed_to, list_cursor=None, list_read=False, missing_after=None)
        with self._work.database.transaction(SCHEDULE) as tx:
            listing.forget(tx, self._work.processor, self._work.clock.now() - REMEMBERED, _FORGOTTEN_AT_ONCE)

    def _begin(self) -> None:
        progress, until = self._work.progress, self._work.clock.now() - GRACE
        if progress.listed_to is None:
            self._work.reach(listed_from=until - FIRST_LOOK, listed_to=until, list_cursor=None, list_read=False)
        elif progress.listed_from == progress.listed_to and until > progress.listed_to:
            self._work.reach(listed_from=progress.listed_to, listed_to=until, list_cursor=None, list_read=False)

    def _take_page(self) -> None:
        page = self._page()
        with self._work.database.transaction(SCHEDULE) as tx:
            voids = self.compare(tx, page.transactions)
        self.void(voids)
        self._work.tally.transactions += len(page.transactions)
        self._work.reach(list_cursor=page.next_cursor, list_read=page.next_cursor is None)

    def _page(self) -> TransactionPage:
        """The page the pass is at; of a cursor that the processor no longer takes, the first one."""
        progress = self._work.progress
        if progress.listed_from is None:
            raise LookupError("a pass has begun")
        # Their clock and ours differ, and an answer takes its time: what stands at an edge is listed by both passes.
        since = progress.listed_from - GRACE
        try:
            return self._source.transactions(since, progress.list_cursor)
        except ProviderRefusedError as error:
            if progress.list_cursor is None:
                raise
            logger.warning("comparison of transactions begins again", extra={"code": error.code})
            return self._source.transactions(since, None)

    def compare(self, tx: Transaction, listed: Sequence[ProcessorTransaction]) -> list[Compared]:
        """Keep what the processor says, make or close cases; returns the holds to give back once that is committed."""
        cards = lines.cards_of(tx, self._work.processor, [theirs.card_token for theirs in listed])
        ours = [(cards[theirs.card_token].card_id, theirs) for theirs in listed if theirs.card_token in cards]
        listing.keep(tx, self._work.processor, ours, self._work.clock.now())
        now = self._work.clock.now()
        still: list[tuple[bytes, CaseKind | None]] = []
        for theirs in listed:
            finding = _unknown_card(theirs)
            unknown = theirs.card_token not in cards and theirs.state is TheirState.APPROVED
            if unknown:
                self._work.note(tx, finding)
            still.append((finding.digest, finding.kind if unknown else None))
        self._work.tally.cases_closed += cases.mend(tx, self._work.processor, still, now)
        return self.judge(tx, [(card_id, theirs.authorization_id) for card_id, theirs in ours])

    def judge(self, tx: Transaction, pairs: Sequence[Pair], *, may_void: bool = True) -> list[Compared]:
        """Compare authorizations as each side has them, make or close cases; returns the holds to give back."""
        now = self._work.clock.now()
        voids: list[Compared] = []
        still: list[tuple[bytes, CaseKind | None]] = []
        for one in listing.compare(tx, pairs):
            verdict = judge_transaction(one.ours, one.theirs, now, may_void=may_void)
            if verdict.step is Step.VOID:
                voids.append(one)
                continue
            finding = _finding(one, verdict)
            if verdict.step is Step.REPORT:
                self._work.note(tx, finding)
            still.append((finding.digest, finding.kind if verdict.step is Step.REPORT else None))
        self._work.tally.cases_closed += cases.mend(tx, self._work.processor, still, now)
        return voids

    def void(self, found: Sequence[Compared]) -> None:
        """Give back holds the processor has no approval for; where the network told of one after all, that is a case."""
        told_of = []
        for one in found:
            if one.ours is not None and self._work.life.void(one.card_id, one.ours.transaction_id):
                self._work.tally.mended += 1
            else:
                told_of.append((one.card_id, one.authorization_id))
        if found:
            pairs = [(one.card_id, one.authorization_id) for one in found]
            with self._work.database.transaction(SCHEDULE) as tx:
                # What was given back is well by now, and whatever case it had is closed.
                self.judge(tx, [pair for pair in pairs if pair not in told_of])
                self.judge(tx, told_of, may_void=False)

    def _look_for_missing(self) -> bool:
        """Make cases of the holds of this pass that the processor does not know at all.

        False when the time is over before all had their turn.
        """
        progress = self._work.progress
        if progress.listed_from is None or progress.listed_to is None:
            return True
        of_the_pass = (self._work.processor, progress.listed_from, progress.listed_to)
        while self._work.has_time():
            with self._work.database.transaction(SCHEDULE) as tx:
                reached, page = listing.missing_holds(tx, *of_the_pass, self._work.progress.missing_after, PAGE)
                self.judge(tx, page, may_void=False)
            if reached is None:
                return True
            self._work.reach(missing_after=reached)
        return False


def _unknown_card(theirs: ProcessorTransaction) -> Finding:
    token_digest = hashlib.sha256(theirs.card_token.encode()).hexdigest()
    return Finding(
        kind=CaseKind.UNKNOWN_CARD,
        source=Source.LISTING,
        subject=(token_digest, theirs.authorization_id),
        authorization_id=theirs.authorization_id,
        their_amount=theirs.approved_amount,
        their_currency=theirs.currency,
        detail=transaction_document(theirs),
    )


def _finding(one: Compared, verdict: ListVerdict) -> Finding:
    ours, theirs = one.ours, one.theirs
    return Finding(
        kind=verdict.kind or CaseKind.AMOUNT_DIFFERS,
        source=Source.LISTING,
        subject=(str(one.card_id), one.authorization_id),
        card_id=one.card_id,
        transaction_id=None if ours is None else ours.transaction_id,
        authorization_id=one.authorization_id,
        our_amount=verdict.ours,
        their_amount=verdict.theirs,
        currency=None if ours is None else ours.currency,
        their_currency=None if theirs is None else theirs.currency,
    )
