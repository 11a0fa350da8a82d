"""GET /webhooks/subscriptions"""

from cardwright.http.paging import CursorText, Limit, Page
from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import SubscriptionResponse

endpoint = door(routes.LIST_WEBHOOK_SUBSCRIPTIONS)


@endpoint.operation(response=Page[SubscriptionResponse], errors={400: ["cursor_invalid"]})
def list_webhook_subscriptions(call: ApiCall, limit: Limit = 50, cursor: CursorText = None) -> Reply:
    """The caller's subscriptions, newest first."""
    after = call.after("webhook_subscriptions", cursor)
    found = call.api.webhooks.list_subscriptions(call.actor, limit + 1, after)
    shown, pagination = call.page(found, limit, lambda one: one.subscription_id, "webhook_subscriptions")
    data = [SubscriptionResponse.of(subscription) for subscription in shown]
    return Reply(Page[SubscriptionResponse](data=data, pagination=pagination))


handler = endpoint.handler
