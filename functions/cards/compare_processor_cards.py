"""Each hour: compare our cards with the processor's; mend what is safe, keep the rest as findings."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.cards import routes

_workers = host(routes.COMPARE_PROCESSOR_CARDS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Go on with the comparison, or begin one; what is not reached stays for the next run."""
    return {"cards": _workers().cards.compare_processor_cards(lambda: context.get_remaining_time_in_millis() / 1000)}
