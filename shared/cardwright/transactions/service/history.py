"""What the owners of cards see of their transactions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from cardwright.kernel.errors import NotFoundError
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.transactions.rules.explaining import Advice, TimelineEntry, explain, in_words, timeline
from cardwright.transactions.rules.history import CardTransaction, HistoryFilters, Scope
from cardwright.transactions.service.remembering import RememberedPages, page_name
from cardwright.transactions.store import history as store

if TYPE_CHECKING:
    # The relay imports this module too and has no use for what cards are made with.
    from cardwright.cards.service import CardService

_STAFF = frozenset({"support", "admin", "compliance_officer"})
_EVERYTHING = HistoryFilters()


@dataclass(frozen=True, slots=True)
class TransactionStory:
    """One transaction with all that happened to it, and what it means for its cardholder."""

    transaction: CardTransaction
    timeline: list[TimelineEntry]
    advice: Advice
    notes: list[str]


class TransactionService:
    """Reads transactions; `record_authorization` and the processor's events write them.

    `remembered` keeps first pages; without it every list is read from the database.
    """

    def __init__(self, database: Database, cards: "CardService", remembered: RememberedPages | None = None) -> None:
        self._database = database
        self._cards = cards
        self._remembered = remembered

    def list_transactions(
        self,
        actor: Actor,
        *,
        card_id: UUID | None = None,
        filters: HistoryFilters = _EVERYTHING,
        limit: int,
        after: UUID | None = None,
    ) -> list[CardTransaction]:
        """Return up to `limit` transactions older than `after` that pass the filters, newest first, declines included.

        Of one card the actor may see (staff: any), or of all the actor's own cards. Raises NotFoundError card_not_found.
        """
        if card_id is not None:
            self._cards.get_card(actor, card_id)
            scope = Scope(card_id=card_id)
        elif actor.user_id is not None:
            scope = Scope(user_id=actor.user_id)
        else:
            return []
        with self._database.transaction(actor) as tx:
            if after is not None or self._remembered is None:
                return store.newest(tx, scope, filters, limit, after)
            # The state first, then the rows: a page can be newer than its name says, never older.
            name = page_name(scope, filters, limit, store.versions(tx, scope))
            page = self._remembered.get(name)
            if page is None:
                page = store.newest(tx, scope, filters, limit, after)
                self._remembered.put(name, page)
            return page

    def get_transaction(self, actor: Actor, transaction_id: UUID) -> TransactionStory:
        """One transaction of the actor's own cards, or of any card for staff, with its story.

        Raises NotFoundError transaction_not_found.
        """
        with self._database.transaction(actor) as tx:
            found = _find(tx, actor, transaction_id)
            if found is None:
                raise NotFoundError("There is no such transaction.", code="transaction_not_found")
            group = store.group_of(tx, found)
            events = store.events_of(tx, group)
        return TransactionStory(found, timeline(group[0], group, events), explain(found), in_words(found.flags))


def _find(tx: Transaction, actor: Actor, transaction_id: UUID) -> CardTransaction | None:
    """Transactions are kept by card and have no index of their own id: an owner's cards are asked, for staff the search knows."""
    if actor.user_id is None:
        return None
    found = store.of_user(tx, actor.user_id, transaction_id)
    if found is not None or actor.role not in _STAFF:
        return found
    card_id = store.card_of(tx, transaction_id)
    loaded = [] if card_id is None else store.by_keys(tx, [(card_id, transaction_id)])
    return loaded[0] if loaded else None
