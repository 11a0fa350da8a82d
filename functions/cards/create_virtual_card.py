"""POST /cards"""

from functions.cards import routes
from functions.cards.shapes import CardCreateRequest, CardResponse
from functions.door import ApiCall, Reply, door

endpoint = door(routes.CREATE_VIRTUAL_CARD)


@endpoint.operation(
    response=CardResponse,
    status=201,
    errors={
        403: ["kyc_required"],
        409: ["card_limit_reached"],
        422: [
            "program_not_found",
            "program_retired",
            "program_currency_mismatch",
            "currency_unknown",
            "currency_unsupported",
            "amount_invalid",
            "amount_not_whole",
            "limit_out_of_range",
            "limit_order",
            "merchant_category_unknown",
            "merchant_category_conflict",
            "too_many_items",
            "date_invalid",
            "expires_on_out_of_range",
            "card_number_not_allowed",
        ],
        502: ["processor_refused", "processor_answer_invalid"],
        503: ["processor_unavailable", "keys_unavailable"],
    },
)
def create_virtual_card(body: CardCreateRequest, call: ApiCall) -> Reply:
    """Issue a card to the caller, whose identity must be verified. After a 503 send the same request with the same key again."""
    card = call.api.cards.issue_card(call.actor, body.wish(), call.operation_id)
    return Reply(
        CardResponse.of(card, call.principal, call.api.settings),
        etag=card.version,
        headers={"Location": f"{routes.CREATE_VIRTUAL_CARD.full_path}/{card.card_id}"},
    )


handler = endpoint.handler
