"""POST /webhooks/subscriptions/{subscription_id}/rotate-secret"""

from uuid import UUID

from cardwright.webhooks.rules import OVERLAP_S
from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import RotateSecretRequest, SubscriptionCreatedResponse

endpoint = door(routes.ROTATE_WEBHOOK_SECRET)


@endpoint.operation(
    response=SubscriptionCreatedResponse,
    errors={
        400: ["if_match_invalid"],
        404: ["subscription_not_found"],
        412: ["version_mismatch"],
        422: ["overlap_out_of_range"],
    },
)
def rotate_webhook_secret(subscription_id: UUID, call: ApiCall, body: RotateSecretRequest | None = None) -> Reply:
    """Sign with a new secret from now on, and for `overlap_seconds` (a day without it) with those of now beside it. At most five
    sign at once."""
    overlap_s = OVERLAP_S if body is None else body.overlap_seconds
    subscription, secret = call.api.webhooks.rotate_secret(
        call.actor, subscription_id, call.operation_id, call.if_match, overlap_s
    )
    return Reply(
        SubscriptionCreatedResponse.with_secret(subscription, secret), etag=subscription.version, once=frozenset({"secret"})
    )


handler = endpoint.handler
