"""Each minute: follow issuances whose maker died or got no answer."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.cards import routes

_workers = host(routes.SWEEP_CARD_ISSUANCES.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Finish or give up what nobody is at; close what failed issuances left at the processor."""
    return {"issuances": _workers().cards.sweep_issuances(lambda: context.get_remaining_time_in_millis() / 1000)}
