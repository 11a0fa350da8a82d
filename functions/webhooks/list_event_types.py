"""GET /webhooks/event-types"""

from cardwright.http.paging import Page, Pagination
from cardwright.webhooks.rules import schemas
from functions.door import ApiCall, Reply, door
from functions.webhooks import routes
from functions.webhooks.shapes import EventTypeResponse

endpoint = door(routes.LIST_EVENT_TYPES)


@endpoint.operation(response=Page[EventTypeResponse])
def list_event_types(call: ApiCall) -> Reply:
    """Every type of event a subscription can name, on one page."""
    data = [EventTypeResponse.of(kind, routes.GET_EVENT_SCHEMA.full_path) for kind in schemas.kinds()]
    return Reply(Page[EventTypeResponse](data=data, pagination=Pagination(next_cursor=None, has_more=False)))


handler = endpoint.handler
