"""Judge a history: an order must explain each card's operations, and what they left in the database must add up."""

from dataclasses import dataclass

from bench.proofs import witness
from bench.proofs.grounds import Ground
from bench.proofs.histories import Operation, by_card
from bench.proofs.linearizability import check
from bench.proofs.recording import settings_of
from bench.proofs.spend_model import SpendModel


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was judged and what was wrong with it. `steps` is what the search took."""

    operations: int
    unknown: int
    steps: int
    violations: list[str]


def judge(history: list[Operation], ground: Ground | None = None, *, steps_max: int = 2_000_000) -> Judgement:
    """Judge a history and, with its ground, what it left in the database. Raises UndecidedError."""
    violations, steps = [] if ground is None else witness.sums(ground), 0
    for card, operations in by_card(history).items():
        verdict = check(SpendModel(settings_of(card)), operations, steps_max)
        steps += verdict.steps
        if not verdict.linearizable:
            stuck = "; ".join(f"{one.name} {one.asked} answered {one.answer}" for one in verdict.stuck[:3])
            violations.append(f"{card}: no order explains {len(operations)} operations; stuck at {stuck}")
    unknown = sum(operation.answer is None for operation in history)
    return Judgement(len(history), unknown, steps, violations)
