"""SnapStart: what is slow to import goes into the snapshot, what belongs to one sandbox does not survive it."""

import importlib
import sys
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
    Capability.EVENT_QUEUE: ("cardwright.platform.queue", "cardwright.outbox.service"),
    Capability.SEALING_SECRET: ("cardwright.platform.keys", "cardwright.platform.secrets_manager"),
    Capability.INTERNET: ("cardwright.platform.egress", "cardwright.webhooks.service"),
    Capability.PROCESSOR: ("cardwright.platform.secrets_manager",),
    Capability.KYC: ("cardwright.platform.secrets_manager",),
    Capability.KYC_INBOUND: ("cardwright.platform.secrets_manager",),
    Capability.MESSAGES: ("cardwright.platform.secrets_manager",),
}


class _Hooks(Protocol):
    """The runtime's own module snapshot_restore_py; there is none outside Lambda."""

    def register_after_restore(self, function: Callable[[], None]) -> None: ...


def prepare(needs: frozenset[Capability], forget_roots: Callable[[], None]) -> None:
    """Called when a function's module is imported; does nothing where no snapshot is taken.

    `forget_roots` drops the composition roots built so far: their services hold databases and caches of the snapshot.
    """
    if initialization_type() != "snap-start":
        return
    for capability in sorted(needs):
        for module in _SLOW.get(capability, ()):
            importlib.import_module(module)
    hooks = cast(_Hooks, importlib.import_module("snapshot_restore_py"))

    def restored() -> None:
        forget_roots()
        resources.forget_connections()
        aws = sys.modules.get("cardwright.platform.aws")
        if aws is not None:
            aws.forget_clients()

    hooks.register_after_restore(restored)
