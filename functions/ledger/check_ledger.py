"""Each hour: look whether every posting of the ledger still balances."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from cardwright.platform import metrics
from functions.ledger import routes

_workers = host(routes.CHECK_LEDGER.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Go on with the round over all postings; what is not reached stays for the next run.

    What does not hold is a metric, told by every run until a whole round finds it no more.
    """
    parts = _workers()
    checked = parts.ledger_check.run(lambda: context.get_remaining_time_in_millis() / 1000)
    metrics.emit({"LedgerDiscrepancies": (parts.ledger_check.count_discrepancies(), "Count")}, {}, parts.clock.now())
    return {"postings": checked}
