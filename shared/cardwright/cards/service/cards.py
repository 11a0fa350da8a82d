"""CardService: every use case of cards under the name the specification gives it."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from cardwright.cards.rules import (
    BATCHES_PER_HOUR,
    CREATIONS_PER_HOUR,
    REVEALS_PER_HOUR,
    BatchOutcome,
    Card,
    CardBatch,
    CardStatus,
    FindingKind,
    Funds,
    FundsMovement,
    LimitsChange,
    Origin,
    ReasonCode,
)
from cardwright.cards.rules.drift import ProcessorFinding
from cardwright.cards.service.batch_runs import BatchRunner
from cardwright.cards.service.batches import BatchItem, CardBatches
from cardwright.cards.service.drift import ProcessorComparison, count_open_findings
from cardwright.cards.service.funding import CardFunding
from cardwright.cards.service.issuing import IssueCard, Issuing
from cardwright.cards.service.limits import CardLimits
from cardwright.cards.service.replacing import CardReplacement
from cardwright.cards.service.reveals import CardReveals, Reveal
from cardwright.cards.service.states import CardStates, StateChange
from cardwright.cards.service.sweeping import CardSweeper, IssuanceSweeper
from cardwright.cards.service.telling import ProcessorTeller
from cardwright.cards.service.tools import CardTools, found
from cardwright.cards.store import cards as store
from cardwright.cards.store import drift
from cardwright.cards.store.cards import CardFilter
from cardwright.cards.store.limits import Spend
from cardwright.kernel.rows import STAFF
from cardwright.kernel.secret import Secret
from cardwright.platform.postgres import Actor
from cardwright.platform.retries import Retry


class CardService:
    """Issues cards, changes and shows them.

    `creations_per_hour`, `batches_per_hour` and `reveals_per_hour` None switch those quotas off.
    """

    def __init__(
        self,
        tools: CardTools,
        *,
        creations_per_hour: int | None = CREATIONS_PER_HOUR,
        batches_per_hour: int | None = BATCHES_PER_HOUR,
        reveals_per_hour: int | None = REVEALS_PER_HOUR,
        retry: Callable[[], Retry] = Retry,
    ) -> None:
        self._tools = tools
        teller = ProcessorTeller(tools)
        self._issuing = Issuing(tools, creations_per_hour, retry)
        self._states = CardStates(tools, teller)
        self._limits = CardLimits(tools, teller)
        self._funding = CardFunding(tools)
        self._replacement = CardReplacement(tools, self._issuing, self._states)
        self._batches = CardBatches(tools, self._issuing, batches_per_hour)
        self._batch_runner = BatchRunner(tools, self._issuing)
        self._issuance_sweeper = IssuanceSweeper(tools, self._issuing)
        self._sweeper = CardSweeper(tools, self._states, teller)
        self._reveals = CardReveals(tools, reveals_per_hour)
        self._comparison = ProcessorComparison(tools, teller)

    def issue_card(self, actor: Actor, request: IssueCard, operation_id: UUID, *, origin: Origin = Origin.REQUEST) -> Card:
        """Issue a card to the actor; the operation id becomes the card's id, so a second run finishes or finds the first one's.

        Raises ForbiddenError kyc_required; UnprocessableError program_not_found, program_retired, currency_unsupported,
        program_currency_mismatch; InvalidFieldsError; ConflictError card_limit_reached; RateLimitedError;
        ProviderRefusedError processor_refused, processor_answer_invalid; UnavailableError processor_unavailable,
        keys_unavailable, database_unavailable: run again with the same operation id then.
        """
        return self._issuing.issue(actor, request, operation_id, origin)

    def update_card_status(
        self,
        actor: Actor,
        card_id: UUID,
        target: CardStatus,
        *,
        reason: str | None,
        operation_id: UUID,
        code: ReasonCode | None = None,
        if_match: int | None = None,
    ) -> Card:
        """Freeze or unfreeze a card; from the commit on no authorization is decided on the former state.

        The processor is told afterwards. When it does not answer our state stands, because every authorization is decided here;
        the card is then left marked as one whose processor is behind. The issuer's freeze takes the place of a weaker one
        without a change of status. Raises NotFoundError card_not_found; StaleVersionError; ConflictError card_already_...,
        card_state_conflict; ForbiddenError card_frozen_by_issuer; InvalidFieldsError reason_code_not_allowed; UnavailableError.
        """
        change = StateChange(words=reason, code=code, if_match=if_match)
        return self._states.move(actor, card_id, target, change, operation_id)

    def cancel(
        self, actor: Actor, card_id: UUID, change: StateChange, *, operation_id: UUID, force_after: datetime | None = None
    ) -> Card:
        """End a card for good. While authorizations are pending it is refused, unless `force_after` schedules it.

        A scheduled card is frozen at once and cancelled when nothing is pending any more, at that time at the latest; to
        unfreeze it takes the cancellation back. Raises as update_card_status; ConflictError pending_authorizations;
        InvalidFieldsError force_after_out_of_range.
        """
        return self._states.cancel(actor, card_id, change, force_after, operation_id)

    def replace_card(self, actor: Actor, card_id: UUID, change: StateChange, *, operation_id: UUID) -> Card:
        """End a card that was lost, stolen or compromised and issue another in its place; returns the new one.

        The operation id becomes the new card's id. Raises as update_card_status and issue_card; ConflictError
        card_already_replaced.
        """
        return self._replacement.replace(actor, card_id, change, operation_id)

    def rename_card(
        self, actor: Actor, card_id: UUID, label: str | None, *, operation_id: UUID, if_match: int | None = None
    ) -> Card:
        """Give a card another label, or none. Raises NotFoundError card_not_found; StaleVersionError."""
        return self._states.rename(actor, card_id, label, StateChange(if_match=if_match), operation_id)

    def get_limits(self, actor: Actor, card_id: UUID) -> tuple[Card, Spend]:
        """Return a card with its limits and settings, and what it has spent. Raises NotFoundError card_not_found."""
        return self._limits.get(actor, card_id)

    def update_limits(
        self,
        actor: Actor,
        card_id: UUID,
        change: LimitsChange,
        *,
        operation_id: UUID,
        require_step_up: Callable[[], None],
        if_match: int | None = None,
    ) -> tuple[Card, Spend]:
        """Change a card's limits and settings; from the commit on no authorization is decided on the former ones.

        `require_step_up` is called before a limit is raised above the program's threshold, and raises when no fresh second
        factor was shown. The processor is told afterwards, again by schedule when it does not answer. Raises NotFoundError
        card_not_found; StaleVersionError; ConflictError card_state_conflict; ForbiddenError; InvalidFieldsError;
        UnavailableError.
        """
        return self._limits.update(actor, card_id, change, operation_id, if_match, require_step_up)

    def move_funds(self, actor: Actor, card_id: UUID, movement: FundsMovement, *, operation_id: UUID) -> Funds:
        """Load money onto a card that a balance funds, or withdraw what is free of it; returns what is on it now.

        The operation id becomes the ledger posting's: run again it moves nothing. For administrators, as the database checks too.
        Raises NotFoundError card_not_found; ConflictError card_not_funded_by_balance, card_state_conflict (to load a card that
        has ended), insufficient_funds; UnprocessableError currency_mismatch, balance_too_large; InvalidFieldsError
        amount_not_whole, amount_out_of_range; UnavailableError.
        """
        return self._funding.move(actor, card_id, movement, operation_id)

    def get_card(self, actor: Actor, card_id: UUID) -> Card:
        """Return a card of the actor's, or any card to staff. Raises NotFoundError card_not_found."""
        with self._tools.database.transaction(actor) as tx:
            return found(store.get(tx, card_id))

    def unknown_cards(self, actor: Actor, card_ids: Sequence[UUID]) -> list[UUID]:
        """Those of the cards that do not exist for this actor."""
        with self._tools.database.transaction(actor) as tx:
            seen = store.visible(tx, card_ids)
        return [card_id for card_id in card_ids if card_id not in seen]

    def list_cards(self, actor: Actor, *, limit: int, after: UUID | None = None, wanted: CardFilter | None = None) -> list[Card]:
        """Return up to `limit` cards older than `after`, newest first: the actor's own, and all to staff; `wanted` filters."""
        if wanted is None:
            wanted = CardFilter()
        if actor.role not in STAFF:
            wanted = CardFilter(
                user_id=actor.user_id, status=wanted.status, program_id=wanted.program_id, last_four=wanted.last_four
            )
        with self._tools.database.transaction(actor) as tx:
            return store.newest(tx, wanted, limit, after)

    def create_batch(self, actor: Actor, items: Sequence[BatchItem], operation_id: UUID) -> CardBatch:
        """Take a batch of 1 to 1,000 items for the workers; the operation id becomes the job's, so a second run finds it.

        An item that cannot be read fails by itself. Raises InvalidFieldsError for a key that stands twice; ForbiddenError
        kyc_required; RateLimitedError; UnavailableError.
        """
        return self._batches.create(actor, items, operation_id)

    def get_batch(self, actor: Actor, job_id: UUID) -> tuple[CardBatch, list[BatchOutcome]]:
        """A batch of the actor's, or any to staff, with what has become of each item. Raises NotFoundError."""
        return self._batches.get(actor, job_id)

    def run_batches(self, deadline: Callable[[], float]) -> int:
        """Make the cards of batches until `deadline()`, the seconds left, runs out. Returns how many items were run."""
        return self._batch_runner.run(deadline)

    def reveal_card(self, actor: Actor, card_id: UUID, reveal_id: UUID) -> Reveal:
        """Give the holder of an open card a permission to see its number once, within a minute; the id becomes the permission's.

        Raises NotFoundError card_not_found; ConflictError card_state_conflict; RateLimitedError.
        """
        return self._reveals.request(actor, card_id, reveal_id)

    def open_reveal(self, token: Secret[str], request_id: str, origins: Iterable[str]) -> str:
        """Use a permission up and return the URL of the processor's view, which pages of `origins` may frame.

        Raises GoneError reveal_gone for a token that was used, has expired, is none of ours, or whose card has ended;
        UnavailableError and ProviderRefusedError, after which the permission is as it was.
        """
        return self._reveals.open(token, request_id, origins)

    def sweep_issuances(self, deadline: Callable[[], float]) -> int:
        """Finish or give up issuances nobody is at; close what failed ones left at the processor. Returns how many."""
        return self._issuance_sweeper.run(deadline)

    def sweep_cards(self, deadline: Callable[[], float]) -> int:
        """Cancel cards whose scheduled cancellation is due; tell the processor what it has not confirmed. Returns how many."""
        return self._sweeper.sweep(deadline)

    def expire_cards(self, deadline: Callable[[], float]) -> int:
        """Expire open cards whose last month is over. Returns how many."""
        return self._sweeper.expire(deadline)

    def compare_processor_cards(self, deadline: Callable[[], float]) -> int:
        """Compare the processor's cards with ours; mend what is safe, report the rest. Returns how many were compared."""
        return self._comparison.run(deadline)

    def count_open_findings(self) -> int:
        """How many findings of the comparison wait for somebody to look at them. Raises UnavailableError."""
        return count_open_findings(self._tools.database)

    def list_processor_findings(
        self, actor: Actor, *, limit: int, after: UUID | None = None, kind: FindingKind | None = None, is_open: bool = True
    ) -> list[ProcessorFinding]:
        """Return up to `limit` findings of the comparison older than `after`, newest first, to staff; to others none.

        They are those that are open, or else those that are mended; `kind` None filters nothing.
        """
        with self._tools.database.transaction(actor) as tx:
            return drift.newest(tx, kind=kind, is_open=is_open, limit=limit, after=after)
