"""Each minute: make the cards of batches as their items become due."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.cards import routes

_workers = host(routes.RUN_CARD_BATCHES.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Look for items through the whole of the minute; the next run begins before this one ends."""
    return {"items": _workers().cards.run_batches(lambda: context.get_remaining_time_in_millis() / 1000)}
