"""SnapStart hooks: registered where a snapshot is taken, and nowhere else."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from cardwright.compose import resources
from cardwright.compose.restore import prepare
from cardwright.compose.workers import host, workers
from cardwright.kernel.rows import Capability, Http, Task, Url
from functions import door as doors
from functions.catalogue import CATALOGUE

WEBHOOKS = frozenset({Capability.DATABASE_WORKER, Capability.CACHE, Capability.SEALING_SECRET, Capability.WEBHOOK_SENDER})


class Hooks(ModuleType):
    """The runtime's module, noting what is registered."""

    def __init__(self) -> None:
        super().__init__("snapshot_restore_py")
        self.registered: list[Callable[[], None]] = []

    def register_after_restore(self, function: Callable[[], None]) -> None:
        """Note a hook."""
        self.registered.append(function)


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Hooks:
    """The runtime's module in place."""
    module = Hooks()
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", module)
    return module


def test_under_snapstart_connections_are_forgotten_after_the_restore(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    forgotten: list[str] = []
    prepare(frozenset({Capability.EVENT_QUEUE}), lambda: forgotten.append("roots"))
    assert "cardwright.platform.queue" in sys.modules
    (restored,) = hooks.registered
    restored()
    assert forgotten == ["roots"]


@pytest.mark.parametrize("kind", ["", "on-demand", "provisioned-concurrency"])
def test_without_a_snapshot_nothing_is_registered(hooks: Hooks, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
    prepare(frozenset(Capability), workers.cache_clear)
    assert hooks.registered == []


def test_after_a_restore_the_next_use_connects_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDWRIGHT_CACHE_URL", "redis://127.0.0.1:1")
    before = resources.cache_client()
    resources.forget_connections()
    assert resources.cache_client() is not before


@pytest.fixture
def snapshot(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hooks]:
    """A sandbox in which a snapshot is taken."""
    for name, value in {
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
        "AWS_REGION": "eu-west-1",
        "CARDWRIGHT_STAGE": "prod",
        "CARDWRIGHT_PUBLIC_URL": "https://api.example",
        "CARDWRIGHT_SEALING_SECRET": "sealing",
        "CARDWRIGHT_CACHE_URL": "redis://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    yield hooks
    workers.cache_clear()
    resources.forget_connections()


def test_a_service_built_before_the_snapshot_is_not_used_after_the_restore(snapshot: Hooks) -> None:
    parts = host(WEBHOOKS)
    before, database = parts().webhooks, parts().database
    assert parts().webhooks is before
    (restored,) = snapshot.registered
    restored()
    assert parts().webhooks is not before
    assert parts().database is not database


def test_doors_forget_their_root_too(snapshot: Hooks) -> None:
    row = next(row for row in CATALOGUE if isinstance(row, Http) and Capability.CACHE in row.needs)
    endpoint = doors.door(row)
    before = doors._root(row.needs)
    cache = before.cache
    snapshot.registered[-1]()
    after = doors._root(row.needs)
    assert endpoint.row is row
    assert after is not before
    assert after.cache is not cache


_IMPORT_ALL = """
import importlib, sys, types
hooks = types.ModuleType("snapshot_restore_py")
registered = []
hooks.register_after_restore = registered.append
sys.modules["snapshot_restore_py"] = hooks
for name in sys.argv[1:]:
    before = len(registered)
    importlib.import_module(name)
    if len(registered) != before + 1:
        print(name)
"""


def test_every_function_with_a_snapshot_registers_its_hook() -> None:
    modules = [row.module for row in CATALOGUE if not isinstance(row, Url | Task)]
    environment = {**os.environ, "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    command = [sys.executable, "-c", _IMPORT_ALL, *modules]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout.split() == []
