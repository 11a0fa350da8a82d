"""Composition root of the authorization path alone: light to import, nothing it does not need."""

from functools import cache

from cardwright.authorizations.service import AuthorizationService
from cardwright.compose import resources
from cardwright.compose import settings as environment
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.rows import Capability
from cardwright.kernel.secret import Secret
from cardwright.platform.ids import IdSource

# The network waits milliseconds: a cache slower than this is done without, a database slower than this is unavailable.
CACHE_BUDGET_S = 0.005
DATABASE_BUDGET_S = 1.5


class Authorization:
    """Parts of the authorization function. `needs` are its row's capabilities."""

    def __init__(self, needs: frozenset[Capability]) -> None:
        for capability in (Capability.DATABASE_APP, Capability.CACHE, Capability.PROCESSOR_INBOUND):
            if capability not in needs:
                raise BrokenInvariantError(f"the row does not ask for {capability}")
        self.clock: Clock = resources.clock()
        self.ids: IdSource = resources.ids()
        self.service = AuthorizationService(
            resources.database(Capability.DATABASE_APP, DATABASE_BUDGET_S),
            resources.cache_client(CACHE_BUDGET_S),
            self.clock,
            self.ids,
        )
        self._secret_name = environment.variable(Capability.PROCESSOR_INBOUND, "CARDWRIGHT_PROCESSOR_INBOUND_SECRET")

    def inbound_secrets(self) -> list[Secret[str]]:
        """The signing secrets that are valid now, several while they rotate. Raises UnavailableError."""
        return resources.signing_secrets(self._secret_name)


@cache
def root(needs: frozenset[Capability]) -> Authorization:
    """The parts, built once per process."""
    return Authorization(needs)
