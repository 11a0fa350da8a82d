"""Each minute: give back holds recorded as approved while the network was told that we are unavailable."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from cardwright.platform import metrics
from functions.authorizations import routes

_workers = host(routes.RECONCILE_AUTHORIZATIONS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """See to what was left without an answer; what is too young, or not reached, stays for the next run."""
    parts = _workers()
    told = parts.unanswered_holds.reconcile(lambda: context.get_remaining_time_in_millis() / 1000)
    seen = {"HoldsVoided": (told["voided"], "Count"), "UnansweredUnreadable": (told["unreadable"], "Count")}
    metrics.emit(seen, {}, parts.clock.now())
    return {"holds": told["voided"]}
