"""GET /cards"""

from cardwright.http.paging import CursorText, Limit, Page
from functions.cards import routes
from functions.cards.shapes import CardResponse
from functions.door import ApiCall, Reply, door

endpoint = door(routes.LIST_CARDS)


@endpoint.operation(response=Page[CardResponse])
def list_cards(call: ApiCall, limit: Limit = 50, cursor: CursorText = None) -> Reply:
    """The caller's cards, newest first; staff sees everybody's."""
    after = call.after("cards", cursor)
    cards = call.api.cards.list_cards(call.actor, limit=limit + 1, after=after)
    shown, pagination = call.page(cards, limit, lambda card: card.card_id, "cards")
    data = [CardResponse.of(card, call.principal, call.api.settings) for card in shown]
    return Reply(Page[CardResponse](data=data, pagination=pagination))


handler = endpoint.handler
