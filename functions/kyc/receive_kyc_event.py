"""POST /webhooks/kyc"""

from typing import Literal

from cardwright.http.fields import StrictModel
from functions.door import ApiCall, Reply, door
from functions.kyc import routes

endpoint = door(routes.RECEIVE_KYC_EVENT)


class ReceivedResponse(StrictModel):
    """The event is kept, or was before; it need not be sent again."""

    received: Literal[True] = True


@endpoint.operation(response=ReceivedResponse, status=202, errors={400: ["json_invalid", "event_invalid"]})
def receive_kyc_event(call: ApiCall) -> Reply:
    """Take a signed outcome (Standard Webhooks 1.0): at least once, in any order."""
    call.api.kyc_events.receive(call.headers, call.raw_body, call.request_id)
    return Reply(ReceivedResponse())


handler = endpoint.handler
