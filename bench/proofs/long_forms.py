"""The long form of each proof, by the name of its file of figures."""

from collections.abc import Callable
from typing import Any

from bench.proofs import checking, events_kills, events_storm, hot_card, kills, orders, reversals


def _hot_card_with_events() -> dict[str, Any]:
    return hot_card.measure(requests=20_000, approvals=2_000, events=True)


# Each prints its seed, takes `seed=` to draw the same again, and returns figures with `violations`, which must be 0.
PROOFS: dict[str, Callable[[], dict[str, Any]]] = {
    "orders": orders.measure,
    "hot_card": hot_card.measure,
    "hot_card_events": _hot_card_with_events,
    "reversals": reversals.measure,
    "checker": checking.measure,
    "kills": kills.measure,
    "events_kills": events_kills.measure,
    "events_storm": events_storm.measure,
}
