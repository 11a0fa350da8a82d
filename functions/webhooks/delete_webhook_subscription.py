"""DELETE /webhooks/subscriptions/{subscription_id}"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.webhooks import routes

endpoint = door(routes.DELETE_WEBHOOK_SUBSCRIPTION)


@endpoint.operation(status=204, errors={400: ["if_match_invalid"], 404: ["subscription_not_found"], 412: ["version_mismatch"]})
def delete_webhook_subscription(subscription_id: UUID, call: ApiCall) -> Reply:
    """End a subscription and cancel what is not delivered yet."""
    call.api.webhooks.delete_subscription(call.actor, subscription_id, call.operation_id, call.if_match)
    return Reply()


handler = endpoint.handler
