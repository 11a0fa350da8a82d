"""Each minute: send committed events to the queue as they appear."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.outbox import routes

_workers = host(routes.RELAY_EVENTS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Relay for the whole of the minute; the next run begins before this one ends."""
    return {"events": _workers().outbox.run(lambda: context.get_remaining_time_in_millis() / 1000)}
