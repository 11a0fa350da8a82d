"""POST /webhooks/processor-events"""

from typing import Literal
from uuid import UUID

from cardwright.http.fields import StrictModel
from functions.door import ApiCall, Reply, door
from functions.transactions import routes

endpoint = door(routes.RECEIVE_PROCESSOR_EVENT)

_ERRORS = {400: ["json_invalid", "event_malformed", "event_type_unknown", "event_id_reserved"], 409: ["event_id_reused"]}


class ReceivedResponse(StrictModel):
    """The event is kept, or was before; it need not be sent again.

    `applied`: the transaction shows it. `parked`: kept until what it speaks of is known, with the reason. `duplicate`: taken
    before. `ignored`: nothing that concerns us.
    """

    received: Literal[True] = True
    outcome: Literal["applied", "parked", "duplicate", "ignored"]
    parked_reason: str | None
    transaction_id: UUID | None


@endpoint.operation(response=ReceivedResponse, status=202, errors=_ERRORS)
def receive_processor_event(call: ApiCall) -> Reply:
    """Take a signed event of a transaction (by default Standard Webhooks 1.0): at least once, in any order."""
    taken = call.api.processor_events.receive(call.headers, call.raw_body)
    return Reply(
        ReceivedResponse.model_validate(
            {"outcome": taken.outcome, "parked_reason": taken.parked_reason, "transaction_id": taken.transaction_id}
        )
    )


handler = endpoint.handler
