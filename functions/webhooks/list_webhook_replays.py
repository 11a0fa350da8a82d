"""GET /webhooks/subscriptions/{subscription_id}/replays"""

from uuid import UUID

from cardwright.http.paging import CursorText, Limit, Page
from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import ReplayResponse

endpoint = door(routes.LIST_WEBHOOK_REPLAYS)


@endpoint.operation(response=Page[ReplayResponse], errors={400: ["cursor_invalid"], 404: ["subscription_not_found"]})
def list_webhook_replays(subscription_id: UUID, call: ApiCall, limit: Limit = 50, cursor: CursorText = None) -> Reply:
    """Replays of one of the caller's subscriptions, newest first, those made of a reactivation among them."""
    list_name = f"webhook_replays:{subscription_id}"
    found = call.api.webhooks.list_replays(call.actor, subscription_id, limit + 1, call.after(list_name, cursor))
    shown, pagination = call.page(found, limit, lambda replay: replay.replay_id, list_name)
    return Reply(Page[ReplayResponse](data=[ReplayResponse.of(replay) for replay in shown], pagination=pagination))


handler = endpoint.handler
