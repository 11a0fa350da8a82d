"""GET /webhooks/subscriptions/{subscription_id}"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import SubscriptionResponse

endpoint = door(routes.GET_WEBHOOK_SUBSCRIPTION)


@endpoint.operation(response=SubscriptionResponse, errors={404: ["subscription_not_found"]})
def get_webhook_subscription(subscription_id: UUID, call: ApiCall) -> Reply:
    """One of the caller's subscriptions."""
    subscription = call.api.webhooks.get_subscription(call.actor, subscription_id)
    return Reply(SubscriptionResponse.of(subscription), etag=subscription.version)


handler = endpoint.handler
