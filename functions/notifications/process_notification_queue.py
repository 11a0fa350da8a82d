"""Queue `notifications`: tell people of events, and send what goes at once."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.notifications import routes

_workers = host(routes.PROCESS_NOTIFICATION_QUEUE.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process one SQS batch; answer which messages must come again."""
    worker = _workers().notification_worker
    return worker.process_notification_queue(event, lambda: context.get_remaining_time_in_millis() / 1000)
