"""GET /transactions"""

from cardwright.http.paging import CursorText, Limit, Page
from functions.door import ApiCall, Reply, door
from functions.transactions import routes
from functions.transactions.shapes import FILTER_CODES, Filters, TransactionResponse

endpoint = door(routes.LIST_TRANSACTIONS)


@endpoint.operation(response=Page[TransactionResponse], errors={400: ["cursor_invalid"], 422: FILTER_CODES})
def list_transactions(call: ApiCall, filters: Filters, limit: Limit = 50, cursor: CursorText = None) -> Reply:
    """What the caller's own cards were used for, newest first, declines included. A cursor goes on with the same filters only."""
    list_name = f"transactions {sorted(filters.document().items())}"
    after = call.after(list_name, cursor)
    found = call.api.transactions.list_transactions(call.actor, filters=filters, limit=limit + 1, after=after)
    shown, pagination = call.page(found, limit, lambda item: item.transaction_id, list_name)
    data = [TransactionResponse.of(item) for item in shown]
    return Reply(Page[TransactionResponse](data=data, pagination=pagination))


handler = endpoint.handler
