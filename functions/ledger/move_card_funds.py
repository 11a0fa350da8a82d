"""POST /admin/cards/{card_id}/funds"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.ledger import routes
from functions.ledger.shapes import CardFundsRequest, CardFundsResponse

endpoint = door(routes.MOVE_CARD_FUNDS)


@endpoint.operation(
    response=CardFundsResponse,
    status=201,
    errors={
        404: ["card_not_found"],
        409: ["card_not_funded_by_balance", "card_state_conflict", "insufficient_funds"],
        422: [
            "amount_invalid",
            "amount_not_whole",
            "amount_out_of_range",
            "balance_too_large",
            "card_number_not_allowed",
            "currency_mismatch",
            "currency_unknown",
            "currency_unsupported",
        ],
    },
)
def move_card_funds(card_id: UUID, body: CardFundsRequest, call: ApiCall) -> Reply:
    """Load money onto a card that a balance funds, or withdraw it; what is held for the network is not withdrawn."""
    movement = body.movement()
    funds = call.api.cards.move_funds(call.actor, card_id, movement, operation_id=call.operation_id)
    return Reply(CardFundsResponse.of(call.operation_id, card_id, movement, funds))


handler = endpoint.handler
