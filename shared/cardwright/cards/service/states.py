"""Freeze, unfreeze, cancel, expire: one locked row, one move, one audit entry, one event; the processor is told afterwards."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from cardwright.cards import rules
from cardwright.cards.rules import Card, CardStatus, ReasonCode
from cardwright.cards.service.telling import ProcessorTeller
from cardwright.cards.service.tools import CardTools, card_event, check_version, done_before, found, note
from cardwright.cards.store import cards as store
from cardwright.cards.store import limits as spend
from cardwright.cards.store.cards import Move
from cardwright.kernel.clock import rfc3339
from cardwright.kernel.errors import ConflictError, FieldError, InvalidFieldsError, StaleVersionError
from cardwright.outbox import service as outbox
from cardwright.platform.postgres import Actor, Transaction, UniqueViolation

# A card that waits for its pending authorizations is cancelled within this time; holds end long before.
CANCELLATION_WITHIN = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """A wish to move a card: why, in words and as a code (None takes what fits the actor), and on which version."""

    words: str | None = None
    code: ReasonCode | None = None
    if_match: int | None = None


class CardStates:
    """Moves cards; from the commit on no authorization is decided on the former state."""

    def __init__(self, tools: CardTools, teller: ProcessorTeller) -> None:
        self._tools = tools
        self._teller = teller

    def move(self, actor: Actor, card_id: UUID, target: CardStatus, change: StateChange, operation_id: UUID) -> Card:
        """Move a card to another state; see CardService.update_card_status."""
        actor = replace(actor, reason=change.words)
        card = self._once(actor, card_id, operation_id, lambda: self._move(actor, card_id, target, change, operation_id))
        self.announce(actor, card)
        return card

    def cancel(self, actor: Actor, card_id: UUID, change: StateChange, force_after: datetime | None, operation_id: UUID) -> Card:
        """Cancel a card, or schedule it; see CardService.cancel."""
        actor = replace(actor, reason=change.words)
        card = self._once(actor, card_id, operation_id, lambda: self._cancel(actor, card_id, change, force_after, operation_id))
        self.announce(actor, card)
        return card

    def rename(self, actor: Actor, card_id: UUID, label: str | None, change: StateChange, operation_id: UUID) -> Card:
        """Give a card another label; see CardService.rename_card."""

        def run() -> Card:
            with self._tools.database.transaction(actor) as tx:
                card = found(store.lock(tx, card_id))
                if card.last_operation_id == operation_id:
                    return card
                check_version(card, change.if_match)
                return self._rename(tx, card, label, operation_id)

        return self._once(actor, card_id, operation_id, run)

    def _rename(self, tx: Transaction, card: Card, label: str | None, operation_id: UUID) -> Card:
        """The label is the holder's own words, which the audit could never forget: it keeps that there is another."""
        now = self._tools.clock.now()
        store.set_label(tx, card.card_id, label, operation_id, now)
        old, new = {"version": card.version}, {"version": card.version + 1}
        note(tx, card.card_id, operation_id, "card.renamed", now, old=old, new=new)
        return replace(card, label=label, version=card.version + 1, last_operation_id=operation_id, updated_at=now)

    def end(self, tx: Transaction, actor: Actor, card: Card, target: CardStatus, code: ReasonCode) -> Card:
        """Move a locked card in the caller's transaction, for a schedule; the caller announces it after the commit."""
        return self._write(tx, actor, card, target, code, self._tools.ids.new())

    def announce(self, actor: Actor, card: Card) -> None:
        """After a commit: drop the engine's profile and tell the processor."""
        self._teller.forget_profile(card)
        self._teller.tell_state(actor, card)

    def _once(self, actor: Actor, card_id: UUID, operation_id: UUID, run: Callable[[], Card]) -> Card:
        """Run an operation; the card as it is when an earlier run of it was done already and somebody came after."""
        try:
            return run()
        except (UniqueViolation, ConflictError, StaleVersionError):
            card = done_before(self._tools, actor, card_id, operation_id)
            if card is None:
                raise
            return card

    def _move(self, actor: Actor, card_id: UUID, target: CardStatus, change: StateChange, operation_id: UUID) -> Card:
        with self._tools.database.transaction(actor) as tx:
            card = found(store.lock(tx, card_id))
            if card.last_operation_id == operation_id and card.status is target:
                return card
            check_version(card, change.if_match)
            code = rules.reason_for(actor.role, change.code, change.words)
            if target is card.status is CardStatus.FROZEN and rules.outranks(
                code, actor.role, card.status_reason_code, card.status_actor_role
            ):
                return self._take_over(tx, actor, card, code, operation_id, card.cancel_after)
            rules.transition(card.status, target)
            if target is CardStatus.ACTIVE:
                rules.check_release(card.status_reason_code, card.status_actor_role, actor.role)
            return self._write(tx, actor, card, target, code, operation_id)

    def _take_over(
        self, tx: Transaction, actor: Actor, card: Card, code: ReasonCode, operation_id: UUID, cancel_after: datetime | None
    ) -> Card:
        """The issuer's freeze takes the place of a weaker one: the status stays, who may undo it does not."""
        taken = self._write(tx, actor, card, CardStatus.FROZEN, code, operation_id, cancel_after=cancel_after, event=False)
        until = {} if cancel_after is None else {"cancel_after": rfc3339(cancel_after)}
        old = {"reason_code": card.status_reason_code, "actor_role": card.status_actor_role}
        new = {"reason_code": code.value, "actor_role": actor.role, **until}
        note(tx, card.card_id, operation_id, "card.freeze_taken_over", taken.updated_at, old=old, new=new)
        return taken

    def _cancel(self, actor: Actor, card_id: UUID, change: StateChange, force_after: datetime | None, operation_id: UUID) -> Card:
        now = self._tools.clock.now()
        _check_force_after(force_after, now)
        with self._tools.database.transaction(actor) as tx:
            card = found(store.lock(tx, card_id))
            if card.last_operation_id == operation_id and (card.status is CardStatus.CANCELLED or card.cancel_after is not None):
                return card
            check_version(card, change.if_match)
            rules.transition(card.status, CardStatus.CANCELLED)
            code = rules.reason_for(actor.role, change.code, change.words)
            # The spend row is held: no authorization can be approved between this look and the move.
            if spend.lock(tx, card_id).held == 0:
                return self._write(tx, actor, card, CardStatus.CANCELLED, code, operation_id)
            if force_after is None:
                detail = "Authorizations are pending; say with force_after until when they may be."
                raise ConflictError(detail, code="pending_authorizations")
            if card.status is CardStatus.ACTIVE:
                return self._write(tx, actor, card, CardStatus.FROZEN, code, operation_id, cancel_after=force_after)
            if rules.outranks(code, actor.role, card.status_reason_code, card.status_actor_role):
                return self._take_over(tx, actor, card, code, operation_id, force_after)
            if card.cancel_after is not None and force_after > card.cancel_after:
                # To put it off is to undo a part of it.
                rules.check_release(card.status_reason_code, card.status_actor_role, actor.role)
            return self._schedule(tx, card, force_after, operation_id, now)

    def _schedule(self, tx: Transaction, card: Card, force_after: datetime, operation_id: UUID, now: datetime) -> Card:
        """A frozen card stays as it was frozen, so that whose freeze it is does not change."""
        store.schedule_cancellation(tx, card.card_id, force_after, operation_id, now)
        old = None if card.cancel_after is None else {"cancel_after": rfc3339(card.cancel_after)}
        new = {"cancel_after": rfc3339(force_after), "version": card.version + 1}
        note(tx, card.card_id, operation_id, "card.cancellation_scheduled", now, old=old, new=new)
        return replace(card, cancel_after=force_after, version=card.version + 1, last_operation_id=operation_id, updated_at=now)

    def _write(
        self,
        tx: Transaction,
        actor: Actor,
        card: Card,
        target: CardStatus,
        code: ReasonCode,
        operation_id: UUID,
        *,
        cancel_after: datetime | None = None,
        replaced_by: UUID | None = None,
        event: bool = True,
    ) -> Card:
        now = self._tools.clock.now()
        move = Move(
            target=target,
            code=code,
            words=actor.reason,
            actor_role=actor.role,
            operation_id=operation_id,
            replaced_by=replaced_by,
            cancel_after=cancel_after,
        )
        store.move(tx, card.card_id, move, now)
        moved = replace(
            card,
            status=target,
            status_reason_code=code.value,
            status_actor_role=actor.role,
            replaced_by_card_id=replaced_by or card.replaced_by_card_id,
            cancel_after=cancel_after,
            version=card.version + 1,
            last_operation_id=operation_id,
            updated_at=now,
        )
        if event:
            outbox.append(tx, card_event(self._tools.ids, rules.EVENTS[target], moved))
        return moved

    def give_way(self, tx: Transaction, actor: Actor, card: Card, code: ReasonCode, operation_id: UUID) -> Card:
        """Cancel a locked card in favour of the one whose id the operation is; the caller announces it after the commit."""
        return self._write(tx, actor, card, CardStatus.CANCELLED, code, operation_id, replaced_by=operation_id)


def _check_force_after(force_after: datetime | None, now: datetime) -> None:
    if force_after is not None and not now < force_after <= now + CANCELLATION_WITHIN:
        detail = f"The time lies ahead, within {CANCELLATION_WITHIN.days} days."
        raise InvalidFieldsError([FieldError("force_after", "force_after_out_of_range", detail)])
