"""Composition root of the authorization path alone: light to import, nothing it does not need."""

from functools import cache

from cardwright.authorizations.service import AuthorizationService
from cardwright.compose import resources
from cardwright.compose import settings as environment
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.rows import Capability
from cardwright.kernel.secret import Secret
from cardwright.platform import metrics
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
        self._secret_name = environment.variable(Capability.PROCESSOR_INBOUND, "CARDWRIGHT_PROCESSOR_INBOUND_SECRET")
        self.service = AuthorizationService(
            resources.database(Capability.DATABASE_APP, DATABASE_BUDGET_S),
            resources.cache_client(CACHE_BUDGET_S),
            self.clock,
            self.ids,
            secrets=self.inbound_secrets,
        )

    def inbound_secrets(self) -> list[Secret[str]]:
        """The signing secrets that are valid now, several while they rotate. Raises UnavailableError."""
        return resources.signing_secrets(self._secret_name)


def warm(needs: frozenset[Capability]) -> None:
    """Called when the function's module is imported: under provisioned concurrency build the parts and open every connection now.

    Nothing is raised: what cannot be had yet (the extension may not answer before the first request) is had at its first use.
    """
    if environment.initialization_type() != "provisioned-concurrency":
        return
    for step in (
        lambda: root(needs).inbound_secrets(),
        lambda: resources.database(Capability.DATABASE_APP, DATABASE_BUDGET_S).ping(),
        lambda: resources.cache_client(CACHE_BUDGET_S).ping(),
    ):
        try:
            step()
        except Exception as error:  # a sandbox that fails to start is worse than a first request that is slow
            metrics.error_line("warming up failed", error)


@cache
def root(needs: frozenset[Capability]) -> Authorization:
    """The parts, built once per process."""
    return Authorization(needs)
