"""Is there one order of the operations that explains every answer? Wing and Gong's search, with Lowe's memory of states.

An order explains a history when it is legal for the sequential model and no operation comes before one that had returned before
it was called. Operations without a known outcome may stand anywhere after their call, or nowhere.
"""

import sys
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from bench.proofs.histories import Operation

STEPS_MAX = 2_000_000
S = TypeVar("S")
_NEVER = sys.maxsize


class Model(Protocol[S]):
    """A sequential machine whose states are never changed in place."""

    def start(self) -> S:
        """The state before the first operation."""
        ...

    def step(self, state: S, operation: Operation) -> S | None:
        """The state after the operation, or None when it could not have answered so; an unknown answer is any."""
        ...

    def fingerprint(self, state: S) -> Hashable:
        """What is equal for states that behave alike from here on."""
        ...


class UndecidedError(Exception):
    """The search was given up: neither an order was found nor shown not to exist."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the search found. `order` explains the history when it is linearizable; `stuck` names what no order could explain."""

    linearizable: bool
    steps: int
    order: tuple[int, ...]
    stuck: tuple[Operation, ...] = ()


def check(model: Model[S], history: Sequence[Operation], steps_max: int = STEPS_MAX) -> Verdict:
    """Search an order of one card's operations. Raises UndecidedError after `steps_max` steps of the model."""
    return _Search(model, history, steps_max).run()


@dataclass(slots=True)
class _Level(Generic[S]):
    """One operation placed: what else might have stood there, and where the search was before."""

    state: S
    candidates: list[int]
    tried: int = 0


class _Search(Generic[S]):
    def __init__(self, model: Model[S], history: Sequence[Operation], steps_max: int) -> None:
        self._model = model
        self._operations = sorted(history, key=lambda operation: operation.called)
        # What is known to come later is tried later. What has no place of its own changes nothing and is tried first; if nobody
        # knows its outcome it was never done, and is tried last.
        self._places = [
            one.place if one.place is not None else _NEVER if one.returned is None else -1 for one in self._operations
        ]
        self._ends = [_NEVER if one.returned is None else one.returned for one in self._operations]
        self._steps_max = steps_max
        self._steps = 0
        # Operations not placed yet, by index; kept in the order of their calls.
        self._open = list(range(len(self._operations)))
        self._known_open = sum(end != _NEVER for end in self._ends)
        self._placed = 0
        self._seen: set[tuple[int, Hashable]] = set()

    def run(self) -> Verdict:
        """Walk down while an operation fits, back where none does."""
        order: list[int] = []
        deepest, stuck = -1, tuple[int, ...]()
        levels = [_Level(self._model.start(), self._candidates())]
        while self._known_open:
            level = levels[-1]
            step = self._next(level)
            if step is not None:
                index, state = step
                self._place(index)
                order.append(index)
                levels.append(_Level(state, self._candidates()))
                continue
            if len(order) > deepest:
                deepest, stuck = len(order), tuple(level.candidates)
            levels.pop()
            if not order:
                return Verdict(False, self._steps, (), tuple(self._operations[index] for index in stuck))
            self._take_back(order.pop())
        return Verdict(True, self._steps, tuple(order))

    def _next(self, level: _Level[S]) -> tuple[int, S] | None:
        while level.tried < len(level.candidates):
            index = level.candidates[level.tried]
            level.tried += 1
            self._steps += 1
            if self._steps > self._steps_max:
                raise UndecidedError(f"no order among {len(self._operations)} operations after {self._steps_max} steps")
            state = self._model.step(level.state, self._operations[index])
            if state is None:
                continue
            if state is level.state and self._ends[index] != _NEVER:
                # What is legal here and changes nothing may stand here as well as anywhere: there is nothing else to try.
                level.tried = len(level.candidates)
            key = (self._placed | 1 << index, self._model.fingerprint(state))
            if key not in self._seen:
                self._seen.add(key)
                return index, state
        return None

    def _candidates(self) -> list[int]:
        """What may come next: whatever was called before the first open operation returned, the likeliest foremost."""
        first_end = _NEVER
        found = []
        for index in self._open:
            if self._operations[index].called > first_end:
                break
            found.append(index)
            first_end = min(first_end, self._ends[index])
        found = [index for index in found if self._operations[index].called <= first_end]
        found.sort(key=lambda index: (self._places[index], self._ends[index]))
        return found

    def _place(self, index: int) -> None:
        self._open.remove(index)
        self._placed |= 1 << index
        self._known_open -= self._ends[index] != _NEVER

    def _take_back(self, index: int) -> None:
        self._insert(index)
        self._placed &= ~(1 << index)
        self._known_open += self._ends[index] != _NEVER

    def _insert(self, index: int) -> None:
        for place, other in enumerate(self._open):
            if other > index:
                self._open.insert(place, index)
                return
        self._open.append(index)
