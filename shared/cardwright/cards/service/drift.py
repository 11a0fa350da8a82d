"""Compare the processor's cards with ours, page by page: mend what is safe, keep the rest as findings for somebody to look at."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cardwright.cards import rules
from cardwright.cards.rules import Drift, FindingKind, ProcessorCard, ProcessorPage, ProcessorState, Verdict
from cardwright.cards.service.telling import ProcessorTeller
from cardwright.cards.service.tools import SCHEDULE, CardTools
from cardwright.cards.store import cards as store
from cardwright.cards.store import drift, issuances
from cardwright.cards.store.drift import Finding, Sweep
from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.platform.postgres import Database, Transaction
from cardwright.platform.telemetry import logger

# Longer than the function may run: when its holder has died the next run takes the pass up.
SWEEP_LEASE = timedelta(minutes=10)
# A schedule may fire twice: who comes right after the end of a pass does not begin another. Less than the hour between two runs.
REST = timedelta(minutes=30)
PAGE = 200
# What is left of a run's time when nothing more is begun: one call of the processor and a transaction.
RESERVE_S = 15.0
# A retry of an issuance that was given up, and whose card has been closed since, is refused with this.
GIVEN_UP = "given_up"
_FIRST = UUID(int=0)


def count_open_findings(database: Database) -> int:
    """How many findings wait for somebody to look at them, under role worker. Raises UnavailableError."""
    with database.transaction(SCHEDULE) as tx:
        return drift.count_open(tx)


def finding_gauges(database: Database) -> list[tuple[str, float]]:
    """How many findings are open. Raises UnavailableError."""
    return [("cardwright_processor_findings_open", float(count_open_findings(database)))]


class ProcessorComparison:
    """Runs the comparison; one pass at a time, taken up by the next run where one was broken off."""

    def __init__(self, tools: CardTools, teller: ProcessorTeller) -> None:
        self._tools = tools
        self._teller = teller

    def run(self, deadline: Callable[[], float]) -> int:
        """Go on with the pass, or begin one, until `deadline()`, the seconds left, runs out; return how many cards were compared.

        A processor that does not answer ends the run; the pass stays where it is.
        """
        now = self._tools.clock.now()
        with self._tools.database.transaction(SCHEDULE) as tx:
            sweep = drift.claim(tx, self._tools.processor.name, now, now + SWEEP_LEASE, now - REST)
        if sweep is None:
            return 0
        current = _Pass(self._tools, self._teller, sweep, deadline)
        try:
            while deadline() > RESERVE_S and current.step():
                pass
        except (UnavailableError, ProviderRefusedError) as error:
            logger.warning("comparison with the processor broken off", extra={"code": error.code})
        finally:
            current.release()
        return current.compared


class _Pass:
    """One run's part of a pass."""

    def __init__(self, tools: CardTools, teller: ProcessorTeller, sweep: Sweep, deadline: Callable[[], float]) -> None:
        self._tools = tools
        self._teller = teller
        self._sweep = sweep
        self._deadline = deadline
        self._closed = 0
        self._left = 0
        self.compared = 0

    def step(self) -> bool:
        """Do the next page; False when this run is over."""
        if self._sweep.unseen_after is None:
            return self._compare_page()
        return self._report_missing(self._sweep.unseen_after)

    def release(self) -> None:
        """Let the next run take the pass up at once; else its lease ends by itself."""
        if self._left:
            extra = {"closed": self._closed, "left": self._left}
            logger.error("more cards at the processor are unknown than one run closes", extra=extra)
        with contextlib.suppress(UnavailableError), self._tools.database.transaction(SCHEDULE) as tx:
            drift.release(tx, self._sweep, self._tools.clock.now())

    def _compare_page(self) -> bool:
        # Taken before the list is: what changed later is not judged by it.
        now = self._tools.clock.now()
        page = self._page(now)
        verdicts = self._judge(page.cards, now)
        self.compared += len(page.cards)
        if not all(self._act(verdict) for verdict in self._braked(verdicts)):
            return False
        return self._advance(list_cursor=page.next_cursor, unseen_after=None if page.next_cursor else _FIRST)

    def _page(self, now: datetime) -> ProcessorPage:
        """The page the pass is at; of a cursor that the processor no longer takes, the first one of a new pass."""
        try:
            return self._tools.processor.list_cards(self._sweep.list_cursor)
        except ProviderRefusedError as error:
            if self._sweep.list_cursor is None or not self._advance(started_at=now, list_cursor=None):
                raise
            logger.warning("comparison with the processor begins again", extra={"code": error.code})
            return self._tools.processor.list_cards(None)

    def _judge(self, cards: Sequence[ProcessorCard], now: datetime) -> list[Verdict]:
        """Compare a page with what we know, and write down what was found before anything is done about it."""
        name = self._sweep.processor
        with self._tools.database.transaction(SCHEDULE) as tx:
            verdicts = self._verdicts(tx, cards, now)
            drift.mark_seen(tx, [verdict.card_id for verdict in verdicts if verdict.ours and verdict.card_id is not None], now)
            drift.keep(tx, name, [verdict.digest for verdict in verdicts if verdict.drift is Drift.WAIT], now)
            drift.settle(tx, name, [(it.digest, it.kind) for it in verdicts if it.drift is not Drift.WAIT], now)
            new = [it for it in verdicts if it.kind and self._note(tx, Finding(it.kind, it.digest, it.card_id), now)]
        for verdict in new:
            if verdict.drift is Drift.REPORT:
                reference = None if verdict.card_id is None else str(verdict.card_id)
                logger.error("a card at the processor needs a look", extra={"card_id": reference, "finding": verdict.kind})
        return verdicts

    def _verdicts(self, tx: Transaction, cards: Sequence[ProcessorCard], now: datetime) -> list[Verdict]:
        name = self._sweep.processor
        ours = drift.known(tx, [card.token for card in cards])
        others = [card.card_id for card in cards if card.token not in ours and card.card_id is not None]
        named = drift.references(tx, others)
        verdicts = []
        for card in cards:
            if card.token in ours:
                verdicts.append(rules.drift_of_ours(card, ours[card.token], name, now))
            else:
                reference = None if card.card_id is None else named.get(card.card_id)
                verdicts.append(rules.drift_of_unknown(card, None if reference is None else reference.state))
        return verdicts

    def _braked(self, verdicts: list[Verdict]) -> list[Verdict]:
        """The verdicts of a page without its closings where those are too many; they stay open findings and the pass goes on."""
        unknown = sum(verdict.drift is Drift.CLOSE for verdict in verdicts)
        if not rules.too_many_unknown(len(verdicts), unknown):
            return verdicts
        logger.error("too much of a page is unknown to be closed", extra={"cards": len(verdicts), "unknown": unknown})
        return [verdict for verdict in verdicts if verdict.drift is not Drift.CLOSE]

    def _act(self, verdict: Verdict) -> bool:
        """Mend what a verdict calls for; False when this run is over before it. What fails stays an open finding."""
        if verdict.drift not in (Drift.MEND, Drift.CLOSE):
            return True
        if self._deadline() < RESERVE_S:
            return False
        if verdict.drift is Drift.CLOSE and self._closed >= rules.UNKNOWN_CLOSED_MAX:
            # For the next pass: to wait for it here would hold up all that comes after, where a processor closes in name only.
            self._left += 1
            return True
        if self._tell(verdict) if verdict.drift is Drift.MEND else self._close(verdict.card):
            now = self._tools.clock.now()
            with self._tools.database.transaction(SCHEDULE) as tx:
                drift.settle(tx, self._sweep.processor, [(verdict.digest, None)], now)
        return True

    def _tell(self, verdict: Verdict) -> bool:
        """Tell the processor the state our card has by now, which need not be the one it was judged by."""
        with self._tools.database.transaction(SCHEDULE) as tx:
            card = None if verdict.card_id is None else store.get(tx, verdict.card_id)
        return card is not None and self._teller.tell_state(SCHEDULE, card)

    def _close(self, card: ProcessorCard) -> bool:
        """Close a card that is nobody's; False when it has become somebody's or the processor refuses."""
        if not self._disown(card):
            return False
        try:
            self._tools.processor.set_state(card.token, ProcessorState.CLOSED)
        except ProviderRefusedError as error:
            logger.warning("an unknown card could not be closed", extra={"code": error.code})
            return False
        self._closed += 1
        return True

    def _disown(self, card: ProcessorCard) -> bool:
        """Make sure that the issuance which gave a card up cannot adopt it any more: it has failed from here on."""
        now = self._tools.clock.now()
        with self._tools.database.transaction(SCHEDULE) as tx:
            named = None if card.card_id is None else drift.references(tx, [card.card_id]).get(card.card_id)
            if named is None:
                return False
            # Locked as by whoever would finish it; of one that has been finished or begun anew meanwhile the next pass knows.
            issuance = issuances.get(tx, named.user_id, named.card_id)
            if issuance is None or rules.drift_of_unknown(card, issuance.state).drift is not Drift.CLOSE:
                return False
            issuances.finish(tx, issuance.user_id, issuance.card_id, GIVEN_UP, now)
            return issuances.token_owner(tx, card.token) is None

    def _report_missing(self, after: UUID) -> bool:
        """Keep a page of our open cards that the processor's whole list did not hold, and with the last one end the pass."""
        now = self._tools.clock.now()
        with self._tools.database.transaction(SCHEDULE) as tx:
            page = drift.unseen(tx, self._sweep, after, PAGE)
            found = [Finding(FindingKind.MISSING_AT_PROCESSOR, rules.token_digest(token), card_id) for card_id, token in page]
            new = sum(self._note(tx, finding, now) for finding in found)
            if len(page) < PAGE and drift.finish(tx, self._sweep, now):
                drift.settle_unseen(tx, self._sweep, now)
        if new:
            logger.error("the processor does not list cards of ours", extra={"cards": new})
        return len(page) == PAGE and self._advance(unseen_after=page[-1][0])

    def _note(self, tx: Transaction, finding: Finding, now: datetime) -> bool:
        return drift.note(tx, self._sweep.processor, self._tools.ids.new(), finding, now)

    def _advance(self, **reached: Any) -> bool:
        """Note how far the pass is; False when somebody else has taken it up, because this run was silent for too long."""
        ahead = replace(self._sweep, lease_until=self._tools.clock.now() + SWEEP_LEASE, **reached)
        with self._tools.database.transaction(SCHEDULE) as tx:
            held = drift.advance(tx, self._sweep, ahead)
        if held:
            self._sweep = ahead
        return held
