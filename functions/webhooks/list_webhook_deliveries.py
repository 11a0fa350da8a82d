"""GET /webhooks/subscriptions/{subscription_id}/deliveries"""

from uuid import UUID

from cardwright.http.paging import CursorText, Limit, Page
from cardwright.webhooks.rules import DeliveryStatus
from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import DeliveryResponse

endpoint = door(routes.LIST_WEBHOOK_DELIVERIES)


@endpoint.operation(
    response=Page[DeliveryResponse],
    errors={400: ["cursor_invalid"], 404: ["subscription_not_found"], 422: ["event_type_unknown"]},
)
def list_webhook_deliveries(
    subscription_id: UUID,
    call: ApiCall,
    status: DeliveryStatus | None = None,
    event_type: str | None = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Reply:
    """Deliveries to one of the caller's subscriptions with their attempts, newest event first."""
    list_name = f"webhook_deliveries:{subscription_id}:{status}:{event_type}"
    found = call.api.webhooks.list_deliveries(
        call.actor, subscription_id, limit + 1, call.after(list_name, cursor), status=status, event_type=event_type
    )
    shown, pagination = call.page(found, limit, lambda delivery: delivery.event_id, list_name)
    data = [DeliveryResponse.of(delivery) for delivery in shown]
    return Reply(Page[DeliveryResponse](data=data, pagination=pagination))


handler = endpoint.handler
