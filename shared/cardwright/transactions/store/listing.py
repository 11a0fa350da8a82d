"""The statement of a list: transactions newest first, of one card or of all of a user's, with what they are filtered by."""

from typing import Any
from uuid import UUID

from cardwright.platform.postgres import Row
from cardwright.transactions.rules.history import CardTransaction, HistoryFilters, Scope, TransactionStatus

COLUMNS = (
    "t.transaction_id, t.card_id, t.authorization_id, t.original_authorization_id, t.root_authorization_id, t.type, "
    "t.status::text AS status, t.reason, t.amount, t.approved_amount, t.held_amount, t.cleared_amount, t.reversed_amount, "
    "t.refunded_amount, t.flags, t.currency, t.merchant_category, t.detail, t.risk_score, t.hold_expires_at, t.decided_at, "
    "t.updated_at"
)
# The words of a transaction are kept a moment after it was decided (`searching`).
_WORDS = (
    "coalesce((SELECT s.document FROM transaction_search s WHERE s.card_id = t.card_id AND s.transaction_id = t.transaction_id), "
    "to_tsvector('simple', concat_ws(' ', t.detail->'merchant'->>'name', t.detail->'merchant'->>'city', t.amount))) "
    "@@ websearch_to_tsquery('simple', %(text)s)"
)


def listing(columns: str, scope: Scope, filters: HistoryFilters, limit: int, after: UUID | None) -> tuple[str, dict[str, Any]]:
    """The statement that lists `columns` of transactions `t` newest first, and its parameters.

    A transaction whose words are not kept yet is searched in what the network told of it.

    There is no index by user: of each card the newest one is looked up, and only cards whose newest is among the `limit` newest
    can have a part in the page. Of the card in place n no more than limit - n + 1 can.
    """
    where, parameters = _conditions(filters, after)
    parameters |= {"card_id": scope.card_id, "user_id": scope.user_id, "limit": limit}
    if scope.card_id is not None:
        return (
            f"SELECT {columns} FROM card_transactions t WHERE t.card_id = %(card_id)s{where} "  # noqa: S608 - our own columns
            "ORDER BY t.transaction_id DESC LIMIT %(limit)s",
            parameters,
        )
    return (
        "WITH heads AS (SELECT c.card_id, h.transaction_id, row_number() OVER (ORDER BY h.transaction_id DESC) AS place "  # noqa: S608 - our own columns
        "FROM virtual_cards c CROSS JOIN LATERAL (SELECT t.transaction_id FROM card_transactions t "
        f"WHERE t.card_id = c.card_id{where} ORDER BY t.transaction_id DESC LIMIT 1) h "
        "WHERE c.user_id = %(user_id)s ORDER BY h.transaction_id DESC LIMIT %(limit)s) "
        f"SELECT t.* FROM heads CROSS JOIN LATERAL (SELECT {columns} FROM card_transactions t "
        f"WHERE t.card_id = heads.card_id AND t.transaction_id <= heads.transaction_id{where} "
        "ORDER BY t.transaction_id DESC LIMIT %(limit)s - heads.place + 1) t ORDER BY t.transaction_id DESC LIMIT %(limit)s",
        parameters,
    )


def transaction(row: Row) -> CardTransaction:
    """The transaction of a row of COLUMNS."""
    return CardTransaction(**{**row, "status": TransactionStatus(row["status"]), "flags": tuple(row["flags"])})


def _conditions(filters: HistoryFilters, after: UUID | None) -> tuple[str, dict[str, Any]]:
    """Conditions on `t`, each after an AND, and their parameters; what is not filtered by is not there for the planner either."""
    bounds = [bound for bound in (after, filters.highest_id) if bound is not None]
    parameters: dict[str, Any] = {
        "before": min(bounds, default=None),
        "lowest": filters.lowest_id,
        "since": filters.since,
        "until": filters.until,
        "status": filters.status,
        "merchant_category": filters.merchant_category,
        "min_amount": filters.min_amount,
        "max_amount": filters.max_amount,
        "text": filters.text,
    }
    conditions = {
        "before": "t.transaction_id < %(before)s",
        "lowest": "t.transaction_id >= %(lowest)s",
        "since": "t.decided_at >= %(since)s",
        "until": "t.decided_at < %(until)s",
        "status": "t.status = %(status)s::transaction_status",
        "merchant_category": "t.merchant_category = %(merchant_category)s",
        "min_amount": "t.amount >= %(min_amount)s",
        "max_amount": "t.amount <= %(max_amount)s",
        "text": _WORDS,
    }
    return "".join(f" AND {conditions[name]}" for name, value in parameters.items() if value is not None), parameters
