"""Each hour: encrypt anew the card numbers that are not under the vault's current key."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cardwright.compose.workers import host
from functions.vault import routes

_workers = host(routes.REENCRYPT_CARD_NUMBERS.needs)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Go on until every number is under the key; without a rotation there is nothing to do."""
    return {"cards": _workers().card_numbers.run(lambda: context.get_remaining_time_in_millis() / 1000)}
