"""POST /cards/{card_id}/replace"""

from uuid import UUID

from functions.cards import routes
from functions.cards.shapes import CardResponse, CardStateRequest
from functions.door import ApiCall, Reply, door

endpoint = door(routes.REPLACE_CARD)


@endpoint.operation(
    response=CardResponse,
    status=201,
    errors={
        400: ["if_match_invalid"],
        403: ["kyc_required", "card_frozen_by_issuer"],
        404: ["card_not_found"],
        409: ["card_already_replaced", "card_state_conflict", "card_limit_reached"],
        412: ["version_mismatch"],
        422: ["reason_code_not_allowed", "card_number_not_allowed"],
        502: ["processor_refused", "processor_answer_invalid"],
        503: ["processor_unavailable", "keys_unavailable"],
    },
)
def replace_card(card_id: UUID, call: ApiCall, body: CardStateRequest | None = None) -> Reply:
    """Cancel a card that was lost, stolen or compromised and issue another with its settings; answers the new card.

    The old card ends first. After a 503 send the same request with the same key again.
    """
    change = (body or CardStateRequest()).change(call.if_match)
    card = call.api.cards.replace_card(call.actor, card_id, change, operation_id=call.operation_id)
    return Reply(
        CardResponse.of(card, call.principal, call.api.settings),
        etag=card.version,
        headers={"Location": f"{routes.LIST_CARDS.full_path}/{card.card_id}"},
    )


handler = endpoint.handler
