"""Every decision that a worker's tests leave in its database is made again in the end, and must be the same."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from cardwright.authorizations.service.replays import Replayed, Replays
from tests.builders import as_role


def differing(url: str) -> list[tuple[UUID, Replayed]]:
    """Decisions in a database that come out otherwise when they are made again, each with its card."""
    with psycopg.connect(url) as connection:
        cards = connection.execute("SELECT DISTINCT card_id FROM card_transactions WHERE rule_version > 0").fetchall()
    database = as_role(url, "worker", budget_s=30.0)
    try:
        replays = Replays(database)
        return [(card_id, again) for (card_id,) in cards for again in replays.replay_card(card_id) if not again.same]
    finally:
        database.close()


@pytest.fixture(scope="session")
def replayed_in_the_end(database: str) -> Iterator[None]:
    """Make all decisions again when the worker's tests are over. Who tampers with one does so in a `fresh_database`."""
    yield
    assert differing(database) == []
