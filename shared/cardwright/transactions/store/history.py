"""SQL of history: pages of transactions newest first, one of them, and what the network told of it."""

from collections.abc import Sequence
from uuid import UUID

from cardwright.platform.postgres import Transaction
from cardwright.transactions.rules.events import EventType
from cardwright.transactions.rules.explaining import ToldEvent
from cardwright.transactions.rules.history import CardTransaction, HistoryFilters, Scope
from cardwright.transactions.store import searching
from cardwright.transactions.store.listing import COLUMNS, listing, transaction

__all__ = ["by_keys", "card_of", "events_of", "group_of", "listing", "newest", "of_user", "versions"]


def newest(tx: Transaction, scope: Scope, filters: HistoryFilters, limit: int, after: UUID | None) -> list[CardTransaction]:
    """List up to `limit` transactions older than `after` that pass the filters, newest first."""
    if filters.text is not None:
        return by_keys(tx, searching.found(tx, scope, filters, limit, after))
    statement, parameters = listing(COLUMNS, scope, filters, limit, after)
    return [transaction(row) for row in tx.fetch_all(statement, parameters)]


def by_keys(tx: Transaction, keys: Sequence[tuple[UUID, UUID]]) -> list[CardTransaction]:
    """Load the transactions (card_id, transaction_id) that the actor may see, newest first."""
    rows = tx.fetch_all(
        f"SELECT {COLUMNS} FROM unnest(%s::uuid[], %s::uuid[]) AS k (card_id, transaction_id) "  # noqa: S608 - our own columns
        "JOIN card_transactions t ON t.card_id = k.card_id AND t.transaction_id = k.transaction_id "
        "ORDER BY t.transaction_id DESC",
        ([card_id for card_id, _ in keys], [transaction_id for _, transaction_id in keys]),
    )
    return [transaction(row) for row in rows]


def versions(tx: Transaction, scope: Scope) -> tuple[int, int]:
    """Number of the scope's cards and a figure that rises with every change of their transactions."""
    row = tx.fetch_one(
        "SELECT count(*) AS cards, coalesce(sum(l.chain_seq + l.event_seq), 0)::bigint AS changes FROM card_limits l "
        "WHERE l.card_id = %s"
        if scope.card_id is not None
        else "SELECT count(*) AS cards, coalesce(sum(l.chain_seq + l.event_seq), 0)::bigint AS changes "
        "FROM virtual_cards c JOIN card_limits l ON l.card_id = c.card_id WHERE c.user_id = %s",
        (scope.card_id or scope.user_id,),
    )
    return (0, 0) if row is None else (row["cards"], row["changes"])


def of_user(tx: Transaction, user_id: UUID, transaction_id: UUID) -> CardTransaction | None:
    """Load one transaction of a user's cards: one look by primary key for each card."""
    row = tx.fetch_one(
        f"SELECT t.* FROM virtual_cards c CROSS JOIN LATERAL (SELECT {COLUMNS} FROM card_transactions t "  # noqa: S608 - our own columns
        "WHERE t.card_id = c.card_id AND t.transaction_id = %s LIMIT 1) t WHERE c.user_id = %s LIMIT 1",
        (transaction_id, user_id),
    )
    return None if row is None else transaction(row)


def card_of(tx: Transaction, transaction_id: UUID) -> UUID | None:
    """The card of a transaction the actor may see: known once it is published, and until then found among what is not."""
    row = tx.fetch_one(
        "SELECT s.card_id FROM transaction_search s WHERE s.transaction_id = %(id)s "
        "UNION ALL SELECT t.card_id FROM card_transactions t WHERE t.published_at IS NULL AND t.transaction_id = %(id)s LIMIT 1",
        {"id": transaction_id},
    )
    found: UUID | None = None if row is None else row["card_id"]
    return found


def group_of(tx: Transaction, found: CardTransaction) -> list[CardTransaction]:
    """The transaction's group in the order of their decisions, the one that bears the amounts first.

    An authorization with its incrementals is a group; what the network posted without asking stands alone.
    """
    if found.type in ("force_post", "refund") or found.root_authorization_id is None:
        return [found]
    rows = tx.fetch_all(
        f"SELECT {COLUMNS} FROM card_transactions t "  # noqa: S608 - our own columns
        "WHERE t.card_id = %(card_id)s AND t.authorization_id = %(root)s "
        f"UNION ALL SELECT {COLUMNS} FROM card_transactions t WHERE t.card_id = %(card_id)s "
        "AND t.root_authorization_id = %(root)s AND t.type = 'incremental' AND t.authorization_id <> %(root)s "
        "ORDER BY decided_at, transaction_id",
        {"card_id": found.card_id, "root": found.root_authorization_id},
    )
    group = [transaction(row) for row in rows]
    return sorted(group, key=lambda one: one.authorization_id != found.root_authorization_id) or [found]


def events_of(tx: Transaction, group: Sequence[CardTransaction]) -> list[ToldEvent]:
    """What the network told of a group, as it came: what its first row bears, and what is parked under its authorizations."""
    rows = tx.fetch_all(
        "SELECT e.event_id, e.type, e.authorization_id, e.amount, e.currency, e.final_clearing AS final, e.state, "
        "e.parked_reason, coalesce((e.detail->>'voids')::boolean, false) AS voids, e.received_at, e.applied_at "
        "FROM transaction_events e WHERE e.card_id = %(card_id)s AND (e.transaction_id = %(transaction_id)s "
        "OR (e.state = 'PARKED' AND e.authorization_id = ANY (%(authorizations)s))) ORDER BY e.received_at, e.record_id",
        {
            "card_id": group[0].card_id,
            "transaction_id": group[0].transaction_id,
            "authorizations": [one.authorization_id for one in group if one.authorization_id is not None],
        },
    )
    return [ToldEvent(**{**row, "type": EventType(row["type"])}) for row in rows]
