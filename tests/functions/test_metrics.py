"""The door of gauges, as a Prometheus server reads it."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

from functions.operations.metrics import endpoint
from tests.fakes.api_world import ApiWorld
from tests.fakes.drift_world import DriftWorld


@pytest.fixture
def world(fresh_database: str) -> Iterator[DriftWorld]:
    """A world in a database of its own."""
    world = DriftWorld(fresh_database)
    yield world
    world.close()


@pytest.fixture
def api(world: DriftWorld, monkeypatch: pytest.MonkeyPatch) -> ApiWorld:
    """Doors over it, whose workers' part is the world's."""
    parts = SimpleNamespace(database=world._worker, clock=world.clock)
    monkeypatch.setattr("functions.operations.metrics.workers", lambda needs: parts)
    return ApiWorld(world)


def test_gauges_tell_what_waits_for_the_relay_and_for_somebody_to_look(api: ApiWorld, world: DriftWorld) -> None:
    card = world.old_card()
    world.listing.lost = {card.processor_card_token}
    world.compare()
    answer = api.ask(endpoint, None)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = answer.text.splitlines()
    assert {"cardwright_outbox_waiting 1.0", "cardwright_processor_findings_open 1.0"} <= set(lines)
    assert "# TYPE cardwright_processor_findings_open gauge" in lines


def test_off_the_laptop_there_are_none(api: ApiWorld) -> None:
    api.settings = replace(api.settings, stage="prod")
    assert api.ask(endpoint, None).status == 404
