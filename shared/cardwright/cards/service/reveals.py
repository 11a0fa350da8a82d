"""Reveal a card: a permission that is good once, and the processor's view in exchange for it. No card number comes by here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeGuard
from uuid import UUID

from cardwright.cards import rules
from cardwright.cards.rules import Card, RevealTicket
from cardwright.cards.service.tools import CardTools, found, note, spend_quota
from cardwright.cards.store import cards as store
from cardwright.cards.store import reveals
from cardwright.kernel.clock import rfc3339
from cardwright.kernel.errors import ConflictError, ForbiddenError, GoneError
from cardwright.kernel.rows import Role
from cardwright.kernel.secret import Secret
from cardwright.platform.ids import random_bytes
from cardwright.platform.postgres import Actor, Transaction


@dataclass(frozen=True, slots=True)
class Reveal:
    """A permission to see a card once, until it expires."""

    token: Secret[str]
    expires_at: datetime


class CardReveals:
    """Gives permissions and takes them back for a view. `per_hour` None switches the quota off."""

    def __init__(self, tools: CardTools, per_hour: int | None) -> None:
        self._tools = tools
        self._per_hour = per_hour

    def request(self, actor: Actor, card_id: UUID, reveal_id: UUID) -> Reveal:
        """Give a permission; see CardService.reveal_card."""
        if actor.user_id is None:
            raise ForbiddenError("Only a user holds cards.", code="role_not_allowed")
        now = self._tools.clock.now()
        expires_at = now + rules.REVEAL_LIFE
        secret = Secret(random_bytes(rules.REVEAL_SECRET_BYTES))
        with self._tools.database.transaction(actor) as tx:
            reveals.lock_revealing(tx, actor.user_id)
            card = found(store.lock(tx, card_id))
            if card.status not in rules.OPEN:
                raise ConflictError(f"A card that is {card.status.lower()} is not shown.", code="card_state_conflict")
            self._spend(tx, actor.user_id, now)
            ticket = RevealTicket(actor.user_id, reveal_id, rules.reveal_digest(secret))
            reveals.add(tx, ticket, card_id, now, expires_at)
            new = {"reveal_id": str(reveal_id), "expires_at": rfc3339(expires_at)}
            note(tx, card_id, reveal_id, "card.reveal_requested", now, new=new)
        return Reveal(rules.reveal_token(actor.user_id, reveal_id, secret), expires_at)

    def open(self, token: Secret[str], request_id: str, origins: Iterable[str]) -> str:
        """Take a permission and return the processor's URL; see CardService.open_reveal.

        The processor is asked before the permission is used up: while it does not answer nothing is lost, and no lock is held
        meanwhile. Of several who ask at once each gets a URL from it, and only the one whose commit uses the permission up is
        told his. Whoever dies after that commit has lost the permission: better that than a second view.
        """
        ticket = rules.read_reveal_token(token)
        if ticket is None:
            raise _gone()
        actor = Actor(ticket.user_id, Role.CARDHOLDER, request_id)
        now = self._tools.clock.now()
        with self._tools.database.transaction(actor) as tx:
            card_id = reveals.card_of(tx, ticket, now)
            card = None if card_id is None else store.get(tx, card_id)
        if not _shown(card):
            raise _gone()
        url = self._tools.processor.reveal_url(card.processor_card_token, expires_at=now + rules.REVEAL_LIFE, origins=origins)
        now = self._tools.clock.now()
        with self._tools.database.transaction(actor) as tx:
            # The card's row first, as whoever ends it: none is shown that has ended before.
            if not _shown(store.lock(tx, card.card_id)) or not reveals.use(tx, ticket, now):
                raise _gone()
            note(tx, card.card_id, self._tools.ids.new(), "card.revealed", now, new={"reveal_id": str(ticket.reveal_id)})
        return url

    def _spend(self, tx: Transaction, user_id: UUID, now: datetime) -> None:
        """Raise RateLimitedError when the user has been given as many permissions in the last hour as anybody may."""
        limit = self._per_hour
        if limit is None:
            return
        busy_until = reveals.counted(tx, user_id, rules.REVEALS_WINDOW, now)
        detail = f"At most {limit} cards are shown in an hour."
        spend_quota(rules.REVEALS_QUOTA, limit, rules.REVEALS_WINDOW, busy_until, now, detail)


def _shown(card: Card | None) -> TypeGuard[Card]:
    return card is not None and card.status in rules.OPEN


def _gone() -> GoneError:
    return GoneError("This link has been used or has expired.", code="reveal_gone")
