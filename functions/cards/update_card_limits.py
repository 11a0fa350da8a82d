"""PUT /cards/{card_id}/limits"""

from uuid import UUID

from functions.cards import routes
from functions.cards.shapes import CardLimitsRequest, CardLimitsResponse
from functions.door import ApiCall, Reply, door

endpoint = door(routes.UPDATE_CARD_LIMITS)


@endpoint.operation(
    response=CardLimitsResponse,
    errors={
        400: ["if_match_invalid"],
        403: ["step_up_required", "mfa_enrolment_required"],
        404: ["card_not_found"],
        409: ["card_state_conflict"],
        412: ["version_mismatch"],
        422: [
            "amount_invalid",
            "amount_not_whole",
            "limit_out_of_range",
            "limit_order",
            "merchant_category_unknown",
            "merchant_category_conflict",
            "country_unknown",
            "country_conflict",
            "too_many_items",
            "time_zone_unknown",
        ],
    },
)
def update_card_limits(card_id: UUID, body: CardLimitsRequest, call: ApiCall) -> Reply:
    """Change limits and settings; what is left out stays. When this has answered, every authorization is held to them.

    To raise an amount above the program's threshold needs a fresh second factor. Money that is spent stays spent, also when the
    time zone changes: a day's sum is kept until that day would have ended, and then until the new zone's next midnight.
    """
    card, spend = call.api.cards.update_limits(
        call.actor,
        card_id,
        body.change(),
        operation_id=call.operation_id,
        require_step_up=call.require_step_up,
        if_match=call.if_match,
    )
    return Reply(CardLimitsResponse.of(card, spend, call.api.clock.now()), etag=card.version)


handler = endpoint.handler
