"""POST /webhooks/subscriptions"""

from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import SUBSCRIPTION_CODES, SubscriptionCreatedResponse, SubscriptionCreateRequest

endpoint = door(routes.CREATE_WEBHOOK_SUBSCRIPTION)


@endpoint.operation(
    response=SubscriptionCreatedResponse,
    status=201,
    errors={409: ["too_many_subscriptions"], 422: SUBSCRIPTION_CODES},
)
def create_webhook_subscription(body: SubscriptionCreateRequest, call: ApiCall) -> Reply:
    """Subscribe a URL; it is sent a signed challenge at once and hears of events when it has answered that."""
    subscription, secret = call.api.webhooks.create_subscription(call.actor, body.wanted(), call.operation_id)
    return Reply(
        SubscriptionCreatedResponse.with_secret(subscription, secret),
        etag=subscription.version,
        headers={"Location": f"{routes.CREATE_WEBHOOK_SUBSCRIPTION.full_path}/{subscription.subscription_id}"},
        once=frozenset({"secret"}),
    )


handler = endpoint.handler
