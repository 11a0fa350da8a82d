"""GET /metrics (local stage): gauges in the Prometheus text format 0.0.4."""

from starlette.responses import Response

from cardwright.cards.service import finding_gauges
from cardwright.kernel.errors import NotFoundError
from cardwright.notifications import service as notifications
from cardwright.outbox import service as outbox
from cardwright.webhooks import service as webhooks
from functions.door import ApiCall, door, workers
from functions.operations import routes

endpoint = door(routes.METRICS)


@endpoint.operation(media_type="text/plain")
def metrics(call: ApiCall) -> Response:
    """What waits and what was done, counted in the database at the time of asking."""
    if not call.api.settings.local:
        raise NotFoundError("There is nothing here.")
    parts = workers(routes.METRICS.needs)
    measured = [
        *outbox.gauges(parts.database, parts.clock),
        *webhooks.gauges(parts.database, parts.clock),
        *notifications.gauges(parts.database, parts.clock),
        *finding_gauges(parts.database),
    ]
    lines = []
    for name, value in measured:
        told = f"# TYPE {name.partition('{')[0]} gauge"
        # Once for all labels of a name.
        lines += [] if told in lines else [told]
        lines.append(f"{name} {value}")
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


handler = endpoint.handler
