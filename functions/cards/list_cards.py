"""GET /cards"""

from cardwright.cards.rules import CardStatus
from cardwright.cards.service import CardFilter
from cardwright.http.paging import CursorText, Limit, Page
from functions.cards import routes
from functions.cards.shapes import CardResponse
from functions.door import ApiCall, Reply, door

endpoint = door(routes.LIST_CARDS)


@endpoint.operation(response=Page[CardResponse], errors={400: ["cursor_invalid"]})
def list_cards(call: ApiCall, status: CardStatus | None = None, limit: Limit = 50, cursor: CursorText = None) -> Reply:
    """The caller's cards, newest first; staff sees everybody's."""
    list_name = "cards" if status is None else f"cards {status}"
    after = call.after(list_name, cursor)
    cards = call.api.cards.list_cards(call.actor, limit=limit + 1, after=after, wanted=CardFilter(status=status))
    shown, pagination = call.page(cards, limit, lambda card: card.card_id, list_name)
    data = [CardResponse.of(card, call.principal, call.api.settings) for card in shown]
    return Reply(Page[CardResponse](data=data, pagination=pagination))


handler = endpoint.handler
