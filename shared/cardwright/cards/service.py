"""Use cases of cards: issue, freeze and unfreeze, read."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from cardwright.cards import rules, store
from cardwright.cards.ports import Processor
from cardwright.cards.rules import Card, CardStatus, IssuedCard, Limits, MerchantCategories, Usage, WantedLimits
from cardwright.cards.store import Issuance, NewCard
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import (
    BrokenInvariantError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ProviderRefusedError,
    RateLimitedError,
    StaleVersionError,
    UnavailableError,
    UnprocessableError,
)
from cardwright.kernel.rows import STAFF
from cardwright.outbox import service as outbox
from cardwright.outbox.rules import Event
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor, Database, Transaction, UniqueViolation
from cardwright.platform.retries import Retry
from cardwright.platform.telemetry import logger
from cardwright.programs.service import Program, ProgramService

if TYPE_CHECKING:
    # The encryption SDK is slow to import and only issuing needs it.
    from cardwright.vault.service import Vault

# Longer than any function may run: an issuance whose maker died stops counting after it.
LEASE = timedelta(seconds=60)
TELLINGS = 3


class KycStatuses(Protocol):
    """What cards ask of KYC."""

    def status_of(self, tx: Transaction, user_id: UUID) -> str:
        """Return the user's status; VERIFIED is the one that may hold cards."""
        ...


class CardTools(Protocol):
    """What the service is composed of, each built when it is first used, so that a caller needs no more than it uses."""

    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> IdSource: ...
    @property
    def database(self) -> Database: ...
    @property
    def cache(self) -> Cache: ...
    @property
    def kyc(self) -> KycStatuses: ...
    @property
    def programs(self) -> ProgramService: ...
    @property
    def vault(self) -> "Vault": ...
    @property
    def processor(self) -> Processor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueCard:
    """A wish for a card; what is None comes from the program, which is the currency's default unless named."""

    currency: str
    label: str | None = None
    program_id: UUID | None = None
    limits: WantedLimits = field(default_factory=WantedLimits)
    merchant_categories: MerchantCategories = field(default_factory=MerchantCategories)
    usage: Usage = Usage.MULTI
    expires_on: date | None = None


@dataclass(frozen=True, slots=True)
class _Admitted:
    issuance: Issuance
    program: Program
    limits: Limits


class CardService:
    """Issues cards and changes their state. `creations_per_hour` None switches that quota off."""

    def __init__(self, tools: CardTools, *, creations_per_hour: int | None = 5, retry: Callable[[], Retry] = Retry) -> None:
        self._tools = tools
        self._creations_per_hour = creations_per_hour
        self._retry = retry

    def issue_card(self, actor: Actor, request: IssueCard, operation_id: UUID) -> Card:
        """Issue a card to the actor; the operation id becomes the card's id, so a second run finishes or finds the first one's.

        Raises ForbiddenError kyc_required; UnprocessableError program_not_found, currency_unsupported,
        program_currency_mismatch; InvalidFieldsError; ConflictError card_limit_reached; RateLimitedError;
        ProviderRefusedError processor_refused, processor_answer_invalid; UnavailableError processor_unavailable,
        keys_unavailable, database_unavailable: run again with the same operation id then.
        """
        if actor.user_id is None:
            raise ForbiddenError("Only a user holds cards.", code="role_not_allowed")
        admitted = self._admit(actor, actor.user_id, request, operation_id)
        if isinstance(admitted, Card):
            return admitted
        issuance, program = admitted.issuance, admitted.program
        try:
            issued = self._retry().call(
                lambda: self._tools.processor.create_card(
                    card_id=issuance.card_id,
                    program_id=program.program_id,
                    bin_prefix=program.bin,
                    currency=program.currency,
                    expiry=issuance.expiry,
                )
            )
            fault = rules.issued_card_fault(issued, program.bin, program.currency, issuance.expiry)
            if fault is not None:
                raise _refusal(fault)
            new = self._new_card(request, admitted, issued)
            return self._complete(actor, new)
        except ProviderRefusedError as error:
            self._close_issuance(actor, issuance, error.code)
            raise
        except UnavailableError:
            self._close_issuance(actor, issuance, None)
            raise

    def _admit(self, actor: Actor, user_id: UUID, request: IssueCard, card_id: UUID) -> _Admitted | Card:
        """Check who, what and how many, and note the issuance; an issuance noted before keeps its program and expiry."""
        now = self._tools.clock.now()
        with self._tools.database.transaction(actor) as tx:
            if self._tools.kyc.status_of(tx, user_id) != "VERIFIED":
                raise ForbiddenError("Your identity must be verified first.", code="kyc_required")
            store.lock_issuing(tx, user_id)
            earlier = store.get_issuance(tx, user_id, card_id)
            if earlier is not None and earlier.state != "REQUESTED":
                return _outcome(tx, earlier)
            program = self._program(tx, request, earlier)
            defaults = Limits(program.default_per_transaction, program.default_daily, program.default_monthly)
            limits = rules.limits_for(request.limits, defaults, program.currency)
            issuance = earlier or Issuance(
                card_id,
                user_id,
                program.program_id,
                "REQUESTED",
                None,
                rules.expiry_for(request.expires_on, now.date(), program.card_lifetime_months),
            )
            if store.count_open(tx, user_id, program.program_id, card_id, now) >= program.max_open_cards:
                detail = f"At most {program.max_open_cards} open cards are held in this program."
                raise ConflictError(detail, code="card_limit_reached")
            self._spend_creation(tx, user_id, card_id, now)
            store.request_issuance(tx, issuance, now, now + LEASE)
            return _Admitted(issuance, program, limits)

    def _program(self, tx: Transaction, request: IssueCard, earlier: Issuance | None) -> Program:
        program_id = request.program_id if earlier is None else earlier.program_id
        if program_id is None:
            return self._tools.programs.default_for(tx, request.currency)
        program = self._tools.programs.get(tx, program_id)
        if program.currency != request.currency:
            detail = f"Cards of this program are in {program.currency}."
            raise UnprocessableError(detail, code="program_currency_mismatch")
        return program

    def _spend_creation(self, tx: Transaction, user_id: UUID, card_id: UUID, now: datetime) -> None:
        limit = self._creations_per_hour
        if limit is None:
            return
        busy_until = store.creations(tx, user_id, card_id, rules.CREATIONS_WINDOW, now)
        wait = rules.creation_wait(busy_until, limit, now)
        if wait is not None:
            raise RateLimitedError(
                f"At most {limit} cards are created in an hour.",
                quota=rules.CREATIONS_QUOTA,
                retry_after_s=max(1, -(-int(wait.total_seconds() * 1000) // 1000)),
                limit=limit,
                window_s=int(rules.CREATIONS_WINDOW.total_seconds()),
            )

    def _new_card(self, request: IssueCard, admitted: _Admitted, issued: IssuedCard) -> NewCard:
        now = self._tools.clock.now()
        issuance, program = admitted.issuance, admitted.program
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return NewCard(
            card=Card(
                card_id=issuance.card_id,
                user_id=issuance.user_id,
                program_id=program.program_id,
                status=CardStatus.ACTIVE,
                status_actor_role=None,
                last_four=issued.last_four,
                processor_card_token=issued.token,
                expiry=issued.expiry,
                currency=program.currency,
                label=request.label,
                usage=request.usage,
                limits=admitted.limits,
                velocity_per_hour=program.default_velocity_per_hour,
                merchant_categories=request.merchant_categories,
                version=1,
                last_operation_id=issuance.card_id,
                created_at=now,
                updated_at=now,
            ),
            processor=self._tools.processor.name,
            card_number_encrypted=self._tools.vault.encrypt(issuance.card_id, issued.pan),
            fingerprint=self._tools.vault.fingerprint(issued.pan),
            day_start=midnight,
            month_start=midnight.replace(day=1),
        )

    def _complete(self, actor: Actor, new: NewCard) -> Card:
        """Write the card, its token and fingerprint, its limits, the issuance's end and the event, all or nothing."""
        card = new.card
        try:
            with self._tools.database.transaction(actor) as tx:
                store.lock_issuing(tx, card.user_id)
                issuance = store.get_issuance(tx, card.user_id, card.card_id)
                if issuance is None:
                    raise BrokenInvariantError("A card was made without its issuance.")
                if issuance.state != "REQUESTED":
                    return _outcome(tx, issuance)
                store.insert(tx, new)
                store.finish_issuance(tx, card.user_id, card.card_id, None, card.created_at)
                outbox.append(tx, self._event("card.created", card))
        except UniqueViolation as error:
            raise _refusal("card_seen_before") from error
        return card

    def _close_issuance(self, actor: Actor, issuance: Issuance, failure_code: str | None) -> None:
        """Note a failure, or without a code that nobody is at it now; if that cannot be noted the lease runs out by itself."""
        now = self._tools.clock.now()
        with contextlib.suppress(UnavailableError), self._tools.database.transaction(actor) as tx:
            if failure_code is None:
                store.yield_issuance(tx, issuance.user_id, issuance.card_id, now)
            else:
                store.finish_issuance(tx, issuance.user_id, issuance.card_id, failure_code, now)

    def update_card_status(
        self,
        actor: Actor,
        card_id: UUID,
        target: CardStatus,
        *,
        reason: str | None,
        operation_id: UUID,
        if_match: int | None = None,
    ) -> Card:
        """Move a card to another state; from the commit on no authorization is decided on the former one.

        The processor is told afterwards. When it does not answer our state stands, because every authorization is decided here;
        the card is then left marked as one whose processor is behind. Raises NotFoundError card_not_found; StaleVersionError;
        ConflictError card_already_..., card_state_conflict; ForbiddenError card_frozen_by_issuer; UnavailableError.
        """
        try:
            card = self._move(replace(actor, reason=reason), card_id, target, operation_id, if_match)
        except UniqueViolation:
            # The audit knows this operation: an earlier run of it moved the card, and somebody has moved it since.
            return self.get_card(actor, card_id)
        self._tools.cache.exchange([("DEL", rules.profile_key(card.processor_card_token))])
        self._tell_processor(actor, card)
        return card

    def _move(self, actor: Actor, card_id: UUID, target: CardStatus, operation_id: UUID, if_match: int | None) -> Card:
        now = self._tools.clock.now()
        with self._tools.database.transaction(actor) as tx:
            card = _found(store.lock(tx, card_id))
            if card.last_operation_id == operation_id and card.status is target:
                return card
            if if_match is not None and if_match != card.version:
                raise StaleVersionError("The card has changed since.")
            rules.transition(card.status, target)
            if target is CardStatus.ACTIVE:
                rules.check_release(card.status_actor_role, actor.role)
            store.set_status(tx, card_id, target, actor.reason, actor.role, operation_id, now)
            moved = replace(
                card,
                status=target,
                status_actor_role=actor.role,
                version=card.version + 1,
                last_operation_id=operation_id,
                updated_at=now,
            )
            outbox.append(tx, self._event(rules.EVENTS[target], moved))
        return moved

    def _tell_processor(self, actor: Actor, card: Card) -> None:
        """Tell the processor the card's state, again when it moved meanwhile, so that the last one told is the last one true."""
        state: rules.ProcessorState = rules.PROCESSOR_STATES[card.status]
        for _ in range(TELLINGS):
            confirmed: rules.ProcessorState | None = state
            try:
                self._tools.processor.set_state(card.processor_card_token, state)
            except (UnavailableError, ProviderRefusedError) as error:
                logger.warning("processor not told of a card's state", extra={"card_id": str(card.card_id), "code": error.code})
                confirmed = None
            try:
                with self._tools.database.transaction(actor) as tx:
                    wanted = rules.PROCESSOR_STATES[store.set_processor_state(tx, card.card_id, confirmed)]
            except UnavailableError:
                return
            if confirmed is None or wanted is state:
                return
            state = wanted

    def get_card(self, actor: Actor, card_id: UUID) -> Card:
        """Return a card of the actor's, or any card to staff. Raises NotFoundError card_not_found."""
        with self._tools.database.transaction(actor) as tx:
            return _found(store.get(tx, card_id))

    def unknown_cards(self, actor: Actor, card_ids: Sequence[UUID]) -> list[UUID]:
        """Those of the cards that do not exist for this actor."""
        with self._tools.database.transaction(actor) as tx:
            seen = store.visible(tx, card_ids)
        return [card_id for card_id in card_ids if card_id not in seen]

    def list_cards(self, actor: Actor, *, limit: int, after: UUID | None = None) -> list[Card]:
        """Return up to `limit` cards older than `after`, newest first: the actor's own, and all to staff."""
        with self._tools.database.transaction(actor) as tx:
            return store.newest(tx, None if actor.role in STAFF else actor.user_id, limit, after)

    def _event(self, event_type: str, card: Card) -> Event:
        data: dict[str, object] = {
            "id": str(card.card_id),
            "card_id": str(card.card_id),
            "program_id": str(card.program_id),
            "status": card.status.value,
            "last_four": card.last_four,
            "currency": card.currency,
            "version": card.version,
        }
        return Event(self._tools.ids.new(), event_type, card.updated_at, data, user_id=card.user_id, card_id=card.card_id)


def _found(card: Card | None) -> Card:
    if card is None:
        raise NotFoundError("There is no such card.", code="card_not_found")
    return card


def _outcome(tx: Transaction, issuance: Issuance) -> Card:
    if issuance.state == "FAILED":
        raise _refusal(issuance.failure_code or "unknown")
    return _found(store.get(tx, issuance.card_id))


def _refusal(fault: str) -> ProviderRefusedError:
    if fault == "processor_refused":
        return ProviderRefusedError("The processor refused to make the card.", code="processor_refused")
    return ProviderRefusedError("The processor's card is not the one asked for.", code="processor_answer_invalid")
