"""The whole stack as a process tree: the demo's story, deaths of its parts, a kill of everything, two side by side."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from local.demo.__main__ import main, table
from local.demo.client import Client, Network, StoryError
from local.demo.story import Story
from local.home import Home, StackError
from local.processes import started_at
from local.reset import reset
from local.running import RunningStack, read_stack
from tests.fix_schemas import unfit


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One stack for the module; its clean stop is checked, then it is deleted."""
    stack = RunningStack(tmp_path_factory.mktemp("e2e") / "stack")
    try:
        stack.start()
        yield stack
        assert unfit(str(stack.description()["database_url"])) == []
        pids = [pid for each in pids_of(stack.description()).values() for pid in each]
        began = time.monotonic()
        assert stack.stop() == 0
        assert time.monotonic() - began < 15.0
        assert wait_for(lambda: all(started_at(pid) is None for pid in pids), 2.0)
        with pytest.raises(StackError, match="no stack is up"):
            read_stack(stack.home)
    finally:
        stack.stop()
        reset(stack.home)


@pytest.fixture
def stack(shared: RunningStack) -> RunningStack:
    """The shared stack, whole again after whatever the test before did to it."""
    description = shared.description()
    assert wait_for(lambda: all_alive(shared)), shared.said()
    assert httpx.get(f"{description['base_url']}/readyz", trust_env=False).status_code == 200
    return shared


def wait_for(true: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Poll a condition."""
    deadline = time.monotonic() + timeout_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def pids_of(description: dict[str, Any]) -> dict[str, list[int]]:
    """Process ids by part, each a list."""
    return {name: pids if isinstance(pids, list) else [pids] for name, pids in description["pids"].items()}


def all_alive(stack: RunningStack) -> bool:
    """Whether every process of stack.json runs."""
    return all(started_at(pid) is not None for pids in pids_of(stack.description()).values() for pid in pids)


def cards_of(description: dict[str, Any]) -> list[dict[str, Any]]:
    """Cards of the second cardholder after logging in."""
    network = Network(description["simulator_url"])
    client = Client(description["base_url"], description["users"]["cardholder2"], network)
    try:
        client.log_in()
        cards: list[dict[str, Any]] = client.get("/cards")["data"]
        if not cards:
            client.step_up()
            client.post("/cards", {"currency": "GBP", "label": "kept"}, status=201)
            cards = client.get("/cards")["data"]
        return cards
    finally:
        client.close()
        network.close()


def test_stack_file_has_what_the_contract_lists(stack: RunningStack) -> None:
    description = stack.description()
    assert set(description) == {
        "base_url", "authorization_url", "processor_webhook_url", "processor_secret", "database_url", "cache_url",
        "aws_endpoint_url", "mailbox_url", "simulator_url", "pids", "users",
    }  # fmt: skip
    assert set(description["pids"]) == {
        "supervisor", "postgres", "valkey", "gateway", "workers", "aws", "processor", "kyc", "messages"
    }  # fmt: skip
    assert description["pids"]["supervisor"] == stack.pid
    assert stack.home.stack_file.stat().st_mode & 0o077 == 0
    with psycopg.connect(description["database_url"]) as connection:
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    assert row == (True,)


def test_the_story(stack: RunningStack) -> None:
    said: list[str] = []
    summary = Story(stack.description(), said.append).play()
    assert len(said) == len(summary.steps) >= 15
    assert {decision.currency for decision in summary.decisions} == {"USD", "EUR"}
    assert {"approved", "card_frozen", "merchant_category_blocked", "per_transaction_limit_exceeded"} <= {
        decision.reason for decision in summary.decisions
    }
    assert len(table(summary).splitlines()) == len(summary.decisions) + 2


@pytest.mark.parametrize("part", ["gateway", "workers", "postgres", "valkey"])
def test_killed_part_is_back_within_five_seconds_and_said_so(stack: RunningStack, part: str) -> None:
    before = stack.description()
    victim = pids_of(before)[part][0]
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    assert wait_for(lambda: victim not in pids_of(stack.description())[part] and all_alive(stack))
    assert time.monotonic() - began < 5.0
    after = stack.description()
    assert {name: after[name] for name in after if name != "pids"} == {name: before[name] for name in before if name != "pids"}
    assert wait_for(lambda: httpx.get(f"{after['base_url']}/readyz", trust_env=False).status_code == 200, 5.0)
    assert f"(process {victim}) died" in stack.said()
    assert wait_for(lambda: "is back after" in stack.said())


def test_a_kill_of_everything_is_recovered_with_the_same_data_and_keys(stack: RunningStack) -> None:
    before = stack.description()
    kept = cards_of(before)
    for name, pids in pids_of(before).items():
        # The servers and the supervisor go too; some parts are left to end by themselves or be found.
        if name not in {"kyc", "workers"}:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    assert stack.stop() == -signal.SIGKILL
    after = stack.start()
    assert cards_of(after) == kept
    assert after["users"] == before["users"]
    assert after["processor_secret"] == before["processor_secret"]


def test_the_demo_runs_beside_and_leaves_nothing(stack: RunningStack, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    earlier = Home(folder / "stack-1")
    earlier.prepare()
    assert main(folder) == 0
    assert [path.name for path in folder.iterdir()] == ["summary.json"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["ok"] is True
    assert summary["total_seconds"] > summary["start_seconds"] > 0
    assert len(summary["steps"]) >= 15
    assert sum(summary["events"].values()) == len(summary["decisions"]) + 25
    assert all_alive(stack)


def test_second_stack_in_the_same_folder_is_refused_in_one_line(stack: RunningStack) -> None:
    twin = RunningStack(stack.home.root)
    twin.log = stack.log.with_name("twin.log")
    with pytest.raises(StackError, match="a stack already runs"):
        twin.start()
    assert all_alive(stack)


def test_story_fails_loudly(stack: RunningStack) -> None:
    description = json.loads(json.dumps(stack.description()))
    description["users"]["cardholder"]["password"] += "x"
    with pytest.raises(StoryError, match=r"logging in: expected 200, got 401 .*"):
        Story(description, lambda line: None).play()
