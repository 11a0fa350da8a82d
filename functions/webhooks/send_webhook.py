"""Invoked by the workers: post to a URL that a subscriber chose, from where nothing of ours can be reached."""

from typing import Any

from cardwright.compose.workers import host
from functions.webhooks import routes

_workers = host(routes.SEND_WEBHOOK.needs)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Make the post; tell the answer, or why there is none."""
    return _workers().send_webhook(event)
