"""Each minute: cancel cards whose time has come; tell the processor what it has not confirmed."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.cards import routes

_workers = host(routes.SWEEP_CARDS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Settle what is due; what the processor does not answer stays for the next run."""
    return {"cards": _workers().cards.sweep_cards(lambda: context.get_remaining_time_in_millis() / 1000)}
