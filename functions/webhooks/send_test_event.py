"""POST /webhooks/subscriptions/{subscription_id}/test"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import EventSentResponse

endpoint = door(routes.SEND_TEST_EVENT)


@endpoint.operation(
    response=EventSentResponse,
    status=202,
    errors={404: ["subscription_not_found"], 409: ["subscription_not_active"]},
)
def send_test_event(subscription_id: UUID, call: ApiCall) -> Reply:
    """Send a `webhook.test` event to this subscription alone, whatever it has subscribed to."""
    event = call.api.webhooks.send_test(call.actor, subscription_id, call.operation_id)
    location = routes.GET_WEBHOOK_DELIVERY.full_path.replace("{subscription_id}", str(subscription_id))
    return Reply(EventSentResponse.of(event), headers={"Location": location.replace("{event_id}", str(event.event_id))})


handler = endpoint.handler
