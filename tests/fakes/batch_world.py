"""A card world with batches: taken under role app, worked off under role worker, without waiting."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from cardwright.cards.rules import BatchOutcome, CardBatch, IssuedCard
from cardwright.cards.service import BatchItem, CardService, IssueCard
from cardwright.cards.service.batch_runs import BatchRunner
from cardwright.cards.service.issuing import Issuing
from cardwright.kernel.errors import CardwrightError
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.platform.retries import Retry
from tests.fakes.card_world import CardWorld, as_role
from tests.fakes.processor import FakeProcessor


class Killed(BaseException):
    """The process died here."""


class DyingDatabase(Database):
    """Dies in its transaction number `dies_in`, before or after that commits."""

    def __init__(self, database: Database, dies_in: int, *, committed: bool) -> None:
        self._inner = database
        self._left = dies_in
        self._committed = committed

    @contextmanager
    def transaction(self, actor: Actor) -> Iterator[Transaction]:
        """Open one, or die."""
        self._left -= 1
        with self._inner.transaction(actor) as tx:
            yield tx
            if self._left == 0 and not self._committed:
                raise Killed
        if self._left == 0:
            raise Killed

    def close(self) -> None:
        """Close this thread's connection."""
        self._inner.close()


class WatchedProcessor(FakeProcessor):
    """Calls `made` with each card it answers, when it may be asked again already.

    `deaths` are raised by the next calls of create_card, as `faults` are; None lets one pass, and Killed ends the process.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deaths: list[CardwrightError | Killed | None] = []
        self.made: Callable[[IssuedCard], IssuedCard] = lambda card: card

    def create_card(self, **wanted: Any) -> IssuedCard:
        """Make a card and show it."""
        death = self.deaths.pop(0) if self.deaths else None
        if death is not None and not self.made_before_fault:
            raise death
        card = self.made(super().create_card(**wanted))
        if death is not None:
            raise death
        return card


class UntilIdle:
    """A deadline that ends a run as soon as nothing is due: the run's first pause uses up its time."""

    def __init__(self) -> None:
        self.left = 1000.0

    def __call__(self) -> float:
        """Seconds left."""
        return self.left

    def sleep(self, seconds: float) -> None:
        """Nothing was found."""
        self.left = 0.0


class BatchWorld(CardWorld):
    """What batches are taken and worked off with. The program holds as many open cards as a batch can make."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.program = self.add_program("USD", 1, max_open_cards=100_000)
        self.processor: WatchedProcessor = WatchedProcessor()
        self.worker = copy.copy(self)
        self.worker.database = as_role(url, "worker")

    def items(self, count: int, **changes: Any) -> list[BatchItem]:
        """Items without keys."""
        return [BatchItem(wish=self.wish(label=f"Card {number}", **changes)) for number in range(count)]

    def keyed(self, key: str, **changes: Any) -> BatchItem:
        """An item with a key."""
        wish: IssueCard = self.wish(**changes)
        return BatchItem(key=key, wish=wish)

    def send(self, actor: Actor, items: Sequence[BatchItem]) -> UUID:
        """Send a batch; return its id."""
        return self.service.create_batch(actor, items, self.ids.new()).job_id

    def runner(self, tools: CardWorld | None = None, *, threads: int = 4, until: UntilIdle | None = None) -> BatchRunner:
        """A worker whose issuing tries once."""
        tools = tools or self.worker
        issuing = Issuing(tools, None, lambda: Retry(waits_s=()))
        return BatchRunner(tools, issuing, threads=threads, sleep=(until or UntilIdle()).sleep)

    def run(self, tools: CardWorld | None = None, *, threads: int = 4) -> int:
        """Work off what is due now."""
        until = UntilIdle()
        return self.runner(tools, threads=threads, until=until).run(until)

    def sweep(self) -> None:
        """Follow issuances nobody is at, as the schedule does."""
        CardService(self.worker).sweep_issuances(lambda: 1000.0)

    def killed_worker(self, dies_in: int, *, committed: bool) -> CardWorld:
        """Tools of a worker that dies in that transaction."""
        tools = copy.copy(self.worker)
        tools.database = DyingDatabase(self.worker.database, dies_in, committed=committed)
        return tools

    def batch(self, actor: Actor, job_id: UUID) -> tuple[CardBatch, list[BatchOutcome]]:
        """A batch with its items."""
        return self.service.get_batch(actor, job_id)

    def states(self, actor: Actor, job_id: UUID) -> list[str]:
        """States of a batch's items, in order; a failed one's code in its place."""
        _, outcomes = self.batch(actor, job_id)
        return [outcome.state.value if outcome.failure is None else outcome.failure.code for outcome in outcomes]

    def close(self) -> None:
        """Close this thread's connections."""
        super().close()
        self.worker.database.close()
