"""Money loaded onto a card that a balance funds, and taken off again: spend row, ledger and audit in one transaction."""

import hashlib
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cardwright.cards import rules
from cardwright.cards.rules import Card, Direction, Funds, FundsMovement
from cardwright.cards.service import spending
from cardwright.cards.service.tools import CardTools, found, note
from cardwright.cards.store import cards as store
from cardwright.cards.store import limits as spend
from cardwright.kernel import ids
from cardwright.kernel.errors import ConflictError, UnprocessableError
from cardwright.ledger import service as ledger
from cardwright.ledger.rules import Posting, PostingKind, sides
from cardwright.platform.postgres import Actor, Transaction


class CardFunding:
    """Moves money by hand, for administrators."""

    def __init__(self, tools: CardTools) -> None:
        self._tools = tools

    def move(self, actor: Actor, card_id: UUID, movement: FundsMovement, operation_id: UUID) -> Funds:
        """Load or withdraw; see CardService.move_funds."""
        rules.check_funds_amount(movement)
        now = self._tools.clock.now()
        with self._tools.database.transaction(actor) as tx:
            card = found(store.lock(tx, card_id))
            row = spending.lock(tx, card_id)
            if row.balance is None:
                detail = "The money of this card is bounded by its limits alone."
                raise ConflictError(detail, code="card_not_funded_by_balance")
            if movement.currency != card.currency:
                raise UnprocessableError(f"The card is in {card.currency}.", code="currency_mismatch")
            before = Funds(row.balance, row.held)
            kind = PostingKind.LOAD if movement.direction is Direction.LOAD else PostingKind.WITHDRAWAL
            if not ledger.post(tx, _posting(card, kind, movement.amount, operation_id, now, reference=movement.reference)):
                # An earlier run of this operation has moved the money.
                return before
            if movement.direction is Direction.LOAD and not rules.open_card(card.status):
                raise ConflictError(f"No money goes onto a card that is {card.status.lower()}.", code="card_state_conflict")
            after = rules.moved(before, movement)
            spending.move(tx, card_id, balance=movement.signed)
            old, new = {"balance": _text(before.balance)}, {"balance": _text(after.balance), "reference": movement.reference}
            action = "card.funds_loaded" if movement.direction is Direction.LOAD else "card.funds_withdrawn"
            note(tx, card_id, operation_id, action, now, old=old, new=new)
            return after


def carry_over(tx: Transaction, card: Card, now: datetime) -> Card:
    """Give a new card what is free on the one it replaces, in the transaction that makes it; returns it with its funds.

    Raises LookupError when the replaced card is gone.
    """
    if card.funds is None or card.replaces_card_id is None:
        return card
    carried = spend.carry_funds(tx, card.card_id, card.replaces_card_id)
    if not carried:
        return card
    replaced = found(store.get(tx, card.replaces_card_id))
    # Both bear the new card's id: each is one posting of its own card.
    ledger.post(tx, _posting(replaced, PostingKind.CARRIED_OUT, carried, card.card_id, now))
    ledger.post(tx, _posting(card, PostingKind.CARRIED_IN, carried, card.card_id, now))
    return replace(card, funds=Funds(card.funds.balance + carried, card.funds.held))


def carry_on(tx: Transaction, card_id: UUID, operation_id: UUID, now: datetime) -> None:
    """Give what has become free on a replaced card to the one in its place; its spend row is held by the caller.

    Nothing for a card that was not replaced, and for one that limits alone fund. The operation names the two ledger postings.
    """
    card = store.get(tx, card_id)
    while card is not None and card.funds is not None and card.replaced_by_card_id is not None:
        successor = store.get(tx, card.replaced_by_card_id)
        carried = None if successor is None else spend.carry_funds(tx, successor.card_id, card.card_id)
        if successor is None or not carried:
            return
        # The operation may have a posting of its own on each of these cards.
        for owner, kind in ((card, PostingKind.CARRIED_OUT), (successor, PostingKind.CARRIED_IN)):
            ledger.post(tx, _posting(owner, kind, carried, _carried_id(operation_id, kind, owner.card_id, now), now))
        card = successor


def _carried_id(operation_id: UUID, kind: PostingKind, card_id: UUID, now: datetime) -> UUID:
    name = f"{operation_id} {kind} {card_id}"
    return ids.uuid7(now, hashlib.sha256(name.encode()).digest()[: ids.ENTROPY_BYTES])


def _posting(
    card: Card, kind: PostingKind, amount: Decimal, posting_id: UUID, now: datetime, *, reference: str | None = None
) -> Posting:
    return Posting(
        posting_id=posting_id,
        kind=kind.value,
        card_id=card.card_id,
        user_id=card.user_id,
        program_id=card.program_id,
        occurred_at=now,
        entries=sides(kind, amount, card.currency),
        reference=reference,
    )


def _text(amount: Decimal) -> str:
    return f"{amount:.2f}"
