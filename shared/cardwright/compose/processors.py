"""Which issuer processor a stage has, and how that one signs what it sends us.

Vendors' SDKs are heavy: the adapter that is named is imported, and no other.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cardwright.compose.settings import Settings
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.providers.keys import Credentials, read_credentials
from cardwright.providers.proven import PROCESSORS

if TYPE_CHECKING:
    from cardwright.cards.ports import Processor
    from cardwright.transactions.ports import InboundScheme

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


def inbound_scheme(settings: Settings, named: str) -> "InboundScheme":
    """How the processor called `named` signs and words its events. Raises BrokenInvariantError as `require_startable` does."""
    require_startable(settings.stage, named)
    match named:
        case "lithic":
            from cardwright.providers.inbound_lithic import LithicInbound

            return LithicInbound()
        case "stripe":
            from cardwright.providers.inbound_stripe import StripeInbound

            return StripeInbound()
        case "marqeta":
            from cardwright.providers.inbound_marqeta import MarqetaInbound

            return MarqetaInbound()
        case _:
            from cardwright.providers.inbound_standard import StandardInbound

            return StandardInbound()
