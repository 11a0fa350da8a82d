"""DELETE /cards/{card_id}"""

from uuid import UUID

from cardwright.cards.rules import ReasonCode
from cardwright.cards.service import StateChange
from functions.cards import routes
from functions.cards.shapes import CardResponse, ForceAfter, moment
from functions.door import ApiCall, Reply, door

endpoint = door(routes.CANCEL_CARD)


@endpoint.operation(
    response=CardResponse,
    errors={
        400: ["if_match_invalid"],
        404: ["card_not_found"],
        409: ["card_already_cancelled", "card_state_conflict", "pending_authorizations"],
        412: ["version_mismatch"],
        422: ["force_after_invalid", "force_after_out_of_range", "reason_code_not_allowed"],
    },
)
def cancel_card(card_id: UUID, call: ApiCall, force_after: ForceAfter = None, reason_code: ReasonCode | None = None) -> Reply:
    """End a card for good. While authorizations are pending it is refused; with `force_after` the card is frozen at once and
    cancelled when nothing is pending any more, at that time at the latest. To unfreeze it takes the cancellation back."""
    card = call.api.cards.cancel(
        call.actor,
        card_id,
        StateChange(code=reason_code, if_match=call.if_match),
        operation_id=call.operation_id,
        force_after=moment(force_after, call.api.clock.now()),
    )
    return Reply(CardResponse.of(card, call.principal, call.api.settings), etag=card.version)


handler = endpoint.handler
