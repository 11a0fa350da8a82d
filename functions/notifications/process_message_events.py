"""Queue `message-events`: what SES reports of mail it took."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.notifications import routes

_workers = host(routes.PROCESS_MESSAGE_EVENTS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process one SQS batch; answer which messages must come again."""
    return _workers().ses_reports.process_message_events(event)
