"""SnapStart hooks: registered where a snapshot is taken, and nowhere else."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from cardwright.compose import resources
from cardwright.compose.restore import prepare
from cardwright.kernel.rows import Capability


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
    prepare(frozenset({Capability.EVENT_QUEUE}))
    assert hooks.registered == [resources.forget_connections]
    assert "cardwright.platform.queue" in sys.modules


@pytest.mark.parametrize("kind", ["", "on-demand", "provisioned-concurrency"])
def test_without_a_snapshot_nothing_is_registered(hooks: Hooks, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
    prepare(frozenset(Capability))
    assert hooks.registered == []


def test_after_a_restore_the_next_use_connects_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDWRIGHT_CACHE_URL", "redis://127.0.0.1:1")
    before = resources.cache_client()
    resources.forget_connections()
    assert resources.cache_client() is not before
