"""Queue `events`: fan out to subscriptions and make first attempts."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.webhooks import routes

_workers = host(routes.PROCESS_EVENT_QUEUE.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process one SQS batch; answer which messages must come again."""
    return _workers().webhook_worker.process_event_queue(event, lambda: context.get_remaining_time_in_millis() / 1000)
