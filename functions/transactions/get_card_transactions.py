"""GET /cards/{card_id}/transactions"""

from uuid import UUID

from cardwright.http.paging import CursorText, Limit, Page
from functions.door import ApiCall, Reply, door
from functions.transactions import routes
from functions.transactions.shapes import FILTER_CODES, Filters, TransactionResponse

endpoint = door(routes.GET_CARD_TRANSACTIONS)


@endpoint.operation(
    response=Page[TransactionResponse],
    errors={400: ["cursor_invalid"], 404: ["card_not_found"], 422: FILTER_CODES},
)
def get_card_transactions(card_id: UUID, call: ApiCall, filters: Filters, limit: Limit = 50, cursor: CursorText = None) -> Reply:
    """What one card was used for, newest first, declines included; staff sees any card's.

    A cursor goes on with the same card and filters only.
    """
    list_name = f"transactions of {card_id} {sorted(filters.document().items())}"
    after = call.after(list_name, cursor)
    found = call.api.transactions.list_transactions(call.actor, card_id=card_id, filters=filters, limit=limit + 1, after=after)
    shown, pagination = call.page(found, limit, lambda item: item.transaction_id, list_name)
    data = [TransactionResponse.of(item) for item in shown]
    return Reply(Page[TransactionResponse](data=data, pagination=pagination))


handler = endpoint.handler
