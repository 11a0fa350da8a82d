"""POST /notifications/send"""

from functions.door import ApiCall, Reply, door
from functions.notifications import routes
from functions.notifications.shapes import SendAcceptedResponse, SendRequest

endpoint = door(routes.SEND_NOTIFICATION)


@endpoint.operation(
    response=SendAcceptedResponse,
    status=202,
    errors={
        404: ["user_not_found"],
        422: ["unknown_template", "parameter_unknown", "parameter_missing", "parameter_invalid"],
    },
)
def send_notification(body: SendRequest, call: ApiCall) -> Reply:
    """Let somebody be told by a template, as that person wishes. There is no free text: words are those of the templates."""
    call.api.notifications.send(call.actor, body.template_id, body.user_id, body.params, call.operation_id)
    return Reply(SendAcceptedResponse(id=call.operation_id))


handler = endpoint.handler
