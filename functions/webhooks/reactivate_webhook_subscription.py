"""POST /webhooks/subscriptions/{subscription_id}/reactivate"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import SubscriptionResponse

endpoint = door(routes.REACTIVATE_WEBHOOK_SUBSCRIPTION)


@endpoint.operation(
    response=SubscriptionResponse,
    errors={
        400: ["if_match_invalid"],
        404: ["subscription_not_found"],
        409: ["already_active", "verification_pending"],
        412: ["version_mismatch"],
    },
)
def reactivate_webhook_subscription(subscription_id: UUID, call: ApiCall) -> Reply:
    """Begin to send again after a pause, or after the subscription was disabled: first what was missed. A URL that never answered
    its challenge is sent a new one first."""
    subscription = call.api.webhooks.reactivate(call.actor, subscription_id, call.operation_id, call.if_match)
    return Reply(SubscriptionResponse.of(subscription), etag=subscription.version)


handler = endpoint.handler
