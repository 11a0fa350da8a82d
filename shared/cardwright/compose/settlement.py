"""Where a stage's settlement comes from: the adapter of the processor that is named, and no other."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cardwright.compose.processors import require_startable
from cardwright.compose.settings import Settings
from cardwright.providers.keys import read_credentials

if TYPE_CHECKING:
    from cardwright.settlement.ports import SettlementSource


def settlement_source(
    settings: Settings, named: str, url: str, secret: Callable[[], Mapping[str, Any]]
) -> "SettlementSource | None":
    """What the processor called `named` at `url` tells of its side; None for one whose settlement nobody has adapted.

    `secret` is asked at each call. Raises BrokenInvariantError as `require_startable` does.
    """
    require_startable(settings.stage, named)
    if named != "simulated":
        return None
    from cardwright.providers.settlement_simulated import SimulatedSettlement

    return SimulatedSettlement(url, lambda: read_credentials(secret()).api_keys)
