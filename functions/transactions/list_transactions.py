"""GET /transactions"""

from cardwright.http.paging import CursorText, Limit, Page
from functions.door import ApiCall, Reply, door
from functions.transactions import routes
from functions.transactions.shapes import TransactionResponse

endpoint = door(routes.LIST_TRANSACTIONS)


@endpoint.operation(response=Page[TransactionResponse])
def list_transactions(call: ApiCall, limit: Limit = 50, cursor: CursorText = None) -> Reply:
    """What the caller's own cards were used for, newest first, declines included."""
    after = call.after("transactions", cursor)
    found = call.api.transactions.list_transactions(call.actor, limit=limit + 1, after=after)
    shown, pagination = call.page(found, limit, lambda item: item.transaction_id, "transactions")
    data = [TransactionResponse.of(item) for item in shown]
    return Reply(Page[TransactionResponse](data=data, pagination=pagination))


handler = endpoint.handler
