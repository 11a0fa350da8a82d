"""Every half hour: compare transactions, settlement files and our own records; mend what is safe, keep the rest as cases."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from cardwright.platform import metrics
from functions.settlement import routes

_workers = host(routes.RECONCILE_SETTLEMENT.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Go on with the comparison; what is not reached stays for the next run.

    The open cases are a metric, told by every run, whether or not it had anything to compare.
    """
    parts = _workers()
    done = parts.reconciliation.run(lambda: context.get_remaining_time_in_millis() / 1000)
    metrics.emit({"SettlementCasesOpen": (parts.reconciliation.count_open_cases(), "Count")}, {}, parts.clock.now())
    return {"lines": done.lines, "transactions": done.transactions} if done is not None else {"under_way": True}
