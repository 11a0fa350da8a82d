"""Every five minutes: give back the holds that nobody cleared in time."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.transactions import routes

_workers = host(routes.EXPIRE_HOLDS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """End what is overdue; what is left waits for the next run."""
    return {"holds": _workers().transaction_sweeps.expire_holds(lambda: context.get_remaining_time_in_millis() / 1000)}
