"""Each minute: send committed events to the queue as they appear."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import Workers
from cardwright.outbox.service import OutboxRelay
from functions.outbox import routes


@cache
def _relay() -> OutboxRelay:
    return Workers(routes.RELAY_EVENTS.needs).outbox


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Relay for the whole of the minute; the next run begins before this one ends."""
    return {"events": _relay().run(lambda: context.get_remaining_time_in_millis() / 1000)}
