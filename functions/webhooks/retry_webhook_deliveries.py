"""Each minute: attempt webhook deliveries as they become due."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.webhooks import routes

_workers = host(routes.RETRY_WEBHOOK_DELIVERIES.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Look four times a second for the whole of the minute, so that a retry is at most a second late."""
    return {"attempts": _workers().webhooks.retry_failed(lambda: context.get_remaining_time_in_millis() / 1000)}
