"""Which issuer processor a stage has. Vendors' SDKs are heavy: the one that is named is imported, and no other."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cardwright.compose.settings import Settings
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.providers.keys import Credentials, read_credentials
from cardwright.providers.proven import PROCESSORS

if TYPE_CHECKING:
    from cardwright.cards.ports import Processor

NAMES = frozenset({"simulated", "lithic", "stripe", "marqeta"})


def require_startable(stage: str, named: str) -> None:
    """Raise BrokenInvariantError for an unknown name, and in prod for an adapter that no contract test has proven."""
    if named not in NAMES:
        raise BrokenInvariantError(f"there is no processor called {named}")
    if stage == "prod" and named not in PROCESSORS:
        raise BrokenInvariantError(f"the adapter of the processor {named} is unproven and does not start in prod")


def processor(settings: Settings, named: str, url: str, secret: Callable[[], Mapping[str, Any]]) -> "Processor":
    """Build the adapter called `named` for the processor at `url`; `secret` is asked at each call (see `read_credentials`).

    Raises BrokenInvariantError as `require_startable` does.
    """
    require_startable(settings.stage, named)

    def credentials() -> Credentials:
        return read_credentials(secret())

    match named:
        case "lithic":
            from cardwright.providers.processor_lithic import LithicProcessor

            return LithicProcessor(url, credentials)
        case "stripe":
            from cardwright.providers.processor_stripe import StripeProcessor

            return StripeProcessor(url, credentials)
        case "marqeta":
            from cardwright.providers.processor_marqeta import MarqetaProcessor

            return MarqetaProcessor(url, credentials)
        case _:
            from cardwright.providers.processor_simulated import SimulatedProcessor

            return SimulatedProcessor(url, lambda: credentials().api_keys)
