"""GET /cards/{card_id}/limits"""

from uuid import UUID

from functions.cards import routes
from functions.cards.shapes import CardLimitsResponse
from functions.door import ApiCall, Reply, door

endpoint = door(routes.GET_CARD_LIMITS)


@endpoint.operation(response=CardLimitsResponse, errors={404: ["card_not_found"]})
def get_card_limits(card_id: UUID, call: ApiCall) -> Reply:
    """Limits and settings of a card of the caller's, what remains of them and when they begin anew; staff sees any."""
    card, spend = call.api.cards.get_limits(call.actor, card_id)
    return Reply(CardLimitsResponse.of(card, spend, call.api.clock.now()), etag=card.version)


handler = endpoint.handler
