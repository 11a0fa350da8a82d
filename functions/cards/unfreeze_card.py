"""POST /cards/{card_id}/unfreeze"""

from uuid import UUID

from cardwright.cards.rules import CardStatus
from functions.cards import routes
from functions.cards.shapes import CardResponse, CardStateRequest
from functions.door import ApiCall, Reply, door

endpoint = door(routes.UNFREEZE_CARD)


@endpoint.operation(
    response=CardResponse,
    errors={
        400: ["if_match_invalid"],
        403: ["card_frozen_by_issuer"],
        404: ["card_not_found"],
        409: ["card_already_active", "card_state_conflict"],
        412: ["version_mismatch"],
        422: ["reason_code_not_allowed", "card_number_not_allowed"],
    },
)
def unfreeze_card(card_id: UUID, call: ApiCall, body: CardStateRequest | None = None) -> Reply:
    """Make a frozen card active again; what the issuer froze a cardholder cannot release."""
    card = call.api.cards.update_card_status(
        call.actor,
        card_id,
        CardStatus.ACTIVE,
        reason=body.reason if body else None,
        code=body.reason_code if body else None,
        operation_id=call.operation_id,
        if_match=call.if_match,
    )
    return Reply(CardResponse.of(card, call.principal, call.api.settings), etag=card.version)


handler = endpoint.handler
