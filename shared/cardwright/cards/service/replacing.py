"""Replace a card that was lost, stolen or compromised: the old one ends first, then the new one is made."""

from dataclasses import replace
from uuid import UUID

from cardwright.cards import rules
from cardwright.cards.rules import Card, CardStatus, CardWish, Origin
from cardwright.cards.service.issuing import Issuing, check_key_life, outcome
from cardwright.cards.service.states import CardStates, StateChange
from cardwright.cards.service.tools import LEASE, CardTools, check_version, found, note
from cardwright.cards.store import cards as store
from cardwright.cards.store import issuances
from cardwright.cards.store.issuances import Issuance
from cardwright.kernel.errors import ConflictError
from cardwright.kernel.rows import STAFF
from cardwright.platform.postgres import Actor, Transaction
from cardwright.programs.service import Program


class CardReplacement:
    """The old card is cancelled in the transaction that notes the new one, so that no moment is left to use it.

    The new card has the old one's label, limits and settings, and goes on with its windows: replacing gives no fresh limit.
    """

    def __init__(self, tools: CardTools, issuing: Issuing, states: CardStates) -> None:
        self._tools = tools
        self._issuing = issuing
        self._states = states

    def replace(self, actor: Actor, card_id: UUID, change: StateChange, operation_id: UUID) -> Card:
        """Replace a card; see CardService.replace_card."""
        actor = replace(actor, reason=change.words)
        admitted = self._admit(actor, card_id, change, operation_id)
        if isinstance(admitted, Card):
            return admitted
        old, issuance, program = admitted
        self._states.announce(actor, old)
        return self._issuing.make(actor, issuance, program)

    def _admit(
        self, actor: Actor, card_id: UUID, change: StateChange, operation_id: UUID
    ) -> tuple[Card, Issuance, Program] | Card:
        now = self._tools.clock.now()
        with self._tools.database.transaction(actor) as tx:
            user_id = found(store.get(tx, card_id)).user_id
            issuances.lock_issuing(tx, user_id)
            old = found(store.lock(tx, card_id))
            program = self._tools.programs.get(tx, old.program_id)
            earlier = issuances.get(tx, user_id, operation_id)
            if earlier is not None:
                if earlier.state in ("ISSUED", "FAILED"):
                    return outcome(tx, earlier)
                check_key_life(earlier, now)
                issuances.request(tx, earlier, now, now + LEASE)
                return old, earlier, program
            check_version(old, change.if_match)
            self._check(tx, actor, old)
            if old.status not in rules.OPEN:
                # An open card gives its place to the new one; one that has ended has none to give.
                self._issuing.check_room(tx, user_id, operation_id, program)
            issuance = Issuance(
                card_id=operation_id,
                user_id=user_id,
                program_id=old.program_id,
                expiry=rules.expiry_for(None, now.date(), program.card_lifetime_months),
                wish=CardWish(old.label, old.usage, old.controls),
                origin=Origin.REPLACEMENT,
                replaces_card_id=card_id,
            )
            if actor.role not in STAFF:
                self._issuing.spend_creation(tx, user_id, operation_id, Origin.REPLACEMENT, now)
            if old.status in rules.OPEN:
                code = rules.reason_for(actor.role, change.code, change.words)
                old = self._states.give_way(tx, actor, old, code, operation_id)
            else:
                store.link_replacement(tx, card_id, operation_id, operation_id, now)
                new = {"replaced_by": str(operation_id), "version": old.version + 1}
                note(tx, card_id, operation_id, "card.replaced", now, new=new)
            issuances.request(tx, issuance, now, now + LEASE)
            return old, issuance, program

    def _check(self, tx: Transaction, actor: Actor, old: Card) -> None:
        """An open or expired card is replaced, once; a cancelled one only when its replacement could not be made."""
        self._issuing.check_identity(tx, old.user_id)
        if old.replaced_by_card_id is not None:
            before = issuances.get(tx, old.user_id, old.replaced_by_card_id)
            if before is None or before.state != "FAILED":
                raise ConflictError("The card has been replaced.", code="card_already_replaced")
        elif old.status is CardStatus.CANCELLED:
            raise ConflictError("A cancelled card is not replaced.", code="card_state_conflict")
        if old.status is CardStatus.FROZEN:
            rules.check_release(old.status_reason_code, old.status_actor_role, actor.role)
