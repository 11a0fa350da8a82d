"""SQL of searching by words: what is kept of each transaction, and how the ones that hold the words are found.

The newest part of a list is looked through transaction by transaction, which soon fills a page when the words are common and sees
also what has no words kept yet. What is older is found by the index, which is quick when they are rare.
"""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from cardwright.platform.postgres import Row, Transaction
from cardwright.transactions.rules.enrichment import search_text
from cardwright.transactions.rules.history import HistoryFilters, Scope
from cardwright.transactions.store.listing import listing

Key = tuple[UUID, UUID]
# How much of the newest is looked through: of one card it is read in one go, of a user's cards each is asked by itself.
_NEWEST_OF_CARD = 1000
_NEWEST_OF_USER = 300


def keep_words(tx: Transaction, keys: Sequence[Key]) -> None:
    """Keep the words of transactions (card_id, transaction_id); those that have some already keep theirs."""
    rows = tx.fetch_all(
        "SELECT t.card_id, t.transaction_id, t.user_id, t.detail, t.merchant_category, t.amount "
        "FROM unnest(%s::uuid[], %s::uuid[]) AS k (card_id, transaction_id) "
        "JOIN card_transactions t ON t.card_id = k.card_id AND t.transaction_id = k.transaction_id",
        ([card_id for card_id, _ in keys], [transaction_id for _, transaction_id in keys]),
    )
    tx.execute(
        "INSERT INTO transaction_search (card_id, transaction_id, user_id, document) "
        "SELECT w.card_id, w.transaction_id, w.user_id, to_tsvector('simple', w.words) "
        "|| array_to_tsvector(ARRAY[search_word('card', w.card_id), search_word('user', w.user_id)]) "
        "FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[]) AS w (card_id, transaction_id, user_id, words) "
        "ON CONFLICT DO NOTHING",
        (
            [row["card_id"] for row in rows],
            [row["transaction_id"] for row in rows],
            [row["user_id"] for row in rows],
            [_words(row) for row in rows],
        ),
    )


def found(tx: Transaction, scope: Scope, filters: HistoryFilters, limit: int, after: UUID | None) -> list[Key]:
    """The keys of up to `limit` transactions older than `after` that pass the filters and hold the words, newest first."""
    keys, last = _among_newest(tx, scope, filters, max(limit, _window(scope)), after)
    if len(keys) < limit and last is not None:
        keys += _among_older(tx, scope, filters, limit - len(keys), last)
    return keys[:limit]


def _window(scope: Scope) -> int:
    return _NEWEST_OF_CARD if scope.card_id is not None else _NEWEST_OF_USER


def _among_newest(
    tx: Transaction, scope: Scope, filters: HistoryFilters, window: int, after: UUID | None
) -> tuple[list[Key], UUID | None]:
    """What holds the words among the newest, and the last id looked at when there are older ones."""
    columns = "t.card_id, t.transaction_id, t.merchant_category, t.detail, t.amount"
    statement, parameters = listing(columns, scope, replace(filters, text=None), window, after)
    rows = tx.fetch_all(
        f"WITH newest AS MATERIALIZED ({statement}), ends AS (SELECT count(*) AS seen, "  # noqa: S608 - our own columns
        "(SELECT transaction_id FROM newest ORDER BY transaction_id LIMIT 1) AS last FROM newest) "
        "SELECT ends.seen, ends.last, n.* FROM ends LEFT JOIN (SELECT t.card_id, t.transaction_id, "
        "s.document IS NULL AS wordless, CASE WHEN s.document IS NULL THEN t.merchant_category END AS merchant_category, "
        "CASE WHEN s.document IS NULL THEN t.detail END AS detail, CASE WHEN s.document IS NULL THEN t.amount END AS amount "
        "FROM newest t LEFT JOIN transaction_search s ON s.card_id = t.card_id AND s.transaction_id = t.transaction_id "
        "WHERE s.document IS NULL OR s.document @@ websearch_to_tsquery('simple', %(text)s)) n ON true "
        "ORDER BY n.transaction_id DESC",
        {**parameters, "text": filters.text},
    )
    held = _holding(tx, [row for row in rows if row["wordless"]], filters.text or "")
    keys = [
        (row["card_id"], row["transaction_id"])
        for row in rows
        if row["transaction_id"] is not None and (not row["wordless"] or row["transaction_id"] in held)
    ]
    return keys, rows[0]["last"] if rows[0]["seen"] == window else None


def _holding(tx: Transaction, rows: Sequence[Row], text: str) -> set[UUID]:
    """Those of the transactions without kept words that hold what is searched for."""
    if not rows:
        return set()
    matching = tx.fetch_all(
        "SELECT w.transaction_id FROM unnest(%s::uuid[], %s::text[]) AS w (transaction_id, words) "
        "WHERE to_tsvector('simple', w.words) @@ websearch_to_tsquery('simple', %s)",
        ([row["transaction_id"] for row in rows], [_words(row) for row in rows], text),
    )
    return {row["transaction_id"] for row in matching}


def _among_older(tx: Transaction, scope: Scope, filters: HistoryFilters, limit: int, before: UUID) -> list[Key]:
    rows = tx.fetch_all(
        "SELECT card_id, transaction_id FROM find_transactions(%s::uuid, %s::uuid, %s::text, %s::uuid, %s::uuid, "
        "%s::timestamptz, %s::timestamptz, %s::text, %s::text, %s::numeric, %s::numeric, %s::integer)",
        (
            scope.card_id, scope.user_id, filters.text, before, filters.lowest_id, filters.since, filters.until, filters.status,
            filters.merchant_category, filters.min_amount, filters.max_amount, limit,
        ),
    )  # fmt: skip
    return [(row["card_id"], row["transaction_id"]) for row in rows]


def _words(row: Row) -> str:
    merchant = row["detail"].get("merchant")
    return search_text(merchant if isinstance(merchant, dict) else {}, row["merchant_category"], row["amount"])
