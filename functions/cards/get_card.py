"""GET /cards/{card_id}"""

from uuid import UUID

from functions.cards import routes
from functions.cards.shapes import CardResponse
from functions.door import ApiCall, Reply, door

endpoint = door(routes.GET_CARD)


@endpoint.operation(response=CardResponse, errors={404: ["card_not_found"]})
def get_card(card_id: UUID, call: ApiCall) -> Reply:
    """One card of the caller's; staff sees any."""
    card = call.api.cards.get_card(call.actor, card_id)
    return Reply(CardResponse.of(card, call.principal, call.api.settings), etag=card.version)


handler = endpoint.handler
