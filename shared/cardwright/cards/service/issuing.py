"""Issue a card: admit, note it, ask the processor, write everything at once; whoever dies in between can be followed."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from cardwright.cards import rules
from cardwright.cards.rules import (
    AllowDeny,
    Card,
    CardStatus,
    CardWish,
    Controls,
    Funds,
    IssuedCard,
    Origin,
    Usage,
    WantedLimits,
)
from cardwright.cards.service.funding import carry_over
from cardwright.cards.service.tools import KEY_LIFE, LEASE, CardTools, card_event, found, spend_quota
from cardwright.cards.store import cards as store
from cardwright.cards.store import issuances
from cardwright.cards.store.cards import NewCard
from cardwright.cards.store.issuances import Issuance
from cardwright.kernel.errors import (
    BrokenInvariantError,
    ConflictError,
    ForbiddenError,
    ProviderRefusedError,
    UnavailableError,
    UnprocessableError,
)
from cardwright.outbox import service as outbox
from cardwright.platform.postgres import Actor, Transaction, UniqueViolation
from cardwright.platform.retries import Retry
from cardwright.programs.rules import Funding
from cardwright.programs.service import Program


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueCard:
    """A wish for a card; what is None comes from the program, which is the currency's default unless named."""

    currency: str
    label: str | None = None
    program_id: UUID | None = None
    limits: WantedLimits = field(default_factory=WantedLimits)
    merchant_categories: AllowDeny = field(default_factory=AllowDeny)
    usage: Usage = Usage.MULTI
    expires_on: date | None = None


class Issuing:
    """Makes cards. `creations_per_hour` None switches that quota off."""

    def __init__(self, tools: CardTools, creations_per_hour: int | None, retry: Callable[[], Retry]) -> None:
        self._tools = tools
        self._creations_per_hour = creations_per_hour
        self._retry = retry

    def issue(self, actor: Actor, request: IssueCard, operation_id: UUID, origin: Origin) -> Card:
        """Issue a card to the actor; see CardService.issue_card."""
        if actor.user_id is None:
            raise ForbiddenError("Only a user holds cards.", code="role_not_allowed")
        admitted = self._admit(actor, actor.user_id, request, operation_id, origin)
        return admitted if isinstance(admitted, Card) else self.make(actor, *admitted)

    def make(self, actor: Actor, issuance: Issuance, program: Program) -> Card:
        """Ask the processor for a noted issuance's card and write it; run again, it finds what an earlier run has done.

        Raises ProviderRefusedError, after which the issuance is FAILED; UnavailableError, after which it is nobody's.
        """
        try:
            issued = self._retry().call(
                lambda: self._tools.processor.create_card(
                    card_id=issuance.card_id,
                    program_id=program.program_id,
                    bin_prefix=program.bin,
                    currency=program.currency,
                    expiry=issuance.expiry,
                    limits=issuance.wish.controls.limits,
                )
            )
            fault = rules.issued_card_fault(issued, program.bin, program.currency, issuance.expiry)
            if fault is not None:
                raise refusal(fault)
            return self._complete(actor, self._new_card(issuance, program, issued))
        except ProviderRefusedError as error:
            self._close(actor, issuance, error.code)
            raise
        except UnavailableError:
            self._close(actor, issuance, None)
            raise

    def _admit(
        self, actor: Actor, user_id: UUID, request: IssueCard, card_id: UUID, origin: Origin
    ) -> tuple[Issuance, Program] | Card:
        """Check who, what and how many, and note the issuance; one noted before keeps its program, expiry and wish."""
        now = self._tools.clock.now()
        with self._tools.database.transaction(actor) as tx:
            issuances.lock_issuing(tx, user_id)
            earlier = issuances.get(tx, user_id, card_id)
            if earlier is not None and earlier.state in ("ISSUED", "FAILED"):
                return outcome(tx, earlier)
            program = self._program(tx, request, earlier)
            issuance = earlier or _issuance(request, program, user_id, card_id, origin, now)
            # What was admitted once and may be made already is not refused any more: it would be made, and its key forgotten.
            if earlier is None or earlier.state == "ABANDONED":
                self.check_identity(tx, user_id)
                self.check_room(tx, user_id, card_id, program)
                if origin is Origin.REQUEST:
                    self.spend_creation(tx, user_id, card_id, origin, now)
            check_key_life(issuance, now)
            issuances.request(tx, issuance, now, now + LEASE)
            return issuance, program

    def check_room(self, tx: Transaction, user_id: UUID, card_id: UUID, program: Program) -> None:
        """Raise ConflictError card_limit_reached when the user has as many open cards of the program as anybody may."""
        if issuances.count_open(tx, user_id, program.program_id, card_id) >= program.max_open_cards:
            detail = f"At most {program.max_open_cards} open cards are held in this program."
            raise ConflictError(detail, code="card_limit_reached")

    def check_identity(self, tx: Transaction, user_id: UUID) -> None:
        """Raise ForbiddenError kyc_required for a user whose identity is not verified."""
        if self._tools.kyc.status_of(tx, user_id) != "VERIFIED":
            raise ForbiddenError("Your identity must be verified first.", code="kyc_required")

    def _program(self, tx: Transaction, request: IssueCard, earlier: Issuance | None) -> Program:
        if earlier is not None:
            return self._tools.programs.get(tx, earlier.program_id)
        program = self._tools.programs.for_issuing(tx, request.program_id, request.currency)
        if program.currency != request.currency:
            detail = f"Cards of this program are in {program.currency}."
            raise UnprocessableError(detail, code="program_currency_mismatch")
        return program

    def spend_creation(self, tx: Transaction, user_id: UUID, card_id: UUID, origin: Origin, now: datetime) -> None:
        """Raise RateLimitedError when the user has had as many cards of this origin in the last hour as anybody may."""
        if self._creations_per_hour is None:
            return
        quota, limit = rules.CREATIONS_QUOTA, self._creations_per_hour
        if origin is Origin.REPLACEMENT:
            quota, limit = rules.REPLACEMENTS_QUOTA, rules.REPLACEMENTS_PER_HOUR
        busy_until = issuances.creations(tx, user_id, card_id, origin, rules.CREATIONS_WINDOW, now)
        done = "replaced" if origin is Origin.REPLACEMENT else "created"
        spend_quota(quota, limit, rules.CREATIONS_WINDOW, busy_until, now, f"At most {limit} cards are {done} in an hour.")

    def _new_card(self, issuance: Issuance, program: Program, issued: IssuedCard) -> NewCard:
        now = self._tools.clock.now()
        wish = issuance.wish
        day_start, month_start = rules.windows(now, wish.controls.time_zone)
        return NewCard(
            card=Card(
                card_id=issuance.card_id,
                user_id=issuance.user_id,
                program_id=program.program_id,
                status=CardStatus.ACTIVE,
                last_four=issued.last_four,
                processor_card_token=issued.token,
                expiry=issued.expiry,
                currency=program.currency,
                label=wish.label,
                usage=wish.usage,
                controls=wish.controls,
                funds=Funds(Decimal(0), Decimal(0)) if program.funding == Funding.BALANCE else None,
                replaces_card_id=issuance.replaces_card_id,
                version=1,
                last_operation_id=issuance.card_id,
                created_at=now,
                updated_at=now,
            ),
            processor=self._tools.processor.name,
            card_number_encrypted=self._tools.vault.encrypt(issuance.card_id, issued.pan),
            vault_key=self._tools.vault.key_name,
            fingerprint=self._tools.vault.fingerprint(issued.pan),
            day_start=day_start,
            month_start=month_start,
        )

    def _complete(self, actor: Actor, new: NewCard) -> Card:
        """Write the card, its token and fingerprint, its limits, the issuance's end and the events, all or nothing."""
        card, ids = new.card, self._tools.ids
        try:
            with self._tools.database.transaction(actor) as tx:
                issuances.lock_issuing(tx, card.user_id)
                issuance = issuances.get(tx, card.user_id, card.card_id)
                if issuance is None:
                    raise BrokenInvariantError("A card was made without its issuance.")
                # One that was given up while its maker was slow is finished all the same: the processor has made the card.
                if issuance.state in ("ISSUED", "FAILED"):
                    return outcome(tx, issuance)
                store.insert(tx, new)
                card = carry_over(tx, card, card.created_at)
                issuances.finish(tx, card.user_id, card.card_id, None, card.created_at)
                outbox.append(tx, card_event(ids, "card.created", card))
                if card.replaces_card_id is not None:
                    replaced = found(store.get(tx, card.replaces_card_id))
                    outbox.append(tx, card_event(ids, "card.replaced", replaced, replaced_by=str(card.card_id)))
        except UniqueViolation as error:
            raise refusal("card_seen_before") from error
        return card

    def _close(self, actor: Actor, issuance: Issuance, failure_code: str | None) -> None:
        """Note a failure, or without a code that nobody is at it now; if that cannot be noted the lease runs out by itself."""
        now = self._tools.clock.now()
        with contextlib.suppress(UnavailableError), self._tools.database.transaction(actor) as tx:
            if failure_code is None:
                issuances.release(tx, issuance.user_id, issuance.card_id, now)
            else:
                issuances.finish(tx, issuance.user_id, issuance.card_id, failure_code, now)


def _issuance(request: IssueCard, program: Program, user_id: UUID, card_id: UUID, origin: Origin, now: datetime) -> Issuance:
    return Issuance(
        card_id=card_id,
        user_id=user_id,
        program_id=program.program_id,
        expiry=rules.expiry_for(request.expires_on, now.date(), program.card_lifetime_months),
        wish=CardWish(
            label=request.label,
            usage=request.usage,
            controls=Controls(
                limits=rules.limits_for(request.limits, program.default_limits, program.currency),
                velocity_per_hour=program.default_velocity_per_hour,
                merchant_categories=request.merchant_categories,
            ),
        ),
        origin=origin,
    )


def check_key_life(issuance: Issuance, now: datetime) -> None:
    """Raise UnavailableError for an issuance so old that the processor may make its card twice: the sweeper settles it first."""
    old = issuance.requested_at is not None and now - issuance.requested_at > KEY_LIFE
    if old and issuance.state == "REQUESTED":
        raise UnavailableError("The processor does not answer.", code="processor_unavailable")


def outcome(tx: Transaction, issuance: Issuance) -> Card:
    """The card of an issuance that has ended. Raises ProviderRefusedError for one that failed."""
    if issuance.state == "FAILED":
        raise refusal(issuance.failure_code or "unknown")
    return found(store.get(tx, issuance.card_id))


def refusal(fault: str) -> ProviderRefusedError:
    """The error of a processor that refused, or whose card is not the one asked for."""
    if fault == "processor_refused":
        return ProviderRefusedError("The processor refused to make the card.", code="processor_refused")
    return ProviderRefusedError("The processor's card is not the one asked for.", code="processor_answer_invalid")
