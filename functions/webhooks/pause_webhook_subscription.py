"""POST /webhooks/subscriptions/{subscription_id}/pause"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import SubscriptionResponse

endpoint = door(routes.PAUSE_WEBHOOK_SUBSCRIPTION)


@endpoint.operation(
    response=SubscriptionResponse,
    errors={
        400: ["if_match_invalid"],
        404: ["subscription_not_found"],
        409: ["already_paused", "subscription_not_active"],
        412: ["version_mismatch"],
    },
)
def pause_webhook_subscription(subscription_id: UUID, call: ApiCall) -> Reply:
    """Send nothing more until the subscription is reactivated; what happens meanwhile follows then."""
    subscription = call.api.webhooks.pause(call.actor, subscription_id, call.operation_id, call.if_match)
    return Reply(SubscriptionResponse.of(subscription), etag=subscription.version)


handler = endpoint.handler
