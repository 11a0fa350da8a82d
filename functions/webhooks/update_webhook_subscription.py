"""PATCH /webhooks/subscriptions/{subscription_id}"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import SUBSCRIPTION_CODES, SubscriptionChangeRequest, SubscriptionResponse

endpoint = door(routes.UPDATE_WEBHOOK_SUBSCRIPTION)


@endpoint.operation(
    response=SubscriptionResponse,
    errors={
        400: ["if_match_invalid"],
        404: ["subscription_not_found"],
        412: ["version_mismatch"],
        422: SUBSCRIPTION_CODES,
    },
)
def update_webhook_subscription(subscription_id: UUID, body: SubscriptionChangeRequest, call: ApiCall) -> Reply:
    """Change what a subscription hears of, or where. A new URL is sent a signed challenge and hears nothing before it has
    answered; what happened meanwhile follows then."""
    subscription = call.api.webhooks.update_subscription(
        call.actor, subscription_id, body.changes(), call.operation_id, call.if_match
    )
    return Reply(SubscriptionResponse.of(subscription), etag=subscription.version)


handler = endpoint.handler
