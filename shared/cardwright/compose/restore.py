"""What a function does when its module is imported: refuse a stage it may not start in, and make ready for SnapStart.

What is slow to import goes into the snapshot, what belongs to one sandbox does not survive it.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Protocol, cast

from cardwright.compose import resources
from cardwright.compose.settings import initialization_type, processor_in_prod
from cardwright.kernel.rows import Capability

# Modules whose import takes long; compose imports them at first use, which under SnapStart would be after the restore.
_SLOW: dict[Capability, tuple[str, ...]] = {
    Capability.VAULT_KEY: ("cardwright.vault.service",),
    Capability.SIGNING_KEY: ("cardwright.platform.keys", "cardwright.identity.service"),
    Capability.SIGNING_PUBLIC_KEY: ("cardwright.platform.keys", "cardwright.identity.service"),
    Capability.EVENT_QUEUE: ("cardwright.platform.queue", "cardwright.outbox.service"),
    Capability.DEAD_LETTERS: ("cardwright.platform.dead_letters",),
    Capability.SEALING_SECRET: ("cardwright.platform.keys", "cardwright.platform.secrets_manager"),
    Capability.EXPORTS: ("cardwright.platform.objects",),
    Capability.EXPORT_LINKS: ("cardwright.platform.objects",),
    Capability.WEBHOOK_SENDER: ("cardwright.platform.invoking", "cardwright.webhooks.service"),
    Capability.INTERNET: ("cardwright.platform.egress",),
    Capability.PROCESSOR: ("cardwright.platform.secrets_manager",),
    Capability.PROCESSOR_INBOUND: ("cardwright.platform.secrets_manager",),
    Capability.KYC: ("cardwright.platform.secrets_manager",),
    Capability.KYC_INBOUND: ("cardwright.platform.secrets_manager",),
    Capability.MESSAGES_INBOUND: ("cardwright.platform.secrets_manager",),
    Capability.MESSAGES: ("cardwright.platform.secrets_manager", "cardwright.notifications.service"),
}


class _Hooks(Protocol):
    """The runtime's own module snapshot_restore_py; there is none outside Lambda."""

    def register_after_restore(self, function: Callable[[], None]) -> None: ...


def prepare(needs: frozenset[Capability], forget_roots: Callable[[], None]) -> None:
    """Called when a function's module is imported.

    In prod it raises BrokenInvariantError for a function that needs the issuer processor when that one's adapter may not start
    there: the deployment fails, and not the first customer's call.
    Where a snapshot is taken, `forget_roots` drops after the restore the composition roots built so far: their services hold
    databases and caches of the snapshot.
    """
    if Capability.PROCESSOR in needs:
        _refuse_unproven()
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


def _refuse_unproven() -> None:
    named = processor_in_prod()
    if named is not None:
        from cardwright.compose.processors import require_startable

        require_startable("prod", named)
