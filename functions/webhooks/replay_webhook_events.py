"""POST /webhooks/subscriptions/{subscription_id}/replay"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import ReplayCreateRequest, ReplayResponse

endpoint = door(routes.REPLAY_WEBHOOK_EVENTS)


@endpoint.operation(
    response=ReplayResponse,
    status=202,
    errors={
        404: ["subscription_not_found", "event_not_found"],
        409: ["subscription_not_active", "too_many_replays", "too_many_rounds"],
        422: [
            "required",
            "event_or_range",
            "time_invalid",
            "range_empty",
            "range_too_long",
            "range_too_old",
            "range_in_future",
        ],
    },
)
def replay_webhook_events(subscription_id: UUID, body: ReplayCreateRequest, call: ApiCall) -> Reply:
    """Send again, as a job: one event, or those of a range of time that the subscription would hear of today. Receivers see the
    same event ids as before."""
    replay = call.api.webhooks.replay(call.actor, subscription_id, body.wanted(), call.operation_id)
    location = routes.GET_WEBHOOK_REPLAY.full_path.replace("{subscription_id}", str(subscription_id))
    return Reply(ReplayResponse.of(replay), headers={"Location": location.replace("{replay_id}", str(replay.replay_id))})


handler = endpoint.handler
