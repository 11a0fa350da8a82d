"""POST /webhooks/messages/twilio"""

from functions.door import ApiCall, Reply, door
from functions.notifications import routes
from functions.notifications.shapes import ReportedResponse

endpoint = door(routes.RECEIVE_TWILIO_STATUS)


@endpoint.operation(response=ReportedResponse, status=202, errors={400: ["event_invalid"]})
def receive_twilio_status(call: ApiCall) -> Reply:
    """Take a status callback signed with X-Twilio-Signature: at least once, in any order."""
    call.api.twilio_reports.receive(call.headers, call.raw_body)
    return Reply(ReportedResponse())


handler = endpoint.handler
