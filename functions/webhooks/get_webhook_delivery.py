"""GET /webhooks/subscriptions/{subscription_id}/deliveries/{event_id}"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import DeliveryResponse

endpoint = door(routes.GET_WEBHOOK_DELIVERY)


@endpoint.operation(response=DeliveryResponse, errors={404: ["subscription_not_found", "delivery_not_found"]})
def get_webhook_delivery(subscription_id: UUID, event_id: UUID, call: ApiCall) -> Reply:
    """How one event fared on its way to one of the caller's subscriptions."""
    delivery = call.api.webhooks.get_delivery(call.actor, subscription_id, event_id)
    return Reply(DeliveryResponse.of(delivery))


handler = endpoint.handler
