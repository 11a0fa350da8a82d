"""What the parts of a run share: the way to the database, the run's place in the comparison, and what it did."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.platform.telemetry import logger
from cardwright.settlement.rules import Finding
from cardwright.settlement.store import cases, sources
from cardwright.settlement.store.sources import Progress
from cardwright.transactions.service.life import TransactionLife

T = TypeVar("T")
SCHEDULE = Actor(None, "system")
# Longer than the function may run: when its holder has died, a later run goes on.
LEASE = timedelta(minutes=20)
# What is left of a run's time when nothing more is begun: a call of the processor and a transaction.
RESERVE_S = 30.0


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Give items in lists of up to `size`, each taken when it is asked for."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


class LeaseLostError(Exception):
    """Somebody else has taken the comparison up, because this run was silent for too long; never leaves the run."""


@dataclass(slots=True)
class Tally:
    """What a run did so far."""

    transactions: int = 0
    lines: int = 0
    settled: int = 0
    mended: int = 0
    cases_opened: int = 0
    cases_closed: int = 0


class Turns:
    """Things done one after the other: one that breaks keeps none of the others waiting, and is raised at the end."""

    def __init__(self) -> None:
        self._failure: Exception | None = None

    def take(self, step: Callable[[], None]) -> None:
        """Do one. Raises UnavailableError, ProviderRefusedError, LeaseLostError at once: the rest would fare no better."""
        try:
            step()
        except (UnavailableError, ProviderRefusedError, LeaseLostError):
            raise
        except Exception as error:  # whatever is wrong with one must not keep the others waiting
            logger.error("a step of settlement met an unexpected error", exc_info=error)
            self._failure = self._failure or error

    def end(self) -> None:
        """Raise the first failure, if there was one."""
        if self._failure is not None:
            raise self._failure


class Work:
    """One run's hold on the comparison with a processor."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: IdSource,
        life: TransactionLife,
        progress: Progress,
        deadline: Callable[[], float],
    ) -> None:
        self.database = database
        self.clock = clock
        self.ids = ids
        self.life = life
        self.progress = progress
        self.tally = Tally()
        self._deadline = deadline

    @property
    def processor(self) -> str:
        """Whose records are compared."""
        return self.progress.processor

    def has_time(self) -> bool:
        """True while something more may be begun."""
        return self._deadline() > RESERVE_S

    def advance(self, tx: Transaction, **reached: Any) -> Progress:
        """Note how far the comparison is, and hold it longer.

        Raises LeaseLostError, and the transaction is undone.
        """
        ahead = replace(self.progress, lease_until=self.clock.now() + LEASE, **reached)
        if not sources.advance(tx, self.progress, ahead):
            raise LeaseLostError
        return ahead

    def reach(self, **reached: Any) -> None:
        """Note how far the comparison is, in a transaction of its own. Raises LeaseLostError, UnavailableError."""
        with self.database.transaction(SCHEDULE) as tx:
            ahead = self.advance(tx, **reached)
        self.progress = ahead

    def note(self, tx: Transaction, finding: Finding) -> None:
        """Keep a finding as a case."""
        if cases.note(tx, self.processor, self.ids.new(), finding, self.clock.now()):
            self.tally.cases_opened += 1
            logger.error(
                "settlement needs a look",
                extra={"case": finding.kind, "card_id": None if finding.card_id is None else str(finding.card_id)},
            )
