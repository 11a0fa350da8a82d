"""PATCH /cards/{card_id}"""

from uuid import UUID

from functions.cards import routes
from functions.cards.shapes import CardChangeRequest, CardResponse
from functions.door import ApiCall, Reply, door

endpoint = door(routes.UPDATE_CARD)


@endpoint.operation(
    response=CardResponse,
    errors={
        400: ["if_match_invalid"],
        404: ["card_not_found"],
        412: ["version_mismatch"],
        422: ["card_number_not_allowed"],
    },
)
def update_card(card_id: UUID, body: CardChangeRequest, call: ApiCall) -> Reply:
    """Give a card another label. Limits and states have doors of their own."""
    card = call.api.cards.rename_card(call.actor, card_id, body.label, operation_id=call.operation_id, if_match=call.if_match)
    return Reply(CardResponse.of(card, call.principal, call.api.settings), etag=card.version)


handler = endpoint.handler
