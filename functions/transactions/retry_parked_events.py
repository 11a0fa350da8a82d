"""Each minute: try again the events that belonged to nothing we knew."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.transactions import routes

_workers = host(routes.RETRY_PARKED_EVENTS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Look for due events through the whole of the minute."""
    return {"events": _workers().transaction_sweeps.watch_parked(lambda: context.get_remaining_time_in_millis() / 1000)}
