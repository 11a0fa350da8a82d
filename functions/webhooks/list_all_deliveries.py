"""GET /admin/deliveries"""

from cardwright.http.paging import CursorText, Limit, Page
from cardwright.webhooks.rules import DeliveryStatus
from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import AnyDeliveryResponse

endpoint = door(routes.LIST_ALL_DELIVERIES)


@endpoint.operation(response=Page[AnyDeliveryResponse], errors={400: ["cursor_invalid"]})
def list_all_deliveries(
    call: ApiCall, status: DeliveryStatus | None = None, limit: Limit = 50, cursor: CursorText = None
) -> Reply:
    """Deliveries to everybody's subscriptions with their attempts, newest event first."""
    # An event has a delivery for each subscription: a position in this list is both.
    events, subscriptions = f"all deliveries {status}", f"subscriptions of all deliveries {status}"
    event, _, subscription = (None, "", None) if cursor is None else cursor.partition(".")
    at_event, at_subscription = call.after(events, event), call.after(subscriptions, subscription)
    after = (at_event, at_subscription) if at_event and at_subscription else None
    found = call.api.webhooks.list_all_deliveries(call.actor, limit + 1, after, status)
    shown, pagination = call.page(found, limit, lambda delivery: delivery.event_id, events)
    if pagination.has_more:
        _, beside = call.page(found, limit, lambda delivery: delivery.subscription_id, subscriptions)
        pagination = pagination.model_copy(update={"next_cursor": f"{pagination.next_cursor}.{beside.next_cursor}"})
    data = [AnyDeliveryResponse.of(delivery) for delivery in shown]
    return Reply(Page[AnyDeliveryResponse](data=data, pagination=pagination))


handler = endpoint.handler
