"""GET /admin/processor-events"""

from cardwright.http.paging import CursorText, Limit, Page
from functions.door import ApiCall, Reply, door
from functions.transactions import routes
from functions.transactions.shapes import ParkedEventResponse

endpoint = door(routes.LIST_PARKED_EVENTS)


@endpoint.operation(response=Page[ParkedEventResponse], errors={400: ["cursor_invalid"]})
def list_parked_events(call: ApiCall, limit: Limit = 50, cursor: CursorText = None) -> Reply:
    """What the processor told of authorizations we do not know, or in another currency than theirs, newest first."""
    list_name = "parked events"
    after = call.after(list_name, cursor)
    events = call.api.parked_events.list_events(call.actor, limit=limit + 1, after=after)
    shown, pagination = call.page(events, limit, lambda event: event.record_id, list_name)
    data = [ParkedEventResponse.of(event) for event in shown]
    return Reply(Page[ParkedEventResponse](data=data, pagination=pagination))


handler = endpoint.handler
