"""Rows of the transaction doors."""

from cardwright.kernel.rows import SIGNED_IN, Http

LIST_TRANSACTIONS = Http(
    name="list_transactions",
    domain="transactions",
    method="GET",
    path="/transactions",
    needs=SIGNED_IN,
    summary="Transactions of all the caller's cards, newest first, declines included.",
    tags=("transactions",),
)
GET_CARD_TRANSACTIONS = Http(
    name="get_card_transactions",
    domain="transactions",
    method="GET",
    path="/cards/{card_id}/transactions",
    needs=SIGNED_IN,
    summary="Transactions of one card, newest first, declines included.",
    tags=("transactions",),
)

ROWS = (LIST_TRANSACTIONS, GET_CARD_TRANSACTIONS)
