"""Run by an operator: `{"queue": "events", "per_second"?: 10}` gives the queue's dead letters back to it."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.operations import routes

_workers = host(routes.REDRIVE_DEAD_LETTERS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Start giving back and wait for it. Raises NotFoundError, InvalidRequestError, ConflictError, UnavailableError."""
    queue = str(event.get("queue"))
    letters = _workers().dead_letters(queue)
    redriven = letters.redrive(lambda: context.get_remaining_time_in_millis() / 1000 - 1.0, event.get("per_second"))
    return {"queue": queue, **asdict(redriven)}
