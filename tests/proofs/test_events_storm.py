"""The quick form of the proof that a storm on the queue loses no event (docs/reliability.md); it prints its seed."""

import pytest

from bench.proofs import events_storm
from bench.proofs.grounds import Ground


def test_who_drops_what_was_seen_before_sees_each_event_once(ground: Ground, capfd: pytest.CaptureFixture[str]) -> None:
    figures = events_storm.measure(messages=1_000, ground=ground)
    capfd.readouterr()
    assert (figures["found"], figures["seen_once"], figures["forged"]) == ([], 1_000, 0)
    assert 120 < figures["doubled"] < 300
    assert figures["delayed"] > 200
    assert figures["acknowledgements_lost"] > 10
