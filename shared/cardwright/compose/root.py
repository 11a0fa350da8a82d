"""What the composition roots of doors and of workers have alike: settings, clock, ids, sealing, and the check of capabilities."""

from functools import cached_property
from typing import TYPE_CHECKING

from cardwright.compose import resources
from cardwright.compose import settings as environment
from cardwright.compose.settings import Settings, settings
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.rows import Capability
from cardwright.platform.ids import IdSource

if TYPE_CHECKING:
    from cardwright.compose.channels import Channels
    from cardwright.platform.keys import Sealer
    from cardwright.platform.objects import ObjectStore


class Root:
    """A part whose capability the row did not ask for is refused: a missing grant, found early."""

    def __init__(self, needs: frozenset[Capability]) -> None:
        self._needs = needs

    def _require(self, *capabilities: Capability) -> None:
        for capability in capabilities:
            if capability not in self._needs:
                raise BrokenInvariantError(f"the row does not ask for {capability}")

    @property
    def settings(self) -> Settings:
        """The stage's settings."""
        return settings()

    @property
    def clock(self) -> Clock:
        """The injected clock."""
        return resources.clock()

    @property
    def ids(self) -> IdSource:
        """The source of identifiers."""
        return resources.ids()

    @cached_property
    def sealer(self) -> "Sealer":
        """Seals small values at rest and signs cursors."""
        from cardwright.platform.keys import Sealer

        self._require(Capability.SEALING_SECRET)
        name = environment.variable(Capability.SEALING_SECRET, "CARDWRIGHT_SEALING_SECRET")
        return Sealer(resources.secrets(), name)

    @cached_property
    def channels(self) -> "Channels":
        """Providers of messages to people, for each channel in the order in which they are asked."""
        from cardwright.compose.channels import open_channels

        self._require(Capability.MESSAGES)
        return open_channels(self.settings)

    def _objects(self, capability: Capability) -> "ObjectStore":
        """The bucket that a capability opens."""
        from cardwright.platform.objects import ObjectStore

        self._require(capability)
        return ObjectStore(environment.variable(capability, "CARDWRIGHT_EXPORTS_BUCKET"))
