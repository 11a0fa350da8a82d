"""SnapStart: what is slow to import goes into the snapshot, what belongs to one sandbox does not survive it."""

import importlib
from collections.abc import Callable
from typing import Protocol, cast

from cardwright.compose import resources
from cardwright.compose.settings import initialization_type
from cardwright.kernel.rows import Capability

# Modules whose import takes long; compose imports them at first use, which under SnapStart would be after the restore.
_SLOW: dict[Capability, tuple[str, ...]] = {
    Capability.VAULT_KEY: ("cardwright.vault.service",),
    Capability.SIGNING_KEY: ("cardwright.platform.keys", "cardwright.identity.service"),
    Capability.SIGNING_PUBLIC_KEY: ("cardwright.platform.keys", "cardwright.identity.service"),
    Capability.EVENT_QUEUE: ("cardwright.platform.queue",),
}


class _Hooks(Protocol):
    """The runtime's own module snapshot_restore_py; there is none outside Lambda."""

    def register_after_restore(self, function: Callable[[], None]) -> None: ...


def prepare(needs: frozenset[Capability]) -> None:
    """Called when a function's module is imported; does nothing where no snapshot is taken."""
    if initialization_type() != "snap-start":
        return
    for capability in sorted(needs):
        for module in _SLOW.get(capability, ()):
            importlib.import_module(module)
    hooks = cast(_Hooks, importlib.import_module("snapshot_restore_py"))
    hooks.register_after_restore(resources.forget_connections)
