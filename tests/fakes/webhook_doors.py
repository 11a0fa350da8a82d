"""The doors of webhooks over the world they are tested in."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi.routing import APIRoute

from cardwright.http.endpoint import Endpoint
from cardwright.idempotency.service import IdempotencyService
from tests.fakes.api_world import ApiWorld
from tests.fakes.card_world import CardWorld
from tests.fakes.webhook_world import WebhookWorld


class Doors(ApiWorld):
    """The API's parts with webhooks."""

    def __init__(self, cards: CardWorld, world: WebhookWorld) -> None:
        super().__init__(cards)
        self.webhook_world = world
        self.webhooks = world.subscriptions
        # One clock for both sides.
        self.clock, self.ids = world.clock, world.ids
        self.idempotency = IdempotencyService(self.database, self.sealer, self.clock, self.ids)


# What any field may be refused for by its form alone; the document of a door does not repeat it.
PLAIN = {"invalid", "invalid_type", "not_allowed", "too_long", "too_short", "unknown_field", "uuid_invalid"}


def documented(endpoint: Endpoint[Any], status: int) -> set[str]:
    """The codes that the documents of a door name for a status."""
    (route,) = [route for route in endpoint.app.routes if isinstance(route, APIRoute)]
    return set(re.findall("`([a-z_]+)`", route.responses[status]["description"]))


@contextmanager
def opened(url: str) -> Iterator[Doors]:
    """Doors over a database, for as long as they are used."""
    cards, world = CardWorld(url), WebhookWorld(url)
    try:
        yield Doors(cards, world)
    finally:
        cards.close()
        world.close()
