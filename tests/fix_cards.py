"""Fixtures of cards: a world in the worker's database, a cardholder, a card, and the doors over them."""

from collections.abc import Iterator

import pytest

from cardwright.cards.rules import Card
from cardwright.platform.postgres import Actor
from tests.fakes.api_world import ApiWorld
from tests.fakes.card_world import CardWorld


@pytest.fixture
def world(database_url: str) -> Iterator[CardWorld]:
    """A world in the shared database."""
    world = CardWorld(database_url)
    yield world
    world.close()


@pytest.fixture
def holder(world: CardWorld) -> Actor:
    """A verified cardholder."""
    return world.add_user()


@pytest.fixture
def card(world: CardWorld, holder: Actor) -> Card:
    """The holder's card."""
    return world.issue(holder)


@pytest.fixture
def api(world: CardWorld) -> ApiWorld:
    """Doors over the world."""
    return ApiWorld(world)


@pytest.fixture
def token(api: ApiWorld, holder: Actor) -> str:
    """The holder's access token, with a fresh second factor."""
    return api.let_in(holder)
