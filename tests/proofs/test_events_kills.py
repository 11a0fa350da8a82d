"""The quick form of the proof that killed processes lose no event (docs/reliability.md), and of its judge."""

from collections.abc import Sequence

import pytest

from bench.proofs import events_kills
from bench.proofs.events_queues import MemoryQueue
from bench.proofs.grounds import Ground


@pytest.fixture(autouse=True)
def silent(capfd: pytest.CaptureFixture[str]) -> None:
    """Keep the workers' metrics to this test."""


def test_no_event_is_lost_or_made_up_wherever_a_process_dies(ground: Ground) -> None:
    figures = events_kills.measure_quick(ground)
    assert figures["found"] == []
    assert figures["killed"] == [f"after {point}" for point in figures["points"]]
    kinds = " ".join(figures["kinds"])
    for part in (
        "queue.send",
        "people.send",
        "queue.receive",
        "queue.delete",
        "post",
        "sealer.open",
        "fan_out",
        "record_attempt",
    ):
        assert f"/{part}" in kinds or f".{part}" in kinds


class Forgetful(MemoryQueue):
    """Says that it took what it did not keep: the second message of each batch."""

    def send_batch(self, bodies: Sequence[str]) -> list[bool]:
        """Take all, keep some."""
        super().send_batch([body for number, body in enumerate(bodies) if number != 1])
        return [True] * len(bodies)


def test_the_judge_sees_a_lost_event(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_kills, "MemoryQueue", Forgetful)
    found = events_kills.measure_quick(ground, kill=False)["found"]
    assert any(one.endswith("was lost") for one in found)
    assert any(one.endswith("did not get to the people's queue") for one in found)
