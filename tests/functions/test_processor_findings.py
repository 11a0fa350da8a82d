"""The door of the comparison's findings, and the metric its schedule tells."""

import json
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cardwright.kernel.errors import UnavailableError
from functions.cards import compare_processor_cards
from functions.cards.list_processor_findings import endpoint as findings
from tests.fakes.api_world import Answer, ApiWorld
from tests.fakes.card_world import NOW
from tests.fakes.drift_world import GONE, PAUSED, DriftWorld


@pytest.fixture
def world(fresh_database: str) -> Iterator[DriftWorld]:
    """A world in a database of its own."""
    world = DriftWorld(fresh_database)
    yield world
    world.close()


@pytest.fixture
def api(world: DriftWorld) -> ApiWorld:
    """Doors over it."""
    return ApiWorld(world)


@pytest.fixture
def support(api: ApiWorld, world: DriftWorld) -> str:
    """The access token of somebody in support, without a fresh second factor: nothing is written here."""
    return api.let_in(world.add_user("support"), stepped_up=False)


def kinds(answer: Answer) -> list[str]:
    """The kinds of a page's findings, in its order."""
    assert answer.status == 200
    return [item["kind"] for item in answer.json["data"]]


def compare(world: DriftWorld, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the schedule's handler over the world."""
    parts = SimpleNamespace(cards=world.schedules, clock=world.clock)
    monkeypatch.setattr(compare_processor_cards, "_workers", lambda: parts)
    context: Any = SimpleNamespace(get_remaining_time_in_millis=lambda: 300_000)
    return compare_processor_cards.handler({"time": "2026-11-21T12:00:00Z"}, context)


def test_a_finding_is_told_with_its_card_and_without_its_token(api: ApiWorld, world: DriftWorld, support: str) -> None:
    card = world.old_card()
    world.listing.lost = {card.processor_card_token}
    world.compare()
    answer = api.ask(findings, support)
    (finding,) = answer.json["data"]
    assert finding == {
        "id": finding["id"],
        "kind": "missing_at_processor",
        "card_id": str(card.card_id),
        "found_at": "2026-11-21T12:05:00.000Z",
        "seen_at": "2026-11-21T12:05:00.000Z",
        "mended_at": None,
    }
    assert world.clock.at == NOW + timedelta(minutes=5)
    assert card.processor_card_token not in answer.text
    assert answer.json["pagination"] == {"next_cursor": None, "has_more": False}


def test_open_findings_are_told_unless_the_mended_are_asked_for(api: ApiWorld, world: DriftWorld, support: str) -> None:
    paused, missing = world.old_card(), world.old_card()
    world.listing.states[paused.processor_card_token] = PAUSED
    world.listing.lost = {missing.processor_card_token}
    world.stranger("nobody's")
    world.compare()
    assert sorted(kinds(api.ask(findings, support))) == ["missing_at_processor", "unknown_at_processor"]
    assert kinds(api.ask(findings, support, open="true", kind="unknown_at_processor")) == ["unknown_at_processor"]
    mended = api.ask(findings, support, open="false")
    assert kinds(mended) == ["state_differs"]
    assert mended.json["data"][0]["mended_at"] == "2026-11-21T12:10:00.000Z"
    assert kinds(api.ask(findings, support, open="false", kind="missing_at_processor")) == []


def test_findings_come_in_pages_whose_cursor_leads_nowhere_in_another_list(
    api: ApiWorld, world: DriftWorld, support: str
) -> None:
    for number in range(3):
        world.stranger(str(number))
    world.compare()
    first = api.ask(findings, support, limit=2).json
    cursor = first["pagination"]["next_cursor"]
    rest = api.ask(findings, support, limit=2, cursor=cursor).json
    ids = [item["id"] for item in first["data"] + rest["data"]]
    assert (len(ids), ids) == (3, sorted(ids, reverse=True))
    assert rest["pagination"] == {"next_cursor": None, "has_more": False}
    others: list[dict[str, Any]] = [{"open": "false"}, {"kind": "unknown_at_processor"}]
    for other in others:
        refused = api.ask(findings, support, cursor=cursor, **other)
        assert (refused.status, refused.json["code"]) == (400, "cursor_invalid")


@pytest.mark.parametrize("role", ["support", "admin", "compliance_officer"])
def test_staff_reads_findings(api: ApiWorld, world: DriftWorld, role: str) -> None:
    world.stranger("nobody's")
    world.compare()
    assert kinds(api.ask(findings, api.let_in(world.add_user(role), stepped_up=False))) == ["unknown_at_processor"]


@pytest.mark.parametrize("role", ["cardholder", "merchant"])
def test_nobody_else_does(api: ApiWorld, world: DriftWorld, role: str) -> None:
    answer = api.ask(findings, api.let_in(world.add_user(role)))
    assert (answer.status, answer.json["code"]) == (403, "role_not_allowed")
    assert world.service.list_processor_findings(world.holder, limit=50) == []


@pytest.mark.parametrize("wrong", [{"kind": "lost"}, {"open": "perhaps"}, {"limit": "201"}])
def test_a_filter_that_is_none_is_refused(api: ApiWorld, support: str, wrong: dict[str, Any]) -> None:
    answer = api.ask(findings, support, **wrong)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, next(iter(wrong)))


def test_each_run_tells_how_many_findings_are_open(
    world: DriftWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.stranger("nobody's")
    world.old_card()
    assert compare(world, monkeypatch) == {"cards": 2}
    # The second comes too soon to compare anything, the third finds a processor that does not answer.
    assert compare(world, monkeypatch) == {"cards": 0}
    world.listing.view_faults = [GONE]
    world.later()
    assert compare(world, monkeypatch) == {"cards": 0}
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [line["ProcessorFindingsOpen"] for line in told] == [1, 1, 1]
    (described,) = told[-1]["_aws"]["CloudWatchMetrics"]
    assert described == {
        "Namespace": "Cardwright",
        "Dimensions": [[]],
        "Metrics": [{"Name": "ProcessorFindingsOpen", "Unit": "Count"}],
    }
    assert told[-1]["_aws"]["Timestamp"] == int(world.clock.at.timestamp() * 1000)


def test_a_run_that_cannot_count_fails_and_tells_no_number(
    world: DriftWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone() -> int:
        raise UnavailableError("gone", code="database_unavailable")

    monkeypatch.setattr(world.schedules, "count_open_findings", gone)
    with pytest.raises(UnavailableError):
        compare(world, monkeypatch)
    assert "_aws" not in capsys.readouterr().out
