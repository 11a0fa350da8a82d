"""Each hour: compare our cards with the processor's; mend what is safe, keep the rest as findings."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from cardwright.platform import metrics
from functions.cards import routes

_workers = host(routes.COMPARE_PROCESSOR_CARDS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Go on with the comparison, or begin one; what is not reached stays for the next run.

    The open findings are a metric, told by every run, whether or not it had anything to compare.
    """
    parts = _workers()
    compared = parts.cards.compare_processor_cards(lambda: context.get_remaining_time_in_millis() / 1000)
    metrics.emit({"ProcessorFindingsOpen": (parts.cards.count_open_findings(), "Count")}, {}, parts.clock.now())
    return {"cards": compared}
