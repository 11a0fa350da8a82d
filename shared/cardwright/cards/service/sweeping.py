"""What schedules do to cards: finish issuances, end cards whose time is over, tell a processor that did not hear."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from cardwright.cards.rules import Card, CardStatus, Origin, ProcessorState, ReasonCode
from cardwright.cards.service.issuing import Issuing
from cardwright.cards.service.states import CardStates
from cardwright.cards.service.telling import ProcessorTeller
from cardwright.cards.service.tools import KEY_LIFE, LEASE, SCHEDULE, CardTools
from cardwright.cards.store import cards as store
from cardwright.cards.store import issuances
from cardwright.cards.store import limits as spend
from cardwright.cards.store.issuances import Issuance
from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.platform.postgres import Transaction
from cardwright.platform.telemetry import logger

PAGE = 50
# What is left of a run's time when no further page is begun.
RESERVE_S = 15.0
# A change this young is being told by whoever made it.
TELLING = timedelta(seconds=15)
# So many without an answer, one after the other, and the rest waits for the next run.
GONE_AFTER = 3
_FIRST = UUID(int=0)
ItemT = TypeVar("ItemT")


class IssuanceSweeper:
    """Follows issuances whose maker died or got no answer, so that no live card is left that nobody knows."""

    def __init__(self, tools: CardTools, issuing: Issuing) -> None:
        self._tools = tools
        self._issuing = issuing

    def run(self, deadline: Callable[[], float]) -> int:
        """Finish or give up what nobody is at, and close what failed issuances left behind; return how many were settled.

        `deadline()` is the seconds left. What the processor does not answer stays for the next run.
        """
        return self._each(deadline, issuances.take_unfinished, self._finish) + self._each(
            deadline, issuances.take_unclean, self._clean
        )

    def _each(
        self,
        deadline: Callable[[], float],
        take: Callable[..., list[Issuance]],
        settle: Callable[[Issuance], None],
    ) -> int:
        settled = unanswered = 0
        while deadline() > RESERVE_S:
            now = self._tools.clock.now()
            with self._tools.database.transaction(SCHEDULE) as tx:
                page = take(tx, PAGE, now, now + LEASE)
            for issuance in page:
                if deadline() < RESERVE_S:
                    return settled
                try:
                    settle(issuance)
                    settled += 1
                    unanswered = 0
                except UnavailableError:
                    # Its lease ends by itself. One of them may be the cause; after some the processor or the database is gone.
                    unanswered += 1
                    if unanswered == GONE_AFTER:
                        return settled
                except Exception as error:
                    # One issuance's trouble is not the others'. What the error says is left out: it may hold an answer.
                    told = {"card_id": str(issuance.card_id), "kind": type(error).__name__}
                    logger.error("an issuance is not settled", extra=told)
            if len(page) < PAGE:
                break
        return settled

    def _finish(self, issuance: Issuance) -> None:
        """Make the card when the processor has it, or when it replaces one that is cancelled already; else give it up."""
        now = self._tools.clock.now()
        made = self._tools.processor.find_card(issuance.card_id) is not None
        old = issuance.requested_at is None or now - issuance.requested_at > KEY_LIFE
        with self._tools.database.transaction(SCHEDULE) as tx:
            if not made and issuance.origin is not Origin.REPLACEMENT:
                return issuances.abandon(tx, issuance, now)
            if made and old:
                # To ask for it again could make a second one: it is closed instead, as what a failed issuance left.
                return issuances.finish(tx, issuance.user_id, issuance.card_id, "given_up", now)
            program = self._tools.programs.get(tx, issuance.program_id)
        try:
            self._issuing.make(SCHEDULE, issuance, program)
        except ProviderRefusedError as error:
            logger.warning("an issuance failed", extra={"card_id": str(issuance.card_id), "code": error.code})

    def _clean(self, issuance: Issuance) -> None:
        """Close the card a failed issuance left at the processor, unless its token is another card's."""
        card = self._tools.processor.find_card(issuance.card_id)
        if card is not None and card.state is not ProcessorState.CLOSED:
            with self._tools.database.transaction(SCHEDULE) as tx:
                owner = issuances.token_owner(tx, card.token)
            if owner is None:
                self._tools.processor.set_state(card.token, ProcessorState.CLOSED)
            else:
                logger.error("a processor answered with another card's token", extra={"card_id": str(issuance.card_id)})
        with self._tools.database.transaction(SCHEDULE) as tx:
            issuances.mark_clean(tx, issuance.user_id, issuance.card_id, self._tools.clock.now())


class CardSweeper:
    """Ends cards that are due and keeps the processor informed."""

    def __init__(self, tools: CardTools, states: CardStates, teller: ProcessorTeller) -> None:
        self._tools = tools
        self._states = states
        self._teller = teller

    def expire(self, deadline: Callable[[], float]) -> int:
        """Expire open cards whose last month is over (UTC); return how many."""
        expired = 0
        while deadline() > RESERVE_S:
            now = self._tools.clock.now()
            with self._tools.database.transaction(SCHEDULE) as tx:
                due = store.lock_expired(tx, now.year, now.month, PAGE)
                ended = [self._states.end(tx, SCHEDULE, card, CardStatus.EXPIRED, ReasonCode.EXPIRED) for card in due]
            for card in ended:
                self._teller.forget_profile(card)
            # The processor is told by the sweep of those who are behind, so that ours does not wait for it.
            expired += len(ended)
            if len(ended) < PAGE:
                break
        return expired

    def sweep(self, deadline: Callable[[], float]) -> int:
        """Cancel what is due to be, then tell the processor what it has not confirmed; return how many cards were settled."""
        settled = 0
        for card_id in self._pages(deadline, self._due, lambda item: item):
            settled += _alone(card_id, partial(self._cancel, card_id))
        for card in self._pages(deadline, self._state_behind, lambda item: item.card_id):
            settled += _alone(card.card_id, partial(self._teller.tell_state, SCHEDULE, card))
        for card in self._pages(deadline, self._limits_behind, lambda item: item.card_id):
            settled += _alone(card.card_id, partial(self._teller.tell_limits, SCHEDULE, card))
        return settled

    def _due(self, tx: Transaction, after: UUID) -> list[UUID]:
        return store.due_cancellations(tx, after, PAGE, self._tools.clock.now())

    def _state_behind(self, tx: Transaction, after: UUID) -> list[Card]:
        return store.state_behind(tx, after, PAGE, self._tools.clock.now() - TELLING)

    def _limits_behind(self, tx: Transaction, after: UUID) -> list[Card]:
        return store.limits_behind(tx, after, PAGE, self._tools.clock.now() - TELLING)

    def _cancel(self, card_id: UUID) -> bool:
        now = self._tools.clock.now()
        with self._tools.database.transaction(SCHEDULE) as tx:
            card = store.lock(tx, card_id)
            # Somebody may have taken the cancellation back, or a new hold may be pending since.
            if card is None or card.cancel_after is None or (spend.lock(tx, card_id).held > 0 and card.cancel_after > now):
                return False
            code = ReasonCode(card.status_reason_code or ReasonCode.OTHER)
            cancelled = self._states.end(tx, SCHEDULE, card, CardStatus.CANCELLED, code)
        self._states.announce(SCHEDULE, cancelled)
        return True

    def _pages(
        self,
        deadline: Callable[[], float],
        read: Callable[[Transaction, UUID], Sequence[ItemT]],
        key: Callable[[ItemT], UUID],
    ) -> Iterator[ItemT]:
        """Every item of a list read page by page, so that those which fail each time do not stand before the others."""
        after = _FIRST
        while deadline() > RESERVE_S:
            with self._tools.database.transaction(SCHEDULE) as tx:
                page = read(tx, after)
            for item in page:
                if deadline() < RESERVE_S:
                    return
                yield item
            if len(page) < PAGE:
                return
            after = key(page[-1])


def _alone(card_id: UUID, settle: Callable[[], bool]) -> bool:
    """Settle one card, whose own trouble is not the others'. Raises UnavailableError: a database is gone for all."""
    try:
        return settle()
    except UnavailableError:
        raise
    except Exception as error:
        logger.error("a card is not settled", extra={"card_id": str(card_id), "kind": type(error).__name__})
        return False
