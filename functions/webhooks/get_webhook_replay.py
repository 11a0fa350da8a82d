"""GET /webhooks/subscriptions/{subscription_id}/replays/{replay_id}"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import ReplayResponse

endpoint = door(routes.GET_WEBHOOK_REPLAY)


@endpoint.operation(response=ReplayResponse, errors={404: ["subscription_not_found", "replay_not_found"]})
def get_webhook_replay(subscription_id: UUID, replay_id: UUID, call: ApiCall) -> Reply:
    """One replay of one of the caller's subscriptions."""
    replay = call.api.webhooks.get_replay(call.actor, subscription_id, replay_id)
    return Reply(ReplayResponse.of(replay))


handler = endpoint.handler
