"""POST /cards/{card_id}/reveal"""

from uuid import UUID

from functions.cards import routes
from functions.cards.shapes import RevealRequest, RevealResponse
from functions.door import ApiCall, Reply, door

endpoint = door(routes.REVEAL_CARD)


@endpoint.operation(response=RevealResponse, status=201, errors={404: ["card_not_found"], 409: ["card_state_conflict"]})
def reveal_card(card_id: UUID, call: ApiCall, body: RevealRequest | None = None) -> Reply:
    """Answer the URL of a view that shows the card's number and security code, for a minute and to the first who asks for it.

    Put it in a frame at once and send it to nobody. At most 10 an hour.
    """
    reveal = call.api.cards.reveal_card(call.actor, card_id, call.operation_id)
    return Reply(RevealResponse.of(reveal, call.api.settings.public_url + routes.OPEN_CARD_REVEAL.full_path))


handler = endpoint.handler
