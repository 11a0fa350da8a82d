"""The quick forms of the proofs of lives and crashes (docs/reliability.md); each prints its seed."""

from bench.proofs import kills, orders
from bench.proofs.grounds import Ground


def test_a_life_ends_alike_in_whichever_order_it_is_told(ground: Ground) -> None:
    figures = orders.measure(sample=200, ground=ground)
    assert (figures["found"], figures["messages"]) == ([], 1_400)
    assert figures["parked"] > 0


def test_what_was_acknowledged_survives_a_killed_server() -> None:
    figures = kills.measure(kills=3, interval_s=1.0, threads=4)
    assert figures["found"] == []
    assert figures["acknowledged"] > 50
