"""GET /metrics (local stage): gauges in the Prometheus text format 0.0.4."""

from starlette.responses import Response

from cardwright.cards.service import finding_gauges
from cardwright.kernel.errors import NotFoundError
from cardwright.outbox.service import gauges
from functions.door import ApiCall, door, workers
from functions.operations import routes

endpoint = door(routes.METRICS)


@endpoint.operation(media_type="text/plain")
def metrics(call: ApiCall) -> Response:
    """What waits and what was done, counted in the database at the time of asking."""
    if not call.api.settings.local:
        raise NotFoundError("There is nothing here.")
    parts = workers(routes.METRICS.needs)
    measured = [*gauges(parts.database, parts.clock), *finding_gauges(parts.database)]
    lines = [f"# TYPE {name.partition('{')[0]} gauge\n{name} {value}" for name, value in measured]
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


handler = endpoint.handler
