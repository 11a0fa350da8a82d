"""Each hour: expire cards whose last month is over."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.cards import routes

_workers = host(routes.EXPIRE_CARDS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Expire what is due; authorizations are declined from the first moment anyway."""
    return {"cards": _workers().cards.expire_cards(lambda: context.get_remaining_time_in_millis() / 1000)}
