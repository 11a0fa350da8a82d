"""Each minute: send notifications that were held back, and those that are tried again, as they become due."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.notifications import routes

_workers = host(routes.SEND_DUE_NOTIFICATIONS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Look every second for the whole of the minute."""
    return {"messages": _workers().notifications.send_due(lambda: context.get_remaining_time_in_millis() / 1000)}
