"""POST /webhooks/messages/sendgrid"""

from functions.door import ApiCall, Reply, door
from functions.notifications import routes
from functions.notifications.shapes import ReportedResponse

endpoint = door(routes.RECEIVE_SENDGRID_EVENTS)


@endpoint.operation(response=ReportedResponse, status=202, errors={400: ["json_invalid", "event_invalid"]})
def receive_sendgrid_events(call: ApiCall) -> Reply:
    """Take a report signed as SendGrid's Event Webhook is: at least once, in any order."""
    call.api.sendgrid_reports.receive(call.headers, call.raw_body)
    return Reply(ReportedResponse())


handler = endpoint.handler
