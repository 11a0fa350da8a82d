"""Queue `events`: fan out to subscriptions and make first attempts."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import Workers
from cardwright.webhooks.service import WebhookWorker
from functions.webhooks import routes


@cache
def _worker() -> WebhookWorker:
    return Workers(routes.PROCESS_EVENT_QUEUE.needs).webhook_worker


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process one SQS batch; answer which messages must come again."""
    return _worker().process_event_queue(event, lambda: context.get_remaining_time_in_millis() / 1000)
