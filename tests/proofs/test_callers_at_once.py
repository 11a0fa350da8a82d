"""The quick forms of the proofs of limits (docs/reliability.md); each prints its seed, which makes the same draws again."""

from bench.proofs import hot_card, reversals
from bench.proofs.grounds import Ground


def test_a_hot_card_approves_exactly_what_its_limit_has_room_for(ground: Ground) -> None:
    figures = hot_card.measure(requests=5_000, approvals=400, processes=2, threads=32, ground=ground)
    assert (figures["found"], figures["approved"], figures["workers"]) == ([], 400, 64)
    assert figures["versions"] >= figures["ids"] > 4_000
    assert figures["repeats"] > 0


def test_a_hot_card_spends_what_was_given_back_and_no_more(ground: Ground) -> None:
    figures = hot_card.measure(requests=1_000, approvals=60, processes=2, threads=32, events=True, ground=ground)
    assert figures["found"] == []
    assert figures["events"] > 0


def test_of_eight_who_reverse_at_once_one_gives_the_hold_back(ground: Ground) -> None:
    figures = reversals.measure(authorizations=300, cards=10, ground=ground)
    assert (figures["found"], figures["reversals"]) == ([], 2_400)
