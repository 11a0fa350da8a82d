"""Each minute: write exported transactions to files, part by part."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.transactions import routes

_workers = host(routes.RUN_TRANSACTION_EXPORTS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Look for jobs through the whole of the minute; the next run begins before this one ends."""
    return {"exports": _workers().export_runs.run(lambda: context.get_remaining_time_in_millis() / 1000)}
