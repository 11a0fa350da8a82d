"""POST /admin/processor-events/{event_id}/close"""

from uuid import UUID

from functions.door import ApiCall, Reply, door
from functions.transactions import routes
from functions.transactions.shapes import CloseEventRequest, ParkedEventResponse

endpoint = door(routes.CLOSE_PARKED_EVENT)


@endpoint.operation(response=ParkedEventResponse, errors={404: ["event_not_found"]})
def close_parked_event(event_id: UUID, body: CloseEventRequest, call: ApiCall) -> Reply:
    """Try a parked event no more; it stays where it is, and the audit keeps who closed it and why."""
    event = call.api.parked_events.close(call.actor, event_id, body.note, operation_id=call.operation_id)
    return Reply(ParkedEventResponse.of(event))


handler = endpoint.handler
