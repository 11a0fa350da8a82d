"""Our own records beside each other, and open cases looked at again: what is well by now closes itself."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from uuid import UUID

from cardwright.kernel.errors import BrokenInvariantError
from cardwright.platform.postgres import Transaction
from cardwright.settlement.rules import (
    PARKED_AT_MOST,
    SETTLED_WITHIN,
    CardSums,
    CaseKind,
    Finding,
    Source,
    read_line,
    read_transaction,
)
from cardwright.settlement.service.lines import FilePlace, Settler
from cardwright.settlement.service.listing import ListWork
from cardwright.settlement.service.work import SCHEDULE, Work
from cardwright.settlement.store import cases, checks
from cardwright.settlement.store import files as settlement_files
from cardwright.settlement.store.cases import OpenCase
from cardwright.settlement.store.checks import WaitingEvent

PAGE = 200
# Pages of open cases that one run looks at again; the next one goes on.
CASE_PAGES = 50
# Pages of cards that one run compares with their ledger; the next one goes on.
CARD_PAGES = 50
# Of each kind of event that waits; the rest is seen once these are dealt with.
WAITING_AT_MOST = 1_000
# Events older than this were settled before anybody looked for it.
FIRST_LOOK = timedelta(days=30)
_FIRST = UUID(int=0)


class Checks:
    """One run's look at our own records."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def recheck(self, listed: ListWork | None) -> None:
        """Look again at what open cases are about, so many in a run that they keep nothing else waiting; the next one goes on.

        Raises UnavailableError, LeaseLostError.
        """
        for _ in range(CASE_PAGES):
            if not self._work.has_time():
                return
            with self._work.database.transaction(SCHEDULE) as tx:
                page = cases.open_after(tx, self._work.processor, self._work.progress.rechecked_after or _FIRST, PAGE)
            of = {source: [one for one in page if one.source is source] for source in Source}
            self._recheck_lines(of[Source.LINE])
            if listed is not None:
                self._recheck_listing(listed, of[Source.LISTING])
            self._recheck_ours(of[Source.CARD], of[Source.EVENT])
            self._work.reach(rechecked_after=page[-1].case_id if len(page) == PAGE else None)
            if len(page) < PAGE:
                return

    def look(self, *, files: bool) -> None:
        """Find events that wait too long and cards whose sums do not agree; `files`: there are such. Raises UnavailableError."""
        self._look_at_events()
        if files:
            self._look_for_unsettled()
        self._look_at_cards()

    def _recheck_lines(self, page: Sequence[OpenCase]) -> None:
        settler = Settler(self._work)
        for (file_id, found_at), group in groupby(page, key=_file_of):
            place = FilePlace(file_id, datetime.fromisoformat(found_at))
            settler.take(place, [read_line(one.detail, one.line or 0) for one in group])

    def _recheck_listing(self, listed: ListWork, page: Sequence[OpenCase]) -> None:
        if not page:
            return
        known = [(one.card_id, one.authorization_id) for one in page if one.card_id and one.authorization_id]
        with self._work.database.transaction(SCHEDULE) as tx:
            voids = listed.judge(tx, known, may_void=False)
            voids += listed.compare(tx, [read_transaction(one.detail) for one in page if one.card_id is None])
        listed.void(voids)

    def _recheck_ours(self, of_cards: Sequence[OpenCase], of_events: Sequence[OpenCase]) -> None:
        if not of_cards and not of_events:
            return
        with self._work.database.transaction(SCHEDULE) as tx:
            self._judge_cards(tx, checks.sums_of(tx, list({one.card_id for one in of_cards if one.card_id})))
            now, found = self._work.clock.now(), [one.case_id for one in of_events]
            self._work.tally.cases_closed += cases.mend_events(tx, self._work.processor, found, now)

    def _look_at_cards(self) -> None:
        for _ in range(CARD_PAGES):
            if not self._work.has_time():
                return
            with self._work.database.transaction(SCHEDULE) as tx:
                page = checks.sums_after(tx, self._work.processor, self._work.progress.checked_after or _FIRST, PAGE)
                self._judge_cards(tx, page)
                ahead = self._work.advance(tx, checked_after=page[-1].card_id if len(page) == PAGE else None)
            self._work.progress = ahead
            if len(page) < PAGE:
                return

    def _judge_cards(self, tx: Transaction, page: Sequence[CardSums]) -> None:
        still: list[tuple[bytes, CaseKind | None]] = []
        for sums in page:
            different = {name: (kept, due) for name, kept, due in sums.differences}
            for name in ("held", "spent", "balance"):
                kept, due = different.get(name, (None, None))
                finding = Finding(
                    kind=CaseKind.LEDGER_DIFFERS,
                    source=Source.CARD,
                    subject=(str(sums.card_id), name),
                    card_id=sums.card_id,
                    our_amount=kept,
                    their_amount=due,
                    currency=sums.currency,
                    detail={"what": name},
                )
                if name in different:
                    self._work.note(tx, finding)
                still.append((finding.digest, finding.kind if name in different else None))
        self._work.tally.cases_closed += cases.mend(tx, self._work.processor, still, self._work.clock.now())

    def _look_at_events(self) -> None:
        before = self._work.clock.now() - PARKED_AT_MOST
        with self._work.database.transaction(SCHEDULE) as tx:
            waiting = checks.parked(tx, self._work.processor, before, WAITING_AT_MOST)
            waiting += checks.unmatched(tx, before, WAITING_AT_MOST)
            for event in waiting:
                self._work.note(tx, _waiting(event, CaseKind.PARKED_EVENT))

    def _look_for_unsettled(self) -> None:
        """Events that no file has settled in time; before the first file there is nothing to wait for."""
        until = self._work.clock.now() - SETTLED_WITHIN
        since = self._work.progress.unsettled_after or until - FIRST_LOOK
        if since >= until:
            return
        with self._work.database.transaction(SCHEDULE) as tx:
            if not settlement_files.any_done(tx, self._work.processor):
                return
            reached, waiting = checks.unsettled(tx, self._work.processor, since, until, WAITING_AT_MOST)
            for event in waiting:
                self._work.note(tx, _waiting(event, CaseKind.MISSING_AT_PROCESSOR))
            ahead = self._work.advance(tx, unsettled_after=reached)
        self._work.progress = ahead


def _file_of(case: OpenCase) -> tuple[str, str]:
    if case.file_id is None:
        raise BrokenInvariantError("the case of a line names its file")
    return case.file_id, str(case.detail["found_at"])


def _waiting(event: WaitingEvent, kind: CaseKind) -> Finding:
    detail: dict[str, object] = {"type": event.type, "reason": event.reason, "since": event.since.isoformat()}
    if event.card_token_digest is not None:
        detail["card_token_digest"] = event.card_token_digest
    return Finding(
        kind=kind,
        source=Source.EVENT,
        subject=(str(event.card_id or event.card_token_digest), event.event_id),
        card_id=event.card_id,
        transaction_id=event.transaction_id,
        authorization_id=event.authorization_id,
        event_id=event.event_id,
        our_amount=event.amount,
        currency=event.currency,
        detail=detail,
    )
