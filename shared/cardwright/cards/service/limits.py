"""Limits of a card, read and changed: one locked card, one locked spend row, one audit entry, one event."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from cardwright.cards import rules
from cardwright.cards.rules import Card, Controls, LimitsChange
from cardwright.cards.service.telling import ProcessorTeller
from cardwright.cards.service.tools import CardTools, card_event, check_version, done_before, found, note
from cardwright.cards.store import cards as store
from cardwright.cards.store import limits as spend
from cardwright.cards.store.limits import Counting, Spend
from cardwright.kernel.errors import ConflictError, StaleVersionError
from cardwright.outbox import service as outbox
from cardwright.platform.postgres import Actor, Transaction, UniqueViolation


@dataclass(frozen=True, slots=True)
class _Changed:
    """A card after a change, its spend row, and which of the two outside parties are to hear of it."""

    card: Card
    spend: Spend
    anything: bool = False
    amounts: bool = False


class CardLimits:
    """Reads and changes the limits and settings of cards."""

    def __init__(self, tools: CardTools, teller: ProcessorTeller) -> None:
        self._tools = tools
        self._teller = teller

    def get(self, actor: Actor, card_id: UUID) -> tuple[Card, Spend]:
        """A card and what it has spent; see CardService.get_limits."""
        with self._tools.database.transaction(actor) as tx:
            return found(store.get(tx, card_id)), spend.get(tx, card_id)

    def update(
        self,
        actor: Actor,
        card_id: UUID,
        change: LimitsChange,
        operation_id: UUID,
        if_match: int | None,
        require_step_up: Callable[[], None],
    ) -> tuple[Card, Spend]:
        """Change limits and settings; see CardService.update_limits."""
        try:
            changed = self._update(actor, card_id, change, operation_id, if_match, require_step_up)
        except (UniqueViolation, ConflictError, StaleVersionError):
            # Where the audit knows this operation an earlier run of it changed the card, and somebody has changed it since.
            if done_before(self._tools, actor, card_id, operation_id) is None:
                raise
            return self.get(actor, card_id)
        if changed.anything:
            self._teller.forget_profile(changed.card)
        if changed.amounts:
            self._teller.tell_limits(actor, changed.card)
        return changed.card, changed.spend

    def _update(
        self,
        actor: Actor,
        card_id: UUID,
        change: LimitsChange,
        operation_id: UUID,
        if_match: int | None,
        require_step_up: Callable[[], None],
    ) -> _Changed:
        now = self._tools.clock.now()
        with self._tools.database.transaction(actor) as tx:
            card = found(store.lock(tx, card_id))
            if card.last_operation_id == operation_id:
                # A run that died after its commit may have told nobody.
                behind = card.processor_limits_version < card.limits_version
                return _Changed(card, spend.get(tx, card_id), anything=True, amounts=behind)
            if not rules.open_card(card.status):
                detail = f"A card that is {card.status.lower()} keeps its limits."
                raise ConflictError(detail, code="card_state_conflict")
            check_version(card, if_match)
            controls = change.applied_to(card.controls, card.currency)
            if controls == card.controls:
                return _Changed(card, spend.get(tx, card_id))
            self._check_raise(tx, card, controls, require_step_up)
            return self._write(tx, card, controls, operation_id, now)

    def _check_raise(self, tx: Transaction, card: Card, controls: Controls, require_step_up: Callable[[], None]) -> None:
        threshold = self._tools.programs.get(tx, card.program_id).step_up_threshold
        if rules.raises_above(card.limits, controls.limits, threshold):
            require_step_up()

    def _write(self, tx: Transaction, card: Card, controls: Controls, operation_id: UUID, now: datetime) -> _Changed:
        # The spend row is held: what is approved before this counts, what comes after is held to the new limits.
        before = spend.lock(tx, card.card_id)
        amounts = controls.limits != card.limits
        spend.change(tx, card.card_id, controls, _counting(card.controls, controls, before, now), now)
        spend.raise_versions(tx, card.card_id, operation_id, now, amounts=amounts)
        changed = replace(
            card,
            controls=controls,
            limits_version=card.limits_version + int(amounts),
            version=card.version + 1,
            last_operation_id=operation_id,
            updated_at=now,
        )
        old, new = rules.differences(card.controls, controls)
        was, is_now = {**old, "version": card.version}, {**new, "version": changed.version}
        note(tx, card.card_id, operation_id, "card.limits_updated", now, old=was, new=is_now)
        event = card_event(self._tools.ids, "card.limits_updated", changed, limits=controls.document(), changed=sorted(new))
        outbox.append(tx, event)
        return _Changed(changed, spend.get(tx, card.card_id), anything=True, amounts=amounts)


def _counting(old: Controls, new: Controls, before: Spend, now: datetime) -> Counting:
    day_start, month_start = rules.windows(now, old.time_zone)
    if old.time_zone == new.time_zone:
        return Counting(day_start=day_start, month_start=month_start, new_day_start=day_start, new_month_start=month_start)
    if before.day_spent == 0 and before.month_spent == 0:
        new_day_start, new_month_start = rules.windows(now, new.time_zone)
    else:
        new_day_start = rules.carried_day(before.day_start, now, old.time_zone, new.time_zone)
        new_month_start = rules.carried_month(before.month_start, now, old.time_zone, new.time_zone)
    return Counting(day_start=day_start, month_start=month_start, new_day_start=new_day_start, new_month_start=new_month_start)
