"""What is closed at the processor for good, and what is only told of."""

import pytest

from cardwright.cards.rules import Drift, FindingKind, ProcessorCard, ProcessorState, drift_of_unknown, too_many_unknown
from tests.builders import new_id


@pytest.mark.parametrize("state", [ProcessorState.ACTIVE, ProcessorState.PAUSED])
@pytest.mark.parametrize(
    ("issuance", "drift"),
    [
        (None, Drift.REPORT),
        ("ISSUED", Drift.REPORT),
        ("ABANDONED", Drift.CLOSE),
        ("FAILED", Drift.CLOSE),
        ("a state of a later version", Drift.REPORT),
    ],
)
def test_only_what_an_issuance_gave_up_is_closed(state: ProcessorState, issuance: str | None, drift: Drift) -> None:
    reference = new_id()
    verdict = drift_of_unknown(ProcessorCard("tok", reference, state), issuance)
    assert (verdict.drift, verdict.kind, verdict.card_id) == (drift, FindingKind.UNKNOWN_AT_PROCESSOR, reference)
    assert not verdict.ours


def test_a_card_that_is_being_made_or_closed_already_is_no_finding() -> None:
    making = drift_of_unknown(ProcessorCard("tok", new_id(), ProcessorState.ACTIVE), "REQUESTED")
    closed = drift_of_unknown(ProcessorCard("tok", None, ProcessorState.CLOSED), None)
    assert [(verdict.drift, verdict.kind) for verdict in (making, closed)] == [(Drift.WAIT, None), (Drift.NONE, None)]


@pytest.mark.parametrize(
    ("page", "unknown", "too_many"), [(50, 10, False), (50, 11, True), (49, 49, False), (200, 40, False), (200, 41, True)]
)
def test_more_than_a_fifth_of_a_long_page_is_too_much(page: int, unknown: int, too_many: bool) -> None:
    assert too_many_unknown(page, unknown) is too_many
